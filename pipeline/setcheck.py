"""Set-level checks: what only the whole set shows. Added to the findings once every chunk is in."""

from __future__ import annotations

from .arrange import Arranged, Table
from .collect import Collected
from .plan import Plan


def check_set(plan: Plan, collected: Collected, table: Table, arranged: Arranged) -> None:
    """Adds set-level findings to what was collected."""
