"""Column maps: does a map name what its format cannot do without?"""

from __future__ import annotations

from typing import Any

import orjson

from registry.datasets.types import Fields
from registry.kinds import STAGES
from stages.core.display import pointer, shown
from stages.core.findings import Note
from stages.formats.message_keys import DOCUMENTS, KWARGS
from stages.formats.table import FORMATS


def mapping_problems(format_id: str, fields: Fields, kind: str) -> list[Note]:
    """Why no record of this format can be read under this map.

    A missing prompt of an alpaca data set is no such reason: LLaMA-Factory trains it with empty prompts, so the records
    themselves report it (prompt.empty, mapping.empty-field).

    Args:
        format_id: Id of a record format.
        fields: The column and tag map.
        kind: sft | pref | kto | pt | predict.

    Returns:
        Notes; none when records can be read.
    """
    needed = _needed(FORMATS[format_id].family, kind)
    missing = [name for name in needed if getattr(fields, name) is None]
    columns = [name for name in missing if not name.endswith("_tag") or name == "kto_tag"]
    tags = [name for name in missing if name not in columns]
    notes = []
    for block, names in (("columns", columns), ("tags", tags)):
        if names:
            text = f"{', '.join(names)}: nothing in `{block}` or found out says it, and no record can be read without"
            hint = f"name it in `{block}` of dataset_info.json; once that is given, what it leaves out is unmapped"
            notes.append(Note("mapping.incomplete", "", text, "", hint))
    return notes


def stage_problems(family: str, stage: str) -> list[Note]:
    """Why no record of this family can be used in a stage, whatever the map says."""
    if family == "pretrain" and STAGES[stage].records not in ("pt", "predict"):
        text = f"the record is a text without prompt and answer, and stage {stage} trains on answers"
        return [Note("pretrain.wrong-stage", "", text)]
    return []


def _needed(family: str, kind: str) -> tuple[str, ...]:
    answers = {"pref": ("chosen", "rejected"), "kto": ("kto_tag",)}.get(kind, ())
    if family == "pretrain":
        return ("prompt",)
    if family == "alpaca":
        return (*answers, *(("response",) if kind in ("sft", "kto") else ()))
    return ("messages", "role_tag", "content_tag", "user_tag", "assistant_tag", *answers)


def mapped_keys(fields: Fields) -> frozenset[str]:
    """The record's top-level keys that the map names."""
    columns = (key for name, key in vars(fields).items() if not name.endswith("_tag") or name == "kto_tag")
    return frozenset(key for key in columns if key is not None)


_METADATA_WORDS = """
id uid uuid idx index key hash source src origin dataset data_source subset split url uri link license licence lang
language locale category categories topic domain task task_type type kind tag tags label labels difficulty level
version date time timestamp created created_at updated updated_at author user user_id annotator model model_name
generator teacher provider file file_name filename path title name meta metadata info extra score scores rating
quality turns turn num_turns length tokens num_tokens cluster seed status state comment notes md5 sha256 doi
"""
_TRAINING_WORDS = """
system history tools messages conversations conversation instruction input output prompt query question response answer
completion chosen rejected text content images videos audios functions context
"""

# keys that name, date or file a record: text in them is not training text
_METADATA = frozenset(_METADATA_WORDS.split())
_TRAINING = frozenset(_TRAINING_WORDS.split())


def unmapped_notes(record: dict[str, Any], mapped: frozenset[str], notes: list[Note]) -> None:
    """A note for each unmapped key whose text may be meant for training; names and dates of records are not.

    Args:
        record: The decoded record.
        mapped: Its keys that the map names.
        notes: New notes are appended.
    """
    for key, value in record.items():
        if key in mapped or not value or not isinstance(key, str):
            continue
        folded = key.casefold()
        if holds_tools(value):
            message = f'the field "{shown(key, 40)}" holds tool definitions and is mapped to nothing'
            hint = f'name it in `columns` of dataset_info.json: "tools": "{shown(key, 40)}"'
            notes.append(Note("shape.unmapped-text", pointer(key), message, shown(value), hint))
            continue
        if holds_messages(value):
            message = f'the field "{shown(key, 40)}" holds messages and is mapped to nothing'
            notes.append(Note("shape.unmapped-text", pointer(key), message, shown(value)))
            continue
        if folded in _TRAINING:
            if not isinstance(value, (str, list, dict)) or (isinstance(value, str) and value.isspace()):
                continue
        elif not isinstance(value, str) or value.isspace() or folded in _METADATA or folded.endswith(("_id", "id")):
            continue
        message = f'the field "{shown(key, 40)}" holds text and is mapped to nothing'
        notes.append(Note("shape.unmapped-text", pointer(key), message, shown(value)))


def holds_tools(value: object) -> bool:
    """Whether a value is a list of tool definitions, or the JSON text of one."""
    if isinstance(value, str):
        if not value.startswith(("[{", "[ {", "[\n")) or '"name"' not in value or len(value) > _TOOLS_CHARS:
            return False
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return False
    return isinstance(value, list) and bool(value) and all(map(_is_definition, value))


def holds_messages(value: object) -> bool:
    """Whether a value is a list of messages, in one of the two usual forms."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ({"role", "content"} <= first.keys() or {"from", "value"} <= first.keys())


_TOOLS_CHARS = 1 << 20


def _is_definition(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    function = value.get("function", value)
    return isinstance(function, dict) and isinstance(function.get("name"), str) and "parameters" in function


def own_template_notes(record: dict[str, Any], mapped: frozenset[str], notes: list[Note]) -> None:
    """A note for each key that only the tokenizer's own chat template could use."""
    for key in (KWARGS, DOCUMENTS):
        value = record.get(key)
        if value and key not in mapped and isinstance(value, (dict, list)):
            message = f'the field "{key}" is for the tokenizer\'s own chat template: only template auto uses it'
            notes.append(Note("shape.unmapped-text", pointer(key), message, shown(value)))
