"""What several commands share: from words on the command line to a `Config`, and its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from pipeline.config import Config
from pipeline.config.consistency import CommandName
from pipeline.config.from_words import EVERYWHERE, config_from_words

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def config_of(words: Sequence[str], command: CommandName, options: Mapping[str, object]) -> Config:
    """The configuration of the command that runs.

    Args:
        words: Its arguments: a file, and settings.
        command: Its name.
        options: Values of its options by key; None for those that were not given.

    Raises:
        UsageFault: With every mistake in file and words.
    """
    return config_from_words(words, command, options, option_names())


def option_names() -> list[str]:
    """The options of the command that runs, as they are typed."""
    context = click.get_current_context(silent=True)
    options = [name for option in context.command.params for name in option.opts] if context is not None else []
    return [*(name for name in options if name.startswith("--")), *EVERYWHERE]


def say_notes(config: Config, quiet: bool) -> None:
    """The configuration's notes, on stderr."""
    if not quiet:
        for note in config.notes:
            click.echo(f"note: {note}", err=True)
