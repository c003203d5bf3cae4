"""`prep predict`: answers of a trained model for the prompts of a data set, and how close they come."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import PASS_ON, config_of, say_notes
from .train import Say, launch_job, shards

if TYPE_CHECKING:
    from pipeline.config import Config
    from stages.train.job import TrainJob


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
    return predict_with(config, say, as_json=as_json)


def predict_with(config: Config, say: Say, *, trained: bool = False, as_json: bool = False) -> int:
    """Prepare the prompts, generate, measure; returns the exit code. `trained`: with the model that this run has just
    trained. Raises a Fault."""
    from stages.train.from_config import predict_job_from_config
    from stages.train.model import check_start

    config = _for_prediction(config, trained=trained)
    values = config.public()
    draft = predict_job_from_config(values, Path(), config.given)
    check_start(draft)

    def ready() -> TrainJob:
        return predict_job_from_config(values, shards(config, say, values), config.given)

    code = launch_job(draft, config, say, ready, as_json=as_json)
    if config.flag("dry_run"):
        return code
    results = Path(config.text("output_dir") or "") / "predict_results.json"
    if code == 0 and as_json and results.exists():
        click.echo(json.dumps(json.loads(results.read_text("utf-8")), indent=1, sort_keys=True))
    return code


def _for_prediction(config: Config, *, trained: bool) -> Config:
    """The configuration with prompts for data; after training, with the model that was trained."""
    changed: dict[str, object] = {"do_train": False, "do_predict": True}
    output = config.text("output_dir") or "trainer_output"
    if trained:
        changed["tokenized_path"] = str(Path(output) / "prompts")
        if config.values["finetuning_type"] in ("lora", "oft"):
            changed["adapter_name_or_path"] = [output]
        else:
            changed["model_name_or_path"] = output
    return dataclasses.replace(config, values={**config.values, **changed})
