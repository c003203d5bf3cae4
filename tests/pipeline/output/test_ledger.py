"""The ledger closes: every record and token that was read is in the rows or counted as lost, whatever became of it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.output.ledger import SourceLedger, ledgers, spread, total
from stages.truncate.cut_findings import DROPPED, KEPT, REJECTED


class Table(NamedTuple):
    source: np.ndarray
    tokens_in: np.ndarray
    trained_in: np.ndarray
    tokens: np.ndarray
    trained: np.ndarray
    fate: np.ndarray


def table(*rows: tuple[int, int, int, int, int, int]) -> Table:
    """One example a row: source, tokens and trained tokens before the cut, the same after it, fate."""
    columns = np.array(rows, dtype=np.int32).reshape(-1, 6).T
    return Table(*columns[:5], fate=columns[5].astype(np.uint8))


def order(*places: int) -> dict[str, np.ndarray]:
    return {"train": np.array(places, dtype=np.int64)}


def test_what_a_cut_takes_and_what_is_dropped_is_lost_by_name() -> None:
    made = table((0, 10, 6, 8, 5, KEPT), (0, 90, 40, 90, 40, DROPPED), (0, 4, 2, 4, 2, KEPT))
    (ledger,) = ledgers(made, order(0, 2), [4], [Counter({"role.unknown": 1})])
    assert ledger.problems() == []
    assert ledger.tokens_lost == {"cutoff": 2, "length.dropped": 90}
    assert ledger.trained_tokens_lost == {"cutoff": 1, "length.dropped": 40}
    assert (ledger.tokens_in, ledger.tokens, ledger.examples) == (104, 12, 2)
    assert ledger.dropped == {"length.dropped": 1}


def test_repeats_and_what_was_not_sampled_are_counted() -> None:
    made = table((0, 5, 5, 5, 5, KEPT), (0, 7, 7, 7, 7, KEPT), (1, 9, 9, 9, 9, KEPT))
    first, second = ledgers(made, order(0, 0, 0, 2), [2, 1], [Counter(), Counter()])
    assert (first.examples, first.repeated, first.not_sampled, first.tokens) == (3, 2, 1, 15)
    assert (second.examples, second.repeated, second.not_sampled) == (1, 0, 0)
    assert first.problems() == second.problems() == []


def test_a_record_that_became_several_examples_is_read_once() -> None:
    made = table((0, 5, 5, 5, 5, KEPT), (0, 6, 6, 6, 6, KEPT), (0, 7, 7, 7, 7, KEPT))
    (ledger,) = ledgers(made, order(0, 1, 2), [2], [Counter()], np.array([0, 0, 1]))
    assert (ledger.read, ledger.examples, ledger.repeated) == (2, 3, 1)
    assert ledger.problems() == []


_FATES = st.sampled_from([KEPT, REJECTED, DROPPED])
_LENGTHS = st.integers(0, 20)


@given(st.lists(st.tuples(st.integers(0, 1), _LENGTHS, _LENGTHS, _FATES), max_size=12), st.data())
def test_the_ledger_of_any_run_closes(drawn: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    rows = [(source, before + cut, before + cut, before, before, fate) for source, before, cut, fate in drawn]
    kept = [at for at, row in enumerate(rows) if row[5] == KEPT]
    places = data.draw(st.lists(st.sampled_from(kept), max_size=20)) if kept else []
    read = [sum(row[0] == source for row in rows) for source in (0, 1)]
    rejected = [Counter(cut=sum(row[0] == source and row[5] == REJECTED for row in rows)) for source in (0, 1)]
    made = ledgers(table(*rows), order(*places), read, rejected)
    assert [ledger.problems() for ledger in made] == [[], []]
    assert total(made).problems() == []
    assert total(made).examples == len(places)


@pytest.mark.parametrize("field", ["read", "examples", "tokens", "trained_tokens"])
def test_an_account_that_does_not_add_up_says_which(field: str) -> None:
    made = table((0, 10, 6, 8, 5, KEPT))
    (ledger,) = ledgers(made, order(0), [1], [Counter()])
    setattr(ledger, field, getattr(ledger, field) + 1)
    (problem,) = ledger.problems()
    assert problem.startswith({"tokens": "tokens:", "trained_tokens": "trained:"}.get(field, "records:"))


def test_the_document_is_sorted_so_that_equal_ledgers_are_equal_bytes() -> None:
    ledger = SourceLedger(rejected=Counter({"b": 1, "a": 2}))
    rejected = ledger.as_dict()["rejected"]
    assert isinstance(rejected, dict) and list(rejected) == ["a", "b"]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30))
def test_percentiles_are_values_that_occur_in_rising_order(values: list[int]) -> None:
    found = spread(np.array(values))
    ranks = [found[name] for name in ("min", "p50", "p90", "p95", "p99", "max")]
    assert ranks == sorted(ranks) and set(ranks) <= set(values)
    assert sum(value <= found["p90"] for value in values) >= 0.9 * len(values)
    assert spread(np.array([], dtype=np.int64)) == dict.fromkeys(found, 0)
