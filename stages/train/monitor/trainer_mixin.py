"""What every trainer does beside its method: row numbers through the batch, counts, LoRA+, and no telemetry.

`Watched` goes before a TRL trainer in a class statement; `watch_rows` finishes the instance.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler

from stages.train.data import ROW_COLUMN
from stages.train.job import TrainJob
from stages.train.model.adapter_chain import chain_entries, write_chain
from stages.train.model.adapters import merged_below
from stages.train.model.moved_base import RAW_FOLDER, START_FOLDER, make_ordinary, moves_base
from stages.train.model.permissions import follow_umask
from stages.train.model.router import own_router_settings

from .every_row import Layout, Part, PlacedRows, WholeEpoch, gathering_uneven, seeded, take_part, without_labels
from .loss_spikes import Watch, batch_counts


class RowCollator:
    """The trainer's own collator, with the row numbers of the batch beside its result (key `rows`)."""

    def __init__(self, inner: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.inner = inner

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        examples, part = take_part(examples)
        batch = self.inner(examples)
        batch["rows"] = torch.tensor([example[ROW_COLUMN] for example in examples])
        if part != Part():
            batch["part"] = part
        if not part.share:
            without_labels(batch)
        return batch


class Watched:
    """Mixin for a TRL trainer. Its methods keep the signatures of transformers.Trainer."""

    job: TrainJob
    watch: Watch
    say: Callable[[str], None]
    seen_tokens: int
    seen_trained: int
    chain: list[dict[str, str]]
    own_router: dict[str, Any]
    part = Part()  # of the batch in hand
    whole_evaluations = False  # whether evaluation takes blank batches, too
    _since: float
    _unlogged: tuple[int, int]  # tokens and slots since the last line of the log

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **keywords: Any) -> Any:
        counts = batch_counts(inputs)
        rows = inputs.pop("rows")
        self.part = inputs.pop("part", Part())
        with gathering_uneven(self.accelerator, self.part.uneven):  # type: ignore[attr-defined]
            loss = super().training_step(model, inputs, *rest, **keywords)  # type: ignore[misc]  # the trainer's
        if self.part.share:  # a blank batch has nothing to tell
            self.watch.add(self.state.global_step + 1, rows, loss, counts)  # type: ignore[attr-defined]
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **keywords: Any) -> Any:
        found = super().compute_loss(model, inputs, *rest, **keywords)  # type: ignore[misc]
        weight = self.loss_weight()
        if weight == 1.0 or not self.model.training:  # type: ignore[attr-defined]
            return found
        return (found[0] * weight, *found[1:]) if isinstance(found, tuple) else found * weight

    def _epoch(self) -> int:
        return int((self.state.epoch or 0.0) + 1e-6)  # type: ignore[attr-defined]

    def loss_weight(self) -> float:
        """What this batch's mean loss counts in the step."""
        return self.part.share

    def _get_dataloader(
        self, dataset: Any, description: str, batch_size: int, sampler_fn: Any = None, is_training: bool = False,
        **keywords: Any,
    ) -> Any:  # fmt: skip
        arguments = self.args  # type: ignore[attr-defined]
        if arguments.world_size > 1 and not arguments.dataloader_drop_last and (is_training or self.whole_evaluations):
            accumulation = arguments.gradient_accumulation_steps if is_training else 1
            layout = Layout(len(dataset), batch_size, arguments.world_size, accumulation)
            inner = sampler_fn(dataset) if is_training else SequentialSampler(dataset)
            seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
            sampler = WholeEpoch(seeded(inner, seed), layout, self._epoch)
            dataset, sampler_fn = PlacedRows(dataset, layout), lambda _: sampler
        return super()._get_dataloader(  # type: ignore[misc]
            dataset, description, batch_size, sampler_fn=sampler_fn, is_training=is_training, **keywords
        )

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **keywords: Any) -> Any:
        inputs.pop("rows", None)
        inputs.pop("part", None)
        return super().prediction_step(model, inputs, *rest, **keywords)  # type: ignore[misc]

    def log(self, logs: dict[str, float], *rest: Any, **keywords: Any) -> None:
        if "loss" in logs:
            logs.update(self._pace())
        super().log(logs, *rest, **keywords)  # type: ignore[misc]

    def count(self) -> None:
        """Bring `seen_tokens` and `seen_trained` up to the last step. Every process of a run calls it together."""
        counts, jumps = self.watch.drain()
        for jump in jumps:
            self.say(str(jump))
        mine = torch.tensor([counts.tokens, counts.slots, counts.trained], device=self.args.device)  # type: ignore[attr-defined]
        tokens, slots, trained = self.accelerator.reduce(mine, "sum").tolist()  # type: ignore[attr-defined]
        self.seen_tokens += tokens
        self.seen_trained += trained
        self._unlogged = (self._unlogged[0] + tokens, self._unlogged[1] + slots)

    def _pace(self) -> dict[str, float]:
        self.count()
        (tokens, slots), self._unlogged = self._unlogged, (0, 0)
        now = time.monotonic()
        elapsed_s, self._since = max(now - self._since, 1e-9), now
        return {
            "tokens_per_second": round(tokens / elapsed_s, 1),
            "fill_rate": round(tokens / slots, 4) if slots else 1.0,
            "tokens_seen": self.seen_tokens,
            "trained_tokens_seen": self.seen_trained,
        }

    def create_optimizer(self, *rest: Any) -> Any:
        tuning = self.job.tuning
        if tuning.loraplus_lr_ratio is None or self.optimizer is not None:  # type: ignore[has-type]
            return super().create_optimizer(*rest)  # type: ignore[misc]
        from peft.optimizers import create_loraplus_optimizer

        kind, keywords = self.get_optimizer_cls_and_kwargs(self.args, self.model)  # type: ignore[attr-defined]
        self.optimizer = create_loraplus_optimizer(
            model=self.model,  # type: ignore[attr-defined]
            optimizer_cls=kind,
            lr=keywords.pop("lr"),
            loraplus_lr_ratio=tuning.loraplus_lr_ratio,
            loraplus_lr_embedding=tuning.loraplus_lr_embedding,
            loraplus_weight_decay=self.args.weight_decay,  # type: ignore[attr-defined]
            **keywords,
        )
        return self.optimizer

    def _save(self, output_dir: str | None = None, *rest: Any, **keywords: Any) -> None:
        with own_router_settings(self.accelerator.unwrap_model(self.model), self.own_router):  # type: ignore[attr-defined]
            super()._save(output_dir, *rest, **keywords)  # type: ignore[misc]
        if not self.args.should_save:  # type: ignore[attr-defined]  # only here for the gathering of the weights
            return
        folder = Path(output_dir or self.args.output_dir)  # type: ignore[attr-defined]
        write_chain(folder, self.chain)
        if moves_base(self.job.tuning):
            make_ordinary(folder, Path(self.args.output_dir) / START_FOLDER)  # type: ignore[attr-defined]
        follow_umask(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *rest: Any) -> None:
        # the checkpoint's own adapter is an ordinary LoRA of twice the rank
        super()._load_from_checkpoint(_trained_pair(resume_from_checkpoint), *rest)  # type: ignore[misc]

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint  # type: ignore[attr-defined]
        if best and not self.is_deepspeed_enabled:  # type: ignore[attr-defined]
            self.state.best_model_checkpoint = _trained_pair(best)  # type: ignore[attr-defined]
        super()._load_best_model()  # type: ignore[misc]
        self.state.best_model_checkpoint = best  # type: ignore[attr-defined]

    def _send_telemetry(self) -> None:
        """Nothing: a training run sends nothing anywhere."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing: the output folder says what it is in prep's own files."""


def _trained_pair(checkpoint: str) -> str:
    raw = Path(checkpoint) / RAW_FOLDER
    return str(raw) if raw.is_dir() else checkpoint


def watch_rows(trainer: Any, job: TrainJob, say: Callable[[str], None]) -> Any:
    """Finish a trainer that has `Watched` among its bases; gives it back."""
    trainer.job = job
    trainer.watch = Watch()
    trainer.say = say
    trainer.seen_tokens = trainer.seen_trained = 0
    trainer.own_router = {}
    trainer.chain = chain_entries(merged_below(job), job.model.adapter_folder)
    trainer._since = time.monotonic()
    trainer._unlogged = (0, 0)
    trainer.data_collator = RowCollator(trainer.data_collator)
    return trainer
