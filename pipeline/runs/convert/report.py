"""What a conversion lost: as a JSON file with every record, and as a closing summary for people.

The file is written while records pass, so that its size does not matter; its totals stand behind the records.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import orjson

from pipeline.jobs.convert import RecordLosses
from stages.core.atomic_io import create
from stages.core.display import clean
from stages.formats.losses import LOSSES
from stages.writers.tables import AS_JSON

from .types import Conversion, Converted

SCHEMA_VERSION = 1
FIELDS_SHOWN = 12


def document(done: Converted, requested: Conversion) -> dict[str, Any]:
    """The result as plain data, without the single records. "output" is null when nothing was published."""
    return {
        "schema_version": SCHEMA_VERSION,
        "from": requested.spec.from_id,
        "to": requested.spec.to_id,
        "output": str(requested.out) if done.published else None,
        "totals": {
            "read": done.read,
            "written": done.written,
            "rejected": done.rejected,
            "lossy": done.lossy_records,
            "losses": sum(done.losses.values()),
            "content": done.lost("content"),
            "form": done.lost("form"),
        },
        "inputs": [
            {
                "path": item.path,
                "sha256": item.info.sha256 if item.info else "",
                "bytes": item.info.bytes if item.info else 0,
                "read": item.read,
                "written": item.written,
                "rejected": item.rejected,
            }
            for item in done.files
        ],
        "losses": [
            {
                "field": field,
                "what": what,
                "severity": LOSSES[what].severity,
                "meaning": LOSSES[what].meaning,
                "count": count,
            }
            for (field, what), count in worst_first(done)
        ],
        "lossy_records": dict(sorted(done.lossy.items())),
        "container": done.changed,
        "counts": {rule: count for (rule, _), count in sorted(done.found.counts.items())},
        "findings": [finding.as_dict() for finding in done.found.findings],
    }


def worst_first(done: Converted) -> list[tuple[tuple[str, str], int]]:
    """Losses of content before those of form, the most frequent first."""
    return sorted(done.losses.items(), key=lambda item: (LOSSES[item[0][1]].severity, -item[1], item[0]))


class ReportWriter:
    """The report file. `records` comes first in it, a line each, then everything of `document`."""

    def __init__(self, path: Path, requested: Conversion) -> None:
        self._path = path
        self._asked = requested
        self._file: Any = None
        self._sink: Any = None
        self._any = False

    def __enter__(self) -> ReportWriter:
        self._file = create(self._path)
        self._sink = self._file.__enter__()
        self._sink.write(b'{"records": [')
        return self

    def add(self, found: list[RecordLosses]) -> None:
        """Records that lost something, in input order."""
        lines = [
            orjson.dumps(
                {
                    "path": item.path,
                    "line": item.line,
                    "record": item.record,
                    "losses": [one._asdict() for one in item.losses],
                }
            )
            for item in found
        ]
        if lines:
            self._sink.write((b",\n" if self._any else b"\n") + b",\n".join(lines))
            self._any = True

    def finish(self, done: Converted) -> None:
        """Writes the rest."""
        rest = orjson.dumps(document(done, self._asked), option=orjson.OPT_INDENT_2)
        self._sink.write((b"\n" if self._any else b"") + b"]," + rest.removeprefix(b"{") + b"\n")

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._file.__exit__(kind, value, trace)


# --- for people -------------------------------------------------------------------------------------------------------


def _nothing(done: Converted) -> str:
    """What "nothing was lost" means once the records stand in their file."""
    changes = {what for counts in done.changed.values() for what in counts} - {AS_JSON}
    if not changes:
        return "nothing: converting back gives the same records"
    if all(what.startswith("missing") for what in changes):
        return "nothing, but fields that a record lacks come back as null"
    return "nothing by the conversion; what the file itself cannot hold:"


def summary(done: Converted, requested: Conversion) -> str:
    """The closing lines, at most 80 columns wide where the user's names allow it."""
    spec = requested.spec
    rows = [
        (f"{spec.from_id} → {spec.to_id}", ""),
        ("read", f"{done.read:,} records"),
        ("written", f"{done.written:,}"),
        ("rejected", f"{done.rejected:,}"),
    ]
    if not done.losses and done.written:
        rows.append(("lost", _nothing(done)))
    for severity, name in (("content", "lost"), ("form", "form only")):
        of_kind = [item for item in worst_first(done) if LOSSES[item[0][1]].severity == severity]
        if not of_kind:
            continue
        rows.append((name, f"{sum(count for _, count in of_kind):,}"))
        for (field, what), count in of_kind[:FIELDS_SHOWN]:
            rows.append(("", f"{count:>9,} {clean(field) or 'record'}: {what}"))
        if len(of_kind) > FIELDS_SHOWN:
            rows.append(("", f"          and {len(of_kind) - FIELDS_SHOWN} more fields"))
    for column, counts in done.changed.items():
        changes = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        rows.append(("column", f"{clean(column)}: {changes}"))
    if done.published:
        rows.append(("output", clean(str(requested.out))))
    width = max(len(name) for name, text in rows if text)
    lines = [f"{name:<{width}}  {text}".rstrip() for name, text in rows]
    for what in dict.fromkeys(what for (_, what), _ in worst_first(done)):
        lines += textwrap.wrap(f"{what}: {LOSSES[what].meaning}", 80, subsequent_indent="  ")
    if done.losses and requested.report is None:
        lines.append("every record that lost something: --report FILE")
    if done.elapsed_s > 1:
        size = sum(item.info.bytes for item in done.files if item.info)
        lines.append(f"{done.elapsed_s:.1f} s, {size / 1e6 / done.elapsed_s:.1f} MB/s")
    return "\n".join(lines)
