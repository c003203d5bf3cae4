"""Faults: whose they are."""

from __future__ import annotations

import errno

import pytest

from registry.errors import MachineFault, UsageFault, unreadable


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
