"""Rejects: the raw bytes of every record that was not kept, and why, so that they can be fixed and fed in again."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from registry.errors import UsageFault
from stages.core.atomic_io import Sink, create, make_folder, remove_tree
from stages.core.collector import Reject

from .protect_inputs import marks, refuse_file

_DATA, _WHY = ".jsonl", ".findings.jsonl"
_NAME = re.compile(r"\d{2,}-.+")
_WHY_KEYS = frozenset({"record", "line", "findings"})


def _stem(number: int, name: str) -> str:
    plain = "".join(char if char.isalnum() or char in "-_." else "_" for char in name)
    return f"{number:02d}-{plain.removesuffix('.jsonl')}"


class RejectFolder:
    """The folder of `--rejects`: a run's rejects replace those of the run before, once it is through. Files in it that
    are not prep's stay, and none of them is ever written over."""

    def __init__(self, folder: Path, names: Sequence[str], read: Iterable[str | Path]) -> None:
        """Makes the folder.

        Args:
            folder: Where the rejects go.
            names: Of all the run's data sets.
            read: Files that are not to be touched.

        Raises:
            UsageFault: Rejects would take the place of such a file or of one that is not prep's.
        """
        refuse_file(folder, "--rejects")
        self.folder = folder
        self._earlier = _stems(folder)
        self._next = 0
        self._kept: set[str] = set()
        stems = {_stem(number, name) for number, name in enumerate(names)}
        for stem in sorted(stems - self._earlier):
            for path in self._pair(stem):
                if path.exists():
                    raise UsageFault(f"--rejects {folder}: {path} is there, and was not written by prep", hint=_ANOTHER)
        kept = set().union(*(marks(path) for path in read))
        for path in (path for stem in sorted(stems | self._earlier) for path in self._pair(stem)):
            if kept & marks(path):
                raise UsageFault(
                    f"--rejects {folder}: the rejects of this run would replace {path}, which it reads or writes",
                    hint=_ANOTHER,
                )
        make_folder(folder)

    def _pair(self, stem: str) -> list[Path]:
        return [self.folder / f"{stem}{suffix}" for suffix in (_DATA, _WHY)]

    def writer(self, names: Sequence[str]) -> RejectWriter:
        """For the rejects of the next data sets, in the order in which all were named."""
        first, self._next = self._next, self._next + len(names)
        return RejectWriter(self.folder, names, first=first, written=self._kept)

    def finish(self) -> None:
        """Removes what an earlier run left and this one has not written anew."""
        for stem in sorted(self._earlier - self._kept):
            for path in self._pair(stem):
                remove_tree(path)


_ANOTHER = "give another folder with --rejects"


def _stems(folder: Path) -> set[str]:
    """Rejects that an earlier run left in a folder: those whose findings are beside them, in our form."""
    whys = folder.glob(f"*{_WHY}") if folder.is_dir() else ()
    return {path.name.removesuffix(_WHY) for path in whys if _NAME.match(path.name) and _is_why(path)}


def _is_why(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            first = orjson.loads(handle.readline())
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.keys() == _WHY_KEYS


class RejectWriter:
    """Writes rejected records as they come: raw bytes one a line, and beside them what was wrong, line for line."""

    def __init__(self, folder: Path, names: Sequence[str], *, first: int = 0, written: set[str] | None = None) -> None:
        """Opens no file before there is a record for it.

        Args:
            folder: Where the files go.
            names: Of the data sets, by source number.
            first: Number of the first one, in the files' names.
            written: Gets the names of the files, without their endings.
        """
        self.folder = folder
        self.names = names
        self.first = first
        self.written = written
        self.files: list[dict[str, Any]] = []
        self._open: dict[int, tuple[Sink, Sink, str]] = {}
        self._files = contextlib.ExitStack()

    def __enter__(self) -> RejectWriter:
        return self

    def add(self, source: int, reject: Reject) -> None:
        """One record, in input order."""
        if source not in self._open:
            stem = _stem(self.first + source, self.names[source])
            data = self._files.enter_context(create(self.folder / f"{stem}{_DATA}"))
            why = self._files.enter_context(create(self.folder / f"{stem}{_WHY}"))
            if self.written is not None:
                self.written.add(stem)
            self._open[source] = data, why, stem
        data_sink, why_sink, _ = self._open[source]
        # inside a JSON value a raw line break can only be white space
        data_sink.write(reject.data.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        findings = [finding.as_dict() for finding in reject.findings]
        why_sink.write(orjson.dumps({"record": reject.record, "line": reject.line, "findings": findings}) + b"\n")

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._files.__exit__(kind, value, trace)
        for data_sink, why_sink, stem in self._open.values():
            for sink, suffix in ((data_sink, _DATA), (why_sink, _WHY)):
                self.files.append({"file": f"rejects/{stem}{suffix}", "bytes": sink.size_bytes, "sha256": sink.sha256})
        self.files.sort(key=lambda entry: str(entry["file"]))
