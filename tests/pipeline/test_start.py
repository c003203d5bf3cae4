"""Where prep begins: SIGTERM is answered at once, and every terminal can show what is said."""

from __future__ import annotations

import io
import signal
import sys
from types import ModuleType
from typing import Any

import pytest

from pipeline import start


@pytest.mark.parametrize(("text", "shown"), [("a → b…", "a -> b..."), ("é", "\\xe9"), ("中", "\\u4e2d")])
def test_a_terminal_without_a_character_gets_it_in_ascii(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    start._fit_terminal()
    out.write(text)
    out.flush()
    assert out.buffer.getvalue().decode() == shown  # type: ignore[attr-defined]  # a BytesIO


def test_a_signal_before_anything_was_written_ends_with_143(monkeypatch: pytest.MonkeyPatch, capfd: object) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    start._at_once(signal.SIGTERM, None)
    assert codes == [143]


def _main(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start.main` without what it does to the process that it owns."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(start, "_fit_terminal", lambda: None)
    start.main()


def command_line(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    module = ModuleType("pipeline.cli")
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.cli", module)


def test_the_command_line_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[bool] = []
    command_line(monkeypatch, lambda: ran.append(True))
    _main(monkeypatch)
    assert ran == [True]


def test_without_click_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.cli", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as ended:
        _main(monkeypatch)
    assert ended.value.code == 3
    assert capsys.readouterr().err == ("prep: click is not installed, and prep needs it: python -m pip install click\n")


def test_a_module_of_ours_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.cli"):
        _main(monkeypatch)


def test_a_name_that_is_no_utf_8_is_printed_as_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace"))
    start._fit_terminal()
    out.write("o\udcff")
    out.flush()
    assert out.buffer.getvalue() == b"o\xff"  # type: ignore[attr-defined]  # a BytesIO
