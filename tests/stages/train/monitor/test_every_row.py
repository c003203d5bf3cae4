"""Each row is seen once an epoch by any number of processes, and counts what it would count in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")


def seen(rows: int, at_once: int, processes: int, accumulation: int) -> list[list[list[dict[str, float]]]]:
    """Process -> batch -> rows, dealt out as accelerate deals them."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    from stages.train.monitor.every_row import Layout, PlacedRows, WholeEpoch

    layout = Layout(rows, at_once, processes, accumulation)
    data = PlacedRows([{"row": number} for number in range(rows)], layout)
    batches = BatchSampler(WholeEpoch(SequentialSampler(range(rows)), layout, lambda: 0), at_once, drop_last=False)
    shards = [BatchSamplerShard(batches, processes, number) for number in range(processes)]
    return [[[data[item] for item in batch] for batch in shard] for shard in shards]


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_every_row_once_and_every_batch_of_a_step_alike(
    rows: int, at_once: int, processes: int, accumulation: int
) -> None:
    from stages.train.monitor.every_row import SHARE, take_part

    dealt = seen(rows, at_once, processes, accumulation)
    real = [row["row"] for shard in dealt for batch in shard for row in batch if row.get(SHARE) != 0.0]
    assert sorted(real) == list(range(rows))
    assert len({len(shard) for shard in dealt}) == 1, "or one process waits for ever"
    for first in range(0, len(dealt[0]), accumulation):
        group = [shard[first : first + accumulation] for shard in dealt]
        parts = [take_part(batch)[1] for shard in group for batch in shard]
        shares = [part.share / (len(group[0]) * processes) for part in parts]
        full = [share for share in shares if share]
        assert full == pytest.approx([1 / len(full)] * len(full)), "a step is the mean of its batches"
    for place in range(len(dealt[0])):
        parts = [take_part(shard[place])[1] for shard in dealt]
        assert sum(part.of_round for part in parts) == pytest.approx(processes)
        lengths = {len(take_part(shard[place])[0]) for shard in dealt}
        assert {part.uneven for part in parts} in ({True}, {False}), "all processes gather alike"
        assert len(lengths) == 1 or parts[0].uneven


@given(st.integers(0, 5))
def test_the_order_is_the_seeds_and_the_epochs(epoch: int) -> None:
    from torch.utils.data import RandomSampler

    from stages.train.monitor.every_row import Layout, WholeEpoch, seeded

    def order(processes: int) -> list[int]:
        sampler = WholeEpoch(seeded(RandomSampler(range(23)), 7), Layout(23, 2, processes), lambda: epoch)
        return [row for row, _ in sampler if row >= 0]

    assert order(2) == order(3) == order(4)
    assert sorted(order(2)) == list(range(23))


def test_a_blank_batch_keeps_its_shape_and_loses_its_labels() -> None:
    from stages.train.monitor.every_row import ROUND_SHARE, SHARE, Part, take_part, without_labels

    blank = {"row": 0, SHARE: 0.0, ROUND_SHARE: 0.0}
    assert take_part([blank, blank]) == ([{"row": 0}], Part(0.0, 0.0))
    assert take_part([{"row": 4, SHARE: 1.5}, blank]) == ([{"row": 4}], Part(1.5, 1.0))
    batch = {"labels": torch.tensor([[5, 6]]), "input_ids": torch.tensor([[5, 6]])}
    without_labels(batch)
    assert batch["labels"].tolist() == [[-100, -100]]
    assert batch["input_ids"].tolist() == [[5, 6]]
