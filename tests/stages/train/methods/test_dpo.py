"""DPO and its relatives: LLaMA-Factory's losses in TRL's terms, and a reference that costs the shards nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.job import Preference
from tests.support.training import losses, unset_fields

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


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


def test_precomputed_reference_gives_the_same_losses_and_leaves_the_shards_alone(
    make: Any, run_job: Run, tmp_path: Path
) -> None:
    pairs = make.out(tmp_path / "pairs", "pref", {"train": make.pref(12)})
    before = sorted(path.name for path in pairs.rglob("*"))
    run_job(pairs, tmp_path / "a", stage="dpo", max_steps=3)
    run_job(pairs, tmp_path / "b", stage="dpo", max_steps=3, precompute_ref_log_probs=True)
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), abs=1e-5)
    assert sorted(path.name for path in pairs.rglob("*")) == before


def test_an_unknown_loss_is_an_error_and_not_the_usual_one(make: Any, run_job: Run, tmp_path: Path) -> None:
    pairs = make.out(tmp_path / "pairs", "pref", {"train": make.pref(4)})
    with pytest.raises(UsageFault, match="pref_loss"):
        run_job(pairs, tmp_path / "o", stage="dpo", pref_loss="sigmoidal")


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl import DPOConfig

    from stages.train.methods import dpo

    assert unset_fields(dpo.config, DPOConfig) == []
