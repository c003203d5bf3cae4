"""Every preference method learns from the same shards, full and LoRA, with its loss where its paper has it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from stages.train.job import Preference

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


def entries(output: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (output / "trainer_log.jsonl").read_text().splitlines()]


def losses(output: Path) -> list[float]:
    return [entry["loss"] for entry in entries(output) if "loss" in entry]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("pairs"), "pref", {"train": make.pref(32), "validation": make.pref(4, 1)})  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    splits = {"train": make.unpaired(32), "validation": make.unpaired(4, 1)}
    return make.out(tmp_path_factory.mktemp("singles"), "unpaired", splits)  # type: ignore[no-any-return]


# method, config keys, how far the loss of 16 steps must fall (full, LoRA)
METHODS = [
    ("dpo", {"stage": "dpo"}, (0.5, 0.9)),
    ("ipo", {"stage": "dpo", "pref_loss": "ipo"}, (0.8, 0.98)),
    ("kto", {"stage": "kto"}, (0.8, 0.97)),
    ("rm", {"stage": "rm"}, (0.6, 0.9)),
    ("orpo", {"stage": "dpo", "pref_loss": "orpo"}, (0.85, 0.98)),
    ("simpo", {"stage": "dpo", "pref_loss": "simpo", "pref_beta": 2.0}, (0.9, 0.97)),
]


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize(("name", "keys", "share"), METHODS, ids=[m[0] for m in METHODS])
def test_the_loss_falls(
    name: str, keys: dict[str, Any], share: tuple[float, float], tuning: str, pairs: Path, singles: Path,
    run_job: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import datasets
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("text was tokenized, or the data was mapped, while training")

    for attribute in ("map", "filter"):
        monkeypatch.setattr(datasets.Dataset, attribute, refuse)
    for attribute in ("__call__", "encode", "_encode_plus"):
        monkeypatch.setattr(transformers.PreTrainedTokenizerFast, attribute, refuse)
    full = tuning == "full"
    rate = 2e-3 if full else 1e-2
    run_job(
        singles if name == "kto" else pairs,
        tmp_path,
        **keys,
        finetuning_type=tuning,
        learning_rate=rate,
        max_steps=16,
        per_device_train_batch_size=8,
        do_eval=full,
    )
    seen = losses(tmp_path)
    assert sum(seen[-4:]) < share[0 if full else 1] * sum(seen[:4])
    if full:
        assert math.isfinite(json.loads((tmp_path / "eval_results.json").read_text())["eval_loss"])


def test_kto_measures_a_kl_above_nothing(singles: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(singles, tmp_path, stage="kto", learning_rate=5e-3, max_steps=12, per_device_train_batch_size=8)
    assert max(entry["kl"] for entry in entries(tmp_path) if "kl" in entry) > 0


def test_kto_takes_its_rows_in_a_new_seeded_order_each_epoch(singles: Path, run_job: Run, tmp_path: Path) -> None:
    from stages.train.monitor import loss_spikes as watch

    orders: list[list[int]] = []
    add = watch.Watch.add

    def note(self: Any, step: int, rows: Any, *rest: Any) -> None:
        orders[-1].extend(rows.tolist())
        add(self, step, rows, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.Watch, "add", note)
        for number, keys in enumerate(({}, {}, {"seed": 8}, {"disable_shuffling": True})):
            orders.append([])
            run_job(singles, tmp_path / str(number), stage="kto", max_steps=8, per_device_train_batch_size=8, **keys)
    first, again, other, plain = orders
    assert first == again
    assert first != other
    assert sorted(first[:32]) == sorted(first[32:]) == list(range(32))
    assert first[:32] != first[32:]
    assert plain == list(range(32)) * 2


@given(st.integers(1, 40))
def test_kl_answers_are_never_a_rows_own_and_each_is_used_once(rows: int) -> None:
    from stages.train.methods.kto import exchanged

    partners = exchanged(rows)
    assert sorted(partners) == list(range(rows))
    if rows > 1:
        assert all(partner != row for row, partner in enumerate(partners))


@given(st.integers(1, 12), st.integers(1, 4))
def test_two_half_batches_exchange_as_one_does(segment_pairs: int, processes: int) -> None:
    from stages.train.methods.kto import exchanged

    segment = 2 * segment_pairs
    joined = [process * segment + partner for process in range(processes) for partner in exchanged(segment)]
    assert joined == exchanged(segment * processes)


def test_kto_adds_the_supervised_loss_of_good_answers() -> None:
    import torch

    from stages.train.methods.kto import _supervised

    class Output:
        log_probs = torch.tensor([[0.0, -1.0, -3.0], [-9.0, -9.0, 0.0]])

    inputs = {
        "completion_mask": torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0]]),
        "label": torch.tensor([True, False]),
    }
    assert float(_supervised(Output, inputs)) == pytest.approx(2.0)
    inputs["label"] = torch.tensor([False, False])
    assert float(_supervised(Output, inputs)) == 0.0


def test_the_supervised_part_changes_kto(singles: Path, run_job: Run, tmp_path: Path) -> None:
    for name, weight in (("without", 0.0), ("with", 0.1)):
        run_job(singles, tmp_path / name, stage="kto", max_steps=2, pref_ftx=weight)
    assert losses(tmp_path / "with")[0] > losses(tmp_path / "without")[0] + 0.1


@pytest.mark.parametrize("margin", [-2.0, 0.0, 1.5])
@pytest.mark.parametrize("smoothing", [0.1, 0.3])
def test_smoothed_sigmoid_is_conservative_dpo(margin: float, smoothing: float) -> None:
    from stages.train.methods.dpo import losses as terms

    def minus_log_sigmoid(x: float) -> float:
        return math.log1p(math.exp(-x))

    up, down = minus_log_sigmoid(margin), minus_log_sigmoid(-margin)
    robust = ((1 - smoothing) * up - smoothing * down) / (1 - 2 * smoothing)
    types, weights = terms(Preference(label_smoothing=smoothing))
    ours = sum(weight * {"sigmoid": up, "robust": robust}[kind] for kind, weight in zip(types, weights, strict=True))
    assert ours == pytest.approx((1 - smoothing) * up + smoothing * down)


def test_blended_losses_keep_llama_factorys_weights() -> None:
    from stages.train.methods.dpo import losses as terms

    assert terms(Preference(bco_weight=1.0)) == (["sigmoid"], [0.5])
    assert terms(Preference(loss="hinge", ftx=0.2)) == (["hinge"], [1.0])


def test_a_reward_model_reads_the_prompt(make: Any) -> None:
    from stages.train.methods.rm import JoiningCollator

    batch = JoiningCollator(2)([{"prompt_ids": [5, 6], "chosen_ids": [7], "rejected_ids": [8, 9]}])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 2], [5, 6, 8, 9]]


def test_pairs_are_padded_without_a_label() -> None:
    from stages.train.methods.reference_free import PairCollator

    rows = [
        {"prompt_ids": [5], "chosen_ids": [6], "rejected_ids": [7]},
        {"prompt_ids": [5], "chosen_ids": [6, 6], "rejected_ids": [7]},
    ]
    batch = PairCollator(2)(rows)
    assert batch["chosen_input_ids"].tolist() == [[5, 6, 2], [5, 6, 6]]
    assert batch["chosen_labels"].tolist() == [[-100, 6, -100], [-100, 6, 6]]
    assert batch["chosen_attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["rejected_input_ids"].tolist() == [[5, 7], [5, 7]]


def test_precomputed_reference_gives_the_same_losses_and_leaves_the_shards_alone(
    pairs: Path, run_job: Run, tmp_path: Path
) -> None:
    before = sorted(path.name for path in pairs.rglob("*"))
    run_job(pairs, tmp_path / "a", stage="dpo", max_steps=3)
    run_job(pairs, tmp_path / "b", stage="dpo", max_steps=3, precompute_ref_log_probs=True)
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=1e-5)
    assert sorted(path.name for path in pairs.rglob("*")) == before


def test_a_kto_batch_of_one_is_refused(singles: Path, run_job: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="at least 2"):
        run_job(singles, tmp_path, stage="kto", per_device_train_batch_size=1)


def test_every_field_of_trls_configurations_is_set_by_us() -> None:
    from trl import DPOConfig, KTOConfig, RewardConfig
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig

    from stages.train.methods import dpo, kto, orpo, rm, simpo
    from stages.train.trainer_args import transformers_defaults

    kinds = {
        dpo.config: DPOConfig,
        kto.config: KTOConfig,
        rm.config: RewardConfig,
        orpo.orpo_config: ORPOConfig,
        simpo.simpo_config: CPOConfig,
    }
    for make_config, kind in kinds.items():
        source = inspect.getsource(make_config)
        own = {field.name for field in dataclasses.fields(kind) if field.init} - set(transformers_defaults())
        assert [name for name in sorted(own) if f"{name}=" not in source] == [], kind.__name__


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_adapters_of_the_reference_are_used_without_another_reference(
    tuning: str, pairs: Path, run_job: Run, make: Any, tmp_path: Path
) -> None:
    """The policy starts at the base model, so its first loss is log 2 only when the reference is the base as well."""
    first = make.out(tmp_path / "lm", "lm", {"train": make.lm(8)})
    run_job(first, tmp_path / "a", finetuning_type="lora", learning_rate=5e-2, max_steps=3)
    keys = {"stage": "dpo", "max_steps": 1, "finetuning_type": tuning, "ref_model_adapters": str(tmp_path / "a")}
    run_job(pairs, tmp_path / "run", **keys)
    assert abs(losses(tmp_path / "run")[0] - math.log(2)) > 1e-4


def test_the_head_of_a_reward_model_follows_the_seed(pairs: Path, run_job: Run, tmp_path: Path) -> None:
    import torch

    seen = []
    for number, seed in enumerate((7, 7, 8)):
        torch.manual_seed(number)
        run_job(pairs, tmp_path / str(number), stage="rm", max_steps=1, seed=seed)
        seen.append(losses(tmp_path / str(number))[0])
    assert seen[0] == seen[1] != seen[2]
