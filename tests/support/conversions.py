"""Records for tests of `prep convert`: a chat, one with a tool call, one that is wrong; and files of such records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHAT = {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "Hello\u2028"}], "id": 10**30}


TOOL = {
    "conversations": [
        {"from": "human", "value": "Tide?"},
        {"from": "function_call", "value": '{"name": "tide", "arguments": {}}'},
        {"from": "observation", "value": "5.4"},
        {"from": "gpt", "value": "5.4 m.", "weight": 1},
    ]
}


BAD = {"conversations": [{"from": "human", "value": "Hi"}]}


def write(path: Path, records: list[Any]) -> Path:
    """A file with one record a line."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def lines(path: Path) -> list[Any]:
    """The records of a file with one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
