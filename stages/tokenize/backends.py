"""Tokenize: many texts in, flat token ids out. One seam, three back ends.

    fastokens   byte-level BPE           110 MB/s a core     loads in 1.2 s
    gigatoken   sentencepiece BPE         30 MB/s            loads in 0.5 s
    tokenizers  everything, the reference  3 MB/s            loads in 0.4 s

The two fast ones must give the reference's ids. A sample of the user's own texts and a fixed set of nasty ones are
encoded with both (`differences`); any difference means the reference is used, and the run says so. Figures: qwen3, one
core.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from registry.errors import Fault, UsageFault, is_library_failure
from stages.core.token_texts import THOUGHT_TAGS

Ids = NDArray[np.int32]
Offsets = NDArray[np.int64]


class BackEndDiffers(Fault):
    """A fast back end cannot load, or gives other ids than the reference: the run starts again with the reference."""


class Encoder(Protocol):
    """A back end. `encode` gives flat ids (int32) and `len(texts) + 1` offsets into them (int64)."""

    name: str

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]: ...


def all_special(json_text: str) -> str:
    """A tokenizer.json with every added token flagged special but marks of a thought: the libraries split no others
    into ordinary tokens."""
    try:
        raw = orjson.loads(json_text)
        raw["added_tokens"] = [
            token if token["content"] in THOUGHT_TAGS else token | {"special": True}
            for token in raw.get("added_tokens") or ()
        ]
    except (ValueError, TypeError, AttributeError, KeyError):  # no tokenizer: for the back end to say
        return json_text
    return orjson.dumps(raw).decode()


class ReferenceEncoder:
    """The `tokenizers` library itself. Raises UsageFault for a tokenizer.json that it cannot read."""

    name = "tokenizers"

    def __init__(self, json_text: str, *, split_special_tokens: bool = False) -> None:
        import tokenizers

        if split_special_tokens:
            json_text = all_special(json_text)
        try:
            self.tokenizer = tokenizers.Tokenizer.from_str(json_text)
        except BaseException as error:  # the library raises nothing narrower, and its panics are no Exceptions
            if not is_library_failure(error):
                raise
            raise UsageFault(
                f"tokenizer.json: tokenizers {tokenizers.__version__} cannot read it: {str(error)[:200]}",
                hint="a file written by a newer version needs a newer tokenizers; else download it again",
            ) from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = split_special_tokens

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """See `Encoder`."""
        try:
            encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except BaseException as error:  # a panic of Rust code is no Exception
            if not is_library_failure(error):
                raise
            raise UsageFault(
                f"tokenizer.json: the tokenizers library fails on a text with it: {str(error)[:120]}",
                hint="its pattern goes over a text again and again; use the tokenizer as published",
            ) from error
        lists = [encoding.ids for encoding in encodings]
        offsets = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        flat = np.empty(int(offsets[-1]), dtype=np.int32)
        for index, ids in enumerate(lists):
            flat[offsets[index] : offsets[index + 1]] = ids
        return flat, offsets


_shared: weakref.WeakValueDictionary[str, ReferenceEncoder] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def shared_reference(json_text: str) -> ReferenceEncoder:
    """The reference of a tokenizer.json, one for all who hold it at a time: loading takes 0.4 s, and the template proof
    wants it at the same moment as a small run does."""
    with _sharing:
        found = _shared.get(json_text)
        if found is None:
            found = _shared[json_text] = ReferenceEncoder(json_text)
        return found


class FastokensEncoder:
    """fastokens: the fastest for byte-level BPE."""

    name = "fastokens"

    def __init__(self, json_text: str, *, split_special_tokens: bool = False) -> None:
        import fastokens

        self.tokenizer = fastokens.Tokenizer.from_json_str(
            all_special(json_text) if split_special_tokens else json_text
        )
        self.split = split_special_tokens

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """See `Encoder`."""
        ids, offsets = self.tokenizer.encode_batch_flat(texts, split_special_tokens=self.split)
        return np.frombuffer(ids, dtype=np.int32), np.frombuffer(offsets, dtype=np.uint64).astype(np.int64)


class GigatokenEncoder:
    """gigatoken: the fastest for sentencepiece BPE, and the quicker one to load."""

    name = "gigatoken"

    def __init__(self, json_text: str, *, split_special_tokens: bool = False) -> None:
        if split_special_tokens:
            raise ValueError("gigatoken always recognises added tokens in text")
        import gigatoken

        self.tokenizer: Any = gigatoken.Tokenizer.from_json(json_text)

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Offsets]:
        """See `Encoder`."""
        if not texts:
            return np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64)
        array = self.tokenizer.encode_batch(list(texts), parallel=False)
        layout = array.layout
        offsets = np.asarray(layout.offsets.data, dtype=np.int64)
        flat = np.asarray(layout.content.data).astype(np.int32, copy=False)
        return flat[offsets[0] : offsets[-1]], offsets - offsets[0]


BACK_ENDS: dict[str, type[ReferenceEncoder] | type[FastokensEncoder] | type[GigatokenEncoder]] = {
    "tokenizers": ReferenceEncoder,
    "fastokens": FastokensEncoder,
    "gigatoken": GigatokenEncoder,
}

SMALL_BYTES = 1 << 20  # below this the reference is done before a fast back end has loaded
MEDIUM_BYTES = 128 << 20  # below this gigatoken's quicker loading wins over fastokens' quicker encoding


def family(raw: dict[str, Any]) -> str:
    """`byte-level`, `sentencepiece` or `other`, from a decoded tokenizer.json."""
    model = raw.get("model", {})
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        return "other"
    if model.get("byte_fallback"):
        return "sentencepiece"
    return "byte-level" if '"ByteLevel"' in str(raw.get("pre_tokenizer")).replace("'", '"') else "other"


def choose(raw: dict[str, Any], input_bytes: int, *, split_special_tokens: bool = False) -> str:
    """The back end to try first for an input of this size.

    Args:
        raw: The decoded tokenizer.json.
        input_bytes: Text to encode; for little of it a fast back end takes longer to load than it saves.
        split_special_tokens: Whether special tokens in the text are encoded as plain text.
    """
    kind = family(raw)
    if kind == "other" or input_bytes < SMALL_BYTES:
        return "tokenizers"
    if kind == "byte-level":
        return "gigatoken" if input_bytes < MEDIUM_BYTES and not split_special_tokens else "fastokens"
    return "tokenizers" if split_special_tokens else "gigatoken"


def load_encoder(name: str, json_text: str, *, split_special_tokens: bool = False) -> Encoder:
    """Loads a back end. Whatever a back end raises on a tokenizer that it cannot read reaches the caller."""
    if name == "tokenizers" and not split_special_tokens:
        return shared_reference(json_text)
    return BACK_ENDS[name](json_text, split_special_tokens=split_special_tokens)


NASTY = (
    "", " ", "  \n\n\t ", "a", "A" * 300, " leading", "trailing ", "\u00a0x\u2003y", "e\u0301 vs é",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪", "汉字漢字かな한글",
    "١٢٣ ½ ²³ Ⅷ", "0123456789" * 5, "1,234,567.89", "I'm you're WE'LL don'T", "\x00\x01\x7f", "\ufeffbom",
    "\u200b\u200d\u2060",
    "\u202eright-to-left", "मनीष ไทย עברית العربية", "\r\n\r\n\r", "tab\tsep\tx", "x" * 4000, "https://a.b/c?d=e&f=%20#g",
    "def f(x):\n\treturn {'a': [1, 2.5e-3]}\n", "<|im_start|>user<|im_end|>", "<|endoftext|><s></s><think>\n\n</think>",
    "[INST] x [/INST]", "\U0001f9ff\U0010fffd", "ﬁ ﬂ Å Ω K", "a\u0300\u0301\u0302\u0303b",
    "…—–“”‘’", "\\n \\u0041 &amp; <b>",
)  # fmt: skip


def differences(name: str, texts: Sequence[str], ids: Ids, offsets: Offsets, reference: Encoder) -> str:
    """Compares what a back end made of the texts with what the reference makes of them, id by id, border by border.

    Args:
        name: The back end's, for the message.
        texts: What was encoded.
        ids: The back end's ids, all texts end to end (int32, [tokens]).
        offsets: Where each text's ids begin, and the end (int64, [texts + 1]).
        reference: The back end that is right.

    Returns:
        What differs, in words; "" when nothing does.
    """
    want, want_offsets = reference.encode(texts)
    if len(offsets) != len(want_offsets):
        return f"{name} gives {len(offsets) - 1} results for {len(texts)} texts"
    if np.array_equal(ids, want) and np.array_equal(offsets, want_offsets):
        return ""
    differ = sum(
        not np.array_equal(
            ids[offsets[index] : offsets[index + 1]], want[want_offsets[index] : want_offsets[index + 1]]
        )
        for index in range(len(texts))
    )
    return f"{name} gives other ids for {differ} of {len(texts)} texts"
