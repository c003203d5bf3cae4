"""A configuration file is read, or refused in one line, whatever it holds."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.keys import plain
from pipeline.config.yaml_file import FileProblem, Plain, parse_yaml, read_document

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


def test_unquoted_text_is_told_apart_from_quoted() -> None:
    values = parse_yaml("{a: no, b: 'no', c: \"1\", d: 1}")
    assert isinstance(values, dict)
    assert [isinstance(values[name], Plain) for name in "abcd"] == [True, False, False, True]


def test_a_huge_file_is_no_configuration() -> None:
    with pytest.raises(FileProblem, match="larger than"):
        read_document(b"#" * (5 << 20))
