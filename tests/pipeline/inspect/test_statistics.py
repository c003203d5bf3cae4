"""The figures of `prep stats`: they add up to the ledger, and steps and hours follow from a measured speed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pipeline.inspect.cutoff_costs import cost
from pipeline.inspect.history import History, load_history
from pipeline.inspect.open_target import open_shards
from pipeline.inspect.statistics import Pace, estimate, statistics
from registry.errors import UsageFault
from stages.truncate import CutOptions
from tests.support.packed_outputs import demo_output


def history(segments: list[int], *, cutoff: int = 16, turns: int = 1) -> History:
    """Examples of one source, unpacked: prompt and answer of each turn in tokens."""
    counts = np.full(len(segments) // (2 * turns), 2 * turns, dtype=np.int32)
    ledger = {"read": len(counts), "rejected": {}, "examples": len(counts), "tokens": 0, "trained_tokens": 0}
    manifest: dict[str, Any] = {
        "kind": "lm", "stage": "sft", "packed": False, "cutoff_len": cutoff, "compat": "prep",
        "options": {"packing_strategy": "bestfit", "rules": {}}, "cut": {"overlong": "truncate"},
        "ledger": ledger | {"sources": {"a": ledger}}, "splits": {},
    }  # fmt: skip
    return History(
        manifest=manifest,
        cut=CutOptions("lm", cutoff),
        names=["a"],
        read=[len(counts)],
        rejected=[Counter()],
        segments=np.array(segments, dtype=np.int32),
        trained=np.tile(np.array([0, 1], dtype=np.uint8), len(segments) // 2),
        counts=counts,
        source=np.zeros(len(counts), dtype=np.int32),
        orders={"train": np.arange(len(counts), dtype=np.int64)},
    )


def test_figures_of_two_known_examples() -> None:
    """3 + 5 tokens, and 1 + 1: sums, percentiles and the bins of the histograms."""
    found = statistics(history([3, 5, 1, 1]), cutoffs=[16])
    assert found["all"]["turns"] == 2
    assert (found["all"]["tokens_of_an_example"]["min"], found["all"]["tokens_of_an_example"]["max"]) == (2, 8)
    assert found["all"]["trained_of_an_example"]["max"] == 5
    assert found["halves"]["prompt"] | {"lengths": {}} == {
        "count": 2, "tokens": 4, "kept_tokens": 4, "masked": 2, "lengths": {},
    }  # fmt: skip
    assert found["histograms"]["tokens"] == [[2, 4, 1], [4, 8, 0], [8, 16, 1]]
    assert found["histograms"]["turns"] == [[1, 2, 2]]
    assert found["estimate"] is None


def test_lengths_are_those_before_the_cut() -> None:
    """What the limit takes shows in `kept_tokens` alone."""
    found = statistics(history([3, 50], cutoff=16), cutoffs=[])
    assert found["all"]["tokens_of_an_example"]["max"] == 53
    assert found["halves"]["answer"]["tokens"] == 50
    assert sum(one["kept_tokens"] for one in found["halves"].values()) == 16


def test_sources_add_up_to_the_whole() -> None:
    shards = open_shards(str(demo_output("cutoff_len=72")))
    found = statistics(load_history(shards), cutoffs=[])
    sources = found["sources"].values()
    for key in ("examples", "tokens", "trained_tokens"):
        assert sum(one[key] for one in sources) == found["ledger"][key]
    assert sum(one["turns"] for one in sources) == found["all"]["turns"]
    for _, end, count in found["histograms"]["tokens"]:
        assert count == sum(row[2] for one in sources for row in one["histogram"] if row[1] == end)


@pytest.mark.parametrize(("batch_rows", "epochs"), [(1, 1.0), (2, 1.0), (3, 2.5)])
def test_steps_and_hours_follow_from_the_speed(batch_rows: int, epochs: float) -> None:
    """Doubling the GPUs halves the hours and leaves the GPU-hours; the last step of an epoch may be short."""
    one = history([3, 5, 1, 1, 2, 2, 4, 4, 9, 9])
    table = [cost(one, 64)]
    (slow,), (fast,) = (
        estimate(table, 64, Pace(0.01, gpus=gpus, epochs=epochs, batch_rows=batch_rows), one.manifest)
        for gpus in (1, 2)
    )
    assert slow["steps"] == math.ceil(-(-5 // batch_rows) * epochs)
    assert slow["tokens"] == int(40 * epochs)
    assert slow["hours"] == pytest.approx(40 * epochs / 0.01 / 3600, abs=1e-4)
    assert (slow["hours"], slow["gpu_hours"]) == pytest.approx((2 * fast["hours"], fast["gpu_hours"]), abs=2e-4)
    assert slow["gpu_hours"] == slow["hours"]


def test_without_a_cutoff_table_the_estimate_is_of_the_output_as_it_is() -> None:
    """`overlong: split` has no table; an output without a training split has no estimate."""
    manifest = {"splits": {"train": {"rows": 7, "tokens": 3600}}}
    (only,) = estimate([], 512, Pace(1.0), manifest)
    assert (only["cutoff_len"], only["steps"], only["hours"]) == (512, 7, 1.0)
    assert estimate([], 512, Pace(1.0), {"splits": {}}) == []


def test_no_example_left_has_figures_too() -> None:
    found = statistics(history([]), cutoffs=[])
    assert found["all"]["turns"] == 0
    assert found["histograms"] == {"tokens": [], "trained_tokens": [], "turns": []}


def test_an_output_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UsageFault):
        load_history(open_shards("/nowhere"))
