"""`prep convert`: every way to spell it, what it writes, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli import run
from tests.support.conversions import BAD, CHAT, TOOL, lines, write

ASSETS = os.environ.get("PREP_ASSETS")


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    return write(tmp_path / "chats.jsonl", [CHAT, {**CHAT, "id": 0.5}])


@pytest.mark.parametrize(
    "words",
    [
        ["sharegpt→alpaca"], ["sharegpt->alpaca"], ["sharegpt:alpaca"], ["sharegpt=>alpaca"], ["auto:alpaca"],
        ["→alpaca"], [":alpaca"], ["--from", "sharegpt", "--to", "alpaca"], ["--to", "alpaca"],
        ["sharegpt →  alpaca"], ["--from", "auto", "--to", "alpaca"],
    ],
)  # fmt: skip
def test_every_spelling_does_the_same(words: list[str], chats: Path, tmp_path: Path) -> None:
    """All the ways of the contract, the source named or found out."""
    out = tmp_path / "out.jsonl"
    assert run(["convert", *words, str(chats), "-o", str(out)]) == 0
    assert lines(out)[0] == {"instruction": "你好", "input": "", "output": "Hello\u2028", "id": 10**30}
    assert "你好" in out.read_text(encoding="utf-8")


def test_an_arrow_that_the_shell_took_is_explained(
    chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`prep convert sharegpt->alpaca` without quotes arrives as `sharegpt-`."""
    assert run(["convert", "sharegpt-", str(chats), "-o", str(tmp_path / "x.jsonl")]) == 2
    said = capsys.readouterr().err
    assert "the shell" in said
    assert "sharegpt→" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sharegpt→alpca"], 'did you mean "alpaca"'),
        (["sharegpt→sharegpt-dpo"], "cannot become"),
        (["sharegpt→alpaca", "--to", "openai"], "given twice"),
        (["sharegpt→alpaca", "--columns", "respons=a"], 'did you mean "response"'),
        (["sharegpt→alpaca", "--columns", "response"], "FIELD=KEY"),
        ([], "which format"),
    ],
)
def test_mistakes_in_the_command_are_said(
    words: list[str], expected: str, chats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, with what to do, and nothing written."""
    assert run(["convert", *words, str(chats), "-o", str(tmp_path / "x.jsonl")]) == 2
    assert expected in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["chats.jsonl"]


def test_an_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Formats alone are no command."""
    assert run(["convert", "sharegpt→alpaca", "-o", str(tmp_path / "x.jsonl")]) == 2
    assert "no input" in capsys.readouterr().err


def test_bad_records_are_named_and_the_others_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1; read = written + rejected; the rejects can be fed in again."""
    source = write(tmp_path / "in.jsonl", [CHAT, BAD, CHAT])
    with source.open("a") as file:
        file.write('{"conversations": [}\n{"conversations": [], "conversations": []}\n')
    out, rejects = tmp_path / "out.json", tmp_path / "rejects"
    assert run(["convert", "sharegpt→openai", str(source), "-o", str(out), "--json", "--rejects", str(rejects)]) == 1
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["totals"] == {
        "read": 5, "written": 2, "rejected": 3, "lossy": 0, "losses": 0, "content": 0, "form": 0,
    }  # fmt: skip
    assert document["counts"] == {"json.duplicate-key": 1, "json.syntax": 1, "role.last-not-answer": 1}
    assert f"{source}:2 /conversations/0" in captured.err
    assert len(json.loads(out.read_text())) == 2
    assert (rejects / "00-out.jsonl").read_text().splitlines()[0] == json.dumps(BAD)


def test_the_report_adds_up(tmp_path: Path) -> None:
    """Every loss of every record, by field, and the totals of both."""
    source = write(tmp_path / "in.jsonl", [CHAT, TOOL, TOOL])
    out, report = tmp_path / "out.jsonl", tmp_path / "lost.json"
    assert run(["convert", "sharegpt→alpaca", str(source), "-o", str(out), "--report", str(report), "--quiet"]) == 0
    document = json.loads(report.read_text())
    assert [(item["line"], item["record"]) for item in document["records"]] == [(2, 1), (3, 2)]
    assert document["records"][0]["losses"] == [
        {"field": "conversations[]", "pointer": "/conversations/1", "what": "tool-turn"},
        {"field": "conversations[]", "pointer": "/conversations/2", "what": "tool-turn"},
        {"field": "conversations[].weight", "pointer": "/conversations/3/weight", "what": "weight"},
    ]
    totals = document["totals"]
    assert totals["losses"] == 6
    assert totals["losses"] == totals["content"] + totals["form"]
    assert totals["losses"] == sum(item["count"] for item in document["losses"])
    assert totals["losses"] == sum(len(item["losses"]) for item in document["records"])
    assert totals["lossy"] == len(document["records"])
    assert document["lossy_records"] == {"tool-turn": 2, "weight": 2}
    assert document["output"] == str(out)


def test_maps_are_honoured_in_and_asked_for_out(tmp_path: Path) -> None:
    """By hand, and from the dataset_info.json beside the input."""
    record = {"dialog": [{"who": "me", "says": "Hi"}, {"who": "you", "says": "Ho"}]}
    source = write(tmp_path / "in.jsonl", [record])
    columns, tags = (
        {"messages": "dialog"},
        {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "you"},
    )
    words = [f"{name}={key}" for name, key in {**columns, **tags}.items()]
    out = tmp_path / "out.jsonl"
    by_hand = ["--from-columns", ",".join(words)]
    assert (
        run(["convert", "sharegpt→alpaca", str(source), "-o", str(out), *by_hand, "--columns", "response=answer"]) == 0
    )
    assert lines(out) == [{"instruction": "Hi", "input": "", "answer": "Ho"}]
    info = {"mine": {"file_name": "in.jsonl", "formatting": "sharegpt", "columns": columns, "tags": tags}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    back = tmp_path / "back.jsonl"
    assert run(["convert", "→openai", str(source), "-o", str(back)]) == 0
    assert lines(back)[0]["messages"][0] == {"role": "user", "content": "Hi"}
    assert run(["convert", "→openai", "mine", "--dataset-dir", str(tmp_path), "-o", str(back)]) == 0


def test_the_output_describes_itself(tmp_path: Path, chats: Path) -> None:
    """--dataset-info: converting by the entry gives the records again."""
    out = tmp_path / "sub" / "mine.jsonl"
    words = ["--columns", "messages=dialog,user_tag=U", "--dataset-info"]
    assert run(["convert", "sharegpt→openai", str(chats), "-o", str(out), *words]) == 0
    entry = json.loads((out.parent / "dataset_info.json").read_text())["mine"]
    assert entry["columns"] == {"messages": "dialog"}
    again = tmp_path / "again.jsonl"
    assert run(["convert", "→sharegpt", str(out), "-o", str(again)]) == 0
    assert lines(again) == lines(chats)


def test_mixed_formats_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the first record of each."""
    source = write(tmp_path / "in.jsonl", [CHAT, {"instruction": "a", "output": "b"}])
    assert run(["convert", "→openai", str(source), "-o", str(tmp_path / "out.jsonl")]) == 1
    assert f"alpaca (first at {source}:2)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS does not name the folder of real data")
@pytest.mark.parametrize(
    ("name", "there", "back"),
    [
        ("sharegpt", "alpaca", "sharegpt"), ("sharegpt", "openai", "sharegpt"), ("messages", "sharegpt", "openai"),
        ("messages", "alpaca", "openai"), ("alpaca", "sharegpt", "alpaca"), ("dpo", "alpaca-dpo", "sharegpt-dpo"),
        ("kto", "alpaca-kto", "openai-kto"),
    ],
)  # fmt: skip
def test_real_files_come_back_where_no_loss_is_stated(name: str, there: str, back: str, tmp_path: Path) -> None:
    """Forty megabytes there and back: equal but for the records that the report names, and the report adds up."""
    source = Path(str(ASSETS)) / "data" / f"{name}.jsonl"
    mid, end, report = tmp_path / "mid.jsonl", tmp_path / "end.jsonl", tmp_path / "lost.json"
    assert run(["convert", f"{back}→{there}", str(source), "-o", str(mid), "--report", str(report), "--quiet"]) == 0
    assert run(["convert", f"{there}→{back}", str(mid), "-o", str(end), "--quiet"]) == 0
    document = json.loads(report.read_text(encoding="utf-8"))
    lossy = {item["record"] for item in document["records"]}
    before, after = lines(source), lines(end)
    assert document["totals"]["read"] == document["totals"]["written"] == len(before) == len(after)
    assert document["totals"]["losses"] == sum(len(item["losses"]) for item in document["records"])
    assert [
        at for at, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1] and at not in lossy
    ] == []


def resident_bytes(root: int) -> int:
    """Resident memory of a process and all below it, as the kernel counts it now."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            sizes[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        except OSError:
            continue
        parents[int(folder.name)] = int(stat[1])
    family = {root}
    for _ in range(4):
        family |= {pid for pid, parent in parents.items() if parent in family}
    return sum(sizes.get(pid, 0) for pid in family)


@pytest.mark.slow
@pytest.mark.skipif(not ASSETS, reason="PREP_ASSETS does not name the folder of real data")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("ending", ["jsonl", "json.zst", "csv", "parquet"])
def test_memory_stays_bounded(ending: str, tmp_path: Path) -> None:
    """Forty megabytes in less than 400 MB of memory, worker processes included, whatever is written."""
    source = Path(str(ASSETS)) / "data" / "sharegpt.jsonl"
    words = ["convert", "sharegpt→alpaca", str(source), "-o", str(tmp_path / f"out.{ending}"), "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-m", "pipeline", *words, "--quiet"])
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.02)
    assert process.returncode == 0
    assert peak < 400e6


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--from-columns", "history=instruction", "prompt and history"),
        ("--from-columns", "system=instruction", "prompt and system"),
        ("--columns", "system=messages", "messages and system"),
    ],
)
def test_one_key_cannot_be_mapped_twice(
    option: str, value: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.jsonl", [{"instruction": "Q", "input": "", "output": "A"}])
    words = ["convert", "alpaca→openai", str(path), "-o", str(tmp_path / "b.jsonl"), option, value]
    assert run(words) == 2
    assert f"maps {named} to one key" in capsys.readouterr().err
    assert not (tmp_path / "b.jsonl").exists()
