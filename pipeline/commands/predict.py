"""`prep predict`: answers of a trained model for the prompts of a data set, and how close they come."""

from __future__ import annotations

import os

import click

from pipeline.runs.train.launch import predict_with

from .options import PASS_ON, config_of, say_notes


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG.yaml] [key=value ...]")
@click.option("-o", "--output", metavar="OUT", help="Folder or URL for the prompts (config key: tokenized_path).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes for packing.")
@click.option("--split", metavar="CHARS", help='Also write answers as nested lists, one separator a level: "。;；".')
@click.option("--dry-run", is_flag=True, help="Print the command that would start, and stop.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The measures (with --dry-run the plan) on stdout, everything else on stderr.",
)
def command(
    arguments: tuple[str, ...],
    output: str | None,
    workers: int | None,
    split: str | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Generate answers for the prompts of eval_dataset, or of dataset.

    Writes generated_predictions.jsonl (prompt, predict, label), predict_results.json and all_results.json to
    output_dir; with the metrics extra BLEU-4 and ROUGE among them.

    \b
      prep predict predict.yaml
      prep predict predict.yaml adapter_name_or_path=saves/sft max_new_tokens=256 --split "。;"
    """
    options = {"tokenized_path": output, "workers": workers, "split": split, "dry_run": dry_run or None}
    config = config_of(arguments, "predict", options)
    speaks = os.environ.get("RANK", "0") == "0"

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    say_notes(config, quiet or not speaks)
    return predict_with(config, say, as_json=as_json, quiet=quiet)
