"""One entry of dataset_info.json made into a `Dataset`, with LLaMA-Factory's rules and without its silence.

The rules: hub keys beat `script_url`, that beats `cloud_file_name`, that beats `file_name`. Once `columns` is given,
every column it leaves out is unset; the same for `tags`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from registry.errors import UsageFault, did_you_mean
from registry.kinds import STAGES

from .info_file import COLUMNS, FORMATTINGS, HUB_KEYS, KEYS, OPENAI_TAGS, SHAREGPT_TAGS, TAGS, DatasetInfo, check_names
from .types import Dataset, Fields

_NUMBER = r"(?:(-?\d+(?:_\d+)*)(%)?)?"
_DIGITS_MOST = 18
_PART = re.compile(rf"train(?:\[{_NUMBER}:{_NUMBER}\])?")
_SPLIT_NAME = re.compile(r"(^|\+)[\w.-]+(?=\[|\+|$)")  # whether the files have it, is seen when they are looked for
_MARK = {  # which column tells a stage's data apart
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "openai": {"messages": "messages"},
}


def entry_to_dataset(name: str, entry: object, info: DatasetInfo, stage: str | None, problems: list[str]) -> Dataset:
    """The data set of one entry. Mistakes are appended to `problems`, and the result is then only good for showing.
    stage: None = do not check whether the data fits the stage."""
    at = f"{info.path}: {name}"
    if not isinstance(entry, dict):
        problems.append(f'{at}: must be an object such as {{"file_name": "train.json"}}')
        return Dataset(name, (), declared=True)
    notes: list[str] = []
    check_names(f"{at}:", entry, KEYS, problems, notes)
    formatting = _formatting(entry, at, problems)
    ranking = _ranking(entry, at, problems, notes)
    fields, written = _fields(entry, formatting, at, problems, notes)
    mapped = _Map(formatting, ranking, fields, written)
    files, hub = _source(entry, info, at, problems)
    split = entry.get("split") or "train"
    if not hub:
        try:
            split_parts(_SPLIT_NAME.sub(r"\1train", str(split).replace(" ", "")), 0)
        except UsageFault:
            what = "must be a split such as train or test, or parts of one: train[:100], train[:50%]+train[90%:]"
            problems.append(f"{at}: split {split}: {what}")
    if stage is not None:
        _check_stage(at, stage, ranking, fields, problems)
    _check_map(at, mapped, stage, problems, notes)
    return Dataset(
        name=name,
        files=files,
        format=_record_format(formatting, ranking, fields, stage),
        fields=fields,
        ranking=ranking,
        num_samples=_count(entry, at, problems),
        declared=True,
        hub=hub,
        subset=_text(entry, "subset", at, problems),
        split=str(split),
        folder=_text(entry, "folder", at, problems),
        license=_text(entry, "license", at, problems, ' such as "cc-by-4.0"'),
        notes=tuple(notes),
    )


def split_parts(split: str, records: int) -> list[tuple[int, int]]:
    """First record and the one after the last, of each part that `split` joins: `train`, `train[:100]`,
    `train[:50%]+train[90%:]`. As the datasets library reads them: percentages go to the nearest record, one `%` makes
    both ends percentages, an end outside the set is the set's. Raises UsageFault for any other split: local files have
    only `train`."""
    parts = []
    for text in split.replace(" ", "").split("+"):
        match = _PART.fullmatch(text)
        if match is None:
            what = "local files have only `train`, or parts of it such as train[:100] or train[:50%]+train[90%:]"
            raise UsageFault(f"split {split}: {what}")
        share = bool(match[2] or match[4])
        start, stop = (
            whole if at is None else _boundary(_end(at), records, share)
            for at, whole in ((match[1], 0), (match[3], records))
        )
        parts.append((start, max(start, stop)))
    return parts


def _end(digits: str) -> int:
    """A number of `split`; one of more digits than any set has records lies outside of it just the same."""
    far = 10**_DIGITS_MOST
    return int(digits) if len(digits) <= _DIGITS_MOST else -far if digits.startswith("-") else far


def _boundary(at: int, records: int, share: bool) -> int:
    if share:
        at = round(at * records / 100)
    return min(max(at + records if at < 0 else at, 0), records)


def _formatting(entry: Mapping[str, object], at: str, problems: list[str]) -> str:
    value = entry.get("formatting")
    if value is None:
        return "alpaca"
    if value not in FORMATTINGS:
        near = did_you_mean(str(value), FORMATTINGS)
        problems.append(f"{at}: formatting {value}: is not one of {', '.join(FORMATTINGS)}{near}")
        return "alpaca"
    return str(value)


def _ranking(entry: Mapping[str, object], at: str, problems: list[str], notes: list[str]) -> bool:
    value = entry.get("ranking")
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        notes.append(f'{at}: ranking is the text "{value}", read as {value.strip().lower()}')
        return value.strip().lower() == "true"
    problems.append(f"{at}: ranking must be true or false")
    return False


def _count(entry: Mapping[str, object], at: str, problems: list[str]) -> int | None:
    value = entry.get("num_samples")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**_DIGITS_MOST:
        problems.append(f"{at}: num_samples must be a whole number above 0")
        return None
    return value


def _text(entry: Mapping[str, object], key: str, at: str, problems: list[str], example: str = "") -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        problems.append(f"{at}: {key} must be a text{example}")
        return None
    return value


def _source(
    entry: Mapping[str, object], info: DatasetInfo, at: str, problems: list[str]
) -> tuple[tuple[str, ...], str | None]:
    """Files, or the hub id. A hub id wins over files, as in LLaMA-Factory."""
    for key in HUB_KEYS:
        if entry.get(key):
            if not isinstance(entry[key], str):
                problems.append(f"{at}: {key} must be a text")
            return (), f"{key.removesuffix('_hub_url')}:{entry[key]}"
    if entry.get("script_url"):
        problems.append(f"{at}: script_url would run the data set's own code, which is not done; name its files")
        return (), None
    for key in ("cloud_file_name", "file_name"):
        value = entry.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or not value:
            problems.append(f"{at}: {key} must be a text")
            return (), None
        return (value if "://" in value else os.path.normpath(os.path.join(info.folder, value)),), None
    problems.append(f"{at}: says nowhere where its records are; add file_name")
    return (), None


def _table(
    entry: Mapping[str, object], key: str, known: tuple[str, ...], at: str, problems: list[str], notes: list[str]
) -> dict[str, str | None] | None:
    """`columns` or `tags` as written, every known name in it; None when the entry has none (null counts as none)."""
    value = entry.get(key)
    if value is None:
        if key in entry:
            notes.append(f"{at}: {key} is null, and counts as left out")
        return None
    if not isinstance(value, dict):
        problems.append(f"{at}: {key} must be an object: our name -> your key")
        return None
    check_names(f"{at}: {key}", value, known, problems, notes)
    table: dict[str, str | None] = dict.fromkeys(known)
    for name in known:
        target = value.get(name)
        if target is None or isinstance(target, str):
            table[name] = target or None
            if target == "":
                notes.append(f"{at}: {key} {name} is empty, and counts as left out")
        else:
            problems.append(f"{at}: {key} {name}: must be the name of a key in the records")
    check_once(table, f"{at}: {key}", problems)
    return table


def check_once(table: Mapping[str, str | None], what: str, problems: list[str]) -> None:
    """One key of the records, or one word, cannot mean two things: which of them holds would be left to chance."""
    names: dict[str, list[str]] = {}
    for name, target in table.items():
        if target is not None:
            names.setdefault(target, []).append(name)
    for target, several in names.items():
        if len(several) > 1:
            listed = f"{', '.join(several[:-1])} and {several[-1]}"
            problems.append(f'{what} maps {listed} to one key, "{target}"; give each its own, or leave one out')


def _fields(
    entry: Mapping[str, object], formatting: str, at: str, problems: list[str], notes: list[str]
) -> tuple[Fields, bool]:
    """The map, and whether `columns` was written."""
    columns = _table(entry, "columns", COLUMNS, at, problems, notes)
    tags = _table(entry, "tags", TAGS, at, problems, notes)
    default_tags = OPENAI_TAGS if formatting == "openai" else SHAREGPT_TAGS
    if tags is not None and formatting != "alpaca":
        unset = [tag for tag in TAGS if tags[tag] is None]
        needed = [tag for tag in ("role_tag", "content_tag", "user_tag", "assistant_tag") if tag in unset]
        for tag in needed:
            problems.append(
                f"{at}: tags leaves out {tag}, which is then unset and makes every record invalid;"
                f' add "{tag}": "{default_tags[tag]}" or your own word'
            )
        if unset and not needed:
            notes.append(f"{at}: tags leaves these unset, so such turns are errors: {', '.join(unset)}")
    chosen_columns = columns if columns is not None else _MARK[formatting]
    chosen_tags = tags if tags is not None else default_tags
    return Fields(**chosen_columns, **chosen_tags), columns is not None


@dataclass(frozen=True)
class _Map:
    """Which keys of the records are what. written: whether `columns` was."""

    formatting: str
    ranking: bool
    fields: Fields
    written: bool


def _check_map(at: str, mapped: _Map, stage: str | None, problems: list[str], notes: list[str]) -> None:
    """Columns without which every record of the set would be empty or invalid."""
    formatting, ranking, fields = mapped.formatting, mapped.ranking, mapped.fields
    if not mapped.written and not ranking:
        return

    def need(column: str, example: str) -> None:
        if getattr(fields, column) is None:
            problems.append(
                f"{at}: columns names no {column}, so every record lacks it (what `columns` leaves out is unset);"
                f' add "{column}": "{example}" or your own key'
            )

    if formatting != "alpaca":
        need("messages", _MARK[formatting]["messages"])
    elif fields.prompt is None and fields.query is None:
        need("prompt", "instruction")
    elif fields.prompt is None:
        notes.append(f"{at}: columns names no prompt; the query alone is the prompt")
    if ranking:
        need("chosen", "chosen")
        need("rejected", "rejected")
    elif formatting == "alpaca" and fields.response is None and _records(stage) in ("sft", "kto"):
        need("response", "output")


def _check_stage(at: str, stage: str, ranking: bool, fields: Fields, problems: list[str]) -> None:
    """The set must hold what the stage trains on: pairs, labelled answers or single answers."""
    known = STAGES[stage]
    if known.pairs and not ranking:
        problems.append(
            f'{at}: stage {stage} compares two answers, and this data set does not say "ranking": true;'
            " add it if the records hold chosen and rejected, or choose another stage"
        )
    elif known.prompts_only and ranking:
        problems.append(
            f'{at}: has "ranking": true (pairs of answers), and stage {stage} takes prompts, with one answer at most;'
            " name a data set without ranking"
        )
    elif not known.pairs and ranking:
        problems.append(
            f'{at}: has "ranking": true (pairs of answers), and stage {stage} does not compare answers;'
            " use stage dpo, rm, orpo or simpo, or take ranking out"
        )
    elif known.labelled and fields.kto_tag is None:
        problems.append(f'{at}: stage {stage} needs a label; add "kto_tag": "<your key>" to columns')


def _record_format(formatting: str, ranking: bool, fields: Fields, stage: str | None) -> str:
    if ranking:
        return f"{formatting}-dpo"
    kind = _records(stage)
    if fields.kto_tag is not None and kind not in ("predict", "sft"):  # a labelled record is an error in sft
        return f"{formatting}-kto"
    others = (fields.query, fields.response, fields.history, fields.system, fields.tools)
    if formatting == "alpaca" and kind in ("pt", "") and fields.prompt and not any(others):
        return "pretrain"
    return formatting


def _records(stage: str | None) -> str:
    """The kind of records that a stage reads, "" when no stage is requested."""
    return STAGES[stage].records if stage is not None else ""
