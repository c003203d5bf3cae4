"""`prep train`: from shards to a model; packs first when the config names raw data and no up-to-date shards exist."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import click

from pipeline.config import Config
from pipeline.runs.train.launch import Say, predict_with, train_with

from .options import PASS_ON, config_of, say_notes


@click.command(context_settings=PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CONFIG.yaml] [key=value ...]")
@click.option("-o", "--output", metavar="OUT", help="Folder or URL for the shards (config key: tokenized_path).")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes for packing.")
@click.option("--dry-run", is_flag=True, help="Print the command that would start training, and stop.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The metrics (with --dry-run the plan) on stdout, everything else on stderr.",
)
def command(
    arguments: tuple[str, ...], output: str | None, workers: int | None, dry_run: bool, quiet: bool, as_json: bool
) -> int:
    """Train from shards with TRL; packs first when the config names raw data.

    CONFIG.yaml takes LLaMA-Factory's keys; each can be overridden as key=value or --key value. Several devices, NNODES,
    RDZV_ID, DeepSpeed or FORCE_TORCHRUN start one worker a device through torchrun.

    \b
      prep train sft.yaml
      prep train sft.yaml finetuning_type=full learning_rate=1e-5
      NNODES=2 NODE_RANK=0 MASTER_ADDR=node0 prep train sft.yaml deepspeed=z3
    """
    config = config_of(arguments, "train", {"tokenized_path": output, "workers": workers, "dry_run": dry_run or None})
    speaks = os.environ.get("RANK", "0") == "0"

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    say_notes(config, quiet or not speaks)
    if config.flag("do_predict") and not config.flag("do_train"):
        return predict_with(config, say, as_json=as_json, quiet=quiet)
    code = train_with(config, say, as_json=as_json, quiet=quiet or not speaks)
    if code == 0 and not config.flag("dry_run") and speaks:
        code = _after(config, say, as_json=as_json)
    return code


def _after(config: Config, say: Say, *, as_json: bool) -> int:
    """What comes after training: prediction when it is requested, and the metrics on stdout."""
    if config.flag("do_predict"):
        from stages.train.launch.distributed import go_on_alone

        go_on_alone()
        code = predict_with(config, say, trained=True, as_json=False)
        if code:
            return code
    if as_json:
        results = Path(str(config.get("output_dir"))) / "all_results.json"
        metrics: Mapping[str, object] = json.loads(results.read_text("utf-8")) if results.exists() else {}
        click.echo(json.dumps(metrics, indent=1, sort_keys=True))
    return 0
