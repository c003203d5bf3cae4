"""A stored row as examples, stretches and tokens: what is shown is what is stored."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.inspect.open_target import open_shards
from pipeline.inspect.row_view import Viewer
from pipeline.output.shards import IGNORE, Shards
from registry.errors import UsageFault
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support.packed_outputs import TINY, demo_output

TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))


@pytest.fixture(scope="module")
def shards() -> Shards:
    return open_shards(str(demo_output("cutoff_len=100")))


def test_stretches_joined_are_the_row(shards: Shards) -> None:
    """Ids and labels in order without a gap; a stretch has one mask, and its neighbour another mask or segment."""
    viewer = Viewer(shards, TEXTS)
    for number in range(shards.rows("train")):
        row, view = shards.row("train", number), viewer.view("train", number)
        stretches = [stretch for example in view.examples for stretch in example.stretches]
        assert [token for stretch in stretches for token in stretch.ids] == row.ids.tolist()
        assert [label for stretch in stretches for label in stretch.labels] == row.labels.tolist()
        assert all({label != IGNORE for label in stretch.labels} == {stretch.trained} for stretch in stretches)
        for example in view.examples:
            kinds = [(stretch.turn, stretch.segment, stretch.trained) for stretch in example.stretches]
            assert all(before != after for before, after in pairwise(kinds))


def test_some_examples_of_a_row_are_still_told_how_many_there_are(shards: Shards) -> None:
    viewer = Viewer(shards, TEXTS)
    number = next(row for row in range(shards.rows("train")) if len(shards.row("train", row).parts) > 1)
    view = viewer.view("train", number, {1})
    assert [example.about["example"] for example in view.examples] == [1]
    assert view.of == len(shards.row("train", number).parts)
    assert viewer.view("train", number, ()).examples == []


def test_the_json_document_names_the_count_and_hides_the_end_marks(shards: Shards) -> None:
    view = Viewer(shards, TEXTS).view("train", 0)
    document = view.as_dict()
    assert document["examples_in_row"] == view.of
    assert not {"stops", "of"} & document.keys()


def test_a_row_that_is_not_there_is_the_users_mistake(shards: Shards) -> None:
    with pytest.raises(UsageFault, match="rows are 0 to"):
        Viewer(shards, TEXTS).view("train", 9999)


def test_viewer_knows_end_marks_of_the_template(shards: Shards) -> None:
    """The end of sequence is one, also where the template's name is not known any more."""
    eos = shards.manifest["tokenizer"]["eos_id"]
    assert eos in Viewer(shards, TEXTS).stops
    gone = Shards(shards.out, {**shards.manifest, "template": {"name": "gone"}})
    assert Viewer(gone, TEXTS).stops == {eos}
