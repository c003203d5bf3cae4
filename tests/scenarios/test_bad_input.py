"""Bad input: each gets its exit code, one clear message, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
TINY = FIXTURES / "tiny"
GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def pack(data: Path | str, out: Path, *more: str) -> int:
    return run(["pack", f"dataset={data}", f"model_name_or_path={TINY}", "template=default", "-o", str(out), *more])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a run said on stderr, as one text; never a traceback."""

    def read() -> str:
        text = capsys.readouterr().err
        assert "Traceback" not in text
        return text

    return read


def test_missing_file(tmp_path: Path, out: Path, said: Any) -> None:
    lines(tmp_path / "chats.jsonl", [GOOD])
    assert pack(tmp_path / "chat.jsonl", out) == 2
    text = said()
    assert "chat.jsonl" in text
    assert not out.exists()


def test_empty_file(tmp_path: Path, out: Path, said: Any) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert pack(tmp_path / "empty.jsonl", out) in (1, 2)
    assert "empty.jsonl" in said()
    assert not (out / "manifest.json").exists()


def test_a_named_set_without_a_record_is_told_as_that(tmp_path: Path, out: Path, said: Any) -> None:
    """Not "nothing was sampled": every file is named, with what is in it."""
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "blank.jsonl").write_bytes(b"\n\n")
    entries = {name: {"file_name": f"{name}.jsonl"} for name in ("empty", "blank")}
    (tmp_path / "dataset_info.json").write_text(json.dumps(entries))
    assert pack("empty,blank", out, f"dataset_dir={tmp_path}") == 1
    text = said()
    assert "empty.jsonl: the file is empty" in text and "blank.jsonl: the file holds no record" in text
    assert "sampled" not in text
    assert not (out / "manifest.json").exists()


def test_a_refusal_leaves_the_output_as_it_was(tmp_path: Path, out: Path, said: Any) -> None:
    """The output stays as it was; what can be packed is rebuilt, and says why."""
    data = lines(tmp_path / "a.jsonl", [{**GOOD, "instruction": str(n)} for n in range(20)])
    assert pack(data, out) == 0
    before = (out / "manifest.json").read_bytes()
    said()
    assert pack(data, out, "val_size=500") == 2
    text = said()
    assert "val_size: 500" in text
    assert (out / "manifest.json").read_bytes() == before
    assert pack(data, out, "val_size=5") == 0
    assert "rebuilding: changed since the last run" in said()


def test_folder_without_data(tmp_path: Path, out: Path, said: Any) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.md").write_text("x")
    assert pack(tmp_path / "folder", out) == 2
    assert "folder" in said()


def test_unknown_names_all_at_once(tmp_path: Path, out: Path, said: Any) -> None:
    """Every mistyped key is named in one go, each with a guess."""
    lines(tmp_path / "a.jsonl", [GOOD])
    assert pack(tmp_path / "a.jsonl", out, "cutof_len=5", "tempalte=qwen") == 2
    text = said()
    assert '"cutoff_len"' in text
    assert '"template"' in text


def test_unknown_template(tmp_path: Path, out: Path, said: Any) -> None:
    lines(tmp_path / "a.jsonl", [GOOD])
    assert pack(tmp_path / "a.jsonl", out, "template=qwne3") == 2
    assert "qwen3" in said()


def test_unknown_data_set(out: Path, said: Any) -> None:
    assert run(["pack", str(FIXTURES / "demo" / "sft.yaml"), "dataset=demo_alpca", "-o", str(out)]) == 2
    assert '"demo_alpaca"' in said()


def test_broken_json_in_the_middle(tmp_path: Path, out: Path, said: Any) -> None:
    """The broken line is rejected with its line number; its neighbours survive."""
    path = tmp_path / "a.jsonl"
    good = json.dumps(GOOD).encode()
    path.write_bytes(b"\n".join([good, good, b'{"instruction": "x", "output": ', good]) + b"\n")
    assert pack(path, out, "max_rejected=1", "--json") == 0
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["ledger"]["read"] == 4
    assert sum(manifest["ledger"]["rejected"].values()) == 1
    report = json.loads((out / "report.json").read_bytes())
    assert [found["line"] for found in report["findings"] if found["severity"] == "error"] == [3]


def test_too_many_rejected(tmp_path: Path, out: Path, said: Any) -> None:
    """Above max_rejected the output is written, the loss is said loudly, and the exit code is 1."""
    lines(tmp_path / "a.jsonl", [GOOD, GOOD, {"instruction": "x"}])
    assert pack(tmp_path / "a.jsonl", out) == 1
    assert "1 of 3" in said()
    assert (out / "manifest.json").exists()


def test_array_where_lines_were_meant(tmp_path: Path, out: Path, said: Any) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps([GOOD, GOOD], indent=1))
    assert pack(tmp_path / "a.jsonl", out) == 0
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["ledger"]["examples"] == 2
    assert "json.array-in-jsonl" in manifest["findings"]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_bom_and_crlf(tmp_path: Path, out: Path, newline: bytes, said: Any) -> None:
    """A byte order mark and Windows line ends cost no record."""
    good = json.dumps(GOOD).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + newline.join([good, good]) + newline)
    assert pack(tmp_path / "a.jsonl", out) == 0
    assert json.loads((out / "manifest.json").read_bytes())["ledger"]["examples"] == 2


def test_bad_utf8(tmp_path: Path, out: Path, said: Any) -> None:
    """One bad byte costs one record, not the file."""
    good = json.dumps(GOOD).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([good, good.replace(b"Iron", b"Ir\xffon"), good]) + b"\n")
    assert pack(tmp_path / "a.jsonl", out, "max_rejected=1") == 0
    ledger = json.loads((out / "manifest.json").read_bytes())["ledger"]
    assert ledger["examples"] == 2
    assert ledger["rejected"] == {"bytes.bad-utf8": 1}


def test_wrong_mapping(tmp_path: Path, out: Path, said: Any) -> None:
    """When every row lacks the same field, the message says mapping, and names the keys that are there."""
    lines(tmp_path / "a.jsonl", [{"question": f"Why {n}?", "answer": "So."} for n in range(5)])
    (tmp_path / "dataset_info.json").write_text(
        json.dumps({"mine": {"file_name": "a.jsonl", "columns": {"prompt": "quest", "response": "answer"}}})
    )
    assert pack("mine", out, f"dataset_dir={tmp_path}") == 1
    text = said()
    assert "mapping" in text
    assert "question" in text


def test_another_format_among_a_thousand(tmp_path: Path, out: Path, said: Any) -> None:
    """A file that mixes formats is refused when the format is to be found out, and the first record of each is named;
    with the format said, the odd record is rejected where it stands and the thousand others are kept."""
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    path = lines(tmp_path / "a.jsonl", [GOOD] * 500 + [chat] + [GOOD] * 500)
    assert pack(path, out) == 1
    text = said()
    assert f"alpaca (first at {path}:1)" in text
    assert f"openai (first at {path}:501)" in text
    assert not (out / "manifest.json").exists()
    assert pack(path, out, "format=alpaca") == 0
    assert json.loads((out / "manifest.json").read_bytes())["ledger"]["examples"] == 1000
    report = json.loads((out / "report.json").read_bytes())
    assert {found["line"] for found in report["findings"] if found["severity"] == "error"} == {501}


def test_a_folder_that_is_not_ours(tmp_path: Path, out: Path, said: Any) -> None:
    """A non-empty folder of somebody else is refused and left as it is."""
    lines(tmp_path / "a.jsonl", [GOOD])
    out.mkdir()
    (out / "thesis.txt").write_text("do not lose me")
    assert pack(tmp_path / "a.jsonl", out) == 2
    assert "thesis.txt" in said()
    assert sorted(entry.name for entry in out.iterdir()) == ["thesis.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission(tmp_path: Path, said: Any) -> None:
    lines(tmp_path / "a.jsonl", [GOOD])
    (tmp_path / "locked").mkdir(mode=0o500)
    assert pack(tmp_path / "a.jsonl", tmp_path / "locked" / "out") == 3
    assert "permission" in said()


def test_permission_error_is_the_machines(
    tmp_path: Path, out: Path, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system refuses is exit 3 with the reason, also for root, whom folders do not stop."""
    from stages.core import atomic_io as files

    class Denied(files._System):
        def mkdir(self, path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

    lines(tmp_path / "a.jsonl", [GOOD])
    monkeypatch.setattr(files, "operations", Denied())
    assert pack(tmp_path / "a.jsonl", out) == 3
    assert "permission" in said()


def test_folder_without_tokenizer(tmp_path: Path, out: Path, said: Any) -> None:
    lines(tmp_path / "a.jsonl", [GOOD])
    (tmp_path / "model").mkdir()
    assert pack(tmp_path / "a.jsonl", out, f"model_name_or_path={tmp_path / 'model'}") == 2
    assert "tokenizer.json" in said()


def test_template_whose_tokens_the_tokenizer_lacks(tmp_path: Path, out: Path, said: Any) -> None:
    """A template that inserts a token by id cannot be written without it; the token is named."""
    lines(tmp_path / "a.jsonl", [GOOD])
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    raw = json.loads((model / "tokenizer.json").read_bytes())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] != "[gMASK]"]
    raw["model"]["vocab"].pop("[gMASK]", None)
    (model / "tokenizer.json").write_text(json.dumps(raw))
    assert pack(tmp_path / "a.jsonl", out, f"model_name_or_path={model}", "template=chatglm3") == 2
    assert "[gMASK]" in said()


def test_nothing_left_to_train_on(tmp_path: Path, out: Path, said: Any) -> None:
    """A file whose every record is rejected ends with exit 1 and no output."""
    bad = [{"instruction": "x", "output": ""}, {"instruction": "y", "output": 5}, {"instruction": "z", "output": " "}]
    lines(tmp_path / "a.jsonl", bad)
    assert pack(tmp_path / "a.jsonl", out) == 1
    assert "answer.empty" in said()
    assert not (out / "manifest.json").exists()
