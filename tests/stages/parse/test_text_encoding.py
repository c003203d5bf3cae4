"""An encoding is named only where the bytes have its shape; UTF-8 is never taken for another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.parse.text_encoding import guess_encoding, wide_encoding

WIDE = {"UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be", "UTF-32LE": "utf-32-le", "UTF-32BE": "utf-32-be"}


@pytest.mark.parametrize(("name", "codec"), WIDE.items())
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_wide_encoding_is_seen_with_and_without_its_mark(name: str, codec: str, mark: str) -> None:
    assert wide_encoding(f'{mark}{{"a": 1}}'.encode(codec)) == name


@pytest.mark.parametrize("head", [b"", b"{", b"\0", b"\0\0\0\0", b'{"a": 1}', b"{\0\0{", b"\xef\xbb\xbf{"])
def test_other_bytes_are_no_wide_encoding(head: bytes) -> None:
    assert wide_encoding(head) == ""


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("你好，世界。今天天气很好", "gb18030", "GB18030"),
        ('{"问题": "为什么"}', "gb18030", "GB18030"),
        ("un café très chaud", "cp1252", "WINDOWS-1252"),
        ("l’été – déjà vu…", "cp1252", "WINDOWS-1252"),
        ("こんにちは世界", "shift_jis", ""),
        ("plain", "ascii", ""),
    ],
)
def test_only_the_two_encodings_that_can_be_told_apart_are_named(text: str, codec: str, name: str) -> None:
    assert guess_encoding(text.encode(codec)) == name


@given(st.binary(max_size=60))
def test_a_guess_is_one_of_two_or_none(data: bytes) -> None:
    assert guess_encoding(data) in ("", "GB18030", "WINDOWS-1252")
    assert wide_encoding(data) in ("", *WIDE)


def test_no_more_than_64_kib_are_looked_at() -> None:
    assert guess_encoding(b" " * (1 << 16) + "你好".encode("gb18030")) == ""
