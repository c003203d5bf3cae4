"""Building an output: it appears whole, or what was there before stays; and the reason of a failure is named."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.output.ledger import SourceLedger
from pipeline.output.manifest import CACHE
from pipeline.output.publish import locked, open_output
from pipeline.runs.collect import Collected, FileTotals
from pipeline.runs.pack import build
from pipeline.runs.pack.build import Outcome, Request, build_output, why_empty
from pipeline.runs.pack.cache_key import digest_inputs, run_key
from registry.errors import DataFault, MachineFault
from stages.core.findings import Note
from stages.core.records import FileInfo
from tests.support.example_tables import plan_of
from tests.support.packed_outputs import tree

PARTS = ["plan", "read, validate, tokenize", "arrange, pack", "write shards", "publish", "total"]


def request(folder: Path, *settings: str, identity: build.Identity | None = None) -> Request:
    lines: list[str] = []
    plan = plan_of(folder, [6], "cutoff_len=64", *settings)
    return Request(plan, folder / "out", identity, lines.append, 0.0, ["new output"])


def built(given: Request) -> Outcome:
    open_output(given.out)
    with locked(given.out), ExitStack() as engines:
        return build_output(given, engines)


def test_an_output_with_its_account_is_published(tmp_path: Path) -> None:
    """Each part of the time is reported, in order, and the reasons are handed on."""
    given = request(tmp_path)
    outcome = built(given)
    assert (outcome.state, outcome.reasons, list(outcome.elapsed_s)) == ("written", ["new output"], PARTS)
    assert outcome.manifest == json.loads((given.out / "manifest.json").read_bytes())
    assert outcome.manifest["ledger"]["examples"] == 6
    assert (given.out / CACHE / "chunks").is_dir()


def test_the_key_is_that_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    """Whether the inputs were hashed before or while they were read."""
    given = request(tmp_path)
    key = run_key(given.plan, digest_inputs(given.plan))
    assert built(given).manifest["key"] == key[0]
    assert built(request(tmp_path, identity=key)).manifest["key"] == key[0]


def test_an_input_that_changed_meanwhile_fails_and_the_old_output_stays(tmp_path: Path) -> None:
    given = request(tmp_path)
    built(given)
    before = tree(given.out)
    key = run_key(given.plan, digest_inputs(given.plan))
    path = Path(given.plan.sources[0].files[0])
    path.write_bytes(path.read_bytes().replace(b"Say 1", b"Say 9"))
    with pytest.raises(MachineFault, match="changed while it was being read"):
        built(Request(given.plan, given.out, key, given.log, 0.0, []))
    assert tree(given.out) == before


def test_shards_that_are_not_what_the_ledger_says_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours is never written down as a result."""
    real = build.write_splits

    def one_less(*arguments: object) -> object:
        splits, listed = real(*arguments)  # type: ignore[arg-type]
        splits["train"]["tokens"] -= 1
        return splits, listed

    monkeypatch.setattr(build, "write_splits", one_less)
    given = request(tmp_path)
    with pytest.raises(AssertionError, match="the ledger says"):
        built(given)
    assert not (given.out / "manifest.json").exists()


def test_an_output_whose_cache_cannot_be_cleaned_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run says so, and does not fail."""

    def full(*_: object) -> None:
        raise MachineFault("no space left")

    monkeypatch.setattr(build, "prune", full)
    lines: list[str] = []
    given = request(tmp_path)
    assert built(Request(given.plan, given.out, None, lines.append, 0.0, [])).state == "written"
    assert lines == ["warning: the output is complete, but cleaning up failed: no space left"]


def test_nothing_left_to_train_on_is_the_datas_fault(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match=r"no record is left to train on: 6 rejected by length\."):
        built(request(tmp_path, "cutoff_len=5", "overlong=error"))


def test_why_nothing_is_left() -> None:
    """The three commonest rules; or what the files lack, five of them by name."""
    ledger = SourceLedger(rejected=Counter(a=4, b=3, c=2, d=1), dropped=Counter(cutoff=2))
    info = FileInfo("a", "", 1, 10, "jsonl")
    read = Collected(files=[FileTotals(0, "a", info=info)])
    assert why_empty([ledger], read) == "4 rejected by a, 3 rejected by b, 2 rejected by c, 2 cutoff"
    assert why_empty([SourceLedger()], read) == "nothing was sampled"
    note = Note("file.empty", "", "the file is empty")
    empty = [FileTotals(0, str(n), info=FileInfo(str(n), "", 0, 0, "", (note,) if n else ())) for n in range(7)]
    told = why_empty([SourceLedger()], Collected(files=empty))
    assert told.startswith("0: no record; 1: the file is empty; ")
    assert told.endswith("; and 2 more files without a record")


def test_the_place_for_a_person_is_the_url_where_there_is_one() -> None:
    assert Outcome(Path("a"), "written", {}).shown == "a"
    assert Outcome(Path("a"), "written", {}, place="s3://b/c").shown == "s3://b/c"
