"""What may not be read is the machine's word (3); what is not there, or is of another kind, the user's mistake (2)."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import run

Lock = Callable[[str], None]


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Lock:
    """Makes every opening and every look at a path fail as without permission, which root is never refused."""

    def refused(real: Any, locked: str) -> Any:
        def call(path: Any, *rest: Any, **named: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and os.path.normpath(path) == locked:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return real(path, *rest, **named)

        return call

    def close(path: str) -> None:
        for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "scandir"), (os, "listdir")):
            monkeypatch.setattr(module, name, refused(getattr(module, name), os.path.normpath(path)))

    return close


@pytest.fixture
def folder(fixtures: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(fixtures / "demo", "demo")
    shutil.copytree(tiny, "model")
    words = ["dataset=demo/alpaca.jsonl", "model_name_or_path=model", "template=default", "--workers", "1", "--quiet"]
    assert run(["pack", *words, "-o", "out"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    ("words", "locked"),
    [
        (["validate", "demo/sft.yaml"], "demo/sft.yaml"), (["pack", "demo/sft.yaml"], "demo/sft.yaml"),
        (["validate", "demo/alpaca.jsonl"], "demo/alpaca.jsonl"), (["validate", "demo"], "demo"),
        (["validate", "dataset=demo_alpaca", "dataset_dir=demo"], "demo/dataset_info.json"),
        (["verify", "out"], "out/manifest.json"), (["stats", "out"], "out/manifest.json"),
        (["why", "out"], "out/manifest.json"), (["report", "out"], "out/manifest.json"),
        (["verify", "out"], "out/train/data-00000-of-00001.arrow"),
        (["inspect", "out", "--rule", "text.special-token"], "out/report.json"),
    ],
)  # fmt: skip
def test_no_permission_to_read_exits_3(
    words: list[str], locked: str, folder: Path, lock: Lock, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file, no traceback, and no advice about a folder to write to."""
    lock(locked)
    assert run(words) == 3
    said = capsys.readouterr().err
    assert f"{locked}: " in said
    assert "Traceback" not in said and "with -o" not in said


@pytest.mark.parametrize("command", ["verify", "trace", "why", "report", "stats", "inspect"])
def test_a_folder_that_may_not_be_read_is_left_to_the_system_to_refuse(
    command: str, folder: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look ahead at its permissions takes the answer for a mistake in the command."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    lock("out/manifest.json")
    assert run([command, "out"]) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_exits_3(folder: Path) -> None:
    mode = stat.S_IMODE((folder / "out").stat().st_mode)
    try:
        (folder / "out").chmod(0)
        assert {run([command, "out"]) for command in ("verify", "stats", "why", "report", "inspect")} == {3}
    finally:
        (folder / "out").chmod(mode)


@pytest.mark.parametrize("command", ["verify", "trace", "why", "report", "stats", "inspect"])
@pytest.mark.parametrize("file", ["out/manifest.json", "out/README.md", "out/train/state.json", "out/report.json"])
def test_a_file_of_an_output_names_the_output(
    command: str, file: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, file]) == 2
    assert capsys.readouterr().err == (
        f"prep: {file}: is a file; name the folder that prep pack wrote\n  hint: the output is out\n"
    )


@pytest.mark.parametrize("command", ["verify", "trace", "why", "report", "stats", "inspect"])
def test_a_file_is_no_output(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "demo/alpaca.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "demo/alpaca.jsonl: is a file; name " in said
    assert "  hint: " in said
    assert run([command, "demo/alpaca.jsonl/x"]) == 2
    assert "demo/alpaca.jsonl/x: " in capsys.readouterr().err
