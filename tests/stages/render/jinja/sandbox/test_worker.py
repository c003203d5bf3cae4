"""The child's side of the pipe: frames survive whole or are the end, and marks leave the text that was rendered."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.render.jinja.messages import FIRST_MARK
from stages.render.jinja.sandbox.worker import cut_marks, frame, read_frame


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_frames_come_out_as_they_went_in(parts: list[bytes]) -> None:
    pipe = io.BytesIO(b"".join(map(frame, parts)))
    assert [read_frame(pipe) for _ in parts] == parts
    assert read_frame(pipe) is None


@given(st.binary(max_size=40), st.data())
def test_a_frame_that_was_cut_is_the_end_and_not_a_shorter_frame(data: bytes, draw: st.DataObject) -> None:
    whole = frame(data)
    cut = draw.draw(st.integers(0, len(whole) - 1))
    assert read_frame(io.BytesIO(whole[:cut])) is None


@pytest.mark.parametrize("head", [b"zzzzzzzz", b"0x__0001"])
def test_a_head_that_is_no_number_is_an_error(head: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        read_frame(io.BytesIO(head + b"x" * 20))


plain_texts = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF))


@given(st.lists(st.tuples(st.integers(0, 500), plain_texts)), st.text("ab"))
def test_marks_are_found_where_they_stood_in_the_text_without_them(pairs: list[tuple[int, str]], tail: str) -> None:
    marked = "".join(chr(FIRST_MARK + number) + text for number, text in pairs) + tail
    plain, places = cut_marks(marked)
    assert plain == "".join(text for _, text in pairs) + tail
    at = 0
    for (number, text), place in zip(pairs, places, strict=True):
        assert place == (number, at)
        at += len(text)


def test_a_text_without_marks_is_untouched() -> None:
    assert cut_marks("ab\U0001f600c") == ("ab\U0001f600c", [])
