"""The published schemas, applied to the user's own record: after the column and tag map, through jsonschema-rs.

`compiled(format_id, fields, kind)` rewrites the schema's property names and role words into the user's (so that
pointers name the user's keys), compiles it once, and gives a `Checker`. A valid record costs one call into Rust (about
0.1 µs a message); notes are only made for an invalid one. References are never fetched from anywhere.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import jsonschema_rs

import schemas
from registry.datasets.types import Fields
from registry.errors import did_you_mean
from stages.core.display import pointer, shown
from stages.core.findings import Note

_DEFAULT_RULES = {"type:null": "shape.null", "type": "shape.type", "required": "shape.missing-field"}
_TYPE_NAMES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}

# what data sets commonly call the roles that a `tags` block may leave out
_USUAL_TAGS = {
    "system": "system_tag",
    "human": "user_tag",
    "user": "user_tag",
    "gpt": "assistant_tag",
    "assistant": "assistant_tag",
    "observation": "observation_tag",
    "tool": "observation_tag",
    "function_call": "function_tag",
    "tool_call": "function_tag",
    "tool_response": "observation_tag",
}


class Checker:
    """One compiled schema. `is_valid(record)` is the fast way; `notes(record)` says what is wrong with a bad one.

    tags: the tag map, for a hint; None is a tag without a word.
    """

    def __init__(self, schema: dict[str, Any], tags: Mapping[str, str | None] | None = None) -> None:
        self.schema = schema
        self.tags = tags or {}
        self._validator = jsonschema_rs.validator_for(schema, offline=True)
        self.is_valid: Callable[[Any], bool] = self._validator.is_valid

    def notes(self, record: object) -> list[Note]:
        """One note for each breach, in the order of the record; empty when it is valid."""
        found: dict[tuple[str, str], Note] = {}
        for error in self._validator.iter_errors(cast("Any", record)):
            note = self._note(error, record)
            found.setdefault((note.rule, note.pointer), note)
        return list(found.values())

    def _note(self, error: jsonschema_rs.ValidationError, record: object) -> Note:
        *parents, keyword = error.schema_path
        if not isinstance(keyword, str):  # a list of types ends in its index
            keyword = "type"
        node = _walk(self.schema, parents)
        value = _at(record, error.instance_path)
        detail, message, hint = _say(keyword, node, value, error)
        tag = _USUAL_TAGS.get(value) if keyword == "enum" and isinstance(value, str) else None
        if tag is not None and tag in self.tags:
            message = f'"{shown(value, 40)}" is not a role'  # a near word would be of another role
            if self.tags[tag] is None:
                every = {name: word for name, word in self.tags.items() if word is not None} | {tag: value}
                hint = f'map it in dataset_info.json, with every other tag: "tags": {json.dumps(every)}'
        table = node.get("x-rule", {})
        for key in (f"{keyword}:{detail}", keyword):
            rule = table.get(key) or _DEFAULT_RULES.get(key)
            if rule:
                break
        else:
            rule = "shape.type"
        return Note(rule, pointer(*error.instance_path), message, shown(value), hint)


def _say(keyword: str, node: dict[str, Any], value: Any, error: jsonschema_rs.ValidationError) -> tuple[str, str, str]:
    """Detail (for the rule), message and hint of one breach."""
    if keyword == "type":
        found = type_name(value)
        wanted = node.get("type", "other value")
        names = [wanted] if isinstance(wanted, str) else [name for name in wanted if name != "null"]
        return found, f"expected {_a(' or '.join(names))}, found {_a(found)}", ""
    if keyword == "required":
        missing = str(error.kind.as_dict().get("property", "")) if error.kind else ""
        return missing, f'the field "{missing}" is missing', _nearest_key(missing, value)
    if keyword == "enum":
        options = node.get("enum", [])
        near = did_you_mean(value, options) if isinstance(value, str) else ""
        hint = "" if near else f"roles of this data set: {', '.join(map(str, options))}"
        return "", f'"{shown(value, 40)}" is not a role{near}', hint
    if keyword == "minItems":
        return "", "the list is empty" if not value else "the list is too short", ""
    if keyword == "maxItems":
        return "", f"the list has {len(value)} items, expected {node.get('maxItems')}", ""
    if keyword == "minLength":
        return "", "the text is empty", ""
    return "", error.message, ""


def _nearest_key(missing: str, value: object) -> str:
    if not isinstance(value, dict) or not value:
        return ""
    near = did_you_mean(missing, [key for key in value if isinstance(key, str)])
    keys = ", ".join(shown(key, 20) for key in list(value)[:8])
    return f"the keys here are {keys}{near}"


def type_name(value: object) -> str:
    """The JSON name of a value's type."""
    return "null" if value is None else _TYPE_NAMES.get(type(value), type(value).__name__)


def _a(noun: str) -> str:
    return noun if noun == "null" else f"an {noun}" if noun[:1] in "aeio" else f"a {noun}"


def _walk(schema: dict[str, Any], path: Sequence[str | int]) -> dict[str, Any]:
    """The schema node at a path, through local references."""
    node: Any = schema
    for part in path:
        if isinstance(node, dict) and part == "$ref":
            continue
        while isinstance(node, dict) and "$ref" in node and part not in node:
            node = _resolve(schema, node["$ref"])
        if isinstance(node, dict) and part not in node:
            return {}
        node = node[part]
    while isinstance(node, dict) and "$ref" in node:
        node = {**_resolve(schema, node["$ref"]), **{key: value for key, value in node.items() if key != "$ref"}}
    return node if isinstance(node, dict) else {}


def _resolve(schema: dict[str, Any], reference: str) -> Any:
    node: Any = schema
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def _at(record: object, path: Sequence[str | int]) -> Any:
    node: Any = record
    for part in path:
        node = node[part]
    return node


# --- the user's names -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def compiled(format_id: str, fields: Fields, kind: str = "sft") -> Checker:
    """The checker of one format under one column and tag map; kept for the next call.

    Args:
        format_id: Id of a record format.
        fields: The column and tag map.
        kind: sft | pref | kto | pt | predict; it decides which fields may be missing.

    Raises:
        KeyError: The format has no schema.
    """
    tags = {name: word for name, word in vars(fields).items() if name.endswith("_tag") and name != "kto_tag"}
    return Checker(mapped(schemas.load(format_id), fields, kind), tags)


def mapped(schema: dict[str, Any], fields: Fields, kind: str) -> dict[str, Any]:
    """A copy of a record schema in the user's names. A field that is not mapped is neither checked nor required.

    Args:
        schema: The published schema, which stays as it is.
        fields: The column and tag map.
        kind: sft | pref | kto | pt | predict; it decides which fields may be missing.
    """
    result: dict[str, Any] = _mapped(schema, fields, kind)
    # the published identity is that of the unmapped schema
    result.pop("$id", None)
    return result


def _mapped(node: Any, fields: Fields, kind: str) -> Any:
    if isinstance(node, list):
        return [_mapped(item, fields, kind) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _mapped(value, fields, kind) for key, value in node.items() if key not in ("examples", "properties")}
    properties = node.get("properties")
    if properties is not None:
        names = dict(_renamed(properties, fields))
        optional = {key for key, sub in properties.items() if kind in sub.get("x-optional-in", ())}
        # a key mapped twice keeps its first meaning, as the converters read it
        taken: dict[str, Any] = {}
        for key, sub in properties.items():
            name = names.get(key)
            if name is not None and name not in taken:
                taken[name] = _loosened(_mapped(sub, fields, kind)) if key in optional else _mapped(sub, fields, kind)
        result["properties"] = taken
        if "required" in node:
            result["required"] = [names[key] for key in node["required"] if key not in optional and names.get(key)]
    if "x-tags" in node:
        result["enum"] = _tag_words(node["x-tags"], fields)
    return result


def _renamed(properties: dict[str, Any], fields: Fields) -> Iterator[tuple[str, str | None]]:
    for key, sub in properties.items():
        field = sub.get("x-field")
        yield key, key if field is None else getattr(fields, field)


def _loosened(sub: dict[str, Any]) -> dict[str, Any]:
    kinds = sub.get("type")
    if isinstance(kinds, str):
        return {**sub, "type": [kinds, "null"]}
    return sub


def _tag_words(tags: dict[str, str], fields: Fields) -> list[str]:
    words = [word if not field else getattr(fields, field) for word, field in tags.items()]
    return list(dict.fromkeys(word for word in words if word is not None))
