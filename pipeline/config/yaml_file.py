"""YAML and JSON configuration files, read so that nothing is guessed too early.

Scalars stay text: `Plain` when they stood unquoted. Only the key's type decides later whether `no`, `1e-4` or
`2024-01-01` is a switch, a number or a text; PyYAML alone would make them False, "1e-4" and a date. Duplicate keys,
tags and alias bombs are errors. Every error says the line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml

ALIASES_MOST = 100
DEPTH_MOST = 64
BYTES_MOST = 4 << 20


class Plain(str):
    """Text that stood unquoted in YAML."""

    __slots__ = ()


@dataclass(frozen=True)
class Document:
    """The top-level mapping of a file, and the 1-based line of each of its keys (0 = unknown)."""

    values: dict[str, object]
    lines: dict[str, int]


class FileProblem(ValueError):
    """What is wrong with a file; `line` is 1-based, 0 = the whole file."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)


def read_document(data: bytes, *, is_json: bool = False) -> Document:
    """The mapping in a file's bytes (UTF-8, with or without a byte order mark). Raises FileProblem."""
    if len(data) > BYTES_MOST:
        raise FileProblem(f"is larger than {BYTES_MOST >> 20} MiB: this is no configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise FileProblem(f"is not UTF-8 (byte {problem.start})", data.count(b"\n", 0, problem.start) + 1) from None
    if not text.strip():
        raise FileProblem("is empty")
    return _read_json(text) if is_json else _read_yaml(text)


def parse_yaml(text: str) -> object:
    """One YAML value with its scalars as text. Raises FileProblem (a ValueError)."""
    node = _compose(text)
    return None if node is None else _Builder().build(node)


def _read_json(text: str) -> Document:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        seen = dict(items)
        if len(seen) != len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise FileProblem(f'the key "{twice}" stands twice')
        return seen

    def refuse(name: str) -> object:
        raise FileProblem(f"{name} is not a JSON number")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse)
    except json.JSONDecodeError as problem:
        raise FileProblem(f"is not JSON: {problem.msg} (column {problem.colno})", problem.lineno) from None
    except FileProblem:
        raise
    except ValueError:  # Python reads no longer ones
        raise FileProblem("holds a number of more than 4,300 digits") from None
    except RecursionError:
        raise FileProblem("is nested too deeply") from None
    if not isinstance(value, dict):
        raise FileProblem("must hold an object of keys and values")
    return Document(value, {})


def _read_yaml(text: str) -> Document:
    node = _compose(text)
    if node is None:
        raise FileProblem("is empty")
    if not isinstance(node, yaml.MappingNode):
        raise FileProblem("must hold `key: value` lines", node.start_mark.line + 1)
    values = _Builder().build(node)
    assert isinstance(values, dict)
    lines = {str(name.value): name.start_mark.line + 1 for name, _ in node.value if isinstance(name, yaml.ScalarNode)}
    return Document(values, lines)


def _compose(text: str) -> yaml.Node | None:
    loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = aliases = 0
        for event in yaml.parse(text, Loader=loader):  # before composing, which is recursive
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > DEPTH_MOST:
                    raise FileProblem("is nested too deeply", _line(event.start_mark))
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.AliasEvent):
                aliases += 1
                if aliases > ALIASES_MOST:
                    raise FileProblem(f"has more than {ALIASES_MOST} aliases", _line(event.start_mark))
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        what = problem.problem or problem.context or "cannot be read"
        where = f" (column {mark.column + 1})" if mark else ""
        raise FileProblem(f"is not YAML: {what}{where}", mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as problem:
        line = text.count("\n", 0, int(problem.position)) + 1
        raise FileProblem(f"holds a character that YAML forbids ({problem.reason})", line) from None


def _line(mark: object) -> int:
    return int(getattr(mark, "line", -1)) + 1


class _Builder:
    """Nodes to values. Counts how often an aliased node is expanded, since a few aliases of aliases make billions."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.again = 0
        self.open: set[int] = set()

    def build(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.ScalarNode):
            self._check_tag(node, {"str", "int", "float", "bool", "null", "timestamp", "value", "merge"})
            return str(node.value) if node.style else Plain(node.value)  # the C parser says "" for plain, ours None
        line = node.start_mark.line + 1
        if id(node) in self.open:
            raise FileProblem("has an alias that contains itself", line)
        if id(node) in self.seen:
            self.again += 1
            if self.again > ALIASES_MOST:
                raise FileProblem(f"expands more than {ALIASES_MOST} aliases", line)
        self.seen.add(id(node))
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, {"seq"})
                return [self._leaf(item) for item in node.value]
            self._check_tag(node, {"map"})
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node)
        finally:
            self.open.discard(id(node))

    def _leaf(self, node: yaml.Node) -> object:
        value = self.build(node)
        return None if isinstance(value, Plain) and value.lower() in ("", "null", "~") else value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        values: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        for name_node, value_node in node.value:
            line = name_node.start_mark.line + 1
            if not isinstance(name_node, yaml.ScalarNode):
                raise FileProblem("a key must be a plain word", line)
            name = str(name_node.value)
            if name == "<<" and not name_node.style:
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    found = self.build(part)
                    if not isinstance(found, dict):
                        raise FileProblem("`<<` must name a mapping", line)
                    merged = {**found, **merged}
                continue
            if name in values:
                raise FileProblem(f'the key "{name}" stands twice (also on line {lines[name]})', line)
            values[name] = self._leaf(value_node)
            lines[name] = line
        return {**merged, **values}

    def _check_tag(self, node: yaml.Node, allowed: set[str]) -> None:
        prefix, _, name = str(node.tag).rpartition(":")
        if prefix != "tag:yaml.org,2002" or name not in allowed:
            raise FileProblem(f"the tag {node.tag} is not allowed here", node.start_mark.line + 1)
