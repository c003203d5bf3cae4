"""What only the whole set shows: copies, leaks, a wrong mapping, mixed formats, one-sided labels.

A `SetState` sees a chunk record by record (about a microsecond each), travels as plain data, and is merged in the order
of the input; `set_findings` then judges all data sets together. It keeps 32 bytes a kept record: the 64-bit digest of
its texts, its line, its number and where it begins in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.datasets.types import Fields
from registry.rules import Policy
from stages.core.collector import FindingCollector, Place
from stages.core.display import shown
from stages.core.findings import Note
from stages.curate.exact_duplicates import copies
from stages.formats.table import FORMATS

from .dataset_state import MOST_KEYS, SetState

_BIAS_PAIRS, _BIAS_SHARE = 50, 0.9
_LABELS, _LABEL_RATIO = 50, 10


@dataclass(frozen=True)
class SetView:
    """One data set for `set_findings`. declared: its map was given by the user, so that an absent key is reported."""

    name: str
    format_id: str
    fields: Fields
    state: SetState
    split: str = "train"
    declared: bool = False


class _Speaker:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.found = FindingCollector()

    def say(self, note: Note, path: str, line: int = -1, record: int = -1, offset: int = -1) -> None:
        self.found.note(note, Place(path, line, record, offset), self.policy)


def set_findings(views: Sequence[SetView], policy: Policy) -> FindingCollector:
    """Findings about the data sets as wholes, in the order of the sets; copies come last."""
    speaker = _Speaker(policy)
    for view in views:
        _about_one(view, speaker)
    _about_copies(views, speaker)
    return speaker.found


def _about_one(view: SetView, speaker: _Speaker) -> None:
    state = view.state
    path = str(state.files[0][0]) or view.name
    if not state.read:
        return
    for name, (other_path, line, record, count) in state.others.items():
        if count == state.read:
            text = f"all {count} records look like {name}, they are read as {view.format_id}"
            own = FORMATS[name].default_fields
            default = (own.messages or own.prompt) in state.keys  # with other keys the format alone reads nothing
            hint = f"--format {name}" if default or "hint" not in state.guess else state.guess["hint"]
            speaker.say(Note("set.wrong-format", "", text, "", hint), other_path)
            return
        text = f"{count} of {state.read} records look like {name}; the file is read as {view.format_id}"
        speaker.say(Note("set.mixed-formats", "", text), other_path, line, record)
    _about_mapping(view, path, speaker)
    if not state.kept and state.read > 1:
        hint = state.guess.get("hint", "")
        speaker.say(Note("set.all-rejected", "", f"all {state.read} records are rejected", "", hint), path)
    _about_balance(view, path, speaker)


def _about_mapping(view: SetView, path: str, speaker: _Speaker) -> None:
    state = view.state
    keys = ", ".join(shown(key, 30) for key in list(state.keys)[:10])
    hint = state.guess.get("hint", "")
    if state.read > 1:
        for (rule, at, key), count in sorted(state.places.items()):
            if count == state.read:
                what = f'"{key}"' if key else at or "the prompt"
                state_of = "missing" if rule in ("shape.missing-field", "answer.missing") else "empty"
                text = f"{what} is {state_of} in all {count} records: the mapping is wrong; the keys are {keys}"
                speaker.say(Note("mapping.empty-field", at, text, "", hint), path)
    if view.declared and state.kept and len(state.keys) < MOST_KEYS:
        optional = ("prompt", "query", "history", "system", "tools", "images", "videos", "audios")
        for name in optional:
            key = getattr(view.fields, name)
            if key is not None and key not in state.keys:
                text = f'`columns` maps {name} to "{shown(key, 40)}", which no record has; the keys are {keys}'
                speaker.say(Note("mapping.absent-field", "", text), path)


def _about_balance(view: SetView, path: str, speaker: _Speaker) -> None:
    bad, good = view.state.labels
    if bad + good > 1 and not (bad and good):
        text = f"all {bad + good} labels are {'true' if good else 'false'}"
        speaker.say(Note("kto.one-class", "", text), path)
    elif bad + good >= _LABELS and max(bad, good) > _LABEL_RATIO * min(bad, good):
        speaker.say(Note("kto.imbalance", "", f"{good} labels are true, {bad} are false"), path)
    pairs, chosen, rejected = view.state.pairs
    if pairs >= _BIAS_PAIRS and max(chosen, rejected) >= _BIAS_SHARE * pairs:
        which = "longer" if chosen > rejected else "shorter"
        share = max(chosen, rejected) / pairs
        text = f"the chosen answer is {which} than the rejected one in {share:.0%} of {pairs} pairs"
        speaker.say(Note("preference.length-bias", "", text), path)


def _about_copies(views: Sequence[SetView], speaker: _Speaker) -> None:
    borders = [0]
    for view in views:
        borders.append(borders[-1] + view.state.kept)

    def where(position: int) -> tuple[SetView, str, int, int, int]:
        index = next(index for index in range(len(views)) if position < borders[index + 1])
        return (views[index], *views[index].state.place(position - borders[index]))

    for again, first in copies([view.state.hashes() for view in views]):
        view, path, line, record, offset = where(again)
        first_view, first_path, first_line, first_record, _ = where(first)
        # a line that holds several records says too little
        several = first_record >= first_line or (path, line) == (first_path, first_line)
        here = f"record {first_record}" if several else f"line {first_line}"
        place = first_path if first_line < 0 else f"{first_path}:{first_line}"
        place += f" {here}" if several and first_line >= 0 else ""
        if view.split != first_view.split:
            rule, text = "set.split-leak", f"the same conversation is in the {first_view.split} data, {place}"
        elif path != first_path:
            rule, text = "set.duplicate-across", f"the same conversation as {place}"
        else:
            rule, text = "set.duplicate", f"the same conversation as {here}"
        speaker.say(Note(rule, "", text), path, line, record, offset)
