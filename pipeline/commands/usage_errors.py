"""Usage: what is wrong with a command line, in the words of every other error of prep. click finds it, and says it in
its own.
"""

from __future__ import annotations

import os
import re
from typing import Any

import click

from registry.errors import UsageFault, did_you_mean


def plain_words(name: str, command: click.Command, words: list[str]) -> list[str]:
    """The words of a command, those that begin with `-` and stand behind `--` as paths: `./-a.jsonl`.

    Args:
        name: Of the command.
        command: Whose options are known.
        words: As they were typed.

    Raises:
        UsageFault: For a word such as `-xh`. click reads it as options of one letter each and, where a command passes
            on what it does not know, answers the `h` with the help page and exit code 0: a check that never ran would
            pass.
    """
    takes_value = {name: not getattr(option, "is_flag", False) for option in command.params for name in option.opts}
    at = 0
    while at < len(words) and words[at] != "--":
        word = words[at]
        known = word == "-h" or word in takes_value or takes_value.get(word[:2])  # -oOUT is -o OUT
        if len(word) > 1 and word[0] == "-" != word[1] and not known and not _is_number(word):
            is_path = os.path.lexists(word) or "." in word or "/" in word
            more = f"prep {name} --help shows all"
            raise UsageFault(
                f"there is no option {word}", hint=f"to name a file: ./{word}; {more}" if is_path else more
            )
        at += 2 if takes_value.get(word) else 1
    if at == len(words) or not command.context_settings.get("ignore_unknown_options"):
        return words
    return [*words[:at], *(f"./{word}" if word.startswith("-") else word for word in words[at + 1 :])]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def as_fault(error: click.ClickException) -> UsageFault:
    """click's error as ours: what is wrong, and what to type instead."""
    context = getattr(error, "ctx", None)
    text = _said(error)
    if context is None:
        return UsageFault(text)
    more = f"{context.command_path} --help shows all"
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    return UsageFault(text, hint=more if isinstance(context.command, click.Group) else f"{usage}; {more}")


def _said(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        options = [name for option in context.command.get_params(context) for name in option.opts] if context else []
        long = [name for name in options if name.startswith("--")]
        return f"there is no option {error.option_name}{did_you_mean(error.option_name, long)}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_name(error.param)} is not given"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return _bad_value(error, error.param)
    text = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.BadOptionUsage):
        needs = "takes no value" if "not take a value" in text else "needs a value"
        return f"{error.option_name}: {needs}"
    if match := re.match(r"Got unexpected extra arguments? \((.*)\)", text):
        return f"{match[1]}: one word too many" if " " not in match[1] else f"{match[1]}: too many words"
    if context is not None and isinstance(context.command, click.Group) and text.startswith("No such command"):
        name = text.split("'")[1]
        return f"there is no {context.command_path} {name}{did_you_mean(name, context.command.list_commands(context))}"
    return text[:1].lower() + text[1:]


def _name(parameter: click.Parameter) -> str:
    """As a person types it: the longest spelling of an option, the word of the usage line for an argument."""
    return max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name


def _bad_value(error: click.BadParameter, parameter: click.Parameter) -> str:
    value, sign, _ = error.message.partition(" is not ")
    wanted = _wanted(parameter.type)
    if not sign or not wanted:
        return f"{_name(parameter)}: {error.message[:1].lower()}{error.message[1:].rstrip('.')}"
    value = value.strip("'")
    near = did_you_mean(value, parameter.type.choices) if isinstance(parameter.type, click.Choice) else ""
    return f'{_name(parameter)}: "{value}" is not {wanted}{near}'


def _wanted(kind: Any) -> str:
    """What a value has to be, in words; empty for a type that has none here."""
    if isinstance(kind, click.Choice):
        return f"one of {', '.join(map(str, kind.choices))}"
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        what = "a whole number" if isinstance(kind, click.IntRange) else "a number"
        low = "" if kind.min is None else f" above {kind.min:g}" if kind.min_open else f" of at least {kind.min:g}"
        high = "" if kind.max is None else f" below {kind.max:g}" if kind.max_open else f" of at most {kind.max:g}"
        return what + " and".join(part for part in (low, high) if part)
    return {"integer": "a whole number", "float": "a number", "boolean": "true or false"}.get(kind.name, "")
