"""Trace: from a packed token to the source line it came from, and from a source line to where its tokens stand.

    --row 812 --token 150   ->  shard, example 3 of 9, chats.jsonl:4711, its turn 2, answer, token 17 of 60
    --source chats.jsonl:4711   ->  train row 812, tokens 130 to 220; or why there is none

The first reads one row and one shard's lineage; the second three columns of every lineage file.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from pipeline.output.lineage_columns import Part, numbers
from pipeline.output.shards import IGNORE, Row, Shards
from registry.errors import DataFault, UsageFault

from .history import sources_of


def part_as_dict(shards: Shards, row: Row, part: Part) -> dict[str, Any]:
    """Where an example came from and where it stands, as JSON shows it.

    Args:
        shards: An opened output.
        row: A row of it.
        part: One of the row's examples.
    """
    names, of_file = sources_of(shards.manifest)
    span = row.labels[part.start : part.start + part.tokens]
    return {
        "example": part.number,
        "file": shards.input_path(part.source),
        "line": part.line,
        "record": part.record,
        "source": names[of_file[part.source]] if 0 <= part.source < len(of_file) else "",
        "start": part.start,
        "tokens": part.tokens,
        "trained_tokens": int(np.count_nonzero(span != IGNORE)),
        "tokens_lost": part.lost,
        "offset": part.offset,
    }


def trace_row(shards: Shards, split: str, number: int, token: int | None = None) -> dict[str, Any]:
    """Where a row's examples come from, or where one of its tokens does.

    Args:
        shards: An opened output.
        split: Name of the split.
        number: Of the row in the split, from 0.
        token: Counts through the row from 0; None for the whole row.

    Raises:
        UsageFault: When there is no such split, row or token.
    """
    row = shards.row(split, number)
    found: dict[str, Any] = {
        "split": split,
        "row": number,
        "shard": row.shard,
        "row_in_shard": row.row_in_shard,
        "tokens": len(row.ids),
    }
    if token is None:
        return found | {"examples": [part_as_dict(shards, row, part) for part in row.parts]}
    if not 0 <= token < len(row.ids):
        raise UsageFault(
            f"{shards.out}: {split} row {number} has no token {token}; its tokens are 0 to {len(row.ids) - 1}"
        )
    part = next(part for part in row.parts if part.start <= token < part.start + part.tokens)
    segment = next((segment for segment in shards.segments(row, part) if segment.start <= token < segment.end), None)
    return found | {
        "token": token,
        "id": int(row.ids[token]),
        "label": int(row.labels[token]),
        "trained": bool(row.labels[token] != IGNORE),
        "in_example": token - part.start + part.offset,
        "turn": segment.turn if segment else None,
        # the two keys keep the names under which they were published
        "half": segment.name if segment else None,
        "in_half": token - segment.start if segment else None,
        "examples": [part_as_dict(shards, row, part)],
    }


def trace_source(shards: Shards, spec: str) -> dict[str, Any]:
    """Every place where a source line's tokens stand. spec: FILE:LINE, LINE from 1; FILE may be the end of a path.

    When there is none, `reason` says why. Raises UsageFault when FILE is no input or several.
    """
    name, _, text = spec.rpartition(":")
    if not name or not text.isdecimal() or int(text) < 1:
        raise UsageFault(f"--source {spec}: not FILE:LINE", hint="for example --source chats.jsonl:4711")
    source, line = input_of(shards, name), int(text)
    places = []
    nearest = 0
    for split in shards.splits:
        first = 0
        for index, shard in enumerate(shards.shards(split)):
            rows, sources, lines = shards.places(split, index)
            here = lines[sources == source]
            before = here[here <= line]
            nearest = max(nearest, int(before.max()) if len(before) else 0)
            for at in np.unique(rows[(sources == source) & (lines == line)]).tolist():
                row = shards.row(split, first + at)
                for part in row.parts:
                    if part.source == source and part.line == line:
                        found = {
                            "split": split,
                            "row": row.number,
                            "shard": row.shard,
                            "row_in_shard": row.row_in_shard,
                        }
                        places.append(found | part_as_dict(shards, row, part))
            first += int(shard["rows"])
    result: dict[str, Any] = {"file": shards.input_path(source), "line": line, "places": places}
    if not places:
        result["reason"] = _absence(shards, source, line, nearest)
    return result


def input_of(shards: Shards, name: str) -> int:
    """Index of the input file that a path or the end of a path names. Raises UsageFault when it is none or several."""
    paths = [str(entry["path"]) for entry in shards.manifest["inputs"]]
    exact = [at for at, path in enumerate(paths) if path == name]
    wanted = PurePath(name).parts
    ends = [at for at, path in enumerate(paths) if PurePath(path).parts[-len(wanted) :] == wanted]
    found = exact or ends or [at for at, path in enumerate(paths) if Path(path).resolve() == Path(name).resolve()]
    if len(found) > 1:
        raise UsageFault(
            f"{name}: several inputs end so: {', '.join(paths[at] for at in found[:5])}", hint="give more of the path"
        )
    if not found:
        raise UsageFault(f"{name}: is no input of {shards.out}", hint=f"its inputs are {', '.join(paths[:8])}")
    return found[0]


def _absence(shards: Shards, source: int, line: int, nearest: int) -> str:
    """Why a line stands in no row: rejected, excluded, or no record begins there."""
    rejected = _rejection(shards, source, line)
    if rejected:
        return rejected
    table = shards.excluded()
    if table is not None and len(table):
        mine = (numbers(table, "source") == source) & (numbers(table, "line") == line)
        if mine.any():
            tokens = sum(table.column("before")[int(np.flatnonzero(mine)[0])].as_py())
            meant = table.column("split")[int(np.flatnonzero(mine)[0])].as_py()
            why = "the length limit took it out" if meant else "nothing sampled it"
            return f"the record of that line ({tokens} tokens) stands in no row: {why}"
    where = f"; the nearest record before it that stands in a row begins in line {nearest}" if nearest else ""
    return f"no record that was kept begins in line {line}{where}"


def _rejection(shards: Shards, source: int, line: int) -> str:
    path = shards.input_path(source)
    for entry in shards.manifest.get("files", ()):
        name = str(entry["file"])
        if not name.startswith("rejects/") or not name.endswith(".findings.jsonl"):
            continue
        try:
            reason = _reason(shards.plain_file(name), path, line)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataFault(f"{shards.out / name}: cannot be read: {error}", hint="run `prep pack` again") from error
        if reason:
            return f"the record of that line was rejected: {reason['message']} [{reason['rule']}]"
    return ""


def _reason(file: Path, path: str, line: int) -> dict[str, Any]:
    """Why the record of a line was rejected, by a file of findings; empty when it does not say."""
    with file.open("rb") as handle:
        for raw in handle:
            told = json.loads(raw)
            findings = [found for found in told["findings"] if found["path"] == path]
            if told["line"] == line and findings:
                return next((found for found in findings if found["severity"] == "error"), findings[0])
    return {}
