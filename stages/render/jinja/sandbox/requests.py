"""What the sandbox is given to render, what it may use for it, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .environment import DEFAULT_DATE


@dataclass(frozen=True)
class Limits:
    """What one item may use. output_chars is on top of twice the item's own size, so that a long record fits.
    lost_s: what items in a row may take before they are stopped, all together; then the template is given up."""

    address_space_bytes: int = 448 << 20
    cpu_s: float = 1.5
    wall_s: float = 20.0
    output_chars: int = 4 << 20
    deaths_in_a_row: int = 10
    lost_s: float = 4.0


@dataclass(frozen=True)
class Program:
    """What a wall renders: templates by name, the variables each of them sees, the date that `strftime_now` tells."""

    sources: dict[str, str]
    variables: dict[str, Any] = field(default_factory=dict)
    template_date: str = DEFAULT_DATE


class Item(NamedTuple):
    """One render. name: which template. generate: add the generation prompt. marked: render with and without marks.
    variables: the record's own, over those of the program."""

    name: str
    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    generate: bool = False
    marked: bool = False
    variables: dict[str, Any] | None = None


class Outcome(NamedTuple):
    """text, and where its marks stood when the marked text agreed; or error and message.

    error: "" | refused (the template's own words) | broken (its code failed) | limit | unsafe | syntax.
    """

    text: str
    marks: list[tuple[int, int]] | None = None
    error: str = ""
    message: str = ""
