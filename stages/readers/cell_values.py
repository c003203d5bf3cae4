"""Cells of a CSV file as values. A cell is text, and a few fields of a record are none: those, and only those, are
read as what they are when the cell spells it.

    label of a record (KTO)     true, false, TRUE, False, ...    a truth value
    history                     [["q", "a"]]                     the list; null and "" are no history
    images, videos, audios      ["a.png", "b.png"]               the list; any other text is one path

Everything else stays the text it is, `true` and `[]` in an instruction included. In Parquet, which has types, only a
column that prep itself has marked (JSON_COLUMN) is read as more than its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from registry.datasets.types import Fields

Spelled = Callable[[str], Any]  # a cell's text -> its value, or the text again

JSON_COLUMN = {b"prep.json": b"1"}  # metadata of a Parquet column that holds the JSON text of its values
_TRUTH = {"true": True, "false": False}
_MEDIA = ("images", "videos", "audios")


def spelled(fields: Fields) -> dict[str, Spelled]:
    """The columns whose cells may spell more than a text, under one map."""
    texts = {key for name, key in vars(fields).items() if name not in _MEDIA and name not in ("history", "kto_tag")}
    kinds: dict[str | None, Spelled] = {
        fields.audios: _a_list, fields.videos: _a_list, fields.images: _a_list,
        fields.history: _history, fields.kto_tag: _label,
    }  # fmt: skip
    # a key that is mapped twice keeps its meaning as a text
    return {key: read for key, read in kinds.items() if key is not None and key not in texts}


def with_values(data: bytes, columns: Mapping[str, Spelled]) -> bytes:
    """A row of cells, a JSON object of texts and nulls, with the values that its cells spell."""
    row = orjson.loads(data)
    changed = False
    for name, read in columns.items():
        text = row.get(name)
        if text is not None and (value := read(text)) is not text:
            row[name] = value
            changed = True
    return orjson.dumps(row) if changed else data


def _label(text: str) -> Any:
    return _TRUTH.get(text.strip().casefold(), text)


def _history(text: str) -> Any:
    return None if text.strip() in ("", "null") else _a_list(text)


def _a_list(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return text
    try:
        value = orjson.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, list) else text
