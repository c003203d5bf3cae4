"""Faults: whose they are."""

from __future__ import annotations

import errno

import pytest

from registry.errors import MachineFault, UsageFault, near_file, unreadable


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, UsageFault), (errno.EISDIR, UsageFault), (errno.ENOTDIR, UsageFault),
        (errno.EACCES, MachineFault), (errno.EPERM, MachineFault), (errno.EIO, MachineFault),
        (errno.EMFILE, MachineFault), (errno.ESTALE, MachineFault),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_the_users_mistake_only_when_it_was_named_wrongly(
    number: int, kind: type[Exception]
) -> None:
    fault = unreadable(OSError(number, "as the library puts it", "path"), "a.yaml")
    assert type(fault) is kind
    assert fault.problems[0].startswith("a.yaml: cannot be read: ")


@pytest.mark.parametrize(
    ("name", "beside", "guess"),
    [
        ("chat.jsonl", ["chats.jsonl", "c.jsonl"], "chats.jsonl"), ("chats.json", ["chats.jsonl"], "chats.jsonl"),
        ("chats.jsonl", ["chats.json", "chats.jsonl.gz"], "chats.json"), ("stf.yaml", ["sft.yaml"], "sft.yaml"),
        ("Chats.jsonl", ["chats.jsonl"], "chats.jsonl"), (".chat.jsonl", [".chats.jsonl"], ".chats.jsonl"),
        ("nosuch.jsonl", ["c.jsonl", "sg.jsonl"], ""), ("b.jsonl", ["a.jsonl"], ""), ("in.jsonl", ["an.jsonl"], ""),
        ("", ["a.jsonl"], ""), ("a.jsonl", [], ""),
    ],
)  # fmt: skip
def test_the_name_of_a_file_is_guessed_by_what_is_its_own(name: str, beside: list[str], guess: str) -> None:
    """An ending that all files share makes no two names alike."""
    assert near_file(name, beside) == (f'; did you mean "{guess}"?' if guess else "")
