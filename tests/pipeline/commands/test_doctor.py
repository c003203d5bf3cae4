"""`prep doctor`: what is missing is named with the command that installs it, and a clash is seen."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from pipeline.cli import run
from pipeline.commands import doctor
from pipeline.installation import DISTRIBUTION, install_command


@pytest.fixture
def fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which nothing is wrong."""
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)
    monkeypatch.setattr(doctor, "version_of", lambda name: "1.0")


@pytest.mark.usefixtures("fine")
def test_a_good_installation_is_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.endswith("no problems found\n")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.usefixtures("fine")
def test_the_json_document_holds_what_the_text_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["core"]["numpy"] == "1.0"
    assert document["problems"] == []


@pytest.mark.usefixtures("fine")
def test_a_missing_core_package_is_exit_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr with the command that installs it; an extra that is missing is no problem, and named as well."""
    monkeypatch.setattr(doctor, "version_of", lambda name: "" if name in ("numpy", "ray") else "1.0")
    assert run(["doctor"]) == 3
    said = capsys.readouterr()
    assert f"problem    numpy is not installed: {install_command()}" in said.err
    assert install_command("ray") in said.out
    assert "ray is not" not in said.err


def test_another_owner_of_a_package_name_is_a_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"pipeline": [DISTRIBUTION, "other-pipeline"], "stages": [DISTRIBUTION]}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: owners)
    (problem,) = doctor.clashes()
    assert "'pipeline'" in problem and "other-pipeline" in problem


@pytest.mark.usefixtures("fine")
def test_a_folder_here_that_hides_a_package_is_a_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without code hides nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    assert doctor.clashes() == []
    (tmp_path / "stages" / "__init__.py").touch()
    (problem,) = doctor.clashes()
    assert "PYTHONSAFEPATH=1" in problem


def test_devices_are_told_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.isdir", lambda path: "nvidia" in path)
    monkeypatch.setattr("os.listdir", lambda path: ["a", "b"])
    assert doctor.devices() == "2 NVIDIA device(s)"
    monkeypatch.setattr("os.path.isdir", lambda path: False)
    assert "CPU" in doctor.devices()
