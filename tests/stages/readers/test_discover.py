"""A path, a folder or a glob names the same files in the same order everywhere, or says what is there instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.errors import MachineFault, UsageFault
from stages.readers.discover import discover
from stages.readers.scan import scan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ["b.jsonl", "a.json", "c.csv", "sub/d.jsonl.gz", "sub/.hidden.jsonl", ".git/e.json", "notes.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    return tmp_path


def names(found: list[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in found]


def test_a_folder_means_its_data_files_by_name_with_those_below(folder: Path) -> None:
    assert names(discover(str(folder)), folder) == ["a.json", "b.jsonl", "c.csv", "sub/d.jsonl.gz"]


def test_a_file_named_outright_is_taken_whatever_its_name(folder: Path) -> None:
    assert names(discover("notes.md", base=str(folder)), folder) == ["notes.md"]


def test_a_glob_is_sorted(folder: Path) -> None:
    assert names(discover("*.json*", base=str(folder)), folder) == ["a.json", "b.jsonl", "dataset_info.json"]
    assert names(discover("**/*.gz", base=str(folder)), folder) == ["sub/d.jsonl.gz"]


def test_a_name_with_brackets_that_exists_is_no_glob(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_text("{}")
    assert names(discover("a[1].jsonl", base=str(tmp_path)), tmp_path) == ["a[1].jsonl"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("b.jsnl", 'no such file; did you mean "b.jsonl"?'),
        ("nowhere/b.jsonl", "there is no folder"),
        ("*.parquet", "no file matches"),
        ("a\0b", "NUL"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(folder: Path, spec: str, words: str) -> None:
    with pytest.raises(UsageFault) as caught:
        discover(spec, base=str(folder))
    assert words in str(caught.value)


def test_a_folder_without_data_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("")
    (tmp_path / "b.md").write_text("")
    with pytest.raises(UsageFault, match=r"holds no data file \(2 .md\)"):
        discover(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageFault, match="nothing else either"):
        discover(str(tmp_path / "empty"))


def test_control_characters_in_a_name_are_escaped(tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as caught:
        discover("\x1b[31mred", base=str(tmp_path))
    assert "\x1b" not in str(caught.value)


def test_a_named_pipe_or_device_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UsageFault, match="named pipe"):
        discover(str(tmp_path / "pipe.jsonl"))
    with pytest.raises(UsageFault, match="named pipe"):
        list(scan(str(tmp_path / "pipe.jsonl")))
    with pytest.raises(UsageFault, match="device"):
        discover("/dev/zero")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    (tmp_path / "a.jsonl").chmod(0)
    with pytest.raises(MachineFault):
        list(scan(str(tmp_path / "a.jsonl")))


@pytest.fixture
def rejects(tmp_path: Path) -> Path:
    """Rejected records with prep's findings beside them, and three files that only look like such findings."""
    why = '{"record": 0, "line": 1, "findings": []}\n'
    files = {"00-a.jsonl": "{}", "00-a.findings.jsonl": why, "b.findings.jsonl": why}  # the records of b are not here
    files |= {"c.jsonl": "{}", "c.findings.jsonl": '{"text": "x"}\n', "d.jsonl": "{}", "d.findings.jsonl": "{"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*", "*.jsonl"])
def test_a_folder_of_rejects_means_the_records_and_not_the_findings(rejects: Path, pattern: str) -> None:
    """So that what `--rejects` wrote can be fed in again; nothing is left out without a word."""
    notes: list[str] = []
    found = names(discover(os.path.join(str(rejects), pattern), notes=notes), rejects)
    assert found == ["00-a.jsonl", "b.findings.jsonl", "c.findings.jsonl", "c.jsonl", "d.findings.jsonl", "d.jsonl"]
    (note,) = notes
    assert "00-a.findings.jsonl" in note and "left out" in note


@pytest.mark.parametrize("name", ["00-a.findings.jsonl", "*.findings.jsonl"])
def test_findings_that_are_asked_for_by_name_are_taken(rejects: Path, name: str) -> None:
    notes: list[str] = []
    assert "00-a.findings.jsonl" in names(discover(name, base=str(rejects), notes=notes), rejects)
    assert not notes
