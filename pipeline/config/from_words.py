"""From words on the command line to a `Config`: one configuration file or none, and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry.errors import UsageFault, near_file, unreadable

from . import Config, load_config
from .consistency import CommandName
from .overrides import parse_arguments

CONFIG_SUFFIXES = (".yaml", ".yml")
EVERYWHERE = ("--help", "prep --version")  # what every command takes beside its own options
_CONFIG_BYTES_MOST = 1 << 16


def config_from_words(
    words: Sequence[str], command: CommandName, options: Mapping[str, object], option_names: Sequence[str] = ()
) -> Config:
    """The configuration of a command that takes one CONFIG file, or none, and settings.

    Args:
        words: The command line without the command's own options.
        command: What the configuration is for.
        options: Typed values of the command's own options; None = not given.
        option_names: How those options are spelled, for a guess at a mistyped one.

    Raises:
        UsageFault: More than one file is named, the file does not exist, or the configuration has mistakes.
    """
    parsed = parse_arguments(words)
    if len(parsed.paths) > 1:
        raise UsageFault(
            f"{' '.join(parsed.paths[1:])}: {command} takes one configuration file",
            hint="data files go into the setting `dataset=a.jsonl,b.jsonl`",
        )
    path = parsed.paths[0] if parsed.paths else None
    if path is not None:
        check_config_file(path)
    return load_config(path, parsed.values, for_command=command, options=options, option_names=option_names)


def check_config_file(path: str) -> None:
    """Raises UsageFault with a hint when a configuration file is missing or is plainly a data file, MachineFault when
    its folder may not be searched."""
    try:
        os.stat(path)
    except PermissionError as error:
        raise unreadable(error, path) from None
    except OSError:
        pass  # what is wrong with it is reported below
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

    from .keys import keys, renames

    try:
        if not path.lower().endswith(".json") or Path(path).stat().st_size > _CONFIG_BYTES_MOST:
            return False
        content = orjson.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return False
    known = {*keys(), *renames()}
    return isinstance(content, dict) and len(content) > 1 and 2 * len(known & content.keys()) > len(content)
