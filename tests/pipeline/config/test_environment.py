"""`${NAME}` in a configuration: where it is expanded, what stands in for it, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.environment import expand
from pipeline.config.yaml_file import Plain
from tests.support.configs import load, problems


def test_variables_are_replaced_before_the_type_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "seed: ${SEED}\ndataset: ${A},b\nrules: {text.special-token: '${LEVEL:-off}'}\n"
        "output_dir: out/${A}-${SEED:-1}\n",
        SEED="42",
        A="x",
    )
    assert (config.get("seed"), config.data.dataset) == (42, ("x", "b"))
    assert config.get("rules") == {"text.special-token": "off"}
    assert config.get("output_dir") == "out/x-42"


def test_a_default_stands_in_for_an_unset_or_empty_variable_and_may_hold_another(tmp_path: Path) -> None:
    config = load(tmp_path, "seed: ${A:-${B:-5}}\nrun_name: ${EMPTY:-name}\n", EMPTY="")
    assert (config.get("seed"), config.get("run_name")) == (5, "name")


def test_every_unset_variable_is_named_with_its_key(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed: ${SEED}\noutput_dir: a/${SEED}/${NAME}\n") == (
        "run.yaml:1 seed: the environment variable SEED is not set",
        "run.yaml:2 output_dir: the environment variable SEED is not set",
        "run.yaml:2 output_dir: the environment variable NAME is not set",
    )


def test_a_setting_on_the_command_line_needs_no_variable_of_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "seed: ${SEED}\n", "seed=9").get("seed") == 9


def test_a_variable_is_taken_as_it_is_and_a_dollar_can_be_escaped(tmp_path: Path) -> None:
    config = load(tmp_path, "run_name: ${A}\ndefault_system: 'Use $${name}, not $5.'\n", A="${B}")
    assert config.get("run_name") == "${B}"
    assert config.get("default_system") == "Use ${name}, not $5."


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${a.b}", "${oc.env:SEED}", "${A:+x}"])
def test_a_reference_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    assert "run_name: " in problems(tmp_path, f"run_name: '{text}'\n", A="x")[0]


def test_lists_and_tables_are_expanded_inside_and_unquoted_text_stays_so() -> None:
    wrong: list[str] = []
    found = expand({"a": [Plain("${N}"), "${N}"], "b": 5}, {"N": "3"}, wrong)
    assert found == {"a": ["3", "3"], "b": 5}
    assert isinstance(found, dict) and [isinstance(item, Plain) for item in found["a"]] == [True, False]
    assert not wrong


@given(st.text("${}:-AB ", max_size=16))
def test_text_comes_back_as_it_is_meant_or_with_a_problem(text: str) -> None:
    """Without a reference nothing changes; whatever is written, expanding ends and raises nothing."""
    wrong: list[str] = []
    found = expand(text, {"A": "a"}, wrong)
    assert isinstance(found, str)
    if "${" not in text:
        assert (found, wrong) == (text, [])
    elif "$${" not in text and "${" in found:
        assert wrong, "a reference that is left was reported"


def test_defaults_within_defaults_end_somewhere(tmp_path: Path) -> None:
    deep = "${A:-" * 20 + "x" + "}" * 20
    assert load(tmp_path, f"run_name: '{deep}'\n").get("run_name") == "x"
    found = problems(tmp_path, "run_name: '" + "${A:-" * 5_000 + "}" * 5_000 + "'\n")
    assert "holds more than 50 others" in found[0]
