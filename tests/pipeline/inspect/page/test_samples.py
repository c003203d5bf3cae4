"""The rows that the page's viewer holds: chosen over the whole output, bounded, and unable to end their element."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspect.open_target import open_shards
from pipeline.inspect.page.samples import ROWS, as_documents, choose, embedded
from pipeline.inspect.row_view import Viewer
from pipeline.output.shards import Shards
from registry.errors import UsageFault
from stages.tokenize.decode import TokenTexts
from stages.tokenize.tokenizer_files import load_tokenizer_files
from tests.support.packed_outputs import TINY, demo_output

TEXTS = TokenTexts(load_tokenizer_files(str(TINY)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def shards() -> Shards:
    return open_shards(str(demo_output("cutoff_len=90", "val_size=0.1")))


@given(JSON)
def test_an_embedded_document_cannot_end_its_element(document: object) -> None:
    """ASCII without the characters of markup, and read back it is the same."""
    text = embedded(document)
    assert text.isascii() and not re.search(r"[<>&\x00-\x1f\x7f]", text)
    assert json.loads(text) == document


def test_every_split_is_shown_and_what_was_cut_most(shards: Shards) -> None:
    samples = choose(shards, {})
    assert {sample.pick.split for sample in samples} == set(shards.splits)
    assert any(sample.why.startswith("lost most tokens") for sample in samples)
    plain = [sample for sample in samples if sample.pick.part is None]
    assert len({sample.pick for sample in plain}) == len(plain) <= ROWS + 4 * len(shards.splits)


def test_a_finding_brings_the_row_of_its_record(shards: Shards) -> None:
    report = json.loads((shards.out / "report.json").read_bytes())
    rule = next(found["rule"] for found in report["findings"] if found["line"] > 0)
    assert any(sample.why.startswith(f"{rule}: ") for sample in choose(shards, {rule: 1}))


def test_documents_stop_at_the_budget(shards: Shards) -> None:
    viewer, samples = Viewer(shards, TEXTS), choose(shards, {})
    every = as_documents(viewer, samples, 1 << 30)
    assert [document["why"] for document in every] == [sample.why for sample in samples]
    budget = len(embedded(every[0])) + len(embedded(every[1])) + 2
    assert as_documents(viewer, samples, budget) == every[:2]
    assert as_documents(viewer, samples, 10) == []


def test_a_documents_tokens_are_those_of_the_row(shards: Shards) -> None:
    """Every token is there, or counted where a long stretch is shortened."""
    viewer = Viewer(shards, TEXTS)
    (document,) = as_documents(viewer, choose(shards, {})[:1], 1 << 30)
    shown = 0
    for example in document["examples"]:
        for stretch in example["stretches"]:
            count = sum(token if isinstance(token, int) else 1 for token in stretch["tokens"])
            assert count == stretch["count"]
            shown += count
    assert shown <= document["tokens"] == len(shards.row(document["split"], document["row"]).ids)


def test_a_rule_that_does_not_exist_is_the_callers_mistake(shards: Shards) -> None:
    with pytest.raises(UsageFault, match="no such rule"):
        choose(shards, {"no.such-rule": 1})
