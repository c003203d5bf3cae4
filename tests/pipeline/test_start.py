"""Where prep begins: SIGTERM is answered at once, and every terminal can show what is said."""

from __future__ import annotations

import io
import signal

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
