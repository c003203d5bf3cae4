"""`${NAME}` and `${NAME:-default}` in configuration values, from the environment.

A default may hold further references; a variable's own text is taken as it is. `$${` stands for a literal `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .yaml_file import Plain

NESTED_MOST = 50  # references in the default of another
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand(value: object, environ: Mapping[str, str], problems: list[str]) -> object:
    """The value with every reference replaced, in lists and tables as well.

    Args:
        value: Of the configuration file or the command line.
        environ: Variables by name.
        problems: Gets a line, without a place, for each reference that cannot be replaced.

    Returns:
        The value. Unquoted text stays unquoted, so that `seed: ${SEED}` is read as a number.
    """
    if isinstance(value, str):
        if "${" not in value:
            return value
        text = _expand_text(value, environ, problems)
        return Plain(text) if isinstance(value, Plain) else text
    if isinstance(value, list):
        return [expand(item, environ, problems) for item in value]
    if isinstance(value, dict):
        return {name: expand(item, environ, problems) for name, item in value.items()}
    return value


def _expand_text(text: str, environ: Mapping[str, str], problems: list[str]) -> str:
    out: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":
            out.append(text[at : start - 1] + "${")
            at = start + 2
            continue
        out.append(text[at:start])
        end = _closing(text, start + 2)
        if end < 0:
            wrong = f"is never closed, or holds more than {NESTED_MOST} others"
            problems.append(f"a `${{` {wrong}; write `$${{` for a literal one")
            return text
        out.append(_one(text[start + 2 : end], environ, problems))
        at = end + 1
    out.append(text[at:])
    return "".join(out)


def _closing(text: str, at: int) -> int:
    """Index of the brace that closes the one just before `at`, -1 when there is none."""
    depth = 1
    while at < len(text):
        if text[at] == "}":
            depth -= 1
            if not depth:
                return at
        elif text.startswith("${", at):
            depth += 1
            if depth > NESTED_MOST:
                return -1
            at += 1
        at += 1
    return -1


def _one(body: str, environ: Mapping[str, str], problems: list[str]) -> str:
    match = _NAME.match(body)
    name = match[0] if match else ""
    rest = body[len(name) :]
    if not name or (rest and not rest.startswith(":-")):
        problems.append(f"cannot read ${{{body}}}: only ${{NAME}} and ${{NAME:-default}} are expanded")
        return ""
    found = environ.get(name)
    if rest:
        return found or _expand_text(rest[2:], environ, problems)
    if found is None:
        problems.append(f"the environment variable {name} is not set")
        return ""
    return found
