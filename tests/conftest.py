"""What all tests share: where the fixtures are, and how Hypothesis searches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# the suite tries the same examples in every run, so a failure is never a matter of luck; `explore` looks for new ones
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of committed records, goldens and the tiny tokenizer."""
    return Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session")
def tiny(fixtures: Path) -> str:
    """The folder of a 1,088-token byte-level tokenizer with chat marks and a two-layer model's config."""
    return str(fixtures / "tiny")
