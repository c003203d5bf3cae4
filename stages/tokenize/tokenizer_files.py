"""A tokenizer folder, read as it is: tokenizer.json, its special tokens, and what a template adds to it.

`tokenizer.json` is never rebuilt: under some transformers versions a rebuilt tokenizer gives other ids for most texts
(research note, llamafactory-data §4.1). What a template needs is written into the JSON's `added_tokens`, with the ids
that the `tokenizers` library would assign, so that every back end sees the same vocabulary.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from registry.errors import MachineFault, UsageFault

from .declared_tokens import declared_tokens
from .hub_cache import looks_like_hub_name, model_folder
from .tokenizer_check import check_tokenizer

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    "added_tokens.json",
)  # fmt: skip


@dataclass(frozen=True)
class TokenizerFiles:
    """What the folder holds. `special` maps bos/eos/pad/unk to their text, without absent ones."""

    folder: str
    sha256: str
    special: dict[str, str]
    raw: dict[str, Any] = field(repr=False, compare=False, hash=False)
    config: dict[str, Any] = field(repr=False, compare=False, hash=False)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Text -> id over the model's vocabulary and the added tokens."""
        return IdSpace(self.raw).table


def is_endless(path: Path) -> bool:
    """Whether something is there that may never end: a device, a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


class IdSpace:
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
        if is_endless(root / name):
            raise UsageFault(f"{root / name}: is a device or a pipe, no file")
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
        added = orjson.loads(contents.get("added_tokens.json", b"{}"))
    except orjson.JSONDecodeError as error:
        raise UsageFault(f"{folder}: a tokenizer file is not valid JSON: {error}") from error
    if not _looks_right(raw):
        raise UsageFault(f"{path}: not a tokenizer.json (it needs `model` with `vocab`, and a list `added_tokens`)")
    described = {"tokenizer_config.json": config, "special_tokens_map.json": special_map, "added_tokens.json": added}
    for name, value in described.items():
        if not isinstance(value, dict):
            raise UsageFault(f"{root / name}: not a JSON object")
    check_tokenizer(raw, os.fspath(path))
    special = {}
    for kind in ("bos", "eos", "pad", "unk"):
        value = config.get(f"{kind}_token") or special_map.get(f"{kind}_token")
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text:
            special[kind] = text
    try:
        declared = declared_tokens(config, special_map, added)
    except ValueError as error:
        raise UsageFault(f"{folder}: {error}") from None
    return TokenizerFiles(os.fspath(root), digest.hexdigest(), special, _with_declared(raw, declared, folder), config)


def _with_declared(
    raw: dict[str, Any], declared: tuple[list[dict[str, Any]], list[dict[str, Any]]], folder: str
) -> dict[str, Any]:
    """tokenizer.json with the tokens that only files beside it declare, as transformers adds them on loading.

    Raises UsageFault when a new one meets a vocabulary whose ids have holes: there is no telling its id.
    """
    entries = {token["content"]: token for token in raw.get("added_tokens") or ()}
    decoded, others = declared
    flags = {token["content"]: token for token in decoded}
    lacking = {token["content"]: token for token in reversed([*decoded, *others]) if token["content"] not in entries}
    changed = any(not entries[text].items() >= flags[text].items() for text in entries.keys() & flags.keys())
    if not lacking and not changed:
        return raw
    numbering = IdSpace(raw)
    # in the order of the library, each where it is named first
    new = list(dict.fromkeys(token["content"] for token in [*decoded, *others] if token["content"] in lacking))
    for text in new:
        if text not in numbering.table and numbering.has_holes():
            raise UsageFault(
                f"{folder}: the token {text!r} is declared beside tokenizer.json only, and the ids of its "
                "vocabulary have holes, so there is no telling which id it would get",
                hint="save the tokenizer afresh: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            )
        numbering.add(text)
    kept = [token | flags.get(text, {}) for text, token in entries.items()]
    return raw | {"added_tokens": [*kept, *(lacking[text] | {"id": numbering.table[text]} for text in new)]}


def _looks_right(raw: object) -> bool:
    model = raw.get("model") if isinstance(raw, dict) else None
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(raw, dict) or not vocab or not isinstance(vocab, (dict, list)):
        return False
    added = raw.get("added_tokens") or []
    return isinstance(added, list) and all(
        isinstance(token, dict) and isinstance(token.get("content"), str) for token in added
    )
