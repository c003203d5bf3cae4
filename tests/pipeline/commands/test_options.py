"""What several commands share: words to a configuration, checked against the options of the command that runs."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from pipeline.commands.options import PASS_ON, config_of, option_names, say_notes
from pipeline.config import Config
from registry.errors import UsageFault


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("-o", "--output")
@click.option("--dry-run", is_flag=True)
def command(arguments: tuple[str, ...], output: str | None, dry_run: bool) -> None:
    """Prints its options and the cutoff that the words set."""
    config = config_of(arguments, "pack", {"tokenized_path": output})
    click.echo(" ".join(option_names()))
    click.echo(f"{config.get('cutoff_len')} {config.get('tokenized_path')}")


WORDS = ["dataset=a", "model_name_or_path=m", "template=qwen3"]


def test_the_options_are_those_of_the_command_that_runs() -> None:
    """As they are typed, without the short ones; the settings of every command among them."""
    result = CliRunner().invoke(command, [*WORDS, "--cutoff_len", "77", "-o", "x"], catch_exceptions=False)
    names, values = result.stdout.splitlines()
    assert {"--output", "--dry-run"} <= set(names.split())
    assert "-o" not in names.split() and "--arguments" not in names.split()
    assert values == "77 x"


def test_outside_of_a_command_there_are_those_of_every_command() -> None:
    assert option_names() and "--output" not in option_names()


def test_a_mistyped_option_is_compared_with_them() -> None:
    with pytest.raises(UsageFault) as caught:
        CliRunner().invoke(command, [*WORDS, "--dry-rnu", "x"], catch_exceptions=False)
    assert "--dry-run" in str(caught.value.problems) + caught.value.hint


def test_notes_go_to_stderr_unless_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config({}, notes=("one", "two"))
    say_notes(config, False)
    say_notes(config, True)
    assert capsys.readouterr() == ("", "note: one\nnote: two\n")
