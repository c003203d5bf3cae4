"""Rows are joined, cut and labelled as a slow reading of the rule would do it, and every lost token is counted."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.truncate import CutOptions
from stages.truncate.apply import cut, example_tokens, trained_tokens
from stages.truncate.proportional import cut_pair, cut_preference
from stages.writers.labels import IGNORE, assemble_lm, assemble_parts

EOS = 999


class Segment(NamedTuple):
    ids: list[int]
    trained: int


Example = list[Segment]


class Arrays(NamedTuple):
    ids: np.ndarray
    segments: np.ndarray
    trained: np.ndarray
    counts: np.ndarray


def arrays(examples: list[Example]) -> Arrays:
    """The examples as `encode` would give them."""
    segments = [segment for example in examples for segment in example]
    return Arrays(
        np.asarray([token for segment in segments for token in segment.ids], dtype=np.int32),
        np.asarray([len(segment.ids) for segment in segments], dtype=np.int32),
        np.asarray([segment.trained for segment in segments], dtype=np.uint8),
        np.asarray([len(example) for example in examples], dtype=np.int32),
    )


def reference_lm(example: Example, options: CutOptions) -> tuple[list[int], list[int]]:
    """ids and labels of one lm example, turn by turn in plain Python, as upstream's supervised processor goes."""
    eos = options.efficient_eos
    turns = [(example[at], example[at + 1]) for at in range(0, len(example), 2)]
    if options.from_end:
        turns.reverse()
    total = 0 if eos is None else 1
    done: list[tuple[list[int], list[int], int]] = []
    for turn, (source, target) in enumerate(turns):
        if total >= options.limit_tokens:
            break
        source_tokens, target_tokens = cut_pair(len(source.ids), len(target.ids), options.limit_tokens - total)
        total += source_tokens + target_tokens
        ids = source.ids[:source_tokens] + target.ids[:target_tokens]
        labels = source.ids[:source_tokens] if source.trained else [IGNORE] * source_tokens
        follows_trained = options.from_end or turn == 0 or turns[turn - 1][1].trained
        marked = follows_trained and (turn > 0 or options.label_first_source)
        if eos is not None and source_tokens and not source.trained and marked:
            labels[0] = eos
        labels += target.ids[:target_tokens] if target.trained else [IGNORE] * target_tokens
        done.append((ids, labels, target.trained))
    if options.from_end:
        done.reverse()
    joined = [token for ids, _, _ in done for token in ids]
    labels = [label for _, some, _ in done for label in some]
    if eos is not None:
        filled = [] if options.from_end else [trained for ids, _, trained in done if ids]
        joined.append(eos)
        labels.append(eos if (filled[-1] if filled else example[-1].trained) else IGNORE)
    return joined, labels


def assembled(examples: list[Example], options: CutOptions) -> list[tuple[list[int], list[int]]]:
    batch = arrays(examples)
    kept, _ = cut(batch.segments, batch.counts, options)
    rows = assemble_lm(batch.ids, batch.segments, kept, batch.trained, batch.counts, options)
    borders = rows.borders.tolist()
    return [
        (rows.ids[start:end].tolist(), rows.labels[start:end].tolist()) for start, end in itertools.pairwise(borders)
    ]


tokens = st.lists(st.integers(0, 500), max_size=12)


@st.composite
def conversations(draw: st.DrawFn) -> Example:
    """Turns with a trained or untrained answer each; the prompt is trained in some."""
    prompt = draw(st.sampled_from([0, 0, 0, 1]))
    example: Example = []
    for _ in range(draw(st.integers(1, 4))):
        example.append(Segment(draw(tokens), prompt))
        example.append(Segment(draw(tokens), draw(st.sampled_from([1, 1, 0]))))
    return example


batches = st.lists(conversations(), max_size=6)
lm_options = st.builds(
    CutOptions,
    kind=st.just("lm"),
    limit_tokens=st.integers(1, 60),
    from_end=st.booleans(),
    efficient_eos=st.sampled_from([None, EOS]),
    label_first_source=st.booleans(),
)


@given(batches, lm_options)
def test_rows_are_those_of_the_slow_reference(examples: list[Example], options: CutOptions) -> None:
    assert assembled(examples, options) == [reference_lm(example, options) for example in examples]


@given(batches, st.integers(1, 60), st.booleans())
def test_labels_are_ignored_exactly_outside_trained_segments(
    examples: list[Example], limit: int, from_end: bool
) -> None:
    options = CutOptions("lm", limit, from_end)
    batch = arrays(examples)
    kept, _ = cut(batch.segments, batch.counts, options)
    rows = assemble_lm(batch.ids, batch.segments, kept, batch.trained, batch.counts, options)
    trained = np.repeat(batch.trained != 0, kept)
    assert np.array_equal(rows.labels[trained], rows.ids[trained])
    assert set(rows.labels[~trained].tolist()) <= {IGNORE}


@given(batches, lm_options)
def test_lost_tokens_add_up(examples: list[Example], options: CutOptions) -> None:
    batch = arrays(examples)
    kept, changed = cut(batch.segments, batch.counts, options)
    rows = assemble_lm(batch.ids, batch.segments, kept, batch.trained, batch.counts, options)
    before = example_tokens(batch.segments, batch.counts, options)
    after = example_tokens(kept, batch.counts, options)
    assert int((before - after).sum()) == int((batch.segments - kept).sum())
    assert np.array_equal(np.diff(rows.borders), after)
    assert len(rows.ids) == len(rows.labels) == int(after.sum())
    labelled = [int(np.count_nonzero(part != IGNORE)) for part in np.split(rows.labels, rows.borders[1:-1])]
    if examples:
        assert trained_tokens(kept, batch.trained, batch.counts, options).tolist() == labelled
    assert np.array_equal(changed, before != after)


@given(batches, lm_options)
def test_no_example_exceeds_the_cutoff(examples: list[Example], options: CutOptions) -> None:
    batch = arrays(examples)
    kept, _ = cut(batch.segments, batch.counts, options)
    assert (example_tokens(kept, batch.counts, options) <= options.limit_tokens).all()
    assert (kept <= batch.segments).all()


@given(batches, lm_options)
def test_one_example_does_not_change_another(examples: list[Example], options: CutOptions) -> None:
    assert assembled(examples, options) == [assembled([example], options)[0] for example in examples]


@given(batches)
def test_nothing_is_cut_below_the_limit(examples: list[Example]) -> None:
    batch = arrays(examples)
    kept, changed = cut(batch.segments, batch.counts, CutOptions("lm", 10_000))
    assert np.array_equal(kept, batch.segments)
    assert not changed.any()


@given(st.lists(tokens, max_size=5), st.integers(1, 20))
def test_plain_text_is_cut_at_the_end_and_wholly_trained(texts: list[list[int]], limit: int) -> None:
    examples = [[Segment(ids, 1)] for ids in texts]
    assert assembled(examples, CutOptions("pt", limit)) == [(ids[:limit], ids[:limit]) for ids in texts]


@given(st.lists(st.tuples(tokens, tokens, tokens), max_size=5), st.integers(1, 30))
def test_preference_pairs_come_apart_into_their_columns(rows: list[tuple[list[int], ...]], limit: int) -> None:
    batch = arrays(
        [[Segment(prompt, 0), Segment(chosen, 1), Segment(rejected, 1)] for prompt, chosen, rejected in rows]
    )
    kept, _ = cut(batch.segments, batch.counts, CutOptions("pref", limit))
    columns = assemble_parts(batch.ids, batch.segments, kept, 3)
    for place, (values, borders) in enumerate(columns):
        got = [values[start:end].tolist() for start, end in itertools.pairwise(borders)]
        assert got == [row[place][: cut_preference(*map(len, row), limit)[place]] for row in rows]  # type: ignore[call-arg]


@given(st.lists(st.tuples(st.lists(st.integers(0, 99), min_size=1), tokens), max_size=5), st.integers(1, 30))
def test_a_prompt_to_predict_for_loses_its_middle_and_its_label_nothing(
    rows: list[tuple[list[int], list[int]]], limit: int
) -> None:
    """Its end is the mark of the answer; the label is not fed, so it takes no room."""
    batch = arrays([[Segment(prompt, 0), Segment(label, 1)] for prompt, label in rows])
    kept, changed = cut(batch.segments, batch.counts, CutOptions("prompt", limit))
    assert changed.tolist() == [len(prompt) > limit for prompt, _ in rows]
    columns = assemble_parts(batch.ids, batch.segments, kept, 2, prompt_middle_goes=True)
    prompts, labels = (
        [values[start:end].tolist() for start, end in itertools.pairwise(borders)] for values, borders in columns
    )
    assert labels == [label for _, label in rows]
    for (prompt, _), found in zip(rows, prompts, strict=True):
        if len(prompt) <= limit:
            assert found == prompt
        else:
            assert found == prompt[: limit // 2] + prompt[len(prompt) - (limit - limit // 2) :]


@pytest.mark.parametrize("kind", ["unpaired"])
def test_prompt_and_answer_come_apart_into_two_columns(kind: str) -> None:
    batch = arrays([[Segment([1, 2, 3], 0), Segment([4], 1)], [Segment([5], 0), Segment([], 1)]])
    kept, changed = cut(batch.segments, batch.counts, CutOptions(kind, 3))
    assert changed.tolist() == [True, False]
    (prompts, prompt_borders), (answers, answer_borders) = assemble_parts(batch.ids, batch.segments, kept, 2)
    assert (prompts.tolist(), prompt_borders.tolist()) == ([1, 2, 5], [0, 2, 3])
    assert (answers.tolist(), answer_borders.tolist()) == ([4], [0, 1, 1])


# --- efficient_eos ----------------------------------------------------------------------------------------------------

TWO_TURNS = [Segment([1, 2], 0), Segment([3], 1), Segment([4, 5], 0), Segment([6], 1)]


def test_an_end_mark_is_taught_after_every_answer() -> None:
    row = assembled([TWO_TURNS], CutOptions("lm", 20, efficient_eos=EOS))[0]
    assert row == ([1, 2, 3, 4, 5, 6, EOS], [IGNORE, IGNORE, 3, EOS, IGNORE, 6, EOS])


def test_the_old_version_marks_the_first_source_as_well() -> None:
    _, labels = assembled([TWO_TURNS], CutOptions("lm", 20, efficient_eos=EOS, label_first_source=True))[0]
    assert labels == [EOS, IGNORE, 3, EOS, IGNORE, 6, EOS]


def test_no_end_mark_is_taught_after_an_answer_that_is_not_trained() -> None:
    first_untrained = [TWO_TURNS[0], Segment([3], 0), *TWO_TURNS[2:]]
    last_untrained = [*TWO_TURNS[:3], Segment([6], 0)]
    options = CutOptions("lm", 20, efficient_eos=EOS)
    labels = [row[1] for row in assembled([first_untrained, last_untrained], options)]
    assert labels == [
        [IGNORE, IGNORE, IGNORE, IGNORE, IGNORE, 6, EOS],
        [IGNORE, IGNORE, 3, EOS, IGNORE, IGNORE, IGNORE],
    ]


def test_a_masked_history_is_marked_as_upstream_marks_it() -> None:
    history = [TWO_TURNS[0], Segment([3], 0), *TWO_TURNS[2:]]
    _, labels = assembled([history], CutOptions("lm", 20, from_end=True, efficient_eos=EOS))[0]
    assert labels == [EOS, IGNORE, IGNORE, IGNORE, IGNORE, 6, EOS]


def test_the_end_mark_has_its_token_in_the_limit() -> None:
    ids, _ = assembled([TWO_TURNS], CutOptions("lm", 4, efficient_eos=EOS))[0]
    assert ids == [1, 2, 3, EOS]


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eos", [None, EOS])
def test_an_empty_batch_gives_empty_rows(eos: int | None) -> None:
    options = CutOptions("lm", 8, efficient_eos=eos)
    batch = arrays([])
    kept, changed = cut(batch.segments, batch.counts, options)
    rows = assemble_lm(batch.ids, batch.segments, kept, batch.trained, batch.counts, options)
    assert (len(rows.ids), len(rows.labels), rows.borders.tolist(), len(changed)) == (0, 0, [0], 0)
    assert trained_tokens(kept, batch.trained, batch.counts, options).tolist() == []


def test_values_are_what_the_shards_hold() -> None:
    batch = arrays([TWO_TURNS])
    for options in (CutOptions("lm", 8), CutOptions("lm", 4, efficient_eos=EOS)):
        kept, _ = cut(batch.segments, batch.counts, options)
        rows = assemble_lm(batch.ids, batch.segments, kept, batch.trained, batch.counts, options)
        assert (rows.ids.dtype, rows.labels.dtype, rows.borders.dtype) == (np.int32, np.int32, np.int64)
