"""Set-level checks: what only the whole set shows. Added to the findings once every chunk is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import DataFault
from stages.collector import Place
from stages.findings import Note, shown
from stages.setrules import SetState, SetView, set_findings

from .collect import Collected
from .plan import Plan

if TYPE_CHECKING:
    from .arrange import Arranged, Table

STOPS = ("mapping.empty-field", "set.wrong-format")  # a set that breaks these is not what it is read as


def check_set(plan: Plan, collected: Collected) -> None:
    """Adds the findings about whole data sets to what was collected."""
    views = []
    for number, source in enumerate(plan.sources):
        state = collected.setstates.get(number) or SetState(source.files[0], source.spec.format)
        spec = source.spec
        views.append(SetView(spec.name, spec.format, spec.fields, state, source.split, source.dataset.declared))
    found = set_findings(views, plan.policy)
    collected.found.merge(found.findings, found.counts)


HABITS = {
    "empty-thought": ("template.empty-thought", "get an empty thought"),
    "thought-stripped": ("template.thought-stripped", "lose reasoning"),
    "default-system": ("template.default-system", "get the template's own system prompt"),
}


def check_habits(plan: Plan, collected: Collected) -> None:
    """Adds, for each data set, what the template put in or took out, with the share of records; and what of the
    template the tokenizer lacks."""
    if plan.fitted is not None and plan.encode is not None and plan.fitted.missing_marks:
        marks = ", ".join(plan.fitted.missing_marks)
        count = len(plan.fitted.missing_marks)
        text = f"the tokenizer has no token for {count} marks of template {plan.encode.template}"
        note = Note("template.missing-marks", "", text, shown(marks))
        collected.found.note(note, Place(plan.encode.tokenizer), plan.policy)
    for number, seen in sorted(collected.seen.items()):
        source = plan.sources[number]
        # those that were rejected before are in neither number, those that the cut rejects in both
        rendered = seen["records"]
        for habit in sorted(HABITS.keys() & seen.keys()):
            rule, what = HABITS[habit]
            text = f"{seen[habit]} of {rendered} records ({100 * seen[habit] / rendered:.0f} %) {what}"
            path = source.files[0] if source.files else source.spec.name
            collected.found.note(Note(rule, "", text), Place(path), plan.policy)


def stop_on_mapping(collected: Collected) -> None:
    """Raises DataFault when a whole set is read with a wrong map: its rows would teach nothing of what is meant."""
    wrong = [found for found in collected.found.findings if found.rule in STOPS and found.severity == "error"]
    if wrong:
        raise DataFault(
            [f"{found.path}: {found.message} [{found.rule}]" for found in wrong],
            hint=next((found.hint for found in wrong if found.hint), "name the keys in dataset_info.json (`columns`)"),
        )


def check_split(plan: Plan, collected: Collected, table: Table, arranged: Arranged) -> None:
    """Adds a finding for each conversation that a split put on both sides, and one for a split that nothing uses."""
    import numpy as np

    from stages.mix import SPLIT_OFF

    config = plan.config
    value = config.mix.val_size
    given = any(source.split != "train" for source in plan.sources)
    if value <= SPLIT_OFF or "validation" not in arranged.splits or given:
        return
    train, validation = arranged.splits["train"], arranged.splits["validation"]
    if config.train.eval_strategy == "no" and not config.train.do_eval:
        text = f"{len(validation)} examples are split off, and eval_strategy is no"
        collected.found.note(Note("set.unused-split", "", text), Place(plan.sources[0].files[0]), plan.policy)
    both = np.isin(table.hash[validation], table.hash[train])
    for example in validation[both].tolist():
        note = Note("set.split-leak", "", "the same conversation stands in train and in validation")
        item = collected.files[int(table.file[example])]
        place = Place(item.path, int(table.line[example]), int(table.record[example]))
        collected.found.note(note, place, plan.policy)
