"""Data sets of a configuration: their files, the format that their records show, and everything that is wrong with
them in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.plan.sources import detect_format, format_remarks, likely_format, raise_together, resolve_sources
from registry.errors import DataFault, UsageFault
from stages.core.records import Limits
from stages.formats.detect import Detection
from tests.support.plans import write_records

ALPACA = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
LIMITS = Limits()


def sources(*words: str, lenient: bool = False, stage: str = "sft") -> tuple[list[Any], list[str]]:
    return resolve_sources(load_config(None, list(words)), stage, LIMITS, lenient=lenient)


def test_training_and_evaluation_sets_keep_their_order_and_their_split(tmp_path: Path) -> None:
    paths = [write_records(tmp_path / f"{name}.jsonl", ALPACA) for name in "abc"]
    words = (f"dataset={paths[0]},{paths[1]}", f"eval_dataset={paths[2]}")
    found, notes = sources(*words)
    assert [(source.dataset.name, source.split) for source in found] == [
        ("a", "train"), ("b", "train"), ("c", "validation"),
    ]  # fmt: skip
    assert len(notes) == 1, "three sets that agree are one remark"
    assert sources(*words, "eval_on_each_dataset=true")[0][2].split == "validation_c"


def test_a_format_that_is_given_is_not_guessed(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", ALPACA)
    (guessed,), notes = sources(f"dataset={path}")
    assert (guessed.spec.format, guessed.detection.format, len(notes)) == ("alpaca", "alpaca", 1)
    (given,), notes = sources(f"dataset={path}", "format=openai")
    assert (given.spec.format, given.detection, notes) == ("openai", None, [])


def test_all_data_sets_that_are_missing_or_mixed_are_named_at_once(tmp_path: Path) -> None:
    mixed = write_records(tmp_path / "mixed.jsonl", ALPACA, CHAT)
    strange = write_records(tmp_path / "strange.jsonl", {"x": 1})
    with pytest.raises(DataFault) as caught:
        sources(f"dataset={mixed},{strange}")
    first, second = caught.value.problems
    assert f"alpaca (first at {mixed}:1), openai (first at {mixed}:2)" in first
    assert str(strange) in second
    found, _ = sources(f"dataset={mixed},{strange}", lenient=True)
    assert [source.spec.format for source in found] == ["alpaca", "alpaca"], "what is wrong is reported of each record"


def test_a_run_without_data_sets_is_refused() -> None:
    with pytest.raises(UsageFault, match="dataset: not given"):
        sources()


def test_mistakes_in_the_command_go_before_those_in_the_data() -> None:
    raise_together([])
    faults = [DataFault("data", hint="look"), UsageFault("first", hint="type this"), UsageFault(["first", "second"])]
    with pytest.raises(UsageFault) as caught:
        raise_together(faults)
    assert (caught.value.problems, caught.value.hint) == (("first", "second"), "type this")
    with pytest.raises(DataFault):
        raise_together(faults[:1])


def test_sets_that_agree_are_named_in_one_line_and_many_are_counted() -> None:
    sure = Detection("alpaca", None, "", why="by its keys", unanimous=True)
    unsure = Detection("openai", None, "two of three say so")
    found = [([f"{n}.jsonl"], sure) for n in range(5)] + [(["x.jsonl"], unsure), (["y.jsonl"], None)]
    assert format_remarks(found) == [
        "0.jsonl, 1.jsonl, 2.jsonl and 2 more: alpaca: by its keys",
        "x.jsonl: two of three say so",
    ]


def test_the_format_of_most_records_is_the_likely_one() -> None:
    assert likely_format(Detection(None, None, "", counts={"openai": 2, "alpaca": 7})) == "alpaca"
    assert likely_format(Detection(None, None, "")) == "alpaca"


def test_records_that_cannot_be_read_do_not_hide_the_format(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", CHAT)
    path.write_bytes(b"{\n" + path.read_bytes())
    assert detect_format([str(path)], LIMITS).format == "openai"
    path.write_bytes(b"{\n[\n")
    found = detect_format([str(path)], LIMITS)
    assert found.format is None
    assert f"none of the first 2 records can be read: see `prep validate {path}`" in found.reason
