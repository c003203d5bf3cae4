"""Markup: untrusted text in, HTML out. Every text of a record, path or name goes through `safe`."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from stages.findings import clean

LONGEST_TEXT = 300  # characters of one value; a page of a million findings must stay small


def safe(value: object, most: int = LONGEST_TEXT) -> str:
    """A value as text of a page: control, bidi and other hidden characters as their escapes, markup characters as
    entities, at most `most` characters."""
    text = clean(str(value)[: most + 1])
    return html.escape(text if len(text) <= most else text[: most - 1] + "…", quote=True)


def number(value: float, digits: int = 0) -> str:
    """A figure with thousands separated."""
    return f"{value:,.{digits}f}"


def share(part: float, whole: float) -> str:
    """A percentage; what is not all is never shown as 100."""
    if not whole:
        return "–"
    value = 100 * part / whole
    text = f"{value:.2f}"
    return ("99.99" if text == "100.00" and part < whole else text) + "\u202f%"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    figures: Sequence[int] = (),
    caption: str = "",
    kind: str = "",
) -> str:
    """A table of cells that are markup already. figures: columns of numbers. kind: a class of the style sheet. Scrolls
    sideways on a narrow screen."""

    def cell(tag: str, at: int, text: str) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        kind = ' class="n"' if at in figures else ""
        return f"<{tag}{scope}{kind}>{text}</{tag}>"

    top = "".join(cell("th", at, text) for at, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", at, text) for at, text in enumerate(row)) + "</tr>" for row in rows)
    title = f"<caption>{caption}</caption>" if caption else ""
    inner = f"{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inner}</table></div>'


def section(anchor: str, title: str, body: str) -> str:
    """A part of the page with its heading."""
    return f'<section id="{anchor}"><h2>{title}</h2>{body}</section>'


def note(text: str) -> str:
    """A remark; `text` is markup."""
    return f'<p class="dim">{text}</p>'


def embedded(document: Any) -> str:
    """JSON for a script element: ASCII, and nothing in it can end the element or begin a comment."""
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\x7f", "\\u007f")
