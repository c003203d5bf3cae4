"""Markup: every value that a template prints is visible, bounded and escaped, whatever the template forgets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment, UndefinedError

import pipeline
from pipeline.reports.markup import clip, number, page_environment, share

HOSTILE = "<b>\x1b\u202e"
SAFE = "&lt;b&gt;\\x1b\\u202e"


def rendered(source: str, environment: Environment | None = None, **values: object) -> str:
    return (environment or page_environment("pipeline.inspect.page", 300)).from_string(source).render(values)


def test_values_are_escaped_cleaned_and_bounded() -> None:
    """In text, in attributes, through filters and macros; a name that is not there is an error."""
    assert rendered("<i>{{ value }}</i>", value=HOSTILE) == f"<i>{SAFE}</i>"
    assert rendered("{{ value }}", value=HOSTILE + "x" * 400) == SAFE + "x" * (299 - 13) + "…"
    assert rendered('<a b="{{ value }}">', value="\"'") == '<a b="&#34;&#39;">'
    assert rendered("{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(value) }}", value=HOSTILE) == f"<i>{SAFE}</i>"
    assert rendered("{{ value|clip(4) }}", value=HOSTILE) == "&lt;b&gt;…"
    assert rendered("{{ value|lines }}", value=f"{HOSTILE}\n<") == f"{SAFE}\n&lt;"
    with pytest.raises(UndefinedError):
        rendered("{{ value }}")


def test_without_a_bound_nothing_is_cut() -> None:
    """The report of `prep validate` shows values whole."""
    assert rendered("{{ value }}", page_environment("pipeline.reports"), value="x" * 9000) == "x" * 9000


def test_figures() -> None:
    """Thousands are separated; shares are never rounded up to all."""
    assert (number(1234567), number(1234.56, 1)) == ("1,234,567", "1,234.6")
    assert share(99_999_999, 100_000_000).startswith("99.99")
    assert (share(1, 1), share(0, 0)) == ("100.00\u202f%", "–")
    assert clip("a" * 5, 5) == "a" * 5


def test_no_template_marks_a_value_as_safe() -> None:
    """Nor turns escaping off, nor writes an event handler or an address of elsewhere."""
    found = sorted(Path(pipeline.__file__).parent.rglob("templates/*.html"))
    assert len(found) > 10
    for path in found:
        text = path.read_text(encoding="utf-8")
        for word in ("|safe", "| safe", "autoescape", "http:", "https:", " onclick", " onload", "javascript:"):
            assert word not in text, (path, word)


def test_the_help_loads_no_templates() -> None:
    """`prep --help` and `prep report --help` answer without jinja2."""
    for words in (["--help"], ["report", "--help"]):
        program = f"import sys; from pipeline.cli import run; run({words}); sys.exit('jinja2' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0
