"""docs/rules.md says what the rule table says."""

from __future__ import annotations

from pathlib import Path

from pipeline.reports.rules_page import page
from registry.rules import rules

PAGE = Path(__file__).parents[3] / "docs" / "rules.md"


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run prep list rules --markdown > docs/rules.md"


def test_every_rule_has_an_entry() -> None:
    text = page()
    for rule_id in rules():
        assert f"\n### {rule_id}\n" in text
