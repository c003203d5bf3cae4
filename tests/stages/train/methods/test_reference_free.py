"""Rows and batches of the reference-free trainers: no pass over the data, and a prompt that carries no label."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.train
pytest.importorskip("torch")


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


ids = st.lists(st.integers(3, 9), min_size=1, max_size=5)


@settings(max_examples=30)
@given(st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=4))
def test_each_side_of_a_batch_reads_back_as_its_rows(rows: list[tuple[list[int], list[int], list[int]]]) -> None:
    from stages.train.methods.reference_free import PairCollator

    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    batch = PairCollator(2)([dict(zip(names, row, strict=True)) for row in rows])
    for place, side in ((1, "chosen"), (2, "rejected")):
        for number, row in enumerate(rows):
            kept = batch[f"{side}_attention_mask"][number].bool()
            assert batch[f"{side}_input_ids"][number][kept].tolist() == row[0] + row[place]
            labels = batch[f"{side}_labels"][number]
            assert labels[labels != -100].tolist() == row[place]
            assert labels[: len(row[0])].tolist() == [-100] * len(row[0])


def test_mapping_the_rows_leaves_them_as_they_are() -> None:
    from stages.train.methods.reference_free import mapped

    rows = mapped([{"a": 1}, {"a": 2}])
    assert rows.map(lambda row: 1 / 0, batched=True) is rows
    assert (len(rows), rows[1]) == (2, {"a": 2})
    both = mapped({"x": [1], "y": [2, 3]})
    assert {name: len(part) for name, part in both.map(print).items()} == {"x": 1, "y": 2}
    assert mapped(None) is None


def test_a_row_without_an_answer_is_an_error() -> None:
    from stages.train.methods.reference_free import PairCollator

    with pytest.raises(KeyError, match="rejected_ids"):
        PairCollator(2)([{"prompt_ids": [5], "chosen_ids": [6]}])
