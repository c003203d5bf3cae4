"""`prep stats`: lengths, trained tokens, and what each cutoff would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from stages.core.findings import as_json

from .options import PASS_ON

if TYPE_CHECKING:
    from pipeline.config import Config


@click.command("stats", context_settings=PASS_ON)
@click.argument("target", nargs=-1, type=click.UNPROCESSED, metavar="OUT | CONFIG.yaml [key=value ...]")
@click.option("--tokens-per-s", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Measured training speed of one GPU: adds steps and GPU-hours.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(min=1), default=1, show_default=True, help="GPUs that train.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), default=None, metavar="N",
              help="Passes over the data (default: num_train_epochs of CONFIG, else 1).")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=None, metavar="ROWS",
              help="Rows of one optimizer step over all GPUs (default: from CONFIG, else 1).")  # fmt: skip
@click.option("--cutoff", "cutoffs", type=click.IntRange(min=2), multiple=True, metavar="N",
              help="A cutoff_len to cost, instead of 512 to 131072; may be given several times.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No notes.")
@click.option("--json", "wanted_json", is_flag=True, help="The figures as JSON on stdout.")
def command(
    target: tuple[str, ...],
    tokens_per_s: float | None,
    gpus: int,
    epochs: float | None,
    batch: int | None,
    cutoffs: tuple[int, ...],
    quiet: bool,
    wanted_json: bool,
) -> int:
    """Show lengths, trained tokens, and what each cutoff_len would cost.

    TARGET is an output of `prep pack`, or a configuration, which is prepared into a temporary folder.

    \b
      prep stats prepared/chats-sft
      prep stats sft.yaml cutoff_len=8192
      prep stats prepared/chats-sft --tokens-per-s 3200 --gpus 8 --epochs 3 --batch 64
    """
    from pipeline.inspect.cutoff_costs import CUTOFFS
    from pipeline.inspect.history import load_history
    from pipeline.inspect.open_target import opened
    from pipeline.inspect.statistics import Pace, statistics
    from pipeline.inspect.statistics_text import stats_text

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    with opened(target, say, command) as found:
        pace = None
        if tokens_per_s is not None:
            epochs_set, batch_set = _of_config(found.config, gpus)
            pace = Pace(tokens_per_s, gpus, epochs or epochs_set, batch or batch_set)
        document = statistics(load_history(found.shards), pace=pace, cutoffs=cutoffs or CUTOFFS)
        if wanted_json:
            click.echo(as_json({"target": found.name} | document))
        else:
            click.echo(stats_text(document, found.name))
    return 0


def _of_config(config: Config | None, gpus: int) -> tuple[float, int]:
    """Passes over the data and rows of a step as the configuration has them; one of each without one."""
    if config is None:
        return 1.0, 1
    epochs = config.number("num_train_epochs")
    rows, steps = config.whole("per_device_train_batch_size"), config.whole("gradient_accumulation_steps")
    assert epochs is not None and rows is not None and steps is not None
    return epochs if epochs > 0 else 1.0, rows * steps * gpus
