"""docs/config.md and schemas/config.json, both made from pipeline/config/keys.yaml.

`python -m docs.tools.config_page` in the repository's root writes them anew; a test fails when they differ from the
table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.keys import Key, keys, renames

_TITLES = {
    "data": "Data",
    "encode": "Rendering, tokens and length",
    "mix": "Mixing and splitting",
    "pack": "Packing and writing",
    "model": "Model and tokenizer",
    "train": "Training",
    "generate": "Prediction",
    "export": "Export",
    "run": "The run itself",
}
_INTRO = """# Configuration

<!-- made from pipeline/config/keys.yaml by `python -m docs.tools.config_page`; edit that file instead -->

A configuration is a YAML file (or JSON) of `key: value` lines with LLaMA-Factory's names. Settings may also stand on
the command line, behind the file or without one, as `key=value`, `--key value`, `--key=value`, `--flag`, `--no-flag`;
`rules.text.special-token=off` sets one entry of a table. The command line wins over the file, the file over the
defaults.

* **Types.** A key's type decides how its value is read: `1e-4` and `"1e-4"` are the same number, `yes`, `on` and `true`
  are the same switch, a date stays text. Lists are YAML lists or comma lists. `null` means the default.
* **Environment.** `${NAME}` and `${NAME:-default}` are replaced in every value; a variable that is not set is an error.
  `$${` stands for a literal `${`.
* **Paths.** A relative path belongs to the working directory. An *input* that is not there, but lies in the folder of
  the configuration file, is taken from that folder; `dataset_dir` counts as there when it holds `dataset_info.json`.
  Outputs always belong to the working directory.
* **Mistakes** (unknown keys, wrong types, contradictions) are reported all at once, each with its line. With
  `ALLOW_EXTRA_ARGS=1` in the environment unknown keys are only noted.
"""


def config_markdown() -> str:
    """The text of docs/config.md."""
    lines = [_INTRO]
    table = keys().values()
    for group, title in _TITLES.items():
        rows = [key for key in table if key.group == group and key.status in ("used", "train")]
        lines += [f"## {title}\n", "| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [f"| `{key.name}` | {_type_words(key)} | {_default(key)} | {_cell(key.help)} |" for key in rows]
        lines.append("")
    lines += [
        "## Accepted, without effect\n",
        "Known, so that a configuration written for another release or tool runs unchanged; a note says so.\n",
        "| key | why |",
        "|---|---|",
        *(f"| `{key.name}` | {_cell(key.note)} |" for key in table if key.status == "accepted"),
        "",
        "## Refused\n",
        "Switching these on is an error; leaving them at their default is not.\n",
        "| key | why, and what to use |",
        "|---|---|",
        *(f"| `{key.name}` | {_cell(key.note)} |" for key in table if key.status == "refused"),
        "",
        "## Old names\n",
        "Read as the new name, with a note.\n",
        "| old | new | why |",
        "|---|---|---|",
        *(f"| `{old.name}` | `{old.to}` | {_cell(old.note)} |" for old in renames().values()),
        "",
    ]
    return "\n".join(lines)


def config_schema() -> dict[str, object]:
    """The JSON Schema of a configuration file, as schemas/config.json holds it."""
    properties: dict[str, object] = {key.name: _property(key) for key in keys().values()}
    for old in renames().values():
        target = keys()[old.to]
        about = {"description": f"Old name of {old.to}: {old.note}.", "deprecated": True}
        properties[old.name] = about if old.values else {**_property(target), **about}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:prep-llm:schema:config:1",
        "title": "prep configuration",
        "description": "Settings of a run, under LLaMA-Factory's names. Numbers and switches may be quoted, and any"
        " value may refer to the environment as ${NAME} or ${NAME:-default}.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": {
            "reference": {"description": "A reference to the environment.", "type": "string", "pattern": r"\$\{"},
            "switch": {
                "anyOf": [
                    {"type": "boolean"},
                    {"type": "integer", "enum": [0, 1]},
                    {
                        "type": "string",
                        "pattern": "^([Tt]rue|TRUE|[Ff]alse|FALSE|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|[yntf01])$",
                    },
                ]
            },
            "whole": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[-+]?[0-9][0-9_]*$"}]},
            "number": {
                "anyOf": [
                    {"type": "number"},
                    {"type": "string", "pattern": r"^[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"},
                ]
            },
            "texts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]},
        },
        "examples": [
            {
                "model_name_or_path": "Qwen/Qwen3-8B",
                "stage": "sft",
                "dataset": "identity,alpaca_en_demo",
                "template": "qwen3",
                "cutoff_len": 4096,
                "packing": True,
                "learning_rate": 1e-5,
                "seed": "${SEED:-42}",
            }
        ],
    }


def _property(key: Key) -> dict[str, object]:
    about: dict[str, object] = {"description": key.help or key.note}
    if key.status == "accepted":
        return {"description": f"No effect: {key.note}.", "deprecated": True}
    if key.status == "refused":
        off = [key.default, None] if key.default is not None else [None, False]
        return {"description": f"Not offered: {key.note}.", "deprecated": True, "enum": off}
    if key.default is not None:
        about["default"] = key.default
    kinds: list[dict[str, object]] = [part for kind in key.types for part in _schema_of(key, kind)]
    return {**about, "anyOf": [*kinds, {"$ref": "#/$defs/reference"}, {"type": "null"}]}


def _schema_of(key: Key, kind: str) -> Iterator[dict[str, object]]:
    if kind == "enum":
        yield {"enum": [*key.values, False] if "no" in key.values else list(key.values)}
    elif kind in ("int", "float"):
        bounds = {"minimum": key.low, "maximum": key.high}
        named = {"$ref": "#/$defs/whole" if kind == "int" else "#/$defs/number"}
        yield {**named, **{name: bound for name, bound in bounds.items() if bound is not None}}
    elif kind == "bool":
        yield {"$ref": "#/$defs/switch"}
    elif kind == "dict":
        yield {"type": "object"}
    elif kind in ("list", "paths"):
        yield {"$ref": "#/$defs/texts"}
    elif kind == "floats":
        yield {"anyOf": [{"type": ["string", "number"]}, {"type": "array", "items": {"type": ["number", "string"]}}]}
    elif kind in ("bytes", "share"):
        yield {"type": ["number", "string"]}
    else:  # a text may look like a number or a switch
        yield {"type": ["string", "number", "boolean"]}


def _type_words(key: Key) -> str:
    words = {
        "bool": "switch",
        "int": "whole number",
        "float": "number",
        "str": "text",
        "list": "list",
        "floats": "numbers",
        "path": "path",
        "paths": "paths",
        "dict": "table",
        "bytes": "size",
        "share": "count or share",
    }
    if key.values:
        return ", ".join(f"`{value}`" for value in key.values)
    return " or ".join(words[kind] for kind in key.types)


def _default(key: Key) -> str:
    value = key.default
    if value is None or value in ([], {}, ""):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"`{','.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def write(root: Path) -> None:
    """Writes both files below the repository's root."""
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "config.md").write_text(config_markdown(), encoding="utf-8")
    schema = json.dumps(config_schema(), indent=2, ensure_ascii=False)
    (root / "schemas" / "config.json").write_text(schema + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path())
