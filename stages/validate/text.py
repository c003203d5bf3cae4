"""What a text can hold that no reader sees: control and invisible characters, broken encodings, special tokens.

Most records are clean, so the check is built for them: all texts of a record are joined and encoded once, one
`bytes.translate` (2 GB/s) leaves only bytes that could start something suspicious, and only if there are some does an
expression look at the text. It runs in jsonschema-rs, as a schema's `pattern`: its engine reads these classes ten times
as fast as Python's `re`. Notes are made text by text, with `re`, only when something was found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import jsonschema_rs

from stages.core.display import clean, shown
from stages.core.findings import Note

Test = Callable[[str], bool]

_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_BIDI = "\u202a-\u202e\u2066-\u2069"
_INVISIBLE = "\xad\u180e\u200b\u2060-\u2064\ufeff\U000e0001\U000e0020-\U000e007f"
_PRIVATE = "\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_SUSPECT = re.compile(f"[{_CONTROL}{_BIDI}{_INVISIBLE}{_PRIVATE}\ufffd]")

# letters that UTF-8 lead bytes turn into, followed by what continuation bytes turn into (Latin-1 and Windows-1252)
_TAIL = (
    "\x80-\xbf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014\u2018-\u201a\u201c-\u201e"
    "\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122"
)
_MOJIBAKE = re.compile(
    "\xc3[\xa1-\xbf]|\xc2[\xa1-\xbf]|\xe2\u20ac[\u2122\u0153\u009d\u201c\u201d\u02dc\xa6\xa2]|\xef\xbf\xbd|\xf0\u0178"
    f"|(?:[\xe3-\xe9][{_TAIL}]{{2}}){{2}}"
)

# tags of the three flags that are written with tag characters (England, Scotland, Wales)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")

# UTF-8 bytes that can start none of the above; 0xc3 starts the Latin letters of mojibake
_STARTS = frozenset((*range(9), 11, 12, *range(14, 32), 0x7F, 0xC2, 0xC3, 0xE1, 0xE2, 0xEE, 0xEF, 0xF3, 0xF4))
_CLEAN = bytes(byte for byte in range(256) if byte not in _STARTS)
_CLEAN_OR_E2 = _CLEAN + b"\xe2"

_CLASSES = (
    ("text.control", re.compile(f"[{_CONTROL}]"), "a control character"),
    ("text.bidi", re.compile(f"[{_BIDI}]"), "a character that reorders what is shown"),
    ("text.invisible", re.compile(f"[{_INVISIBLE}]"), "an invisible character"),
    ("text.replacement", re.compile("\ufffd"), "the replacement character U+FFFD: text was lost in decoding"),
    ("text.private-use", re.compile(f"[{_PRIVATE}]"), "a private-use character"),
    ("text.mojibake", _MOJIBAKE, "letters that look like UTF-8 read as Latin-1"),
)
_AROUND_CHARS = 16


def fast_test(*patterns: str) -> Test:
    """Whether a text holds any of the patterns (character classes, literals, alternation): a search without a place."""
    joined = "|".join(patterns)
    plain = "".join(char if " " < char < "\x7f" else f"\\u{{{ord(char):x}}}" for char in joined)
    limit = 64 << 20  # bytes of compiled program; some tokenizers have thousands of special strings
    options = jsonschema_rs.RegexOptions(size_limit=limit, dfa_size_limit=limit)
    test: Test = jsonschema_rs.validator_for({"pattern": plain}, offline=True, pattern_options=options).is_valid
    return test


# the suspicious ones among the characters whose UTF-8 starts with 0xe2, as most typographic signs do, and with 0xef, as
# Chinese punctuation does; two ranges of the latter are too many to spell out
_RARE_RANGES = (
    (0x200B, 0x200B), (0x202A, 0x202E), (0x2060, 0x2064), (0x2066, 0x2069), (0xFEFF, 0xFEFF), (0xFFFD, 0xFFFF),
)  # fmt: skip
RARE = [chr(code) for first, last in _RARE_RANGES for code in range(first, last + 1)]
_UNDER_EF_RANGES = re.compile(rb"\xef(?:[\x80-\xa3]|\xb7[\x90-\xaf])").search
_UNDER_E2 = re.compile(rb"\xe2(?:\x80[\x8b\xaa-\xae]|\x81[\xa0-\xa9])").search
_UNDER_EF = re.compile(rb"\xef(?:[\x80-\xa3]|\xb7[\x90-\xaf]|\xbb\xbf|\xbf[\xbd-\xbf])").search
_has_suspect = fast_test(_SUSPECT.pattern, _MOJIBAKE.pattern)


def suspicious(joined: str, data: bytes) -> bool:
    """True when a text may hold something to report. `data` is `joined` in UTF-8."""
    left = data.translate(None, _CLEAN)
    if not left:
        return False
    if left.translate(None, b"\xe2\xef"):
        return _has_suspect(joined)
    # Chinese punctuation starts with these two; what is suspicious among their characters is a few
    return (b"\xef" in left and _UNDER_EF(data) is not None) or (b"\xe2" in left and _UNDER_E2(data) is not None)


def suspicious_beside_marks(joined: str, data: bytes) -> bool:
    """`suspicious` for a text in which a `marks_test` found nothing, and so none of the rare characters either."""
    left = data.translate(None, _CLEAN_OR_E2)
    if not left:
        return False
    if left.translate(None, b"\xef"):
        return _has_suspect(joined)
    return _UNDER_EF_RANGES(data) is not None


def text_notes(text: str, at: str, notes: list[Note]) -> None:
    """Notes about the characters of one text, one for each rule.

    Args:
        text: Any text of a record.
        at: Its pointer.
        notes: New notes are appended.
    """
    if _SUSPECT.search(text) is None and _MOJIBAKE.search(text) is None:
        return
    without_flags = _FLAG.sub("", text)
    for rule, pattern, what in _CLASSES:
        found = pattern.search(without_flags)
        if found:
            count = len(pattern.findall(without_flags))
            times = f", {count} times" if count > 1 else ""
            notes.append(
                Note(rule, at, f"the text holds {what} ({_name(found[0])}){times}", around(without_flags, found))
            )


def _name(found: str) -> str:
    return f"U+{ord(found):04X}" if len(found) == 1 else f'"{clean(found)}"'


def around(text: str, found: re.Match[str]) -> str:
    """What stands around a place, as it is shown."""
    return shown(text[max(0, found.start() - _AROUND_CHARS) : found.end() + _AROUND_CHARS])


# --- thoughts and media marks -----------------------------------------------------------------------------------------

MARKS = re.compile(r"</?think>|<(?:image|video|audio)>|\{\{(?:name|author)\}\}")
_THOUGHT_TAG = re.compile(r"</?think>")
_EMPTY_THOUGHT = re.compile(r"<think>\s*</think>")
MEDIA_MARK = re.compile(r"<(image|video|audio)>")
_PLACEHOLDER = re.compile(r"\{\{(?:name|author)\}\}")


def placeholder_notes(texts: Iterable[tuple[str, str, bool]], notes: list[Note]) -> None:
    """A note for each (text, pointer, is an answer) that holds a blank of LLaMA-Factory's identity data."""
    for text, at, _ in texts:
        found = _PLACEHOLDER.search(text)
        if found:
            notes.append(Note("text.placeholder", at, f"the blank {found[0]} is not filled in", around(text, found)))


def thought_notes(text: str, at: str, notes: list[Note]) -> None:
    """Notes about the <think> tags of one answer.

    Args:
        text: The answer.
        at: Its pointer.
        notes: New notes are appended.
    """
    tags = _THOUGHT_TAG.findall(text)
    if not tags:
        return
    if tags != ["<think>", "</think>"] * (len(tags) // 2):
        only = tags[0] if len(set(tags)) == 1 else "/".join(tags[:4])
        notes.append(Note("think.unbalanced", at, f"unbalanced thought tags ({only})", shown(text)))
    elif _EMPTY_THOUGHT.search(text):
        notes.append(Note("think.empty", at, "the thought is empty", shown(text)))
    elif not text.rpartition("</think>")[2].strip():
        notes.append(Note("think.only", at, "nothing follows the thought", shown(text[-80:])))
