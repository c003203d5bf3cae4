"""Whatever a policy allows, a record that is excluded has an error that gives the reason."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.jobs.check import Checker, check_records
from pipeline.jobs.specs import BatchSpec, SourceSpec, Task
from registry.rules import Policy, rules
from registry.templates import load_template
from stages.core.collector import Tally
from stages.core.findings import Note
from stages.core.records import Chunk, Record
from stages.formats.table import FORMATS
from stages.readers.scan import scan
from stages.render.slot_renderer import Renderer, RenderOptions
from stages.tokenize.fitted import fit
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support import fixture_cases as cases

FIXTURES = Path(__file__).parents[3] / "fixtures"
OFF = {rule.id: "off" for rule in rules().values() if not rule.fixed}
KINDS = {"sft": "lm", "pref": "pref", "kto": "unpaired", "pt": "pt"}
# templates whose tool formats refuse different things
TEMPLATES = (("qwen3", None), ("glm4", None), ("phi4_mini", None), ("gemma4", None), ("chatml", "lfm2"))


FILES = [path for kind in ("valid", "invalid") for path in cases.files(FIXTURES, kind)]
ALL = [*FILES, *sorted((FIXTURES / "configured" / "invalid").glob("tools.*.jsonl"))]


@functools.cache
def renderer(name: str, tool_format: str | None, kind: str) -> Renderer:
    template = load_template(name)
    made = fit(load_tokenizer_files(str(FIXTURES / "tiny")), template)
    return Renderer(template, RenderOptions(kind=kind, tool_format=tool_format), made.ids)


@pytest.mark.parametrize("path", ALL, ids=[f"{path.parts[-3]}/{path.name}" for path in ALL])
def test_no_record_is_excluded_without_an_error(path: Path) -> None:
    """Also where every rule that can be turned off is: the counts of rejected records and of errors agree."""
    expect = json.loads(cases.beside(path).read_text(encoding="utf-8")) if cases.beside(path).exists() else {}
    family = path.parent.parent.name
    if family == "configured":
        family = "openai" if '"messages"' in path.read_text(encoding="utf-8") else "sharegpt"
    form = FORMATS[expect.get("format", family)]
    stage = expect.get("stage", cases.STAGES[form.kind])
    source = SourceSpec("x", form.id, cases._fields(expect, form.default_fields))
    for severities in ({}, OFF):
        every_reject_has_an_error(path, source, Policy.make(stage, severities), form.kind)


def every_reject_has_an_error(path: Path, source: SourceSpec, policy: Policy, kind: str) -> None:
    checker = Checker(BatchSpec((source,), policy.stage, policy))
    for item in scan(str(path), checker.spec.limits):
        if not isinstance(item, Chunk):
            continue
        for name, tool_format in TEMPLATES:
            render = renderer(name, tool_format, KINDS[kind]).render
            tally, kept, _ = check_records(checker, Task(0, str(path), item), item, render)
            assert tally.read == len(kept) + sum(tally.rejected.values())
            for reject in tally.rejects:
                errors = [finding for finding in reject.findings if finding.severity == "error"]
                assert errors, reject
                assert reject.rule == errors[0].rule


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


def _fields_of(record: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Every place of a record: what holds it, and its key or index."""
    places: list[tuple[Any, Any]] = []
    stack: list[Any] = [record]
    for node in stack:
        if isinstance(node, (dict, list)):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            places += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    return places


GOOD = [path for path in FILES if path.parent.name == "valid" and path.suffix == ".jsonl" and path.parts[-3] in FORMATS]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), severities=st.sampled_from([{}, OFF]))
def test_a_record_with_anything_in_any_place_is_kept_or_has_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, severities: dict[str, str]
) -> None:
    """One or two values of a good record are put in the place of others, or anything is put there."""
    good = data.draw(st.sampled_from(GOOD))
    record = json.loads(data.draw(st.sampled_from(good.read_text(encoding="utf-8").splitlines())))
    for _ in range(data.draw(st.integers(1, 2))):
        places = _fields_of(record)
        holder, key = data.draw(st.sampled_from(places))
        other, there = data.draw(st.sampled_from(places))
        holder[key] = data.draw(values | st.just(json.loads(json.dumps(other[there]))))
    path = tmp_path_factory.mktemp("odd") / "odd.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    form = FORMATS[good.parts[-3]]
    source = SourceSpec("x", form.id, form.default_fields)
    every_reject_has_an_error(path, source, Policy.make(cases.STAGES[form.kind], severities), form.kind)


def test_a_note_that_stops_the_checks_is_an_error_even_where_its_rule_is_off() -> None:
    """As `pretrain.empty-text`, which may be lowered: for a null there is still nothing to train."""
    record = Record(b'{"text": null}', 1, 0, 0)
    tally = Tally("x.jsonl", Policy.make("pt", OFF))
    assert tally.judge(record, [Note("bytes.crlf", "", ""), Note("pretrain.empty-text", "/text", "")], must_reject=True)
    assert dict(tally.counts) == {("pretrain.empty-text", "error"): 1}
    assert [finding.rule for finding in tally.rejects[0].findings] == ["pretrain.empty-text"]
    assert tally.judge(record, [], must_reject=True)
    assert tally.rejects[1].findings[0].severity == "error"
    assert not tally.judge(record, [Note("pretrain.empty-text", "/text", "")])
