"""The Jinja environment that chat templates see: what transformers gives them, less what only an attacker would miss.

Same output as transformers 5 for the same template and messages: immutable sandbox, `trim_blocks`, `lstrip_blocks`,
loop controls, `{% generation %}`, `tojson`, `raise_exception`, `strftime_now`, `namespace`, `dict`. Different on
purpose:

* `strftime_now` is the run's `template_date` at midnight, never the clock: same input, same bytes.
* No loader; filters and globals are an allow-list without chance (`random`, `lipsum`) and without attribute tricks
  (`attr`).
* `*`, `**` and `%` are checked before they run, also when Jinja would fold them while compiling.

The sandbox stops code from running, not from eating memory or time: untrusted templates are rendered in the child of
`stages.render.jinja.sandbox.process`, whose limits are the outer wall.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jinja2 import Environment, Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

DEFAULT_DATE = "2026-11-21"  # contract.md: the day the goldens were made, never the clock

MAX_REPEATED_CHARS = 1 << 20  # `'-' * 80` is fine, `'A' * 10**9` is not
MAX_POWER_BITS = 1 << 12
_WIDE_FORMAT = re.compile(r"%[^a-zA-Z%]*?(?:\d{4,}|\*)")

FILTERS = frozenset(
    (  # noqa: SIM905  # one name a line would be fifty lines
        "abs batch capitalize center count d default dictsort e escape first float format groupby indent int items"
        " join last length list lower map max min reject rejectattr replace reverse round safe select selectattr slice"
        " sort string striptags sum title trim truncate unique upper urlencode wordcount"
    ).split()
)

# the last two of the marks' characters (see stages.render.jinja.messages), which no text's marks reach
GENERATION = "\U000ffffc\U000ffffd"


class Refusal(TemplateError):
    """The template's own `raise_exception`: it says that this conversation is not one it can write."""


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` is let through; while the environment is `marked`, GENERATION stands
    around it."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own interface is a plain class attribute

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # a call block, as transformers uses: names set inside do not leak out
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Any) -> str:
        text: str = caller()
        return GENERATION[0] + text + GENERATION[1] if getattr(self.environment, "marked", False) else text


class _Namespace(Namespace):
    """`namespace(...)` without underscore names, which reach into the interpreter."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        # jinja2's own trick: a template may say namespace(self=...)
        self, args = args[0], args[1:]
        attributes = dict(*args, **kwargs)
        for name in attributes:
            _Namespace._public(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._public(name)
        Namespace.__setitem__(self, name, value)

    @staticmethod
    def _public(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise SecurityError(f"a namespace name must not begin with an underscore: {name!r}")


class _Dict:
    """`dict(...)` and `dict.fromkeys(...)`, without the type itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Sandbox(ImmutableSandboxedEnvironment):
    # intercepted operators are not folded while compiling either
    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            _check_product(left, right)
        elif operator == "**":
            _check_power(left, right)
        elif isinstance(left, (str, bytes)) and _WIDE_FORMAT.search(str(left)):
            raise SecurityError("a % format this wide is not allowed in a chat template")
        return super().call_binop(context, operator, left, right)


def _check_product(left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_POWER_BITS:
            raise SecurityError("a product this large is not allowed in a chat template")
        return
    for repeated, times in ((left, right), (right, left)):
        sized = isinstance(repeated, (str, list, tuple)) and isinstance(times, int)
        if sized and len(repeated) * times > MAX_REPEATED_CHARS:
            raise SecurityError("a repetition this long is not allowed in a chat template")


def _check_power(base: Any, exponent: Any) -> None:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and (exponent > MAX_POWER_BITS or base.bit_length() * exponent > MAX_POWER_BITS):
        raise SecurityError("a power this large is not allowed in a chat template")


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: int | str | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # jinja2's own filter escapes HTML characters; transformers replaces it, and models have learned the plain form
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> None:
    raise Refusal(str(message))


def make_environment(template_date: str = DEFAULT_DATE) -> Environment:
    """A fresh environment. `template_date` is an ISO date; raises ValueError when it is not one."""
    day = datetime.datetime.combine(datetime.date.fromisoformat(template_date), datetime.time())

    def strftime_now(pattern: str) -> str:
        return day.strftime(pattern)

    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    for name in set(environment.filters) - FILTERS:
        del environment.filters[name]
    environment.filters["tojson"] = _tojson
    environment.globals = {
        "range": environment.globals["range"],  # the sandbox replaces it with a bounded one
        "dict": _Dict(),
        "namespace": _Namespace,
        "cycler": environment.globals["cycler"],
        "joiner": environment.globals["joiner"],
        "raise_exception": _raise_exception,
        "strftime_now": strftime_now,
    }
    return environment


class OutputTooLong(Exception):
    """The rendered text passed its cap."""


def render(template: Template, variables: dict[str, Any], cap_chars: int) -> str:
    """The rendered text, given up as soon as it passes `cap_chars`.

    Raises OutputTooLong, Refusal (the template's own words), and whatever else the template's code runs into.
    """
    parts: list[str] = []
    total = 0
    with _stream(template, variables) as stream:
        for part in stream:
            total += len(part)
            if total > cap_chars:
                raise OutputTooLong(f"more than {cap_chars} characters")
            parts.append(part)
    return "".join(parts)


@contextmanager
def _stream(template: Template, variables: dict[str, Any]) -> Iterator[Iterator[str]]:
    # root_render_func skips jinja2's rewriting of tracebacks, which costs more than a short render
    stream = template.root_render_func(template.new_context(variables))
    try:
        yield stream
    finally:
        stream.close()  # type: ignore[attr-defined]  # a generator, declared as an iterator
