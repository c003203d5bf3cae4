"""What is said before there is a model: examples that its positions were not made for, and data that is no batch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.data import longest_example, read_manifest
from stages.train.setup import positions

pytestmark = pytest.mark.train
Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.mark.parametrize(
    ("config", "scaled", "limit"),
    [
        ({"max_position_embeddings": 4096}, False, 4096),
        ({}, False, 0),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "linear", "factor": 2.0}}, True, 8192),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"factor": 8.0, "original_max_position_embeddings": 8192},
            },
            False,
            131072,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768},
            },
            False,
            131072,
        ),
    ],
)
def test_positions_count_rope_scaling(config: dict[str, Any], scaled: bool, limit: int) -> None:
    assert positions(SimpleNamespace(**config), scaled=scaled) == limit


@pytest.mark.parametrize("kind", ["lm", "packed", "pref"])
def test_the_longest_example_is_what_a_model_sees_at_once(kind: str, make: Any, tmp_path: Path) -> None:
    lm, pref = make.lm(7), make.pref(7)
    rows = {"lm": lm, "packed": make.packed(lm), "pref": pref}[kind]
    made = make.out(tmp_path, "pref" if kind == "pref" else "lm", {"train": rows}, packed=kind == "packed")
    if kind == "pref":
        want = max(len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"])) for r in pref)
    else:
        want = max(len(row["input_ids"]) for row in lm)
    assert longest_example(read_manifest(made), "train") == want


def test_examples_beyond_the_models_positions_are_named(
    make: Any, run_job: Run, tiny_model: Path, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    shutil.copytree(tiny_model, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(8)})
    _, said = run_job(data, tmp_path / "o", model_name_or_path=str(short), max_steps=1)
    assert any("positions for 8 as published" in text for text in said)
    _, said = run_job(data, tmp_path / "o2", max_steps=1)
    assert not any("positions for" in text for text in said)


def test_fewer_rows_than_one_batch_with_drop_last_are_refused(make: Any, run_job: Run, tmp_path: Path) -> None:
    data = make.out(tmp_path / "d", "lm", {"train": make.lm(3)})
    with pytest.raises(UsageFault, match="3 rows, fewer than one batch of 4"):
        run_job(data, tmp_path / "o", dataloader_drop_last=True)
