"""From the words of `prep convert` to what is to be done: which formats, which files, which column maps.

sharegpt→alpaca   sharegpt:alpaca   "sharegpt->alpaca"   --from sharegpt --to alpaca   →alpaca (the source is found out)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.plan.sources import detect_format
from registry.datasets import resolve
from registry.datasets.entry import entry_to_dataset
from registry.datasets.info_file import find_dataset_info
from registry.datasets.types import Dataset, Fields
from registry.errors import DataFault, UsageFault, did_you_mean
from stages.core.display import clean
from stages.core.records import Limits
from stages.formats.detect import Detection
from stages.formats.table import FORMATS
from stages.readers.discover import discover

_PAIR = re.compile(r"([a-z-]*?)\s*(→|->|=>|:)\s*([a-z-]*)")
ENGINE_KEYS = frozenset({"workers", "preprocessing_num_workers", "memory_limit", "engine", "ray_address"})
USAGE = "prep convert sharegpt→alpaca IN -o OUT, or: prep convert --from sharegpt --to alpaca IN -o OUT"


@dataclass(frozen=True)
class Words:
    """What the command line names. from_id: "" when the source's format is to be found out."""

    from_id: str
    to_id: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Sources:
    """The files, their format and map, remarks on what was found out; tables: every dataset_info.json that was read."""

    files: tuple[str, ...]
    format: str
    fields: Fields
    remarks: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


def take_settings(words: Sequence[str]) -> tuple[list[str], dict[str, object]]:
    """Splits the settings of what runs the work (`engine=inline memory_limit=2GB`) from the words that are none."""
    left: list[str] = []
    settings: dict[str, object] = {}
    for word in words:
        name, sign, value = word.partition("=")
        name = name.replace("-", "_")
        if sign and name in ENGINE_KEYS:
            settings[name] = value
        else:
            left.append(word)
    return left, settings


def read_words(words: Sequence[str], from_id: str | None, to_id: str | None) -> Words:
    """The formats and the inputs.

    Args:
        words: What stands behind `prep convert`, options and settings apart.
        from_id: Value of --from, None when it is not given.
        to_id: Value of --to, None when it is not given.

    Raises:
        UsageFault: With what is missing or contradictory, and for an arrow that the shell took.
    """
    left = list(words)
    for word in left:
        if word.endswith("-") and (word[:-1] in FORMATS or word == "auto-") and not os.path.exists(word):
            raise UsageFault(
                f"{word}: the shell took `->` for a redirection, and wrote to a file of the name behind it",
                hint=f"write {word[:-1]}→FORMAT or {word[:-1]}:FORMAT, or put quotes around it: "
                f'prep convert "{word[:-1]}->FORMAT" IN -o OUT; and remove the file that the shell made',
            )
    if left and (pair := _pair(left[0])) is not None:
        del left[0]
        if (from_id and pair[0] and from_id != pair[0]) or (to_id and to_id != pair[1]):
            raise UsageFault("the formats are given twice, and differ", hint=USAGE)
        from_id, to_id = pair[0] or from_id, pair[1] or to_id
    if not to_id:
        named = f"{left[0]}: which format should it become?" if left else "nothing says what to convert"
        raise UsageFault(named, hint=USAGE)
    from_id = "" if from_id in (None, "auto") else str(from_id)
    unknown = [name for name in (from_id, to_id) if name and name not in FORMATS]
    if unknown:
        raise UsageFault(
            [f"there is no record format {name!r}{did_you_mean(name, FORMATS)}" for name in unknown],
            hint="`prep list formats` shows them",
        )
    if not left:
        raise UsageFault("no input: name a file, folder or glob", hint=USAGE)
    return Words(from_id, str(to_id), tuple(left))


def _pair(word: str) -> tuple[str, str] | None:
    match = _PAIR.fullmatch(word)
    if match is None or os.path.exists(word):
        return None
    return match[1], match[3]


def find_sources(words: Words, dataset_dir: str, limits: Limits, changes: dict[str, str]) -> Sources:
    """Files, format and map. A map comes from dataset_info.json when that names the input, or is found out.

    Args:
        words: The formats and the inputs.
        dataset_dir: Where the dataset_info.json of named data sets lies.
        limits: Bounds of what is read to find the format out.
        changes: Fields of the map that are set by hand.

    Raises:
        UsageFault: When an input is not there.
        DataFault: When formats are mixed, or none is recognized.
    """
    remarks: list[str] = []
    tables: list[str] = []
    found = [_dataset(item, dataset_dir, remarks, tables) for item in words.inputs]
    for data in found:
        if data.num_samples is not None or data.split != "train":
            remarks.append(f"{data.name}: num_samples and split are not applied: all records are converted")
    files = tuple(
        dict.fromkeys(path for data in found for spec in data.files for path in discover(spec, notes=remarks))
    )
    declared = {(data.format, data.fields) for data in found}
    form, fields = next(iter(declared)) if len(declared) == 1 else ("auto", None)
    if words.from_id:
        if fields is not None and FORMATS[form].family != FORMATS[words.from_id].family:
            fields = None
        form = words.from_id
    if form == "auto" or fields is None:
        form, fields = _detected(form, files, limits, remarks)
    return Sources(files, form, replace(fields, **changes), tuple(remarks), tuple(tables))


def _detected(form: str, files: Sequence[str], limits: Limits, remarks: list[str]) -> tuple[str, Fields]:
    detection: Detection = detect_format(files, limits)
    if form == "auto":
        if detection.mixed:
            raise DataFault(f"{files[0]}: {detection.reason}", hint="convert each format by itself, or name one")
        if detection.format is None or detection.fields is None:
            raise DataFault(f"{files[0]}: {detection.reason}", hint="say what it is: --from FORMAT, --from-columns k=v")
        remarks.append(f"read as {detection.reason}")
        return detection.format, detection.fields
    known = FORMATS[form]
    if detection.format == form and detection.fields is not None:
        return form, detection.fields
    if detection.format is not None:
        remarks.append(f"the records look like {detection.format}, and are read as {form}: {detection.reason}")
    return form, known.default_fields


def _dataset(spec: str, dataset_dir: str, remarks: list[str], tables: list[str]) -> Dataset:
    """One input: a path, with the map of a dataset_info.json beside it if that names it, or a data set's name."""
    if not os.path.exists(spec):
        info = find_dataset_info(dataset_dir)
        if info is not None and spec in info.entries:
            (data,) = resolve([spec], dataset_dir)
            tables.append(info.path)
            remarks += map(clean, data.notes)
            remarks.append(f"{clean(spec)}: read with its map in {clean(info.path)}")
            return data
        return Dataset(spec, (spec,))
    folder = os.path.dirname(spec) or "."
    info = find_dataset_info(folder) if os.path.isfile(spec) else None
    tables += [info.path] if info is not None else []
    maps: dict[tuple[str, Fields | None], Dataset] = {}
    for name, entry in info.entries.items() if info is not None else ():
        problems: list[str] = []
        data = entry_to_dataset(name, entry, info, None, problems)  # type: ignore[arg-type]  # the loop is empty then
        if not problems and any(os.path.realpath(path) == os.path.realpath(spec) for path in data.files):
            maps[data.format, data.fields] = data
    if len(maps) != 1 or info is None:
        return Dataset(spec, (spec,))
    data = next(iter(maps.values()))
    remarks.append(f"{clean(spec)}: read with the map of {data.name} in {clean(info.path)}")
    return replace(data, files=(spec,))


def field_changes(pairs: Iterable[str], option: str) -> dict[str, str]:
    """`k=v` words, several in one separated by commas, as changes to a map. Raises UsageFault with every mistake."""
    known = list(vars(Fields()))
    found: dict[str, str] = {}
    problems = []
    for pair in (part.strip() for word in pairs for part in word.split(",")):
        name, sign, value = pair.partition("=")
        if not sign or not value:
            problems.append(f"{option} {pair}: must be FIELD=KEY")
        elif name not in known:
            problems.append(f"{option} {pair}: there is no field {name!r}{did_you_mean(name, known)}")
        else:
            found[name] = value
    if problems:
        raise UsageFault(problems, hint=f"the fields are {', '.join(known)}")
    return found
