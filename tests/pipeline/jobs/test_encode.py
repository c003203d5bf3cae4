"""A chunk is encoded once: from its cache file it gives the same examples, and a cut needs no tokenizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.jobs import encode
from pipeline.jobs.encode import State
from pipeline.jobs.encoder import Encoding
from pipeline.jobs.specs import ChunkResult
from stages.truncate.cut_findings import KEPT
from tests.support.plans import pack_plan, task_of, write_records

CHATS = [{"instruction": f"Question {n}? " * 3, "input": "", "output": f"Answer {n}. " * 4} for n in range(4)]
BAD = {"instruction": "Name a metal.", "input": "", "output": 5}


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """States of a plan with some settings, all with the same cache folder."""
    data, cache = write_records(tmp_path / "data.jsonl", *CHATS), tmp_path / "cache"
    cache.mkdir()
    return lambda *settings: encode.prepare(pack_plan(data, *settings).batch_spec(str(cache)))


def lengths(found: ChunkResult) -> list[list[int]]:
    examples = found.examples
    assert examples is not None
    return [examples.tokens_in.tolist(), examples.tokens.tolist(), examples.trained.tolist(), examples.fate.tolist()]


def test_a_chunk_from_the_cache_is_the_chunk_that_was_encoded(made: Any) -> None:
    task = task_of(*CHATS, BAD)
    first = encode.run(made(), task)
    again = encode.run(made(), task)
    assert (first.reused, again.reused) == (False, True)
    assert lengths(first) == lengths(again)
    assert (first.counts, first.findings, first.rejects, first.seen) == (
        again.counts, again.findings, again.rejects, again.seen,
    )  # fmt: skip
    assert (first.read, sum(first.rejected.values()), first.seen["records"]) == (5, 1, 4)


def test_another_cutoff_needs_no_tokenizer(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(*CHATS)
    long = encode.run(made(), task)

    def refuse(self: Encoding) -> Any:
        raise AssertionError("the tokenizer was loaded")

    monkeypatch.setattr(Encoding, "tools", refuse)
    short = encode.run(made("cutoff_len=24"), task)
    assert short.reused
    assert short.examples is not None and long.examples is not None
    assert short.examples.tokens_in.tolist() == long.examples.tokens_in.tolist()
    assert max(short.examples.tokens) <= 24 < max(long.examples.tokens)


def test_a_damaged_cache_file_is_made_again(made: Any, tmp_path: Path) -> None:
    task = task_of(*CHATS)
    first = encode.run(made(), task)
    (path,) = (tmp_path / "cache").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = encode.run(made(), task)
    assert not again.reused
    assert lengths(again) == lengths(first)


def test_other_bytes_another_template_and_another_number_of_records_are_other_chunks(made: Any) -> None:
    encode.run(made(), task_of(*CHATS))
    assert not encode.run(made(), task_of(*CHATS[:3])).reused
    assert not encode.run(made("template=llama3"), task_of(*CHATS)).reused
    assert not encode.run(made(), task_of(*CHATS, wanted=2)).reused


def test_an_overlong_record_is_split_into_examples_that_fit(made: Any) -> None:
    turns = [{"role": role, "content": f"{role} says something. " * 2} for role in ("user", "assistant") * 6]
    whole = encode.run(made("cutoff_len=64"), task_of({"instruction": "Hi", "output": "Yes"})).examples
    assert whole is not None and len(whole.tokens) == 1
    chat = {"instruction": turns[-2]["content"], "output": turns[-1]["content"]}
    chat["history"] = [[turns[n]["content"], turns[n + 1]["content"]] for n in range(0, 10, 2)]  # type: ignore[assignment]
    found = encode.run(made("cutoff_len=64", "overlong=split"), task_of(chat)).examples
    assert found is not None and len(found.tokens) > 1
    assert max(found.tokens) <= 64 and set(found.record.tolist()) == {0}
    assert np.all(found.fate == KEPT)


def test_a_state_needs_to_know_how_to_encode_and_what_to_do_with_what_is_overlong(made: Any) -> None:
    spec = made().spec
    with pytest.raises(AssertionError):
        State(replace(spec, encode=None))
    with pytest.raises(AssertionError, match="shorten"):
        State(replace(spec, encode=replace(spec.encode, overlong="shorten")))
