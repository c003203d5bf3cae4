"""prep runs with its own four packages, or says whose are in the way."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import pipeline

HOME = Path(pipeline.__file__).parents[1]


def in_the_way(monkeypatch: pytest.MonkeyPatch, name: str, spec: ModuleSpec | None) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: spec if wanted == name else real(wanted))


def test_its_own_packages_are_fine() -> None:
    pipeline._check_neighbours()


@pytest.mark.parametrize("name", ["schemas", "registry", "stages"])
def test_a_module_of_the_same_name_elsewhere_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way(monkeypatch, name, ModuleSpec(name, None, origin=str(tmp_path / name / "__init__.py")))
    with pytest.raises(ImportError) as caught:
        pipeline._check_neighbours()
    assert str(tmp_path) in str(caught.value) and str(HOME / name) in str(caught.value)
    assert "PYTHONSAFEPATH=1" in str(caught.value)


def test_a_folder_without_init_and_no_package_at_all_are_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ModuleSpec("stages", None)
    folder.submodule_search_locations = [str(tmp_path)]
    in_the_way(monkeypatch, "stages", folder)
    with pytest.raises(ImportError, match=str(tmp_path)):
        pipeline._check_neighbours()
    in_the_way(monkeypatch, "stages", None)
    with pytest.raises(ImportError, match="nothing"):
        pipeline._check_neighbours()
