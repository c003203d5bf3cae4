"""The chat template that a tokenizer folder brings, and the tokens that it may name.

Looked for as transformers 5 does: `chat_template.jinja` and `additional_chat_templates/*.jinja`, then `chat_template`
in tokenizer_config.json (one text, or a list of named ones), then `chat_template.json`, which older processors wrote.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from registry.errors import MachineFault, UsageFault, did_you_mean
from stages.tokenize.hub_cache import model_folder
from stages.tokenize.tokenizer_files import is_endless

MAX_TEMPLATE_BYTES = 1 << 20  # the longest real one we know has 40 KB


@dataclass(frozen=True)
class AutoTemplate:
    """A tokenizer's own template; plain data, cheap to send to a worker.

    sources: text by name ("default", "tool_use", ...). variables: the named special tokens a template may write
    (`bos_token`, ...). added: every added token's text, longest first. stops: texts of the end tokens that the model's
    generation_config.json lists. bos: text, "" for none; adds_bos: whether the tokenizer by itself would write it.
    origin: the file the template came from.
    """

    sources: dict[str, str]
    variables: dict[str, str]
    added: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    bos: str = ""
    adds_bos: bool = False
    origin: str = ""
    sha256: str = field(default="", compare=False)

    def __hash__(self) -> int:
        return hash(self.sha256)

    def name_for(self, tools: bool) -> str:
        """Which of the named templates writes a conversation: `tool_use` where there is one and there are tools."""
        return "tool_use" if tools and "tool_use" in self.sources else "default"


def load_auto(folder: str, raw: Mapping[str, Any] | None = None, *, name: str | None = None) -> AutoTemplate:
    """Reads a tokenizer folder. `raw` is its decoded tokenizer.json, when the caller has it; `name` picks one of
    several.

    Raises UsageFault when the folder has no chat template, the named one is missing or a file is malformed,
    MachineFault when a file cannot be read.
    """
    root = Path(model_folder(folder))
    if not root.is_dir():
        raise UsageFault(f"model_name_or_path: there is no folder {folder!r}", hint="give the folder of the tokenizer")
    config = _json(root / "tokenizer_config.json")
    sources, origin = _sources(root, config)
    if name is not None:
        if name not in sources:
            known = ", ".join(sorted(sources)) or "none"
            raise UsageFault(f"{folder}: no chat template {name!r} (there are: {known}){did_you_mean(name, sources)}")
        sources = {"default": sources[name]}
    if "default" not in sources:
        named = f" but no default one; it names {', '.join(sorted(sources))}" if sources else ""
        raise UsageFault(
            f"template: auto: {folder} has no chat template{named}",
            hint="choose one of ours with `template: NAME`; `prep list templates` shows them",
        )
    if raw is None:
        raw = _json(root / "tokenizer.json")
    variables = _special_tokens(config, _json(root / "special_tokens_map.json"))
    added = _added_tokens(raw, config)
    by_id = {token_id: text for text, token_id in added.items()}
    stops = [by_id[end] for end in _ends(root / "generation_config.json") if end in by_id]
    bos = variables.get("bos_token", "")
    return AutoTemplate(
        sources=sources,
        variables=variables,
        added=tuple(sorted(added, key=lambda text: (-len(text), text))),
        stops=tuple(stops),
        bos=bos,
        adds_bos=_adds_bos(raw, bos),
        origin=origin,
        sha256=_digest(sources, variables),
    )


def _ends(path: Path) -> list[int]:
    """The ids that end an answer, of a generation_config.json."""
    ends = _json(path).get("eos_token_id")
    found = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if any(type(end) is not int for end in found):
        raise UsageFault(f"{path}: eos_token_id must be a whole number, or a list of them")
    return found


def _sources(root: Path, config: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    main = root / "chat_template.jinja"
    extra = sorted((root / "additional_chat_templates").glob("*.jinja"))
    if main.is_file() or extra:
        files = {path.stem: path for path in extra} | ({"default": main} if main.is_file() else {})
        return {name: _text(path) for name, path in sorted(files.items())}, "chat_template.jinja"
    for origin, raw in (
        ("tokenizer_config.json", config.get("chat_template")),
        ("chat_template.json", _json(root / "chat_template.json").get("chat_template")),
    ):
        if isinstance(raw, str):
            return {"default": _bounded(raw, root / origin)}, origin
        if isinstance(raw, list) and raw:
            try:
                return {str(row["name"]): _bounded(row["template"], root / origin) for row in raw}, origin
            except (KeyError, TypeError) as error:
                raise UsageFault(f"{root / origin}: chat_template: not a list of {{name, template}}") from error
        if raw is not None and raw != []:
            raise UsageFault(f"{root / origin}: chat_template: {type(raw).__name__} instead of a text")
    return {}, ""


def _special_tokens(config: Mapping[str, Any], special_map: Mapping[str, Any]) -> dict[str, str]:
    """Named tokens as transformers shows them to a template. A null in the config means none, whatever the map says."""
    extra = config.get("extra_special_tokens")
    tables: list[Mapping[str, Any]] = [special_map, config]
    if isinstance(extra, dict):
        tables.append(extra)
    found: dict[str, str] = {}
    for table in tables:
        for key, value in table.items():
            if not key.endswith("_token"):
                continue
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                found[key] = text
            elif value is None:
                found.pop(key, None)
    return dict(sorted(found.items()))


def _added_tokens(raw: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, int]:
    added = {}
    for token in raw.get("added_tokens") or ():
        added[str(token["content"])] = int(token["id"])
    decoder = config.get("added_tokens_decoder")
    for token_id, token in (decoder if isinstance(decoder, dict) else {}).items():
        if isinstance(token, dict) and str(token_id).isdigit():
            added.setdefault(str(token.get("content", "")), int(token_id))
    added.pop("", None)
    return added


def _adds_bos(raw: Mapping[str, Any], bos: str) -> bool:
    """Whether the tokenizer writes BOS around a plain text: its post-processor holds a template that begins with it."""
    if not bos:
        return False
    processor = raw.get("post_processor") or {}
    for part in (processor, *(processor.get("processors") or ())):
        single = part.get("single") or ()
        if single and (single[0].get("SpecialToken") or {}).get("id") == bos:
            return True
    return False


def _digest(sources: Mapping[str, str], variables: Mapping[str, str]) -> str:
    return hashlib.sha256(orjson.dumps([sources, variables], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    if is_endless(path):
        raise UsageFault(f"{path}: is a device or a pipe, no file")
    try:
        data = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise UsageFault(f"{path}: not valid JSON: {error}") from error
    except OSError as error:
        raise MachineFault(f"{path}: cannot be read: {error.strerror}") from error
    if not isinstance(data, dict):
        raise UsageFault(f"{path}: {type(data).__name__} instead of an object")
    return data


def _text(path: Path) -> str:
    try:
        return _bounded(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise UsageFault(f"{path}: not UTF-8: {error}") from error
    except OSError as error:
        raise MachineFault(f"{path}: cannot be read: {error.strerror}") from error


def _bounded(text: object, path: Path) -> str:
    if not isinstance(text, str):
        raise UsageFault(f"{path}: chat_template: {type(text).__name__} instead of a text")
    if len(text) > MAX_TEMPLATE_BYTES:
        raise UsageFault(f"{path}: a chat template of {len(text)} characters; at most {MAX_TEMPLATE_BYTES} are read")
    return text
