"""`prep validate`: check every record, and say of each bad one where, what, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pipeline.config.from_words import CONFIG_SUFFIXES, check_config_file, is_json_config
from pipeline.reports import REPORTS
from registry.errors import UsageFault, near_file

from .options import PASS_ON, option_names, say_notes

if TYPE_CHECKING:
    from pipeline.config import Config


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PATH... | CONFIG.yaml [key=value ...]")
@click.option("--format", "form", metavar="FORMAT", help="Record format (default: found out; `prep list formats`).")
@click.option("--stage", metavar="STAGE", help="Training stage that decides what is an error (default: the format's).")
@click.option(
    "--output-format", type=click.Choice(list(REPORTS)), default="text",
    help="How the report is written to stdout.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --output-format json.")
@click.option("--rejects", metavar="DIR", help="Write the raw bytes of every rejected record, and why, to DIR.")
@click.option("--fix", metavar="OUT", help="Write a repaired copy to OUT; every repair is named.")
@click.option("--error", "errors", multiple=True, metavar="RULE", help="Make a rule an error (repeatable).")
@click.option("--warn", "warnings", multiple=True, metavar="RULE", help="Make a rule a warning (repeatable).")
@click.option("--off", "offs", multiple=True, metavar="RULE", help="Turn a rule off (repeatable).")
@click.option("--strict", is_flag=True, help="Treat every warning as an error.")
@click.option("--profile", metavar="VENDOR", help="Also check a vendor's rules (`prep list profiles`).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: all cores).")
@click.option("--quiet", is_flag=True, help="Print nothing but errors and their totals; nothing when there are none.")
def command(arguments: tuple[str, ...], **options: Any) -> int:
    """Check records; write nothing unless asked. Exits 1 when any record has an error.

    \b
      prep validate chats.jsonl
      prep validate data/ --rejects rejects --fix repaired
      prep validate sft.yaml cutoff_len=4096        with the config's data, template and limit
    """
    from pipeline.config import load_config
    from pipeline.config.overrides import parse_arguments
    from pipeline.plan import make_plan
    from pipeline.runs.validate.run import plan_files, validate

    quiet = options["quiet"]
    parsed = parse_arguments(arguments)
    levels = {rule: level for level in ("error", "warning", "off") for rule in options[_OPTION[level]]}
    settings = {
        "format": options["form"],
        "stage": options["stage"],
        "strict": options["strict"] or None,
        "profile": options["profile"],
        "workers": options["workers"],
    }
    configs = [path for path in parsed.paths if path.endswith(CONFIG_SUFFIXES)]
    if len(parsed.paths) == 1 and is_json_config(parsed.paths[0]):
        configs = list(parsed.paths)
    values: dict[str, object] = dict(parsed.values)
    if levels:
        _check_rules(levels)
        given = values.get("rules")
        values["rules"] = {**(given if isinstance(given, dict) else {}), **levels}
    names = option_names()
    if configs:
        if len(parsed.paths) > 1:
            raise UsageFault(
                "give either one configuration file, or data files", hint="data files: prep validate FILE FOLDER"
            )
        check_config_file(configs[0])
        config = load_config(configs[0], values, for_command="validate", options=settings, option_names=names)
        say_notes(config, quiet)
        plans = [make_plan(config, needs_tokens=False)]
        remarks = [f"note: {note}" for note in plans[0].notes]
    elif parsed.paths:
        _check_names(parsed.paths)
        values["dataset"] = ",".join(parsed.paths)
        config = load_config(None, values, for_command="validate", options=settings, option_names=names)
        say_notes(config, quiet)
        plans, remarks = plan_files(parsed.paths, config)
    elif "dataset" in values:
        config = load_config(None, values, for_command="validate", options=settings, option_names=names)
        plans = [make_plan(config, needs_tokens=False)]
        remarks = [f"note: {note}" for note in plans[0].notes]
    else:
        load_config(None, values, options=settings, option_names=names)  # a mistyped word is reported first
        raise UsageFault("name files, folders or globs to check, or a configuration file", hint="prep validate FILE")
    if not quiet and (idle := _without_effect(config, parsed.values)):
        click.echo(f"note: {idle}", err=True)
    profile = plans[0].config.data.profile
    checked = validate(plans, rejects=options["rejects"], remarks=remarks, quiet=quiet)
    report = checked.report
    if options["fix"]:
        from pipeline.runs.validate.repair_files import write_repaired

        report = write_repaired(checked, options["fix"])
    if profile:
        from pipeline.runs.validate.vendor_profile import check_profile

        report = check_profile(replace(checked, report=report), profile)
    how = "json" if options["as_json"] else options["output_format"]
    _print(report, how, quiet=quiet)
    return 1 if report.failed else 0


def _check_names(paths: Sequence[str]) -> None:
    """Raises UsageFault for a word that is neither a file nor a pattern but may be the name of a data set."""
    for word in paths:
        if word == "-":
            raise UsageFault("-: records are not read from a pipe", hint="write them to a file, and name that")
        if not os.path.lexists(word) and not any(mark in word for mark in "*?[./\\:"):
            raise UsageFault(
                f"{word}: no such file or folder{near_file(word, sorted(os.listdir()))}",
                hint=f"a data set of dataset_info.json: prep validate dataset={word} dataset_dir=DIR",
            )


def _check_rules(levels: Mapping[str, str]) -> None:
    """Raises UsageFault for what --error, --warn and --off cannot do."""
    from registry.rules import Policy

    try:
        Policy.make(overrides=levels)
    except UsageFault as fault:
        raise UsageFault([problem.removeprefix("rules: ") for problem in fault.problems], hint=fault.hint) from None


def _without_effect(config: Config, values: Mapping[str, object]) -> str:
    """One line about settings of the command line that need tokens, when none are made; else an empty string."""
    from pipeline.config.keys import keys

    idle = [name for name in values if name in keys() and keys()[name].group in ("encode", "pack") and name != "stage"]
    if config.text("model_name_or_path") is not None or not idle:
        return ""
    return f"{', '.join(idle)}: no effect without model_name_or_path, for no tokens are made to check"


_OPTION = {"error": "errors", "warning": "warnings", "off": "offs"}


def _print(report: Any, how: str, *, quiet: bool) -> None:
    from pipeline.reports import reporter
    from pipeline.reports.model import errors_only
    from pipeline.reports.text import write as write_text
    from stages.core.display import clean

    if how not in ("text", "html") and not quiet:
        for remark in report.remarks:
            click.echo(clean(remark), err=True)
    if how != "text":
        sys.stdout.buffer.write(reporter(how)(report).encode("utf-8"))
        sys.stdout.buffer.flush()
    elif not quiet or report.failed:
        if quiet:
            report = errors_only(report)
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        click.echo(write_text(report, color=color).rstrip("\n"))
