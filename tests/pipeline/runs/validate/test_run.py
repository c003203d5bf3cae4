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
from registry.errors import DataFault, Fault

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


@pytest.fixture(scope="module")
def chat_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny tokenizer with a chat template that refuses a second speaker and marks nothing twice."""
    folder = tmp_path_factory.mktemp("tokenizer")
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    path = folder / "tokenizer_config.json"
    template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    return folder


# what a configuration may say or leave out; None: the key is not there
OPTIONAL_KEYS = {
    "template": [None, "auto", "chatml", "qwen3"],
    "stage": [None, "sft", "pt", "kto", "dpo"],
    "format": [None, "sharegpt"],
    "cutoff_len": [None, 16, 512],
    "packing": [None, "true"],
    "overlong": [None, "drop"],
    "train_on_prompt": [None, "true"],
    "enable_thinking": [None, "false"],
    "do_predict": [None, "true"],
}
OPEN_RECORDS = st.one_of(
    RECORDS,
    st.just({"text": "Iron is a metal."}),
    st.just({"instruction": "x", "output": "y", "label": False}),
    st.just({"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "a"},
             "rejected": {"from": "gpt", "value": "b"}}),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    records=st.lists(OPEN_RECORDS, min_size=1, max_size=5),
    chosen=st.fixed_dictionaries({key: st.sampled_from(values) for key, values in OPTIONAL_KEYS.items()}),
)
def test_validate_says_what_pack_takes_in_whatever_keys_are_left_out(
    records: list[Any], chosen: dict[str, object], chat_tokenizer: Path
) -> None:
    """A key that is not written means the same to both: the template above all."""
    folder = Path(tempfile.mkdtemp())
    try:
        path = write(folder / "a.jsonl", [json.dumps(record).encode() for record in records])
        words = [f"{key}={value}" for key, value in chosen.items() if value is not None]
        words += [f"dataset={path}", f"model_name_or_path={chat_tokenizer}"]
        try:
            config = load_config(None, words, for_command="pack")
            packing_plan = make_plan(config, needs_tokens=True)
        except Fault:
            return  # a combination that pack refuses
        plan = make_plan(config, needs_tokens=False)
        assert plan.encode == packing_plan.encode
        checked = validate([plan]).report.totals
        try:
            prepare(config, folder / "out", lambda line: None)
        except DataFault:
            return  # nothing was left, or the mapping is wrong for the whole set
        ledger = read_manifest(folder / "out")["ledger"]
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


_LABELLED = {
    "messages": [{"role": "user", "content": "Is ice hot?"}, {"role": "assistant", "content": "Very."}],
    "label": False,
}


@pytest.mark.parametrize("route", ["auto", "format", "columns", "file"])
def test_labelled_answers_are_no_sft_data_on_any_route(route: str, tmp_path: Path, capsysbinary: Any) -> None:
    """Found out by the file, named by `format`, mapped in dataset_info.json: bad answers are never trained as good."""
    path = write(tmp_path / "k.jsonl", [json.dumps(_LABELLED).encode()] * 2)
    columns = {"messages": "messages", "kto_tag": "label"}
    entry = {"file_name": "k.jsonl", "formatting": "openai", "columns": columns}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"k": entry}))
    words = {
        "auto": [f"dataset={path}", "stage=sft"],
        "format": [f"dataset={path}", "stage=sft", "format=openai-kto"],
        "columns": ["dataset=k", f"dataset_dir={tmp_path}", "stage=sft"],
        "file": [str(path), "--stage", "sft"],
    }[route]
    code, report = document(words, capsysbinary)
    assert (code, report["totals"]["kept"]) == (1, 0)
    assert report["counts"]["kto.in-sft"] == 2
    assert not {rule for rule in report["counts"] if rule.startswith("kto.")} - {"kto.in-sft"}


def test_texts_in_stage_sft_are_told_alike_by_validate_and_pack(tmp_path: Path, capsys: Any) -> None:
    path = write(tmp_path / "t.jsonl", [b'{"text": "Iron is a metal."}'] * 3)
    words = [f"dataset={path}", "stage=sft", f"model_name_or_path={TINY}", "template=chatml"]
    assert run(["validate", *words]) == 1
    assert "pretrain.wrong-stage" in capsys.readouterr().out
    assert run(["pack", *words, "-o", str(tmp_path / "out")]) == 1
    told = "".join(capsys.readouterr())
    assert "pretrain.wrong-stage" in told
    assert "stage pt" in told


@pytest.mark.parametrize("rest", [{"output": ""}, {"output": None}, {}, {"output": " "}])
def test_prompts_to_predict_from_need_no_answers(rest: dict[str, Any], tmp_path: Path, capsysbinary: Any) -> None:
    path = write(tmp_path / "p.jsonl", [json.dumps({"instruction": f"Go to {n}.", **rest}).encode() for n in range(3)])
    words = [f"dataset={path}", "format=alpaca", "stage=sft", "do_predict=true"]
    words += [f"model_name_or_path={TINY}", "template=chatml"]
    code, report = document(words, capsysbinary)
    assert (code, report["counts"], report["totals"]["kept"]) == (0, {}, 3)
    assert run(["pack", *words, "-o", str(tmp_path / "out"), "--quiet"]) == 0
    chats = [{"conversations": [{"from": "human", "value": "Go."}, {"from": "gpt", "value": ""}]}] * 2
    path = write(tmp_path / "s.jsonl", [json.dumps(chat).encode() for chat in chats])
    code, report = document([f"dataset={path}", "do_predict=true"], capsysbinary)
    assert (code, report["totals"]["kept"]) == (0, 2)
    code, report = document([f"dataset={path}"], capsysbinary)
    assert (code, report["totals"]["kept"]) == (1, 0)


def test_records_on_one_line_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An array without line breaks: `:1` alone would name every record of the file."""
    rows = [GOOD, GOOD | {"output": 5}, GOOD | {"output": ""}, GOOD]
    text = json.dumps(rows)
    path = tmp_path / "one.json"
    path.write_text(text)
    assert run(["validate", str(path)]) == 1
    told = capsys.readouterr().out
    for number, place in ((1, "/output"), (2, "/output")):
        at = text.index(json.dumps(rows[number]))
        assert f"one.json:1 record {number}, byte {at} {place}" in told
    assert "the same conversation as record 0" in told
    path.write_text(json.dumps(rows, indent=1))
    run(["validate", str(path)])
    assert ", byte" not in capsys.readouterr().out


def test_a_name_that_stands_twice_in_dataset_info_is_told_on_every_route(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.jsonl", [json.dumps(GOOD).encode()])
    entry = '"d": {"file_name": "a.jsonl"}'
    (tmp_path / "dataset_info.json").write_text("{" + entry + ", " + entry + "}")
    words = ["dataset=d", f"dataset_dir={tmp_path}"]
    for command in (
        ["validate", *words], ["pack", *words, f"model_name_or_path={TINY}", "template=chatml", "-o", "OUT"],
        ["list", "datasets", "--dataset_dir", str(tmp_path)],
    ):  # fmt: skip
        assert run([str(tmp_path / "out") if word == "OUT" else word for word in command]) == 0
        said = capsys.readouterr()
        assert "d: stands twice" in " ".join((said.out + said.err).split()), command[0]
