"""LLaMA-Factory's preference losses, each against its formula in a loop of plain torch, one sequence at a time."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.train

Run = Callable[..., tuple[dict[str, Any], list[str]]]
STEPS, RATE, BETA = 3, 0.02, 0.1


@pytest.fixture(scope="module")
def pairs(make: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = make.pref(12, 5)
    for number, row in enumerate(rows):  # answers of different lengths, or a mean over tokens is one over answers
        row["chosen_ids"] = row["chosen_ids"] + row["chosen_ids"][: number % 4]
        row["rejected_ids"] = row["rejected_ids"][: 2 + number % 3]
    return rows


def answer(model: Any, prompt: list[int], ids: list[int]) -> Any:
    """Log-probabilities of an answer's tokens."""
    tokens = torch.tensor([prompt + ids])
    logits = model(input_ids=tokens, use_cache=False).logits[0].double().log_softmax(-1)
    return logits[:-1].gather(1, tokens[0, 1:, None])[len(prompt) - 1 :, 0]


def reference_loop(folder: Path, rows: list[dict[str, Any]], micro: int, accumulation: int, loss: Any) -> Any:
    """Losses of the steps and the weights after them."""
    policy = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    frozen = copy.deepcopy(policy).requires_grad_(False)
    optimizer = torch.optim.SGD(policy.parameters(), lr=RATE)
    losses, place = [], 0
    for _ in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(accumulation):
            batch = rows[place : place + micro]
            place += micro
            sides = [
                [[answer(model, r["prompt_ids"], r[side]) for r in batch] for side in ("chosen_ids", "rejected_ids")]
                for model in (policy, frozen)
            ]
            value = loss(*sides[0], *sides[1]) / accumulation
            value.backward()
            total += value.item()
        optimizer.step()
        losses.append(total)
    return losses, policy.state_dict()


def margins(chosen: Any, rejected: Any, old_chosen: Any, old_rejected: Any) -> tuple[Any, Any]:
    new = [torch.stack([each.sum() for each in side]) for side in (chosen, rejected)]
    old = [torch.stack([each.sum() for each in side]) for side in (old_chosen, old_rejected)]
    return BETA * (new[0] - old[0]), BETA * (new[1] - old[1])


def means(side: Any) -> Any:
    return torch.stack([each.mean() for each in side])


def sigmoid_with_ftx(c: Any, r: Any, oc: Any, orj: Any) -> Any:
    good, bad = margins(c, r, oc, orj)
    return (-torch.nn.functional.logsigmoid(good - bad) - 0.5 * means(c)).mean()


def with_bco() -> Any:
    seen: list[float] = []

    def loss(c: Any, r: Any, oc: Any, orj: Any) -> Any:
        good, bad = margins(c, r, oc, orj)
        seen.append(torch.cat([good, bad]).mean().item())
        shift = sum(seen) / len(seen)
        log = torch.nn.functional.logsigmoid
        return ((-log(good - bad) + 2.0 * (-log(good - shift) - log(shift - bad))) / 3.0).mean()

    return loss


def orpo(c: Any, r: Any, *_: Any) -> Any:
    good, bad = means(c), means(r)
    odds = (good - bad) - (torch.log1p(-good.exp()) - torch.log1p(-bad.exp()))
    return (-good - BETA * torch.nn.functional.logsigmoid(odds)).mean()


def simpo_with_ftx(c: Any, r: Any, *_: Any) -> Any:
    good, bad = means(c), means(r)
    return (-torch.nn.functional.logsigmoid(BETA * (good - bad - 0.5 / BETA)) - 0.5 * good).mean()


CASES: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "sigmoid and pref_ftx": ({"pref_ftx": 0.5}, lambda: sigmoid_with_ftx),
    "sigmoid and pref_bco_weight": ({"pref_bco_weight": 2.0}, with_bco),
    "orpo": ({"pref_loss": "orpo"}, lambda: orpo),
    "simpo and pref_ftx": ({"pref_loss": "simpo", "pref_ftx": 0.5}, lambda: simpo_with_ftx),
}


@pytest.mark.parametrize(("micro", "accumulation"), [pytest.param(4, 1, marks=pytest.mark.slow), (2, 2)])
@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_the_formula(
    name: str, micro: int, accumulation: int, pairs: Any, make: Any, run_job: Run, tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    keys, loss = CASES[name]
    out = make.out(tmp_path / "out", "pref", {"train": pairs})
    run_job(
        out, tmp_path / "run", stage="dpo", pref_beta=BETA, **keys, learning_rate=RATE, max_steps=STEPS, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0, disable_shuffling=True, per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    expected, weights = reference_loop(tiny_model, pairs, micro, accumulation, loss())
    log = (tmp_path / "run" / "trainer_log.jsonl").read_text().splitlines()
    assert [json.loads(text)["loss"] for text in log] == pytest.approx(expected, abs=1e-5)
    trained = load_file(tmp_path / "run" / "model.safetensors")
    assert max(float((weights[name] - tensor).abs().max()) for name, tensor in trained.items()) < 1e-5


def test_the_running_mean_of_rewards_goes_on_after_a_resume(
    pairs: Any, make: Any, run_job: Run, tmp_path: Path
) -> None:
    import shutil

    out = make.out(tmp_path / "out", "pref", {"train": pairs})
    keys = {"stage": "dpo", "pref_bco_weight": 2.0, "finetuning_type": "lora", "learning_rate": 0.02}
    keys |= {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    run_job(out, tmp_path / "whole", **keys)
    (tmp_path / "rest").mkdir()
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "rest" / "checkpoint-2")
    run_job(out, tmp_path / "rest", **keys)
    ends = [
        [json.loads(text)["loss"] for text in (tmp_path / name / "trainer_log.jsonl").read_text().splitlines()][-2:]
        for name in ("whole", "rest")
    ]
    assert ends[0] == ends[1]
