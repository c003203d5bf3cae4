"""What a template makes of a tokenizer: the tokens that it adds, and the ids that rendering inserts."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from registry.errors import UsageFault
from registry.templates import Template, load_template
from stages.core.token_texts import TokenTexts, token_texts, unsplit

from .tokenizer_files import IdSpace, TokenizerFiles, load_tokenizer_files


@dataclass(frozen=True)
class Growth:
    """A token that the vocabulary lacked: its text, its new id, and what requested it."""

    token: str
    id: int
    requested_by: str


@dataclass(frozen=True)
class FittedTokenizer:
    """A tokenizer with a template's needs applied. `json_text` is what every back end loads.

    size: ids run from 0 to size - 1. pad: id of the padding token (the EOS where the folder names none).
    control: texts that become tokens of their own, but for those that `add_tokens` names: it asks for them.
    unsplit: those of them that `split_special_tokens` leaves whole.
    """

    json_text: str = field(repr=False)
    ids: SpecialIds
    pad: int | None
    size: int
    growth: tuple[Growth, ...]
    missing_tokens: tuple[str, ...]
    missing_marks: tuple[str, ...]
    control: TokenTexts
    unsplit: TokenTexts

    @property
    def vocabulary(self) -> dict[str, int]:
        """Text -> id with the template's tokens."""
        return IdSpace(orjson.loads(self.json_text)).table


def vocabulary_digest(vocabulary: dict[str, int], size: int) -> str:
    """One sha256 for which text each id below `size` stands for."""
    return hashlib.sha256(orjson.dumps(sorted(item for item in vocabulary.items() if item[1] < size))).hexdigest()


class _AddedTokens:
    """The `added_tokens` of a tokenizer.json, with the ids that the library gives, and those that come to them."""

    def __init__(self, files: TokenizerFiles) -> None:
        self._folder = files.folder
        self._numbering = IdSpace(files.raw)
        self.vocabulary = self._numbering.table
        self.entries: list[dict[str, Any]] = [
            token | {"id": self.vocabulary[token["content"]]} for token in files.raw.get("added_tokens") or ()
        ]
        self._listed = {token["content"] for token in self.entries}
        self.growth: list[Growth] = []

    def add(self, token: str, special: bool, requested_by: str) -> None:
        """Lists a token that is not there yet. Raises UsageFault where its id cannot be foreseen."""
        if token in self._listed:
            return
        new = token not in self.vocabulary
        if new and self._numbering.has_holes():  # the library numbers by the vocabulary's size and gives another's away
            raise UsageFault(
                f"{self._folder}: {requested_by} adds the token {token!r}, but the ids of this vocabulary have holes, "
                "so there is no telling which id it would get",
                hint="put it into tokenizer.json's model vocabulary with a free id, or choose another template",
            )
        token_id = self._numbering.add(token)
        if new:
            self.growth.append(Growth(token, token_id, requested_by))
        self._listed.add(token)
        self.entries.append(
            {"id": token_id, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": not special, "special": special}
        )

    def control(self, normalizer: object, meant: frozenset[str]) -> tuple[TokenTexts, TokenTexts]:
        """What the tokenizer looks for in a text, and under `split_special_tokens`. meant: tokens that are added for
        what texts hold."""
        found = [token for token in self.entries if token["content"] not in meant]
        return token_texts(found, normalizer), unsplit(found)

    def json_text(self, raw: dict[str, Any]) -> str:
        """tokenizer.json with these tokens; stored limits of the folder must not cut or pad what we encode."""
        entries = sorted(self.entries, key=lambda token: int(token["id"]))
        return orjson.dumps({**raw, "added_tokens": entries, "truncation": None, "padding": None}).decode("utf-8")


def fit(
    files: TokenizerFiles, template: Template | None, extra_tokens: tuple[tuple[str, bool], ...] = ()
) -> FittedTokenizer:
    """Applies what LLaMA-Factory's loader applies (research note §3.2).

    In order: `add_tokens` / `new_special_tokens` (extra_tokens: text, special); with `replace_eos` the first stop word
    becomes the EOS; no EOS at all gives `<|endoftext|>`; no pad gives pad = EOS; the other stop words become special
    tokens. A token that the vocabulary lacks is appended (`growth`).

    Raises UsageFault when a token is to be appended to a vocabulary whose ids have holes.
    """
    added = _AddedTokens(files)
    vocabulary = added.vocabulary
    for token, special in extra_tokens:
        added.add(token, special, "new_special_tokens" if special else "add_tokens")
    # which marks the tokenizer had before we touch it: a template that brings its own has the wrong tokenizer
    missing_marks = tuple(mark for mark in (template.marks() if template else ()) if mark not in vocabulary)
    eos = _stop_words(added, files.special.get("eos"), template)
    bos, pad = files.special.get("bos"), files.special.get("pad", eos)
    tokens = template.tokens() if template else ()
    meant = frozenset(token for token, special in extra_tokens if not special)
    control, unsplit_texts = added.control(files.raw.get("normalizer"), meant)
    ids = SpecialIds(
        bos=vocabulary.get(bos) if bos else None,
        eos=vocabulary.get(eos),
        eos_text=eos,
        bos_text=bos or "",
        tokens=tuple((token, vocabulary[token]) for token in tokens if token in vocabulary),
    )
    return FittedTokenizer(
        json_text=added.json_text(files.raw),
        ids=ids,
        pad=vocabulary.get(pad) if pad else None,
        size=max(vocabulary.values(), default=-1) + 1,
        growth=tuple(added.growth),
        missing_tokens=tuple(token for token in tokens if token not in vocabulary),
        missing_marks=missing_marks,
        control=control,
        unsplit=unsplit_texts,
    )


@functools.lru_cache(maxsize=2)
def fitted_tokenizer(
    folder: str, template: str, compat: str, extra_tokens: tuple[tuple[str, bool], ...]
) -> tuple[TokenizerFiles, FittedTokenizer]:
    """A tokenizer folder and what a template makes of it; kept, since the plan and the engine both need it.

    Args:
        folder: Where tokenizer.json lies.
        template: The template's name.
        compat: The version of LLaMA-Factory whose template it is.
        extra_tokens: Tokens to append: (text, whether it is special).
    """
    files = load_tokenizer_files(folder)
    return files, fit(files, None if template == "auto" else load_template(template, compat), extra_tokens)


def _stop_words(added: _AddedTokens, eos: str | None, template: Template | None) -> str:
    """Adds the EOS and the template's stop words; the EOS."""
    stop_words = template.stop_words if template else ()
    requested_by = f"template {template.name}" if template else "stop word"
    if template and template.replace_eos and stop_words:
        eos, stop_words = stop_words[0], stop_words[1:]
        added.add(eos, True, requested_by)
    if eos is None:
        eos = "<|endoftext|>"
        added.add(eos, True, "no eos_token")
    for word in stop_words:
        added.add(word, True, requested_by)
    return eos


@dataclass(frozen=True)
class SpecialIds:
    """The ids that slots insert. None = the tokenizer has no such token. `tokens` holds the looked-up ones."""

    bos: int | None
    eos: int | None
    eos_text: str
    bos_text: str = ""
    tokens: tuple[tuple[str, int], ...] = ()
