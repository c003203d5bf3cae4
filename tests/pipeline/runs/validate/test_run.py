"""`prep validate`: the intake of `prep pack` run dry."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.cli import run
from pipeline.config import load_config
from pipeline.output.open import read_manifest
from pipeline.plan import make_plan
from pipeline.runs.pack.run import prepare
from pipeline.runs.validate.run import validate
from registry.errors import DataFault

ROOT = Path(__file__).parents[4]
TINY = ROOT / "fixtures" / "tiny"
GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


def write(path: Path, rows: list[bytes]) -> Path:
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    return path


def document(arguments: list[str], capsysbinary: Any) -> tuple[int, dict[str, Any]]:
    code = run(["validate", *arguments, "--json"])
    return code, json.loads(capsysbinary.readouterr().out)


def test_good_records_are_fine(capsysbinary: Any) -> None:
    """The demo has no errors: exit 0, every record kept, one input a file with its format found out."""
    files = sorted(str(path) for path in (ROOT / "fixtures" / "demo").glob("*.jsonl"))
    code, report = document(files, capsysbinary)
    assert code == 0
    assert report["totals"] == {"read": 44, "kept": 44, "rejected": 0, "repaired": 0, "errors": 0, "warnings": 0}
    assert {Path(item["path"]).stem: item["format"] for item in report["inputs"]} == {
        "alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "openai", "dpo": "sharegpt-dpo", "kto": "openai-kto",
        "text": "pretrain",
    }  # fmt: skip


def test_a_bad_record_has_its_place(tmp_path: Path, capsysbinary: Any) -> None:
    """An error names file, line, record, byte offset and pointer, and the run exits 1."""
    good = json.dumps(GOOD).encode()
    path = write(tmp_path / "a.jsonl", [good, b"", good, b'{"instruction": "x", "output": 5}'])
    code, report = document([str(path)], capsysbinary)
    assert code == 1
    found = next(item for item in report["findings"] if item["severity"] == "error")
    assert (found["line"], found["record"], found["pointer"]) == (4, 2, "/output")
    assert found["byte_offset"] == 2 * (len(good) + 1) + 1
    assert set(found) == {
        "rule", "severity", "path", "line", "record", "byte_offset", "pointer", "message", "hint", "value"
    }  # fmt: skip


def test_read_is_kept_and_rejected(tmp_path: Path, capsysbinary: Any) -> None:
    rows = [json.dumps(GOOD).encode(), b"{", b"[]", b'"text"', b"\xff", json.dumps(GOOD).encode(), b"null"]
    code, report = document([str(write(tmp_path / "a.jsonl", rows))], capsysbinary)
    totals = report["totals"]
    assert code == 1
    assert totals["read"] == totals["kept"] + totals["rejected"] == 7
    assert totals["kept"] == 2


@pytest.mark.parametrize("how", ["text", "json", "jsonl", "sarif", "junit", "html"])
def test_every_report_format(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode(), b"{"])
    assert run(["validate", str(path), "--output-format", how]) == 1
    assert "json." in capsys.readouterr().out


def test_severities_are_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--error, --warn, --off and --strict decide; a rule without which nothing can be encoded stays an error."""
    empty = write(tmp_path / "a.jsonl", [json.dumps(GOOD | {"output": ""}).encode(), json.dumps(GOOD).encode()])
    assert run(["validate", str(empty), "--quiet"]) == 1
    assert run(["validate", str(empty), "--quiet", "--warn", "answer.empty"]) == 0
    assert run(["validate", str(empty), "--quiet", "--warn", "answer.empty", "--strict"]) == 1
    assert run(["validate", str(empty), "--quiet", "--off", "answer.empty"]) == 0
    capsys.readouterr()
    assert run(["validate", str(empty), "--off", "json.syntax"]) == 2
    assert run(["validate", str(empty), "--off", "answer.emtpy"]) == 2
    assert '"answer.empty"' in capsys.readouterr().err


def test_rejects_can_be_fed_in_again(tmp_path: Path, capsysbinary: Any) -> None:
    """--rejects holds the raw bytes of each rejected record, line for line with its findings."""
    bad = b'{"instruction": "x",   "output": ""}'
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode(), bad, b'{"broken'])
    assert run(["validate", str(path), "--rejects", str(tmp_path / "rejects"), "--quiet"]) == 1
    capsysbinary.readouterr()
    kept = sorted(entry.name for entry in (tmp_path / "rejects").iterdir())
    data = next(name for name in kept if not name.endswith(".findings.jsonl"))
    raw = (tmp_path / "rejects" / data).read_bytes()
    assert raw == bad + b"\n" + b'{"broken\n'
    why = [json.loads(line) for line in (tmp_path / "rejects" / data.replace(".jsonl", ".findings.jsonl")).open()]
    assert [entry["line"] for entry in why] == [2, 3]
    repaired = raw.replace(b'"output": ""', b'"output": "y"').replace(b'{"broken', json.dumps(GOOD).encode())
    (tmp_path / "rejects" / data).write_bytes(repaired)
    code, report = document([str(tmp_path / "rejects" / data)], capsysbinary)
    assert (code, report["totals"]["kept"]) == (0, 2)


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode()])
    run(["validate", str(path), "--quiet"])
    words = [f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3"]
    run(["validate", *words, "--quiet"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_config_checks_lengths_too(tmp_path: Path, capsysbinary: Any) -> None:
    """With a template and tokenizer, what the length limit does is found before packing."""
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD | {"instruction": "Name a metal. " * 100}).encode()])
    words = [f"dataset={path}", f"model_name_or_path={TINY}", "template=default", "cutoff_len=40"]
    _, report = document(words, capsysbinary)
    assert report["counts"].get("length.prompt-cut") == 1


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "from": st.sampled_from(["human", "gpt", "system", "function_call", "observation", "Human"]),
            "value": st.sampled_from(["Hi", "", " ", "a b c " * 40, '{"name": "f", "arguments": {}}', None, 5]),
        }
    ),
    max_size=5,
)
RECORDS = st.one_of(
    st.fixed_dictionaries({"conversations": MESSAGES}),
    st.fixed_dictionaries({"conversations": MESSAGES, "system": st.sampled_from(["", "Be brief.", None, 3])}),
    st.just({"instruction": "x", "output": "y"}),
    st.none(),
)
GOOD_CHAT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    records=st.lists(RECORDS, max_size=8),
    cutoff=st.sampled_from([16, 64, 512]),
    packing=st.booleans(),
    overlong=st.sampled_from(["truncate", "drop", "error", "split"]),
)
def test_validate_says_what_pack_takes_in(records: list[Any], cutoff: int, packing: bool, overlong: str) -> None:
    """For any records and any of these options, the records validate keeps are those that pack takes in."""
    folder = Path(tempfile.mkdtemp())
    try:
        rows = [json.dumps(record).encode() for record in [GOOD_CHAT, *records]]
        path = write(folder / "a.jsonl", rows)
        words = [
            f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3", f"cutoff_len={cutoff}",
            "format=sharegpt", f"packing={str(packing).lower()}", f"overlong={overlong}",
        ]  # fmt: skip
        config = load_config(None, words, for_command="pack")
        checked = validate([make_plan(config, needs_tokens=False)]).report.totals
        assert checked.read == checked.kept + checked.rejected == len(rows)
        try:
            prepare(config, folder / "out", lambda line: None)
        except DataFault:
            return  # nothing was left, or the mapping is wrong for the whole set
        ledger = read_manifest(folder / "out")["ledger"]
        assert ledger["read"] == checked.read
        assert ledger["read"] - sum(ledger["rejected"].values()) == checked.kept
    finally:
        shutil.rmtree(folder)


# --- formats that are found out ---------------------------------------------------------------------------------------

ALPACA, SHAREGPT = json.dumps(GOOD).encode(), json.dumps(GOOD_CHAT).encode()
UNREADABLE = {
    "empty": b"",
    "garbage": b"no\njson\n",
    "damaged": gzip.compress(ALPACA * 50)[:40],
    "utf-16": b"\xff\xfe{\x00}\x00",
}


def test_files_that_agree_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was decided and why: once for all files that agree, also beside a machine-readable report."""
    paths = [str(write(tmp_path / f"{name}.jsonl", [ALPACA])) for name in "abcd"]
    run(["validate", *paths, "--json"])
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "the records have" in line]
    assert len(lines) == 1
    assert "a.jsonl" in lines[0] and "and 1 more: alpaca: the records have" in lines[0]
    json.loads(said.out)


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("route", ["file", "data set", "pack", "convert"])
def test_a_file_in_which_nothing_can_be_read_is_the_datas_fault(
    what: str, route: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whichever way it comes: exit 1, not 2, and `validate` says what is wrong with the bytes."""
    path = tmp_path / ("a.jsonl.gz" if what == "damaged" else "a.jsonl")
    path.write_bytes(UNREADABLE[what])
    words = {
        "file": ["validate", str(path), "--json"],
        "data set": ["validate", f"dataset={path}", "--json"],
        "pack": [
            "pack",
            f"dataset={path}",
            f"model_name_or_path={TINY}",
            "template=qwen3",
            "-o",
            str(tmp_path / "out"),
        ],
        "convert": ["convert", "--to", "openai", str(path), "-o", str(tmp_path / "out.jsonl")],
    }[route]
    assert run(words) == 1
    said = capsys.readouterr()
    if "validate" in words:
        report = json.loads(said.out)
        assert report["totals"]["errors"] and report["findings"]
        assert report["inputs"][0]["format"] == "unknown"
    else:
        assert "--format" not in said.err


def test_a_mixed_file_has_a_report_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`validate` goes through it and exits 1; `pack` refuses it, and names the first record of each format."""
    path = write(tmp_path / "a.jsonl", [ALPACA, ALPACA, SHAREGPT])
    assert run(["validate", f"dataset={path}", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["totals"]["read"] == 3
    out = str(tmp_path / "out")
    assert run(["pack", f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3", "-o", out]) == 1
    error = capsys.readouterr().err
    assert f"alpaca (first at {path}:1), sharegpt (first at {path}:3)" in error


def test_a_folder_with_a_file_of_each_format_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.jsonl", [ALPACA])
    write(tmp_path / "b.jsonl", [SHAREGPT])
    out = str(tmp_path / "out")
    assert run(["pack", f"dataset={tmp_path}", f"model_name_or_path={TINY}", "template=qwen3", "-o", out]) == 1
    assert "make files of each format a data set of their own" in capsys.readouterr().err


def test_all_files_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")]) == 2
    error = capsys.readouterr().err
    assert "one.jsonl: no such file" in error and "two.jsonl: no such file" in error


def test_settings_that_need_tokens_are_told_when_there_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`cutoff_len=5` on its own checks nothing; with model and template it does, and --quiet says nothing of it."""
    path = str(write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode()]))
    for words, lacking in (([], "model_name_or_path and template"), (["template=default"], "model_name_or_path")):
        assert run(["validate", path, "cutoff_len=5", *words]) == 0
        assert f"no effect without {lacking}," in capsys.readouterr().err
    assert run(["validate", path, "cutoff_len=500", "template=default", f"model_name_or_path={TINY}"]) == 0
    assert run(["validate", path, "stage=sft", "max_samples=5"]) == 0
    assert run(["validate", path, "cutoff_len=5", "--quiet"]) == 0
    assert "no effect" not in capsys.readouterr().err


def test_quiet_prints_errors_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither warnings nor remarks; nothing at all when there is no error. The exit code is the same."""
    good, bad = json.dumps(GOOD).encode(), json.dumps(GOOD | {"output": 5}).encode()
    assert run(["validate", str(write(tmp_path / "a.jsonl", [good, good])), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["validate", str(write(tmp_path / "a.jsonl", [good, good, bad])), "--quiet"]) == 1
    said = capsys.readouterr()
    assert "a.jsonl:3 /output" in said.out and "1 error: " in said.out and said.err == ""
    assert "warning" not in said.out and "duplicate" not in said.out and "alpaca" not in said.out


def test_a_program_is_told_the_path_itself_and_a_person_a_clean_one(tmp_path: Path, capfdbinary: Any) -> None:
    """A file can be opened by the path of the JSON document, whatever its name is; pack's report and rejects agree."""
    path = write(
        tmp_path / "a b\n\x1b[31m.jsonl", [json.dumps(GOOD).encode(), json.dumps(GOOD | {"output": ""}).encode()]
    )
    code, report = document([str(path)], capfdbinary)
    assert code == 1
    assert {item["path"] for item in report["inputs"] + report["findings"]} == {str(path)}
    assert run(["validate", str(path)]) == 1
    said = capfdbinary.readouterr().out.decode()
    assert "\x1b" not in said and "a b\\x0a\\x1b[31m.jsonl:2" in said
    out = tmp_path / "out"
    words = [f"dataset={path}", f"model_name_or_path={TINY}", "template=qwen3", "max_rejected=1.0", "--workers", "1"]
    assert run(["pack", *words, "-o", str(out)]) == 0
    assert "\x1b" not in capfdbinary.readouterr().out.decode()
    assert [item["path"] for item in read_manifest(out)["inputs"]] == [str(path)]
    (why,) = (out / "rejects").glob("*.findings.jsonl")
    assert json.loads(why.read_text())["findings"][0]["path"] == str(path)
    assert run(["trace", str(out), "--row", "0", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["examples"][0]["file"] == str(path)


def test_a_name_that_is_no_utf8_stands_in_escapes(tmp_path: Path, capfdbinary: Any) -> None:
    """JSON has no bytes, and a report that no program can read would be worse."""
    path = Path(os.fsdecode(os.fsencode(tmp_path / "x") + b"\xff.jsonl"))
    try:
        write(path, [json.dumps(GOOD).encode()])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    code, report = document([str(path)], capfdbinary)
    assert (code, report["inputs"][0]["path"]) == (0, str(tmp_path / "x") + "\\udcff.jsonl")


def test_a_copy_is_told_with_its_place_in_bytes(tmp_path: Path, capsysbinary: Any) -> None:
    """Plain records and others: the bytes at the offset are the record."""
    odd = GOOD | {"system": "Be brief."}
    rows = [json.dumps(record).encode() for record in (GOOD, odd, GOOD, odd)]
    path = write(tmp_path / "a.jsonl", rows)
    _, report = document([str(path)], capsysbinary)
    found = [item for item in report["findings"] if item["rule"] == "set.duplicate"]
    assert [(item["line"], item["record"]) for item in found] == [(3, 2), (4, 3)]
    data = path.read_bytes()
    assert [data[item["byte_offset"] :].split(b"\n")[0] for item in found] == rows[2:]


def test_a_folder_of_rejects_can_be_fed_in_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The records, fixed, and nothing else: the findings beside them are no data."""
    rows = [json.dumps(GOOD | {"output": ""}).encode(), json.dumps(GOOD).encode()]
    rejects = tmp_path / "rejects"
    assert run(["validate", str(write(tmp_path / "a.jsonl", rows)), "--rejects", str(rejects)]) == 1
    (data,) = (path for path in rejects.iterdir() if ".findings" not in path.name)
    data.write_bytes(data.read_bytes().replace(b'"output": ""', b'"output": "Iron."'))
    capsys.readouterr()
    assert run(["validate", str(rejects)]) == 0
    said = capsys.readouterr()
    assert "1 records read, 1 kept" in said.out.replace("1 record read", "1 records read")
    assert "left out" in " ".join((said.out + said.err).split())


def test_rules_of_the_command_line_add_up(tmp_path: Path) -> None:
    """--error beside `rules.x=off` does not put the other one out of force."""
    good = json.dumps(GOOD).encode()
    path = str(write(tmp_path / "a.jsonl", [good, good]))
    assert run(["validate", path, "--error", "set.duplicate"]) == 1
    assert run(["validate", path, "rules.set.duplicate=error", "--off", "text.special-token"]) == 1
