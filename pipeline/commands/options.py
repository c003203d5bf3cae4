"""What several commands share: from words on the command line to a `Config`, and its notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from pipeline.config import Config
from pipeline.config.consistency import CommandName
from pipeline.config.from_words import EVERYWHERE, config_from_words

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def config_of(words: Sequence[str], command: CommandName, options: Mapping[str, object]) -> Config:
    """The configuration of the command that runs. Raises UsageFault as `config_from_words` does."""
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
