"""`prep stats`: lengths, trained tokens, and what each cutoff would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .common import PASS_ON, as_json

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
    from pipeline.cutoffs import CUTOFFS
    from pipeline.history import load_history
    from pipeline.lengths import Pace, statistics
    from pipeline.statstext import stats_text
    from pipeline.target import opened

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    with opened(target, say, command) as found:
        pace = None
        if tokens_per_s is not None:
            rows, passes = _schedule(found.config)
            pace = Pace(tokens_per_s, gpus, epochs or passes, batch or (rows * gpus if found.config else 1))
        document = statistics(load_history(found.shards), pace=pace, cutoffs=cutoffs or CUTOFFS)
        if wanted_json:
            click.echo(as_json({"target": found.name} | document))
        else:
            click.echo(stats_text(document, found.name))
    return 0


def _schedule(config: Config | None) -> tuple[int, float]:
    """Rows of one step on one device, and passes over the data; one of each where no configuration says."""
    if config is None:
        return 1, 1.0
    batch, steps = (config.whole(key) for key in ("per_device_train_batch_size", "gradient_accumulation_steps"))
    passes = config.get("num_train_epochs")
    assert batch is not None and steps is not None and isinstance(passes, (int, float))
    return batch * steps, float(passes)
