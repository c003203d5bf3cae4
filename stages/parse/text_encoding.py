"""Which encoding a text that is not UTF-8 is in: a hint for the user, never acted upon.

UTF-16 and UTF-32 are seen by their byte order mark or by where their NUL bytes stand. Among the eight-bit ones only two
are told apart, by the shape of the non-ASCII bytes: GB18030 writes common characters as two bytes of 0xA1-0xFE, the
first of them 0xA1-0xA3 (punctuation) or 0xB0-0xD7 (the 3,755 most used characters); Western text has single bytes
between letters.
"""

from __future__ import annotations

import re

_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32LE"),
    (b"\0\0\xfe\xff", "UTF-32BE"),
    (b"\xff\xfe", "UTF-16LE"),
    (b"\xfe\xff", "UTF-16BE"),
)
_HIGH = re.compile(rb"[\x80-\xff]+")
_BESIDE = re.compile(rb"[A-Za-z][\x80-\xfd]|[\x80-\xfd][A-Za-z]")


def wide_encoding(head: bytes) -> str:
    """UTF-16 or UTF-32, by mark or by NUL bytes, from the first bytes of a file; "" when it is neither."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    first = head[:4]
    if len(first) == 4 and first.count(0):
        patterns = {
            (1, 0, 1, 0): "UTF-16LE",
            (0, 1, 0, 1): "UTF-16BE",
            (1, 0, 0, 0): "UTF-32LE",
            (0, 0, 0, 1): "UTF-32BE",
        }
        return patterns.get(tuple(int(byte != 0) for byte in first), "")  # type: ignore[arg-type]  # four of them
    return ""


def guess_encoding(data: bytes) -> str:
    """GB18030 or WINDOWS-1252 when `data` has the shape of one, else "". Looks at 64 KiB at most."""
    runs = _HIGH.findall(data[: 1 << 16])
    pairs = common = odd = 0
    for run in runs:
        for at in range(0, len(run) - 1, 2):
            pairs += 1
            common += run[at + 1] >= 0xA1 and (0xA1 <= run[at] <= 0xA3 or 0xB0 <= run[at] <= 0xD7)
        odd += len(run) % 2
    if pairs > odd and common >= 0.8 * pairs:
        return "GB18030"
    if odd and all(len(run) <= 3 for run in runs) and _BESIDE.search(data):
        try:
            text = b"".join(runs).decode("cp1252")
        except UnicodeDecodeError:
            return ""
        if sum(char.isalpha() or char in "’‘“”–—…€°«»" for char in text) >= 0.8 * len(text):
            return "WINDOWS-1252"
    return ""
