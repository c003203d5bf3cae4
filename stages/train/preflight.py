"""Proofs before the first step, on the very model that will be trained.

Isolation: a packed row holds examples that must not see each other.

    row        A A A B B        change A: nothing may change in B
    changed    a a a B B

Whether that holds depends on the attention back end, on the kernel behind it and on what the collator passes, and when
it does not, training goes on without an error on contaminated rows. So it is tried.

Output layer: TRL's trainers compute log-probabilities from the last hidden state and the output layer's weight. A model
with code of its own that scales its logits (some MiniCPM versions) would train on other numbers than it answers with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from registry.errors import UsageFault

from .setup import Setup

_DOCUMENT_TOKENS = 12


def prove(setup: Setup, trainer: Any, own: Sequence[tuple[Any, Callable[..., Any]]]) -> None:
    """Both proofs, as far as the run needs them.

    Args:
        setup: The run; takes a note when TRL's output layer had to be replaced.
        trainer: The trainer, ready to train.
        own: The models that TRL patched, each with the forward it had before.

    Raises:
        UsageFault: Packed examples see each other.
    """
    documents = sample_documents(trainer.train_dataset, vocabulary(trainer))
    if setup.zero_stage == 3:
        # the weights are split until the engine runs
        if setup.job.model.trust_remote_code:
            _plain_heads(own)
        if setup.prepared.packed:
            trainer.add_callback(_late_proof(trainer, documents))
        return
    if head_gap(trainer, trainer.model, documents[0]) > tolerance(trainer.model) * 100:
        _plain_heads(own)
        setup.notes.append(
            "this model's logits are not its output layer's alone, so the loss is taken from full logits"
        )
    if setup.prepared.packed:
        check_isolation(trainer, trainer.model, documents)


def sample_documents(rows: Any, ids: int) -> list[list[int]]:
    """Four short token lists from the first rows of the data (made up when the data has too few tokens)."""
    documents: list[list[int]] = []
    for row in rows.select(range(min(4, len(rows)))):
        tokens = row["input_ids"] if "input_ids" in row else row["prompt_ids"]
        start = 0
        for size in row.get("seq_lengths") or [len(tokens)]:
            documents.append(list(tokens[start : start + min(size, _DOCUMENT_TOKENS)]))
            start += size
    documents = [document for document in documents if len(document) >= 4][:4]
    while len(documents) < 4:
        first = len(documents)
        documents.append([(7 * (first + 1) + 3 * step) % min(ids, 997) for step in range(8)])
    return documents


def isolation_gap(
    forward: Callable[[dict[str, Any]], Any], collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
    documents: Sequence[list[int]], ids: int,
) -> float:  # fmt: skip
    """The largest change that another first document makes in the log-probabilities of the other three.

    Args:
        forward: From a collated batch to its per-token log-probabilities (float, [1, tokens - 1]).
        collate: The trainer's collator.
        documents: Four short token lists.
        ids: How many ids the model knows.

    Returns:
        Nats; 0.0 when the examples are isolated.
    """
    a, b, c, d = documents
    changed = [(token + 1) % ids for token in reversed(a)]
    results = []
    for first in (a, changed):
        rows = [
            {"input_ids": [*first, *b], "labels": [*first, *b], "seq_lengths": [len(a), len(b)]},
            {"input_ids": [*c, *d], "labels": [*c, *d], "seq_lengths": [len(c), len(d)]},
        ]
        results.append(forward(collate(rows))[:, len(a) :].float())
    return float((results[0] - results[1]).abs().max())


def check_isolation(trainer: Any, model: Any, documents: Sequence[list[int]]) -> float:
    """Try `isolation_gap` on `model` with the trainer's own collator.

    Returns:
        The gap, in nats.

    Raises:
        UsageFault: The examples see each other.
    """
    gap = isolation_gap(_scorer(trainer, model), trainer.data_collator.inner, documents, vocabulary(trainer))
    if gap > tolerance(model):
        name = getattr(trainer.model.config, "_attn_implementation", "?")
        raise UsageFault(
            f"packed examples see each other in this model with attention {name} "
            f"(changing one moves another's log-probabilities by {gap:.2g})",
            hint="set flash_attn: sdpa (or fa2 on a GPU), or pack with packing: false",
        )
    return gap


def head_gap(trainer: Any, model: Any, document: Sequence[int]) -> float:
    """How far TRL's log-probabilities lie from those of the model's own logits, in nats, at worst."""
    import torch

    ids = torch.tensor([list(document)], device=_device(model))
    fused = _scorer(trainer, model)({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids})
    with _quiet(model), torch.no_grad(), trainer.accelerator.autocast():
        plain = model(input_ids=ids, use_cache=False).logits.float()[:, :-1].log_softmax(-1)
    own = plain.gather(-1, ids[:, 1:, None])[..., 0]
    return float((fused.float() - own).abs().max())


def plain_head(model: Any, own_forward: Callable[..., Any]) -> None:
    """Replace TRL's output layer on `model` by one that reads the model's own logits.

    own_forward: `model.forward` as it was before TRL patched it. Costs the memory of the full logits.
    """
    import functools
    import types

    import torch
    from trl.trainer.utils import FusedCausalLMOutput

    @functools.wraps(type(model).forward)
    def forward(
        self: Any, *given: Any, fused_lm_head: bool = False, labels: Any = None, shift_labels: Any = None,
        num_items_in_batch: Any = None, **keywords: Any,
    ) -> Any:  # fmt: skip
        if not fused_lm_head:
            extra = {"labels": labels, "shift_labels": shift_labels, "num_items_in_batch": num_items_in_batch}
            return own_forward(*given, **keywords, **{k: v for k, v in extra.items() if v is not None})
        keywords["use_cache"] = False
        out = own_forward(*given, **keywords)
        logits = (out.logits[:, :-1] if shift_labels is None else out.logits).float()
        targets = labels[:, 1:] if shift_labels is None else shift_labels
        mask = targets != -100
        logp = logits.log_softmax(-1)
        chosen = logp.gather(-1, targets.clamp(min=0)[..., None])[..., 0].masked_fill(~mask, 0)
        with torch.no_grad():
            probabilities = logp.exp()
            rest = {
                "entropy": -(probabilities * logp).sum(-1).masked_fill(~mask, 0),
                "log_sum_sq_probs": probabilities.square().sum(-1).log().masked_fill(~mask, 0),
                "mean_logits": logits.mean(-1).masked_fill(~mask, 0),
                "is_top1": (logits.argmax(-1) == targets) & mask,
            }
        count = mask.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch
        return FusedCausalLMOutput(
            loss=-chosen.sum() / count,
            log_probs=chosen,
            label_mask=mask,
            aux_loss=getattr(out, "aux_loss", None),
            **rest,
        )

    model.forward = types.MethodType(forward, model)


def _plain_heads(own: Sequence[tuple[Any, Callable[..., Any]]]) -> None:
    for model, forward in own:
        plain_head(model, forward)


def _late_proof(trainer: Any, documents: list[list[int]]) -> Any:
    import transformers

    class Proof(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            check_isolation(trainer, trainer.model_wrapped, documents)

    return Proof()


def _scorer(trainer: Any, model: Any) -> Callable[[dict[str, Any]], Any]:
    import torch

    def score(batch: dict[str, Any]) -> Any:
        placed = {k: v.to(_device(model)) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        with _quiet(model), torch.no_grad(), trainer.accelerator.autocast():
            return model(**placed, use_cache=False, fused_lm_head=True).log_probs

    return score


@contextmanager
def _quiet(model: Any) -> Iterator[None]:
    """Evaluation mode inside, the mode of before after: dropout must not look like contamination."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _device(model: Any) -> Any:
    return next(model.parameters()).device


def vocabulary(trainer: Any) -> int:
    """How many ids the trainer's model knows."""
    return int(trainer.model.get_input_embeddings().num_embeddings)


def tolerance(model: Any) -> float:
    """How far two equal computations may differ, in nats: the same kernels on the same shapes give the same bits, half
    precision gets room for atomics."""
    import torch

    return 1e-5 if next(model.parameters()).dtype == torch.float32 else 2e-2
