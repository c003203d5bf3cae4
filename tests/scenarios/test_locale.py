"""The locale changes nothing of what is written, and no terminal is too poor for what is shown."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import start

_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_LOCALES = {"C": {"LC_ALL": "C"}, "ascii": _ASCII, "en_US": "ISO-8859-1", "tr_TR": "ISO-8859-9"}


def prep(folder: Path, words: list[str], **extra: str) -> subprocess.CompletedProcess[bytes]:
    drop = ("LC_", "LANG", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(drop)} | extra
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *words], cwd=folder, env=environment, capture_output=True, timeout=120
    )


def _locale(name: str, tmp_path: Path) -> dict[str, str]:
    wanted = _LOCALES[name]
    if isinstance(wanted, dict):
        return wanted
    if shutil.which("localedef") is None:
        pytest.skip("no localedef here")
    made = tmp_path / "locales" / f"{name}.{wanted}"
    made.parent.mkdir()
    subprocess.run(["localedef", "-i", name, "-f", wanted, os.fspath(made)], capture_output=True, check=False)
    if not made.exists():
        pytest.skip("localedef has no definitions here")
    return {"LC_ALL": made.name, "LOCPATH": os.fspath(made.parent)}


def _tree(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not {"run.json", ".cache"} & set(path.relative_to(folder).parts):
            data = path.read_bytes()
            if path.name == "manifest.json":
                data = data[: data.find(b'"run"')] if b'"run"' in data else data
            found[os.fspath(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


@pytest.mark.parametrize("name", _LOCALES)
def test_every_locale_gives_the_same_bytes(name: str, tmp_path: Path, tiny: str) -> None:
    extra = _locale(name, tmp_path)
    outputs = []
    for number, variables in enumerate(({"LC_ALL": "C.UTF-8"}, extra)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "é ж.csv").write_text("instruction,output\na,b\nc,d\ne,\n", "utf-8")
        words = ["pack", "dataset=é ж.csv", f"model_name_or_path={tiny}", "template=default", "-o", "out"]
        done = prep(folder, [*words, "max_rejected=1"], **variables)
        assert done.returncode == 0, done.stderr
        said = prep(folder, ["validate", "é ж.csv", "--json"], **variables)
        assert said.returncode == 1, said.stderr
        outputs.append((_tree(folder / "out"), said.stdout.split(b'"elapsed')[0]))
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1254"])
@pytest.mark.parametrize("command", ["inspect", "stats", "validate"])
def test_a_poor_terminal_gets_ascii_marks(command: str, encoding: str, tmp_path: Path, tiny: str) -> None:
    (tmp_path / "é.jsonl").write_text('{"instruction": "ж → …", "output": "汉字 é"}\n', "utf-8")
    words = ["dataset=é.jsonl", f"model_name_or_path={tiny}", "template=default"]
    done = prep(tmp_path, [command, *(words if command != "validate" else ["é.jsonl"])], PYTHONIOENCODING=encoding)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    done.stdout.decode(encoding)


def test_marks_have_a_form_in_ascii() -> None:
    import codecs

    codecs.register_error("prep.ascii", start._in_ascii)
    assert "a … → é 汉".encode("latin-1", "prep.ascii") == b"a ... -> \xe9 \\u6c49"
