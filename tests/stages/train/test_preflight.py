"""Contaminated packing and a changed output layer are found on the model itself, before the first step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.errors import UsageFault

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
pytest.importorskip("trl")

DOCUMENTS = [[20, 21, 22, 23], [30, 31, 32, 33, 34], [40, 41, 42, 43], [50, 51, 52, 53]]


def trainer_around(model: Any, collator: Any) -> Any:
    from contextlib import nullcontext

    return SimpleNamespace(
        model=model,
        data_collator=SimpleNamespace(inner=collator),
        accelerator=SimpleNamespace(autocast=nullcontext),
    )


def patched(tiny_model: Path, **keys: Any) -> tuple[Any, Any]:
    import transformers
    from trl.trainer.utils import add_fused_lm_head

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model, **keys)
    own = model.forward
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1", "mean_logits", "log_sum_sq_probs"))
    return model, own


def collator(**keys: Any) -> Any:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=2, **keys)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_flattened_rows_are_isolated(attention: str, tiny_model: Path) -> None:
    from stages.train.preflight import check_isolation

    model, _ = patched(tiny_model, attn_implementation=attention)
    assert check_isolation(trainer_around(model, collator(padding_free=True)), model, DOCUMENTS) == 0.0


class Forgetful:
    """A collator that flattens rows and forgets where examples begin."""

    def __init__(self) -> None:
        self.inner = collator(padding_free=True)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        return {"input_ids": batch["input_ids"], "labels": batch["labels"]}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_contamination_is_refused(attention: str, tiny_model: Path) -> None:
    from stages.train.preflight import check_isolation

    model, _ = patched(tiny_model, attn_implementation=attention)
    with pytest.raises(UsageFault, match="see each other") as caught:
        check_isolation(trainer_around(model, Forgetful()), model, DOCUMENTS)
    assert "packing: false" in caught.value.hint


def test_the_proof_leaves_the_model_as_it_was(tiny_model: Path) -> None:
    from stages.train.preflight import check_isolation

    model, _ = patched(tiny_model)
    model.train()
    check_isolation(trainer_around(model, collator(padding_free=True)), model, DOCUMENTS)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_scales_its_logits_is_found_and_fixed(tiny_model: Path) -> None:
    """As MiniCPM's own code does; TRL's output layer knows nothing of it."""
    import transformers
    from trl.trainer.utils import add_fused_lm_head

    from stages.train.preflight import head_gap, plain_head, tolerance

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    inner = model.forward

    def scaled(*given: Any, **keywords: Any) -> Any:
        out = inner(*given, **keywords)
        out.logits = out.logits * 3.0
        return out

    model.forward = scaled
    add_fused_lm_head(model)
    trainer = trainer_around(model, collator())
    assert head_gap(trainer, model, DOCUMENTS[0]) > 100 * tolerance(model)
    plain_head(model, scaled)
    assert head_gap(trainer, model, DOCUMENTS[0]) < tolerance(model)


def test_the_plain_output_layer_gives_what_trls_gives(tiny_model: Path) -> None:
    from stages.train.preflight import plain_head

    model, own = patched(tiny_model)
    ids = torch.tensor([[20, 21, 22, 23, 2, 2]])
    labels = torch.tensor([[-100, 21, 22, 23, -100, -100]])
    call = {"input_ids": ids, "attention_mask": (ids != 2).long(), "labels": labels, "fused_lm_head": True}
    fused = model(**call)
    plain_head(model, own)
    plain = model(**call)
    for name in ("loss", "log_probs", "entropy", "mean_logits", "log_sum_sq_probs"):
        scored = plain.label_mask if getattr(plain, name).dim() else ...
        assert torch.allclose(getattr(plain, name)[scored], getattr(fused, name)[scored], atol=1e-5), name
    assert plain.is_top1.equal(fused.is_top1)
    assert plain.label_mask.equal(fused.label_mask)
    plain.loss.backward()
    assert model.lm_head.weight.grad.abs().sum() > 0
    assert torch.allclose(model(input_ids=ids).logits, own(input_ids=ids).logits)


def test_documents_come_from_the_data_and_are_made_up_where_it_is_short() -> None:
    import datasets

    from stages.train.preflight import sample_documents

    rows = datasets.Dataset.from_dict({"input_ids": [[5, 6, 7, 8, 9, 10, 11]], "seq_lengths": [[4, 3]]})
    documents = sample_documents(rows, 1000)
    assert documents[0] == [5, 6, 7, 8]
    assert len(documents) == 4
    assert all(len(document) >= 4 and max(document) < 1000 for document in documents)
