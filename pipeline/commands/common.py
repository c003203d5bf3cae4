"""What several verbs share: from words on the command line to a `Config`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from registry.errors import UsageFault

from ..config import Config, Verb, load_config, parse_arguments

PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True}
CONFIG_SUFFIXES = (".yaml", ".yml")
_CONFIG_BYTES_MOST = 1 << 16


def config_of(words: Sequence[str], verb: Verb, options: Mapping[str, object]) -> Config:
    """The configuration of a verb that takes one CONFIG file, or none, and settings.

    Raises UsageFault when more than one file is named, or the file does not exist.
    """
    parsed = parse_arguments(words)
    if len(parsed.paths) > 1:
        raise UsageFault(
            f"{' '.join(parsed.paths[1:])}: {verb} takes one configuration file",
            hint="data files go into the setting `dataset=a.jsonl,b.jsonl`",
        )
    path = parsed.paths[0] if parsed.paths else None
    if path is not None:
        check_config_file(path)
    return load_config(path, parsed.values, for_verb=verb, options=options, option_names=option_names())


def option_names() -> list[str]:
    """The options of the verb that runs, as they are typed."""
    context = click.get_current_context(silent=True)
    options = [name for option in context.command.params for name in option.opts] if context is not None else []
    return [*(name for name in options if name.startswith("--")), "--help", "prep --version"]


def check_config_file(path: str) -> None:
    """Raises UsageFault with a hint when a configuration file is missing or is plainly a data file, MachineFault when
    its folder may not be searched."""
    from registry.errors import near_file, unreadable

    try:
        os.stat(path)
    except PermissionError as error:
        raise unreadable(error, path) from None
    except OSError:
        pass  # what is wrong with it is said below
    if not Path(path).is_file():
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        near = sorted(name for name in names if name.endswith(CONFIG_SUFFIXES))
        held = f"{folder} holds {', '.join(near[:5])}" if near else ""
        if Path(path).is_dir():
            raise UsageFault(f"{path}: is a folder; a configuration file (.yaml) is wanted", hint=held)
        raise UsageFault(f"{path}: there is no such file{near_file(Path(path).name, near)}", hint=held)
    if Path(path).suffix not in (*CONFIG_SUFFIXES, ".json"):
        raise UsageFault(
            f"{path}: is not a configuration file (.yaml)",
            hint=f"to prepare a data file: prep pack dataset={path} model_name_or_path=DIR template=NAME",
        )


def is_json_config(path: str) -> bool:
    """Whether a .json file is a configuration and no data: one object, whose keys are settings for the most part."""
    import orjson

    from ..keys import keys, renames

    try:
        if not path.lower().endswith(".json") or Path(path).stat().st_size > _CONFIG_BYTES_MOST:
            return False
        content = orjson.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return False
    known = {*keys(), *renames()}
    return isinstance(content, dict) and len(content) > 1 and 2 * len(known & content.keys()) > len(content)


def say_notes(config: Config, quiet: bool) -> None:
    """The configuration's notes, on stderr."""
    if not quiet:
        for note in config.notes:
            click.echo(f"note: {note}", err=True)


def as_json(document: object) -> str:
    """A document for stdout: JSON in printable ASCII, since texts and paths in it are untrusted."""
    import json

    return json.dumps(document).replace("\x7f", "\\u007f")
