"""Markup: the Jinja2 environment of every HTML page. Python prepares plain values; the templates alone hold tags.

Escaping needs no thought in a template: every value that one prints is made visible (control, bidi and other hidden
characters become their escapes), bounded, and escaped, unless it is markup already.
"""

from __future__ import annotations

from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stages.core.display import clean


def page_environment(package: str, longest: int | None = None) -> Environment:
    """The environment over the folder `templates` of a package.

    longest: characters of one printed value, so that a page of a million findings stays small; None is no bound.
    """
    environment = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=partial(_printed, longest=longest),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters.update(number=number, share=share, clip=clip, lines=partial(_lines, longest=longest))
    return environment


def _printed(value: object, longest: int | None) -> object:
    if isinstance(value, (Markup, int, float)):
        return value
    return clean(str(value)) if longest is None else clip(str(value), longest)


def clip(text: str, most: int) -> str:
    """A text with hidden characters as their escapes, at most `most` characters."""
    text = clean(text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


def _lines(text: str, longest: int | None) -> Markup:
    """The lines of a text for a <pre>, each bounded like any value."""
    return Markup("\n").join(escape(_printed(line, longest)) for line in text.splitlines())


def number(value: float, digits: int = 0) -> str:
    """A figure with thousands separated."""
    return f"{value:,.{digits}f}"


def share(part: float, whole: float) -> str:
    """A percentage; what is not all is never shown as 100."""
    if not whole:
        return "–"
    text = f"{100 * part / whole:.2f}"
    return ("99.99" if text == "100.00" and part < whole else text) + "\u202f%"
