"""Which files a path, folder or glob means. The order is that of the names, whatever the file system lists first."""

from __future__ import annotations

import glob
import os
import stat
from collections import Counter
from pathlib import PurePath

import orjson

from registry.errors import MachineFault, UsageFault, near_file
from stages.core.display import clean
from stages.core.urls import is_url, local_path

from .local_file import kind_of
from .remote_file import discover_remote
from .sniff import ending
from .split_files import take_split, without_split

_MAGIC = "*?["

# what pipeline.output.rejects writes beside FILE.jsonl
_WHY = ".findings.jsonl"
_WHY_KEYS = frozenset({"record", "line", "findings"})
_FIRST_LINE_BYTES = 1 << 24

# files that stand beside data and are not data, by name
_BESIDE = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "readme.txt", "license.txt"}
)


def discover(spec: str, *, base: str = ".", notes: list[str] | None = None, split: str | None = None) -> list[str]:
    """Paths of the data files that `spec` (relative to `base`, or a URL) names: a file, a folder, a glob.

    A folder gives files with a data ending (.jsonl, .json.gz, ...); hidden ones, and a folder's own description
    (dataset_info.json), are passed over, and so are prep's own findings beside rejected records, with a line in
    `notes`, so that a folder of rejects can be fed in again. A file named outright is taken whatever its name. split:
    of a folder only the files of that split, by the hub's convention (stages.readers.split_files); None: all files.
    Raises UsageFault when there is nothing, with what is there instead.
    """
    notes = [] if notes is None else notes
    if (inside := local_path(spec)) is not None:
        spec = inside
    elif is_url(spec):
        found = discover_remote(spec, _is_data)
        return take_split(spec, spec, found, split, notes) if split and found != [spec] else found
    path = os.path.normpath(os.path.join(base, os.path.expanduser(spec))) if spec else base
    if "\0" in spec:
        raise UsageFault(f"{clean(spec)}: a path cannot hold a NUL character")
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        if any(char in spec for char in _MAGIC):
            without_split(spec, split)
            return _globbed(spec, path, notes)
        raise UsageFault(_missing(spec, path)) from None
    except OSError as error:
        raise MachineFault(f"{clean(spec)}: {error.strerror}") from None
    if stat.S_ISREG(mode):
        without_split(spec, split)
        return [path]
    if stat.S_ISDIR(mode):
        found = _folder(spec, path, notes)
        return take_split(spec, path, found, split, notes) if split else found
    raise UsageFault(f"{clean(spec)} is {kind_of(mode)}, not a file")


def _is_data(name: str) -> bool:
    return bool(ending(name)[0]) and not name.startswith((".", "_")) and name.lower() not in _BESIDE


def _folder(spec: str, path: str, notes: list[str]) -> list[str]:
    found: list[str] = []
    others: Counter[str] = Counter()

    def refuse(error: OSError) -> None:
        raise MachineFault(f"{clean(error.filename or path)}: {error.strerror}") from None

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if _is_data(name) and os.path.isfile(os.path.join(folder, name)):
                found.append(os.path.join(folder, name))
            else:
                others[PurePath(name).suffix or name] += 1
    if not found:
        held = ", ".join(f"{count} {clean(name)}" for name, count in others.most_common(5))
        raise UsageFault(
            f"{clean(spec)}: the folder holds no data file" + (f" ({held})" if held else " and nothing else either"),
            hint="data files end in .jsonl, .json, .csv, .tsv, .txt, .parquet or .arrow; "
            "the text ones also with .gz, .zst, .bz2 or .xz",
        )
    return _without_findings(spec, sorted(found), notes)


def _without_findings(spec: str, paths: list[str], notes: list[str]) -> list[str]:
    """The paths but for findings that prep wrote beside rejected records; `notes` gets a line that names them."""
    out = dict.fromkeys(path for path in paths if path.endswith(_WHY) and _is_findings(path))
    if out:
        named = ", ".join(os.path.basename(path) for path in list(out)[:3]) + (", ..." if len(out) > 3 else "")
        many = "are prep's own findings" if len(out) > 1 else "is prep's own list of findings"
        notes.append(clean(f"{spec}: {named} {many}, no data, and left out"))
    return [path for path in paths if path not in out]


def _is_findings(path: str) -> bool:
    """Whether a file's first line is what prep writes about a rejected record, and the records stand beside it."""
    if not os.path.isfile(path.removesuffix(_WHY) + ".jsonl"):
        return False
    try:
        with open(path, "rb") as handle:
            first = orjson.loads(handle.readline(_FIRST_LINE_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and first.keys() == _WHY_KEYS


def _globbed(spec: str, pattern: str, notes: list[str]) -> list[str]:
    hits = glob.glob(pattern, recursive=True)
    found = sorted(hit for hit in hits if os.path.isfile(hit))
    if found:
        return found if "findings" in os.path.basename(pattern) else _without_findings(spec, found, notes)
    folders = sorted(hit for hit in hits if os.path.isdir(hit))
    if folders:
        return sorted({path for folder in folders for path in _folder(folder, folder, notes)})
    raise UsageFault(f"{clean(spec)}: no file matches", hint=_beside(pattern))


def _missing(spec: str, path: str) -> str:
    folder, name = os.path.split(path)
    try:
        neighbours = sorted(os.listdir(folder or "."))
    except OSError:
        return f"{clean(spec)}: no such file; there is no folder {clean(folder)} either"
    return f"{clean(spec)}: no such file{clean(near_file(name, neighbours))}"


def _beside(pattern: str) -> str:
    folder = pattern
    while any(char in folder for char in _MAGIC):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder or "."):
        return f"there is no folder {clean(folder)}"
    names = sorted(name for name in os.listdir(folder or ".") if not name.startswith("."))[:5]
    return f"{clean(folder or '.')} holds {clean(', '.join(names))}" if names else f"{clean(folder or '.')} is empty"
