"""Reading through an engine: a back end that differs is left for the reference, and with it what it had made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.specs import PROVEN
from pipeline.plan.types import Plan
from pipeline.runs.pack import read_chunks
from pipeline.runs.pack.read_chunks import ChunkReader, prune
from registry.errors import MachineFault
from stages.tokenize.backends import BackEndDiffers
from tests.support.example_tables import plan_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "chunks"
    folder.mkdir(parents=True)
    (tmp_path / "rejects").mkdir()
    return folder


@contextmanager
def reader(plan: Plan, cache: Path, lines: list[str]) -> Iterator[ChunkReader]:
    with ExitStack() as engines:
        yield ChunkReader(plan, cache, engines, lines.append)


def test_every_record_is_read_and_the_bad_ones_are_kept_apart(tmp_path: Path, cache: Path) -> None:
    plan = plan_of(tmp_path, [5])
    path = Path(plan.sources[0].files[0])
    path.write_bytes(path.read_bytes() + b"{broken\n")
    with reader(plan, cache, []) as chunks:
        collected, rejects = chunks.read(tmp_path / "rejects", None)
    assert (collected.read, collected.rejected) == (6, 1)
    assert {Path(entry["file"]).parts[0] for entry in rejects.files} == {"rejects"}
    assert list(cache.glob("*.cache"))


def test_a_back_end_that_differs_is_not_used(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference reads all again, from no cache of the other one; the user is told once why it is slower."""
    plan = plan_of(tmp_path, [5])
    assert plan.encode is not None
    plan = replace(plan, encode=replace(plan.encode, back_end="gigatoken"))
    (cache / "old.cache").touch()
    used, real = [], read_chunks.collect

    def collect(plan: Plan, *rest: Any) -> Any:
        assert plan.encode is not None
        used.append(plan.encode.back_end)
        if plan.encode.back_end != "tokenizers":
            raise BackEndDiffers("gigatoken gives other ids")
        assert not list(cache.iterdir())
        return real(plan, *rest)

    monkeypatch.setattr(read_chunks, "collect", collect)
    lines: list[str] = []
    with reader(plan, cache, lines) as chunks:
        collected, _ = chunks.read(tmp_path / "rejects", None)
        assert chunks.plan.encode is not None and chunks.plan.encode.back_end == "tokenizers"
    assert used == ["gigatoken", "tokenizers"]
    assert lines == ["gigatoken gives other ids; the reference tokenizer is used, which is slower"]
    assert collected.read == 5


def test_another_fault_is_handed_on(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MachineFault("no space left")

    monkeypatch.setattr(read_chunks, "collect", full)
    with reader(plan_of(tmp_path, [1]), cache, []) as chunks, pytest.raises(MachineFault, match="no space"):
        chunks.read(tmp_path / "rejects", None)


@pytest.mark.parametrize(("threshold", "engine", "tasks"), [(0, "auto", 1), (1 << 40, "auto", 0), (0, "ray", 0)])
def test_workers_forget_their_tokenizers_after_a_large_set(
    threshold: int, engine: str, tasks: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_chunks, "MEDIUM_BYTES", threshold)
    with reader(plan_of(tmp_path, [2]), cache, []) as chunks:
        sent: list[object] = []
        monkeypatch.setattr(chunks, "engine", Recorder(sent))
        values = {**chunks.plan.config.values, "engine": engine}
        chunks.plan = replace(chunks.plan, config=replace(chunks.plan.config, values=values))
        chunks.release(4)
    assert len(sent) == tasks


class Recorder:
    """An engine that keeps what it is sent."""

    def __init__(self, sent: list[object]) -> None:
        self.sent = sent

    def run(self, tasks: list[object]) -> Iterator[tuple[int, object]]:
        self.sent += tasks
        return iter(())


def test_only_cache_files_that_nothing_uses_go(cache: Path) -> None:
    """The folder may be a link to a place that holds more."""
    for name in ("a.cache", f"a{PROVEN}", "b.cache", f"b{PROVEN}", "notes.txt", "c.jsonl"):
        (cache / name).touch()
    prune(cache, {"a"})
    assert sorted(path.name for path in cache.iterdir()) == sorted(["a.cache", f"a{PROVEN}", "c.jsonl", "notes.txt"])
    prune(cache / "gone", ())
