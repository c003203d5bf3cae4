"""A configuration file is read, or refused in one line, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import load_config
from pipeline.config.coerce import plain
from pipeline.config.yaml_file import FileProblem, Plain, parse_yaml, read_document
from registry.errors import UsageFault
from tests.support.configs import load, problems, write

# PyYAML's writer leaves these line ends unescaped, and no reader gives them back
_CHARS = st.characters(exclude_categories=("Cs",), exclude_characters="\x85\u2028\u2029\ufeff")
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(_CHARS, max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("abcdef_", min_size=1), _VALUES, min_size=1, max_size=5))
def test_what_another_program_writes_as_yaml_comes_back(values: dict[str, object]) -> None:
    text = yaml.safe_dump(values, allow_unicode=True)
    assert plain(read_document(text.encode()).values) == values


@given(st.binary(max_size=60))
def test_any_bytes_end_in_values_or_in_a_problem_of_one_line(data: bytes) -> None:
    lines: list[str] = []
    for is_json in (False, True):
        try:
            read_document(data, is_json=is_json)
        except FileProblem as problem:
            lines.append(str(problem))
    assert all("\n" not in line for line in lines)


def test_unquoted_text_is_kept_apart_from_quoted() -> None:
    values = parse_yaml("{a: no, b: 'no', c: \"1\", d: 1}")
    assert isinstance(values, dict)
    assert [isinstance(values[name], Plain) for name in "abcd"] == [True, False, False, True]


def test_a_huge_file_is_no_configuration() -> None:
    with pytest.raises(FileProblem, match="larger than"):
        read_document(b"#" * (5 << 20))


def test_a_key_that_stands_twice_is_an_error_with_both_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed: 1\nstage: sft\nseed: 2\n") == (
        'run.yaml:3: the key "seed" stands twice (also on line 1)',
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("seed: [1\nstage: sft\n", "run.yaml:2: is not YAML"),
        ("seed: 1\n\tstage: sft\n", "run.yaml:2: is not YAML"),
        ("- a\n- b\n", "run.yaml:1: must hold"),
        ("just words\n", "run.yaml:1: must hold"),
        ("", "run.yaml: is empty"),
        ("# only a comment\n", "run.yaml: is empty"),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: is not YAML"),
        ("seed: !!python/object/apply:os.system [ls]\n", "run.yaml:1: the tag"),
        ("seed: !!binary aGk=\n", "run.yaml:1: the tag"),
        ("run_name: a\x07b\n", "run.yaml:1: holds a character"),
        ("a: " + "[" * 200 + "\n", "run.yaml:1: is nested too deeply"),
    ],
)
def test_a_broken_file_is_reported_in_one_line(tmp_path: Path, text: str, where: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(where)
    assert "\n" not in problem


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "aliases" in problems(tmp_path, "\n".join(rows))[0]
    assert "aliases" in problems(tmp_path, "a: &a x\nb: [" + "*a, " * 200 + "]")[0]
    assert "contains itself" in problems(tmp_path, "rules: &a {b: *a}\n")[0]


def test_a_few_anchors_and_merges_are_fine(tmp_path: Path) -> None:
    config = load(tmp_path, "rules: &r {text.special-token: error}\nlr_scheduler_kwargs: {<<: *r, num_cycles: 2}\n")
    assert config.get("lr_scheduler_kwargs") == {"text.special-token": "error", "num_cycles": 2}


def test_bytes_that_are_no_text_and_missing_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"seed: 1\nrun_name: \xff\n")
    with pytest.raises(UsageFault, match=r"a\.yaml:2: is not UTF-8"):
        load_config(str(tmp_path / "a.yaml"), [])
    with pytest.raises(UsageFault, match="cannot be read: No such file"):
        load_config(str(tmp_path / "b.yaml"), [])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("\ufeffseed: 7\r\nstage: dpo\r\n".encode())
    config = load_config(str(tmp_path / "a.yaml"), [])
    assert (config.get("seed"), config.get("stage")) == (7, "dpo")


def test_json_files_are_read_too(tmp_path: Path) -> None:
    text = '{"seed": 3, "packing": false, "dataset": ["a", "b"], "eval_strategy": false, "run_name": null}'
    config = load_config(write(tmp_path, text, "run.json"), [])
    assert (config.get("seed"), config.pack.packing, config.data.dataset) == (3, False, ("a", "b"))
    assert config.get("eval_strategy") == "no"
    with pytest.raises(UsageFault, match=r'run\.json: the key "seed" stands twice'):
        load_config(write(tmp_path, '{"seed": 3, "seed": 4}', "run.json"), [])
    with pytest.raises(UsageFault, match=r"run\.json:2: is not JSON"):
        load_config(write(tmp_path, '{"seed": 3,\n}', "run.json"), [])


def test_a_json_number_that_python_does_not_read_is_a_problem_of_the_file() -> None:
    with pytest.raises(FileProblem, match="more than 4,300 digits"):
        read_document(b'{"seed": ' + b"9" * 5_000 + b"}", is_json=True)
    with pytest.raises(FileProblem, match="stands twice"):
        read_document(b'{"seed": 1, "seed": 2}', is_json=True)
