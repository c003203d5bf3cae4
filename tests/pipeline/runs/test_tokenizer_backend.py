"""A fast back end that gives other ids than `tokenizers` trains nobody: the run says so, and uses the reference."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.jobs.specs import PROVEN
from pipeline.output.manifest import CACHE
from pipeline.runs import tokenizer_backend as backend
from stages.tokenize import backends as tokenize
from stages.tokenize.backends import load_encoder
from tests.support.faults import small_pack

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    lines = [
        {"instruction": f"Question {n}? " * (n % 7 + 1), "output": f"Answer {n}. " * (n % 9 + 1)} for n in range(60)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def want(tmp_path: Path, data: Path) -> dict[str, bytes]:
    """The shards as the reference makes them."""
    small_pack(data, tmp_path / "reference")
    return shards(tmp_path / "reference")


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.arrow"))}


def install(monkeypatch: pytest.MonkeyPatch, change: Change, *, loads: bool = True) -> None:
    """Puts a back end in gigatoken's place that gives the reference's ids, changed."""

    class Fake:
        name = "gigatoken"

        def __init__(self, json_text: str, *, split_special_tokens: bool = False) -> None:
            if not loads:
                panic()
            self.real = load_encoder("tokenizers", json_text)

        def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
            return change(*self.real.encode(texts))

    monkeypatch.setitem(tokenize.BACK_ENDS, "gigatoken", Fake)  # type: ignore[arg-type]
    monkeypatch.setattr(tokenize, "choose", lambda *_, **__: "gigatoken")


def panic(*_: object) -> Any:
    class PanicException(BaseException):  # how a Rust back end ends
        pass

    raise PanicException("index out of bounds")


def same(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ids, offsets


def one_more(ids: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(ids == ids.max(), ids - 1, ids), offsets


def test_a_back_end_that_agrees_is_used_and_proven(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path, want: dict[str, bytes]
) -> None:
    install(monkeypatch, same)
    outcome = small_pack(data, tmp_path / "out")
    assert shards(tmp_path / "out") == want
    assert outcome.manifest["tokenizer"]["check"]["back_end"] == "gigatoken"
    assert outcome.manifest["tokenizer"]["check"]["checked_texts"] > len(tokenize.NASTY)


@pytest.mark.parametrize(
    ("change", "loads", "said"),
    [
        (one_more, True, "gigatoken gives other ids for"),
        (panic, True, "gigatoken cannot encode: index out of bounds"),
        (same, False, "gigatoken cannot read this tokenizer: index out of bounds"),
    ],
    ids=["other-ids", "breaks", "cannot-load"],
)
def test_a_back_end_that_differs_or_breaks_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    data: Path,
    want: dict[str, bytes],
    change: Change,
    loads: bool,
    said: str,
) -> None:
    install(monkeypatch, change, loads=loads)
    lines: list[str] = []
    outcome = small_pack(data, tmp_path / "out", log=lines.append)
    assert shards(tmp_path / "out") == want
    assert outcome.manifest["tokenizer"]["check"]["back_end"] == "tokenizers"
    assert [line for line in lines if line.startswith(said) and "the reference tokenizer is used" in line]


def test_what_a_killed_run_left_unproven_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path, want: dict[str, bytes]
) -> None:
    """A run that died before its samples were compared left chunks with wrong ids; the next one throws them away."""
    out = tmp_path / "out"
    install(monkeypatch, one_more)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(backend.BackEndProof, "_compare", lambda *_: None)
        dying.setattr(backend.BackEndProof, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            small_pack(data, out)
    left = sorted((out / CACHE / "chunks").glob("*.cache"))
    assert len(left) > 1
    assert not list((out / CACHE / "chunks").glob(f"*{PROVEN}"))
    outcome = small_pack(data, out)
    assert shards(out) == want
    assert outcome.collected is not None
    assert outcome.collected.reused == 0


def test_a_proven_chunk_is_reused_and_an_unproven_one_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    out = tmp_path / "out"
    install(monkeypatch, same)
    small_pack(data, out)
    chunks = out / CACHE / "chunks"
    caches, marks = sorted(chunks.glob("*.cache")), sorted(chunks.glob(f"*{PROVEN}"))
    assert len(marks) == 1  # one file, one chunk that is checked
    (out / "manifest.json").unlink()
    again = small_pack(data, out)
    assert again.collected is not None
    assert again.collected.reused == len(caches)
    marks[0].unlink()
    (out / "manifest.json").unlink()
    once_more = small_pack(data, out)
    assert once_more.collected is not None
    assert once_more.collected.reused == len(caches) - 1
    assert sorted(chunks.glob(f"*{PROVEN}")) == marks


def test_marks_of_chunks_that_are_gone_go_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    install(monkeypatch, same)
    small_pack(data, out)
    before = set((out / CACHE / "chunks").iterdir())
    data.write_text(data.read_text(encoding="utf-8").replace("Question", "Questions"), encoding="utf-8")
    small_pack(data, out)
    after = set((out / CACHE / "chunks").iterdir())
    assert not before & after
    assert sum(path.suffix == PROVEN for path in after) == 1
