"""KTO: the answers of its KL term are never a row's own, and its rows come in a new seeded order each epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UsageFault
from tests.support.training import log_entries, losses, unset_fields

pytestmark = pytest.mark.train
pytest.importorskip("trl")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("singles"), "unpaired", {"train": make.unpaired(32)})  # type: ignore[no-any-return]


def test_kto_measures_a_kl_above_nothing(singles: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(singles, tmp_path, stage="kto", learning_rate=5e-3, max_steps=12, per_device_train_batch_size=8)
    assert max(entry["kl"] for entry in log_entries(tmp_path) if "kl" in entry) > 0


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
def test_two_half_batches_exchange_as_one_does(pairs: int, processes: int) -> None:
    from stages.train.methods.kto import exchanged

    half = 2 * pairs
    joined = [process * half + partner for process in range(processes) for partner in exchanged(half)]
    assert joined == exchanged(half * processes)


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


def test_a_kto_batch_of_one_is_refused(singles: Path, run_job: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="at least 2"):
        run_job(singles, tmp_path, stage="kto", per_device_train_batch_size=1)


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl import KTOConfig

    from stages.train.methods import kto

    assert unset_fields(kto.config, KTOConfig) == []
