"""docs/convert.md says what the code does: its tables hold every loss, repair and format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry.rules import rules
from stages.formats.losses import LOSSES
from stages.formats.table import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "convert.md").read_text(encoding="utf-8")


def test_the_page_names_every_loss() -> None:
    """With its kind and meaning, in the order of the table."""
    rows = [f"| `{what}` | {kind.severity} | {kind.meaning} |" for what, kind in LOSSES.items()]
    assert "\n".join(rows) in PAGE


@pytest.mark.parametrize("family", ["alpaca", "sharegpt", "openai", "pretrain"])
def test_the_page_says_what_each_format_cannot_carry(family: str) -> None:
    """No more and no less than the format states."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {family} |"))
    assert set(re.findall(r"`([a-z-]+)`", row)) == set(FORMATS[family].cannot_carry)


def test_the_page_names_every_repair() -> None:
    """With the meaning of its rule."""
    rows = [f"| `{rule.id}` | {rule.meaning} |" for rule in rules().values() if rule.id.startswith("repair.")]
    assert "\n".join(rows) in PAGE
