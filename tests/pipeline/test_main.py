"""`prep` starts the command line, and says in one line what is missing when there is none."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from pipeline.__main__ import main


def command_line(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    module = ModuleType("pipeline.cli")
    module.main = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipeline.cli", module)


def test_the_command_line_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[bool] = []
    command_line(monkeypatch, lambda: ran.append(True))
    main()
    assert ran == [True]


def test_without_click_one_line_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.cli", raising=False)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert capsys.readouterr().err == ("prep: click is not installed, and prep needs it: python -m pip install click\n")


def test_a_module_of_ours_that_is_missing_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pipeline.cli", None)
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.cli"):
        main()
