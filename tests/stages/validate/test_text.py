"""Odd characters are named; ordinary text of any script is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.findings import Note
from stages.validate.text import suspicious, suspicious_beside_marks, text_notes, thought_notes
from stages.validate.token_search import marks_test

MARKS_TEST = marks_test(())


def rules_of(text: str) -> list[str]:
    notes: list[Note] = []
    text_notes(text, "/x", notes)
    return [note.rule for note in notes]


@pytest.mark.parametrize(
    "text",
    [
        "plain text\twith tabs\nand\r\nlines",
        "café naïve Ärger Größe señor São Paulo ÂGE À la carte",
        "“quotes” — dashes … ‘single’ «guillemets» 50 € 20 °C ½ ×",
        "中文，标点。“引号”《书名》（括号）！？：；",
        "日本語　全角スペース ｶﾀｶﾅ ￥１００",
        "한국어 Русский Ελληνικά עברית العربية हिन्दी ไทย",
        "👨‍👩‍👧‍👦 ☀️ 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1️⃣",
        "می‌خواهم",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠀀",
    ],
)
def test_ordinary_text_has_no_findings(text: str) -> None:
    assert rules_of(text) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\x00b", "text.control"),
        ("a\x1b[31mb", "text.control"),
        ("a\x7fb", "text.control"),
        ("a\x85b", "text.control"),
        ("a\u202eb", "text.bidi"),
        ("a\u2066b", "text.bidi"),
        ("a\u200bb", "text.invisible"),
        ("a\u2060b", "text.invisible"),
        ("a\xadb", "text.invisible"),
        ("a\ufeffb", "text.invisible"),
        ("hidden \U000e0041\U000e0042", "text.invisible"),
        ("a\ufffdb", "text.replacement"),
        ("a\uf0b7b", "text.private-use"),
        ("a\U00100000b", "text.private-use"),
        ("a\uffffb", "text.private-use"),
        ("Ã¼ber", "text.mojibake"),
        ("itâ€™s", "text.mojibake"),
        ("20Â°C", "text.mojibake"),
        ("ðŸ˜€", "text.mojibake"),
        ("ä½\xa0å¥½".replace("\xa0", "\xa0"), "text.mojibake"),
    ],
)
def test_odd_text_breaks_its_rule_and_no_other(text: str, rule: str) -> None:
    assert rules_of(text) == [rule]


def test_a_note_counts_and_quotes_the_place() -> None:
    notes: list[Note] = []
    text_notes("first \u200b second \u200b", "/x", notes)
    assert "2 times" in notes[0].message
    assert "\\u200b" in notes[0].value


@given(st.text())
def test_the_quick_look_misses_nothing(text: str) -> None:
    """Whatever has a note is suspicious: the filter over bytes and the fast expression only err on the safe side."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    if rules_of(text):
        assert suspicious(text, data)


@given(st.characters(codec="utf-8"), st.text(alphabet="ab，“\n", max_size=5))
def test_the_quick_look_misses_no_single_character(char: str, around: str) -> None:
    text = around + char + around
    if rules_of(text):
        assert suspicious(text, text.encode())


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("no thought", None),
        ("<think>\nyes\n</think>\n\nanswer", None),
        ("<think>a</think>b<think>c</think>d", None),
        ("only closing</think>", "think.unbalanced"),
        ("<think>only opening", "think.unbalanced"),
        ("</think><think>", "think.unbalanced"),
        ("<think>\n\n</think>\n\nanswer", "think.empty"),
        ("<think>all thought</think>\n ", "think.only"),
    ],
)
def test_thought_tags(text: str, rule: str | None) -> None:
    notes: list[Note] = []
    thought_notes(text, "", notes)
    assert [note.rule for note in notes] == ([] if rule is None else [rule])


@given(st.text(st.one_of(st.characters(), st.sampled_from("\u200b\u2014\uff0c\uf0a7\ufdd0\ufffd\x7fé")), max_size=6))
def test_what_the_search_for_marks_lets_through_is_looked_at(text: str) -> None:
    """The two quick tests together miss nothing that has a note."""
    text = text.encode("utf-8", "replace").decode()
    notes: list[Note] = []
    text_notes(text, "", notes)
    if notes:
        assert MARKS_TEST(text) or suspicious_beside_marks(text, text.encode())
