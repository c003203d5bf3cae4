"""One value of a configuration: every way of writing it is the same value, and what is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.coerce import plain, read_as, unusable
from pipeline.config.yaml_file import Plain
from tests.support.configs import load, problems


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", '"1e-4"', "0.0001", ".0001"])
def test_a_learning_rate_is_a_number_however_it_is_written(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"learning_rate: {text}\n").get("learning_rate") == 1e-4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(word, True) for word in ("yes", "on", "True", '"true"', "1")],
        *[(word, False) for word in ("no", "off", '"false"', "0")],
    ],
)
def test_a_switch_takes_every_usual_word_also_in_quotes(tmp_path: Path, text: str, expected: bool) -> None:
    assert load(tmp_path, f"enable_thinking: {text}\n").get("enable_thinking") is expected


def test_no_is_a_word_where_a_word_is_meant(tmp_path: Path) -> None:
    config = load(tmp_path, "eval_strategy: no\nsave_strategy: no\nrun_name: on\n")
    assert (config.get("eval_strategy"), config.get("save_strategy"), config.get("run_name")) == ("no", "no", "on")


def test_a_date_stays_text(tmp_path: Path) -> None:
    assert load(tmp_path, "template_date: 2024-01-02\n").encode.template_date == "2024-01-02"


@pytest.mark.parametrize("text", ["a,b", "a, b ", "[a, b]", "\n- a\n- b"])
def test_a_list_is_a_comma_list_or_a_yaml_list(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"dataset: {text}\n").data.dataset == ("a", "b")


@pytest.mark.parametrize("text", ["0.5,0.3,0.2", "[0.5, 0.3, 0.2]"])
def test_interleave_probs_are_numbers(tmp_path: Path, text: str) -> None:
    yaml = f"interleave_probs: {text}\nmix_strategy: interleave_under\ndataset: a,b,c\n"
    assert load(tmp_path, yaml).get("interleave_probs") == [0.5, 0.3, 0.2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5%", 0.05), ("0.05", 0.05), ("5", 5), ("0", 0), ("1", 1), ("1.0", 1.0), ("0.5%", 0.005)],
)
def test_the_rejection_budget_is_a_count_a_share_or_a_percentage(tmp_path: Path, text: str, expected: float) -> None:
    value = load(tmp_path, f"max_rejected: {text}\n").get("max_rejected")
    assert value == pytest.approx(expected)
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("512MiB", 512 << 20), ("1000000", 10**6), ("2g", 2 * 10**9)]
)
def test_a_memory_limit_is_a_size(tmp_path: Path, text: str, size: int) -> None:
    assert load(tmp_path, f"memory_limit: {text}\n").run.memory_limit == size


def test_a_deepspeed_configuration_may_stand_in_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "deepspeed:\n  zero_optimization:\n    stage: 2\n  bf16: {enabled: auto}\n")
    assert config.get("deepspeed") == {"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "[1]", "{a: 1}", "true"])
def test_what_is_no_finite_number_is_refused(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, f"learning_rate: {text}\n")) == 1


@given(st.integers(-(10**15), 10**15))
def test_a_whole_number_is_one_however_it_is_written(number: int) -> None:
    assert read_as("int", number) == read_as("int", str(number)) == read_as("int", f" {number} ") == number
    assert read_as("int", float(number)) == number


@given(st.none() | st.booleans() | st.floats() | st.text(max_size=12) | st.lists(st.integers(), max_size=2))
@pytest.mark.parametrize("kind", ["bool", "int", "float", "str", "list", "floats", "dict", "bytes", "share"])
def test_any_value_is_read_or_refused_in_a_few_words(kind: str, value: object) -> None:
    problem = ""
    try:
        read_as(kind, value)
    except ValueError as error:
        problem = str(error)
    assert len(problem) < 250


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("bool", "maybe", "neither true nor false"),
        ("int", "1.5", "not a whole number"),
        ("int", True, "not a whole number"),
        ("bytes", "4 apples", "not a size"),
        ("share", "150%", "neither a count, a share"),
        ("share", "-1", "neither a count, a share"),
        ("dict", "a", "not a table"),
        ("dict", "{a: [", "cannot be read"),
        ("str", ["a"], "not a text"),
    ],
)
def test_what_no_type_reads_is_shown_with_the_reason(kind: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_as(kind, value)


def test_a_long_value_is_shown_cut() -> None:
    with pytest.raises(ValueError, match=r'^"x{50,60}… is neither true nor false$'):
        read_as("bool", "x" * 500)


def test_quoted_text_stays_text_and_unquoted_is_what_it_stands_for() -> None:
    assert plain([Plain("1"), "1", Plain("~"), Plain("True"), Plain("1e3"), Plain("v1")]) == [
        1, "1", None, True, 1000.0, "v1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int", "9" * 30), ("int", "1e30"), ("int", "9" * 5_000), ("bytes", "9" * 400 + "GB"),
        ("bytes", "9999999999GB"), ("share", "9" * 30), ("dict", "{a: " + "9" * 30 + "}"),
        ("dict", "{a: {b: " + "9" * 5_000 + "}}"),
    ],
)  # fmt: skip
def test_a_number_beyond_64_bits_is_none(kind: str, text: str) -> None:
    """No file that prep writes, and no tensor, holds one."""
    with pytest.raises(ValueError, match=r"."):
        read_as(kind, text)
    assert read_as("int", str(2**63 - 1)) == 2**63 - 1


@pytest.mark.parametrize(
    ("value", "wrong"),
    [("a", False), ("\ud800", True), ("a\0", True), ({"a": ["\ud800"]}, True), ({"\0": 1}, True)],
)
def test_characters_that_no_file_holds_are_named(value: object, wrong: bool) -> None:
    assert bool(unusable(value)) is wrong


def test_a_file_may_have_a_name_that_is_no_utf_8_and_a_prompt_a_nul() -> None:
    assert not unusable("\udcff", as_name=True)
    assert unusable("\ud800", as_name=True)
    assert not unusable("\0", as_text=True)
