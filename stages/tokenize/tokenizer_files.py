"""A tokenizer folder, read as it is: tokenizer.json, its special tokens, and what a template adds to it.

`tokenizer.json` is never rebuilt: under some transformers versions a rebuilt tokenizer gives other ids for most texts
(research note, llamafactory-data §4.1). What a template needs is written into the JSON's `added_tokens`, with the ids
that the `tokenizers` library would assign, so that every back end sees the same vocabulary.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from registry.errors import MachineFault, UsageFault
from registry.templates import Template, load_template

from .hub_cache import looks_like_hub_name, model_folder

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


@dataclass(frozen=True)
class TokenizerFiles:
    """What the folder holds. `special` maps bos/eos/pad/unk to their text, absent ones left out."""

    folder: str
    sha256: str
    special: dict[str, str]
    raw: dict[str, Any] = field(repr=False, compare=False, hash=False)
    config: dict[str, Any] = field(repr=False, compare=False, hash=False)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Text -> id over the model's vocabulary and the added tokens."""
        return _Ids(self.raw).table

class _Ids:
    """Text -> id, with added tokens numbered as the `tokenizers` library numbers them when it loads the file: from the
    model's size upwards, in their order. The id that the file states beside a token is not looked at."""

    def __init__(self, raw: dict[str, Any]) -> None:
        vocab = raw.get("model", {}).get("vocab", {})
        # unigram: [[piece, score], ...]
        self.table = {piece[0]: at for at, piece in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
        self.next_id = len(vocab)
        for token in raw.get("added_tokens") or ():
            self.add(token["content"])

    def add(self, token: str) -> int:
        """The id of an added token, a new one where the vocabulary lacks it."""
        found = self.table.get(token)
        if found is None:
            found = self.table[token] = self.next_id
            self.next_id += 1
        return found

    def has_holes(self) -> bool:
        """Whether some id below the highest belongs to no token (or the library gave one away twice)."""
        return max(self.table.values()) + 1 != len(set(self.table.values()))


def load_tokenizer_files(folder: str) -> TokenizerFiles:
    """Reads a tokenizer folder, or that of a hub name which is in the cache.

    Raises UsageFault when there is no such folder, no tokenizer.json in it, or it is not JSON of a tokenizer;
    MachineFault when a file cannot be read.
    """
    root = Path(model_folder(folder))
    if not root.is_dir():
        raise UsageFault(
            f"model_name_or_path: there is no folder {folder!r}",
            hint=f"if that is a hub name, download it first: `hf download {folder}` puts it where prep finds it"
            if looks_like_hub_name(folder)
            else "give the folder that holds tokenizer.json",
        )
    path = root / "tokenizer.json"
    if not path.is_file():
        here = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise UsageFault(
            f"{folder}: no tokenizer.json in this folder (it holds {here})",
            hint="save a fast tokenizer there: AutoTokenizer.from_pretrained(...).save_pretrained(DIR)",
        )
    digest = hashlib.sha256()
    contents: dict[str, bytes] = {}
    for name in FILES:
        try:
            data = (root / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise MachineFault(f"{root / name}: cannot be read: {error.strerror}") from error
        contents[name] = data
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    try:
        raw = orjson.loads(contents["tokenizer.json"])
        config = orjson.loads(contents.get("tokenizer_config.json", b"{}"))
        special_map = orjson.loads(contents.get("special_tokens_map.json", b"{}"))
    except orjson.JSONDecodeError as error:
        raise UsageFault(f"{folder}: a tokenizer file is not valid JSON: {error}") from error
    if not _looks_right(raw):
        raise UsageFault(f"{path}: not a tokenizer.json (it needs `model` with `vocab`, and a list `added_tokens`)")
    for name, value in (("tokenizer_config.json", config), ("special_tokens_map.json", special_map)):
        if not isinstance(value, dict):
            raise UsageFault(f"{root / name}: not a JSON object")
    special = {}
    for kind in ("bos", "eos", "pad", "unk"):
        value = config.get(f"{kind}_token") or special_map.get(f"{kind}_token")
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            special[kind] = text
    return TokenizerFiles(os.fspath(root), digest.hexdigest(), special, raw, config)


def _looks_right(raw: object) -> bool:
    model = raw.get("model") if isinstance(raw, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(raw, dict) or not vocab or not isinstance(vocab, (dict, list)):
        return False
    added = raw.get("added_tokens") or []
    return isinstance(added, list) and all(
        isinstance(token, dict) and isinstance(token.get("content"), str) for token in added
    )


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
    specials: every added token marked special, longest first.
    """

    json_text: str = field(repr=False)
    ids: SpecialIds
    pad: int | None
    size: int
    growth: tuple[Growth, ...]
    missing_tokens: tuple[str, ...]
    missing_marks: tuple[str, ...]
    specials: tuple[str, ...]

    @property
    def vocabulary(self) -> dict[str, int]:
        """Text -> id with the template's tokens."""
        return _Ids(orjson.loads(self.json_text)).table


def vocabulary_digest(vocabulary: dict[str, int], size: int) -> str:
    """One sha256 for which text each id below `size` stands for."""
    return hashlib.sha256(orjson.dumps(sorted(item for item in vocabulary.items() if item[1] < size))).hexdigest()


class _AddedTokens:
    """The `added_tokens` of a tokenizer.json, with the ids that the library gives, and those that come to them."""

    def __init__(self, files: TokenizerFiles) -> None:
        self._folder = files.folder
        self._numbering = _Ids(files.raw)
        self.vocabulary = self._numbering.table
        self.entries: list[dict[str, Any]] = [
            token | {"id": self.vocabulary[token["content"]]} for token in files.raw.get("added_tokens") or ()
        ]
        self._listed = {token["content"] for token in self.entries}
        self.growth: list[Growth] = []

    def add(self, token: str, special: bool, requested_by: str) -> None:
        """Lists a token that is not there yet. Raises UsageFault where its id could not be told."""
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

    def specials(self) -> tuple[str, ...]:
        """Every token marked special, longest first."""
        found = (token["content"] for token in self.entries if token["special"])
        return tuple(sorted(found, key=lambda text: (-len(text), text)))

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
        specials=added.specials(),
    )


@functools.lru_cache(maxsize=2)
def fitted_tokenizer(
    folder: str, template: str, compat: str, extra_tokens: tuple[tuple[str, bool], ...]
) -> tuple[TokenizerFiles, FittedTokenizer]:
    """A tokenizer folder and what a template makes of it; kept, since the plan and the engine both need it."""
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
