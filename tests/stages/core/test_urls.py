"""URLs are told from paths, and shown without what must stay secret."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.urls import is_url, local_path, named, public


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ("https://host/a", True),
        ("s3://bucket/a", True),
        ("zip://a.json::s3://bucket/b.zip", True),
        ("simplecache::https://host/a", True),
        ("dir/a.jsonl", False),
        ("C:/data/a.jsonl", False),
        ("a:b.jsonl", False),
        ("-x://a", False),
        ("", False),
    ],
)
def test_a_url_is_told_from_a_path(spec: str, url: bool) -> None:
    assert is_url(spec) is url


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://user:secret@host/a.jsonl?X-Amz-Signature=secret", "https://host/a.jsonl"),
        ("http://secret@host:80/a", "http://host:80/a"),
        ("s3://key:secret@bucket/a?b", "s3://bucket/a?b"),
        ("memory://d/a\x1b[31m", "memory://d/a\\x1b[31m"),
        ("dir/a@b?c.jsonl", "dir/a@b?c.jsonl"),
        ("https://host/a?x\nsecret", "https://host/a"),
    ],
)
def test_no_credential_is_shown(url: str, seen: str) -> None:
    assert public(url) == seen


@given(st.text(alphabet="ab@:/?#", max_size=12), st.sampled_from(["https", "http", "s3", "gs"]))
def test_no_user_and_no_password_is_left_in_any_url(rest: str, protocol: str) -> None:
    assert "secret" not in named(f"{protocol}://user:secret@host/{rest}")


def test_a_path_keeps_its_line_breaks_and_a_byte_that_is_no_character_its_name() -> None:
    assert named("a\nb") == "a\nb"
    assert named(os.fsdecode(b"\xffx")) == "\\udcffx"
    named(os.fsdecode(b"\xffx")).encode()


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("file:///a/b.jsonl", "/a/b.jsonl"),
        ("FILE://a.jsonl", "a.jsonl"),
        ("zip://x::file:///a.zip", None),
        ("file:///a.zip::x", None),
        ("https://host/a", None),
        ("/a/b.jsonl", None),
    ],
)
def test_only_a_file_url_holds_a_local_path(spec: str, path: str | None) -> None:
    assert local_path(spec) == path
