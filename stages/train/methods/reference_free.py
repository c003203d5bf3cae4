"""What TRL's two reference-free trainers (ORPO, SimPO) share: rows, batches and how they are built.

They map their data set three times and tokenize it; a data set whose `map` gives itself back keeps them from both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import Parts


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is not followed
    """Map-style rows that cannot be mapped: `map` returns the rows."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]

    def map(self, *_: Any, **__: Any) -> Rows:
        """The rows themselves: they are tokenized already."""
        return self


class PairCollator:
    """prompt_ids, chosen_ids, rejected_ids -> `chosen_*` and `rejected_*` input_ids, attention_mask, labels (rows x
    longest, the prompt without a label)."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad = pad_token_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            prompts = [example["prompt_ids"] for example in examples]
            answers = [example[f"{side}_ids"] for example in examples]
            wide = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
            ids, mask, labels = [], [], []
            for prompt, answer in zip(prompts, answers, strict=True):
                used = len(prompt) + len(answer)
                rest = wide - used
                ids.append([*prompt, *answer, *([self.pad] * rest)])
                mask.append([1] * used + [0] * rest)
                labels.append([-100] * len(prompt) + [*answer] + [-100] * rest)
            batch[f"{side}_input_ids"] = torch.tensor(ids)
            batch[f"{side}_attention_mask"] = torch.tensor(mask)
            batch[f"{side}_labels"] = torch.tensor(labels)
        return batch


def mapped(rows: Any) -> Any:
    """`Rows` around a data set, or around each of a mapping of them (evaluation sets), or None."""
    if rows is None:
        return None
    if isinstance(rows, dict):
        return _Each({name: Rows(part) for name, part in rows.items()})
    return Rows(rows)


class _Each(dict[str, Any]):
    """A mapping of rows with the `map` that TRL calls on it."""

    def map(self, *_: Any, **__: Any) -> _Each:
        return self


def paired(trainer_class: Callable[..., Any], config: Any, parts: Parts) -> Any:
    """A trainer over pairs that needs no reference, ready to train. config: the trainer's own, every field set."""
    trainer = trainer_class(
        model=parts.model,
        args=config,
        data_collator=PairCollator(parts.tokenizer.pad_token_id),
        train_dataset=mapped(parts.train),
        eval_dataset=mapped(parts.evaluation),
        processing_class=parts.tokenizer,
        peft_config=parts.peft,
        callbacks=list(parts.callbacks),
    )
    trainer.use_dpo_data_collator = True  # ours gives the same keys; the trainer warns about any other
    return trainer
