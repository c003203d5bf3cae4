"""The page of a validation: nothing fetched, nothing run, every finding there."""

from __future__ import annotations

import html.parser
import re

from pipeline.reports import reporter
from pipeline.reports.html_ import write
from tests.support.reports import HOSTILE, finding, report


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "action") or name.startswith("on")
        ]
        if tag in ("script", "iframe", "link", "object"):
            self.found.append(tag)


def test_the_page_fetches_nothing_and_forbids_it() -> None:
    page = reporter("html")(report(finding(message=HOSTILE)))
    links = _Links()
    links.feed(page)
    assert links.found == []
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", page)


def test_what_the_page_does_not_list_is_counted() -> None:
    page = write(report(finding(), counts={("role.unknown", "error"): 700}))
    assert "data/train set.jsonl:812" in page
    assert re.search(r"699\b", page), "the findings that were not kept"


def test_every_value_is_escaped() -> None:
    page = write(report(finding(path=HOSTILE, pointer=HOSTILE, message=HOSTILE, hint=HOSTILE, value=HOSTILE)))
    assert "<script" not in page and "\x1b" not in page
    assert "&lt;script&gt;" in page
