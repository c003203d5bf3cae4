"""`prep convert`: records of one format into another, with everything that was lost on the way stated."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.runs.convert.types import Conversion, Converted


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1, metavar="FROM→TO IN...")
@click.option("-o", "--output", "out", metavar="OUT", help="The file to write; its ending says what.")
@click.option("--from", "from_id", metavar="FORMAT", help="Format of the input (default: found out).")
@click.option("--to", "to_id", metavar="FORMAT", help="Format of the output.")
@click.option(
    "--columns", multiple=True, metavar="K=V", help="Keys and tags of the output: messages=dialog,user_tag=me."
)
@click.option("--from-columns", multiple=True, metavar="K=V", help="Keys and tags of the input.")
@click.option("--dataset-dir", "--dataset_dir", default="data", metavar="DIR", help="Where dataset_info.json is.")
@click.option("--dataset-info", is_flag=True, help="Add the output to the dataset_info.json beside it.")
@click.option("--report", metavar="FILE", help="Write what was lost, per field and record, as JSON.")
@click.option("--rejects", metavar="DIR", help="Write the raw bytes of every rejected record, and why, to DIR.")
@click.option("--strict", is_flag=True, help="Publish nothing when anything is lost or rejected, and exit 1.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: all cores).")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout, everything else on stderr.")
def command(words: tuple[str, ...], out: str | None, **options: Any) -> int:
    """Convert records from one format to another. OUT: .jsonl, .json, .csv (each also .gz .zst .bz2 .xz), .parquet.

    Each record is converted back on the spot; what does not come back is a stated loss.

    \b
      prep convert sharegpt→alpaca chats.jsonl -o alpaca.json
      prep convert "sharegpt->openai" data/ -o all.jsonl.zst --report lost.json
      prep convert --to openai chats.jsonl -o messages.parquet
      prep convert alpaca:openai big.jsonl -o all.jsonl memory_limit=2GB      or engine=inline, engine=ray
    """
    from pipeline.config import load_config
    from pipeline.jobs.convert import ConvertSpec
    from pipeline.progress import Progress
    from pipeline.runs.convert.run import convert_files
    from pipeline.runs.convert.types import Conversion
    from pipeline.runs.convert.words import USAGE, field_changes, find_sources, read_words, take_settings
    from registry.datasets.entry_writer import entry_name, merged_info
    from registry.errors import UsageFault
    from stages.convert.converter import Converter
    from stages.core.records import Limits
    from stages.formats.table import FORMATS

    def say(line: str) -> None:
        if not options["quiet"]:
            click.echo(line, err=True)

    named, settings = take_settings(words)
    config = load_config(None, settings, options={"workers": options["workers"]})
    requested = read_words(named, options["from_id"], options["to_id"])
    if out is None:
        raise UsageFault("where to write is not given: -o OUT", hint=USAGE)
    changes = field_changes(options["columns"], "--columns")
    sources = find_sources(
        requested, options["dataset_dir"], Limits(), field_changes(options["from_columns"], "--from-columns")
    )
    to_fields = replace(FORMATS[requested.to_id].default_fields, **changes)
    Converter(
        sources.format, sources.fields, requested.to_id, to_fields
    )  # what cannot work is reported before anything is read
    for remark in sources.remarks:
        say(f"note: {remark}")
    conversion = Conversion(
        files=sources.files,
        spec=ConvertSpec(sources.format, sources.fields, requested.to_id, to_fields),
        out=Path(out),
        config=config,
        strict=options["strict"],
        report=Path(options["report"]) if options["report"] else None,
        rejects=Path(options["rejects"]) if options["rejects"] else None,
        tables=sources.tables,
    )
    if options["dataset_info"]:  # it is refused now, or not at all
        table, _ = merged_info(os.path.dirname(out), entry_name(out), {"file_name": os.path.basename(out)})
        conversion = replace(conversion, tables=(*sources.tables, table))
    size = sum(os.path.getsize(path) for path in sources.files if os.path.exists(path))
    with Progress(quiet=options["quiet"], total_bytes=size) as progress:
        done = convert_files(conversion, progress)
    if options["dataset_info"] and done.published:
        say(f"note: {_write_entry(conversion, done)} describes the output")
    return _close(conversion, done, quiet=options["quiet"], as_json=options["as_json"])


def _write_entry(requested: Conversion, done: Converted) -> str:
    from registry.datasets.entry_writer import entry_name, entry_of, merged_info
    from stages.core.atomic_io import write_whole
    from stages.formats.table import FORMATS

    form = FORMATS[requested.spec.to_id]
    entry = entry_of(
        form.family, requested.spec.to_fields, form.kind, requested.out.name, done.keys.keys(), calls=done.has_calls
    )
    path, content = merged_info(str(requested.out.parent), entry_name(requested.out.name), entry)
    write_whole(path, content)
    return path


def _close(requested: Conversion, done: Converted, *, quiet: bool, as_json: bool) -> int:
    """Says what came of it; returns the exit code."""
    from pipeline.runs.convert.report import document, summary

    if done.found.findings and (not quiet or done.errors):
        click.echo(_findings(done), err=True)
    if as_json:
        click.echo(json.dumps(document(done, requested), ensure_ascii=False))
    elif not quiet:
        click.echo(summary(done, requested))
    if not done.published:
        click.echo(f"prep: {requested.out}: not written: {_why(requested, done)}", err=True)
        return 1
    return 1 if done.errors else 0


def _why(requested: Conversion, done: Converted) -> str:
    if not done.read:
        return "there are no records in the input"
    if not done.written:
        return "no record could be converted"
    return (
        "--strict, and something was lost" if requested.strict and not done.errors else "--strict, and there are errors"
    )


def _findings(done: Converted) -> str:
    from pipeline.reports.model import InputReport, make_report
    from pipeline.reports.text import write

    inputs = [
        InputReport(
            item.path, item.info.sha256 if item.info else "", item.info.bytes if item.info else 0, "", item.read,
            item.written, item.rejected,
        )
        for item in done.files
    ]  # fmt: skip
    return write(make_report(inputs, done.found.counts, done.found.findings)).rstrip("\n")
