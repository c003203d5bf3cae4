"""`prep pack`: from raw records to shards."""

from __future__ import annotations

import sys

import click

from .options import PASS_ON, config_of, say_notes


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG.yaml] [key=value ...]")
@click.option("-o", "--output", metavar="OUT", help="Folder or URL for the shards (config key: tokenized_path).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: all cores).")
@click.option("--no-cache", is_flag=True, help="Leave no cache in the output folder.")
@click.option("--strict", is_flag=True, help="Treat every warning as an error.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The manifest on stdout, everything else on stderr.")
def command(
    arguments: tuple[str, ...],
    output: str | None,
    workers: int | None,
    no_cache: bool,
    strict: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Validate, render, tokenize, truncate, pack and write shards.

    CONFIG.yaml takes LLaMA-Factory's keys; each can be overridden as key=value or --key value.

    \b
      prep pack sft.yaml
      prep pack sft.yaml cutoff_len=8192 packing=true -o prepared/long
      prep pack --dataset chats.jsonl --model_name_or_path ./Qwen3-8B --template qwen3
    """
    from pipeline.output.manifest import dump
    from pipeline.progress import Progress
    from pipeline.runs.pack.run import prepare_output
    from pipeline.runs.pack.summary import pack_summary, rejected_too_many

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    config = config_of(arguments, "pack", {"tokenized_path": output, "workers": workers, "strict": strict or None})
    say_notes(config, quiet)
    with Progress(quiet=quiet) as progress:
        outcome = prepare_output(config, say, keep_cache=not no_cache, progress=progress)
    for note in outcome.plan.notes if outcome.plan and outcome.state == "written" else ():
        say(f"note: {note}")
    if as_json:
        sys.stdout.buffer.write(dump(outcome.manifest))
    elif not quiet:
        click.echo(pack_summary(outcome))
    over = rejected_too_many(config, outcome.manifest)
    if over:
        click.echo(f"prep: {over}", err=True)
        click.echo(f"  the output was written without them; they are in {outcome.shown}/rejects", err=True)
        return 1
    return 0
