"""The words of `prep convert`: every spelling of the formats, and where a column map comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runs.convert.words import Sources, field_changes, find_sources, read_words, take_settings
from registry.errors import DataFault, UsageFault
from stages.core.records import Limits
from stages.formats.table import FORMATS
from tests.support.conversions import CHAT, write

NAMES = st.sampled_from(sorted(FORMATS))


@given(NAMES, NAMES, st.sampled_from(["→", "->", "=>", ":", " → "]))
def test_every_spelling_of_a_pair_is_read(source: str, target: str, arrow: str) -> None:
    """In one word or by options; the source may be left to be found out."""
    pair = read_words([f"{source}{arrow}{target}", "in.jsonl"], None, None)
    assert pair == read_words(["in.jsonl"], source, target)
    assert (pair.from_id, pair.to_id, pair.inputs) == (source, target, ("in.jsonl",))
    found_out = [read_words([f"{word}{arrow}{target}", "in.jsonl"], None, None).from_id for word in ("", "auto")]
    assert found_out == ["", ""]


@pytest.mark.parametrize(
    ("words", "from_id", "to_id", "problem"),
    [
        (["sharegpt-", "a"], None, None, "the shell took"),
        (["sharegpt→alpaca", "a"], None, "openai", "given twice"),
        (["sharegpt→alpaca", "a"], "openai", None, "given twice"),
        (["sharegpt→alpca", "a"], None, None, 'did you mean "alpaca"'),
        (["a.jsonl"], None, None, "which format should it become"),
        ([], None, None, "nothing says what to convert"),
        (["sharegpt→alpaca"], None, None, "no input"),
    ],
)
def test_what_cannot_be_meant_is_said(words: list[str], from_id: str | None, to_id: str | None, problem: str) -> None:
    with pytest.raises(UsageFault, match=problem):
        read_words(words, from_id, to_id)


def test_a_file_whose_name_looks_like_a_pair_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sharegpt:alpaca").write_text("")
    assert read_words(["sharegpt:alpaca"], None, "openai").inputs == ("sharegpt:alpaca",)


def test_settings_of_the_engine_are_no_inputs() -> None:
    """Everything else with a sign of equality is left among the words, so that it is refused as what it is."""
    words = ["a=b.jsonl", "memory-limit=2GB", "engine=inline", "cutoff_len=5"]
    assert take_settings(words) == (["a=b.jsonl", "cutoff_len=5"], {"memory_limit": "2GB", "engine": "inline"})


def test_all_mistakes_of_a_map_are_named_at_once() -> None:
    assert field_changes(["response=a, prompt=b", "query=c=d"], "--columns") == {
        "response": "a", "prompt": "b", "query": "c=d",
    }  # fmt: skip
    with pytest.raises(UsageFault) as caught:
        field_changes(["respons=a,query", "prompt="], "--columns")
    assert len(caught.value.problems) == 3
    assert 'did you mean "response"' in caught.value.problems[0]


# --- sources ----------------------------------------------------------------------------------------------------------

MAPPED = {"dialog": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}
ENTRY = {"formatting": "sharegpt", "columns": {"messages": "dialog"}}


def sources(folder: Path, *inputs: str, from_id: str = "", **changes: str) -> Sources:
    words = read_words([str(folder / name) if "." in name else name for name in inputs], from_id or None, "openai")
    return find_sources(words, str(folder), Limits(), changes)


def describe(folder: Path, **entries: dict[str, object]) -> None:
    (folder / "dataset_info.json").write_text(json.dumps(entries))


def test_the_format_is_found_out_and_said(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [CHAT])
    found = sources(tmp_path, "a.jsonl")
    assert (found.format, found.tables) == ("sharegpt", ())
    assert "read as sharegpt" in found.remarks[0]


@pytest.mark.parametrize("name", ["a.jsonl", "mine"])
def test_a_map_beside_the_input_is_taken(name: str, tmp_path: Path) -> None:
    """By the file or by the data set's name; the table is named, so that nothing is written over it."""
    write(tmp_path / "a.jsonl", [MAPPED])
    describe(tmp_path, mine={"file_name": "a.jsonl", **ENTRY})
    found = sources(tmp_path, name, role_tag="who")
    assert (found.fields.messages, found.fields.role_tag) == ("dialog", "who")
    assert found.tables == (str(tmp_path / "dataset_info.json"),)
    assert "dataset_info.json" in found.remarks[0]


def test_two_maps_that_differ_are_none(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [CHAT])
    describe(tmp_path, one={"file_name": "a.jsonl", **ENTRY}, two={"file_name": "a.jsonl", "formatting": "sharegpt"})
    assert "read as sharegpt" in sources(tmp_path, "a.jsonl").remarks[0]


def test_a_named_format_wins_and_doubt_is_said(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [CHAT])
    found = sources(tmp_path, "a.jsonl", from_id="alpaca")
    assert found.format == "alpaca"
    assert "look like sharegpt" in found.remarks[0]


def test_what_a_data_set_would_sample_is_converted_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [MAPPED])
    describe(tmp_path, mine={"file_name": "a.jsonl", "num_samples": 1, **ENTRY})
    assert any("are not applied" in remark for remark in sources(tmp_path, "mine").remarks)


@pytest.mark.parametrize("records", [[CHAT, {"instruction": "a", "output": "b"}], [{"x": 1}]])
def test_formats_that_are_mixed_or_unknown_are_the_datas_fault(records: list[object], tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", records)
    with pytest.raises((DataFault, UsageFault), match=r"a\.jsonl"):
        sources(tmp_path, "a.jsonl")
