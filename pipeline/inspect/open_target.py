"""Target: what `inspect` and `stats` look at: a finished output, or a configuration, which is prepared into a temporary
folder by the same path as `prep pack`, so that what is shown is what would be written."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from pipeline.config import Config
from pipeline.config.from_words import CONFIG_SUFFIXES, EVERYWHERE, config_from_words
from pipeline.config.keys import keys, renames
from pipeline.config.overrides import parse_arguments
from pipeline.output.manifest import MANIFEST
from pipeline.output.open import open_folder, output_of, read_unchanged
from pipeline.output.shards import Shards
from pipeline.output.store import is_store, local_folder
from registry.errors import UsageFault, did_you_mean
from stages.core.urls import public
from stages.tokenize.decode import TokenTexts

Say = Callable[[str], None]


class Target(NamedTuple):
    """An opened target. name: as the user gave it. config: None for a finished output."""

    shards: Shards
    name: str
    config: Config | None = None


def open_shards(out: str, say: Say = lambda line: None) -> Shards:
    """A finished output: a folder, or a URL, which is fetched. Raises UsageFault or DataFault when there is none or it
    cannot be read."""
    folder = open_folder(out, say)
    return Shards(folder, read_unchanged(folder))


@contextlib.contextmanager
def opened(words: Sequence[str], say: Say, command: click.Command) -> Iterator[Target]:
    """The target that a command line names: one folder, or a configuration with its settings.

    A configuration is prepared into a temporary folder, which is gone afterwards.

    Args:
        words: The arguments, options of the command apart.
        say: Takes notes and warnings, a line at a time.
        command: Whose options a mistyped one is compared with.

    Raises:
        UsageFault: When the words name neither, or settings beside a finished output.
    """
    if not words:
        raise UsageFault("nothing to look at", hint="name an output folder of `prep pack`, or a configuration file")
    parsed = parse_arguments(words)
    _mistyped(parsed.values, command)
    first = parsed.paths[0] if parsed.paths else None
    if first is not None and (is_store(first) or local_folder(first).is_dir() or (Path(first) / MANIFEST).exists()):
        extra = [*parsed.paths[1:], *parsed.values]
        if extra:
            raise UsageFault(
                f"{' '.join(extra)}: settings change nothing in {public(first)}, which is a finished output",
                hint="give the configuration file in its place to see what other settings would write",
            )
        yield Target(open_shards(first, say), public(first))
        return
    if first is not None and not Path(first).exists() and Path(first).suffix not in (".yaml", ".yml", ".json"):
        raise UsageFault(f"{first}: there is no such output folder or configuration file")
    from pipeline.runs.pack.run import prepare

    if first is not None and Path(first).is_file() and not first.endswith(CONFIG_SUFFIXES):
        _refuse_file(first, command)

    config = config_from_words(words, "pack", {}, [*_options(command), *EVERYWHERE])
    for note in config.notes:
        say(f"note: {note}")
    with tempfile.TemporaryDirectory(prefix="prep-") as folder:
        out = Path(folder) / "out"
        outcome = prepare(config, out, lambda line: None, keep_cache=False)
        for note in outcome.plan.notes if outcome.plan else ():
            say(f"note: {note}")
        yield Target(Shards(out, outcome.manifest), first or "the given settings", config)


def _refuse_file(path: str, command: click.Command) -> None:
    """Raises UsageFault for a file of an output, and for a data file, which needs a tokenizer and a template."""
    near = output_of(path)
    if near is not None:
        raise UsageFault(f"{path}: is a file; name the folder that prep pack wrote", hint=f"the output is {near}")
    if not path.endswith(".json"):
        raise UsageFault(
            f"{path}: is a file; name an output folder of prep pack, or a configuration (.yaml)",
            hint=f"for a data file: prep {command.name} dataset={path} model_name_or_path=DIR template=NAME",
        )


def _mistyped(values: Mapping[str, object], command: click.Command) -> None:
    options = _options(command)
    settings = {*keys(), *renames()}
    problems = [
        f"there is no option --{name}{near}"
        for name in values
        if name.split(".")[0] not in settings and (near := did_you_mean(f"--{name}", options))
    ]
    if problems:
        raise UsageFault(problems, hint=f"prep {command.name} --help shows all")


def _options(command: click.Command) -> list[str]:
    return [name for option in command.params for name in option.opts if name.startswith("--")]


def token_texts(shards: Shards, folder: str | None, say: Say) -> TokenTexts:
    """The texts of an output's token ids.

    Args:
        shards: An opened output.
        folder: Value of --tokenizer; None for the folder that the manifest's `run` block names.
        say: Takes a warning when it is not the tokenizer that the output was made with.

    Raises:
        UsageFault: When no tokenizer is there.
    """
    from stages.tokenize.tokenizer_files import load_tokenizer_files

    about: dict[str, Any] = shards.manifest["tokenizer"]
    named = folder or shards.manifest.get("run", {}).get("model_name_or_path")
    if not named or not Path(named).is_dir():
        raise UsageFault(
            f"{shards.out}: the tokenizer that made it is not at {named!r}"
            if named
            else f"{shards.out}: names no tokenizer",
            hint="give its folder with --tokenizer DIR",
        )
    files = load_tokenizer_files(str(named))
    if files.sha256 != about["sha256"]:
        say(f"warning: {named} is not the tokenizer that made this output (sha256 differs): the text may be wrong")
    return TokenTexts(files, {int(entry["id"]): str(entry["token"]) for entry in about.get("added") or ()})
