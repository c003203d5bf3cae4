"""Token text: what each token id stands for, byte for byte, so that a row can be shown token by token.

    ids     9707    11    220   102891   222         the last two are bytes of one character
    pieces  Hello   ,     " "   ""       一          a character belongs to the token that completes it

Byte-level and sentencepiece vocabularies are read straight from tokenizer.json; for anything else the `tokenizers`
library decodes one id at a time. Nothing is skipped or tidied: joined pieces are the text that the model sees.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from .tokenizer_files import TokenizerFiles

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenTexts:
    """id -> bytes for one tokenizer. added: id -> text of tokens that a run added to the folder's own."""

    def __init__(self, files: TokenizerFiles, added: Mapping[int, str] | None = None) -> None:
        raw = files.raw
        self._kind = decoder_kind(raw)
        self._verbatim = {str(token["content"]) for token in raw.get("added_tokens") or ()}
        vocabulary = files.vocabulary
        self._texts = {number: text for text, number in vocabulary.items()}
        self._added = {text: vocabulary[text] for text in self._verbatim}
        self._bytes: dict[int, bytes] = {}
        for number, text in (added or {}).items():
            self._bytes[number] = text.encode("utf-8", "replace")
            self._added[text] = number
        self._raw = raw
        self._library: Any = None

    def bytes_of(self, number: int) -> bytes:
        """The bytes of one token; a number outside the vocabulary is shown as `<id N>`."""
        found = self._bytes.get(number)
        if found is None:
            found = self._bytes[number] = self._look_up(number)
        return found

    def id_of(self, text: str) -> int | None:
        """The id of an added token, None when the vocabulary has no such token."""
        return self._added.get(text)

    def text(self, ids: Iterable[int]) -> str:
        """The text of a run of tokens; bytes that are no UTF-8 become U+FFFD."""
        look = self.bytes_of
        return b"".join([look(number) for number in ids]).decode("utf-8", "replace")

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; joined they are `text(ids)`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = [decoder.decode(self.bytes_of(number)) for number in ids]
        if found:
            found[-1] += decoder.decode(b"", final=True)
        return found

    def _look_up(self, number: int) -> bytes:
        text = self._texts.get(number)
        if text is None:
            return f"<id {number}>".encode()
        if self._kind == "byte-level":
            if text in self._verbatim:
                return text.encode("utf-8", "replace")
            table = _byte_table()
            if all(char in table for char in text):
                return bytes(table[char] for char in text)
            return text.encode("utf-8", "replace")
        if self._kind == "sentencepiece":
            one = _BYTE.fullmatch(text)
            return bytes([int(one[1], 16)]) if one else text.replace("\u2581", " ").encode("utf-8", "replace")
        return self._decoded(number)

    def _decoded(self, number: int) -> bytes:
        if self._library is None:
            from .backends import ReferenceEncoder

            plain = {**self._raw, "truncation": None, "padding": None}  # neither is looked at in packing
            self._library = ReferenceEncoder(orjson.dumps(plain).decode()).tokenizer
        text: str = self._library.decode([number], skip_special_tokens=False)
        return text.encode("utf-8", "replace")


def decoder_kind(raw: Mapping[str, Any]) -> str:
    """`byte-level`, `sentencepiece` or `other`, from the decoder of a tokenizer.json."""
    names = set(_types(raw.get("decoder"))) or set(_types(raw.get("pre_tokenizer")))
    if "ByteLevel" in names:
        return "byte-level"
    if "Metaspace" in names or "ByteFallback" in names:
        return "sentencepiece"
    return "other"


def _types(part: Any) -> Iterable[str]:
    if isinstance(part, dict):
        yield str(part.get("type"))
        for inner in (*(part.get("decoders") or ()), *(part.get("pretokenizers") or ())):
            yield from _types(inner)


def _byte_table() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2's table), turned round."""
    if not _TABLE:
        plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        shifted = [byte for byte in range(0x100) if byte not in set(plain)]
        _TABLE.update({chr(byte): byte for byte in plain})
        _TABLE.update({chr(0x100 + place): byte for place, byte in enumerate(shifted)})
    return _TABLE


_TABLE: dict[str, int] = {}
