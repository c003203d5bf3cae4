"""An adapter trained on top of another is never loaded onto weights without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.model.adapter_chain import CHAIN_FILE, chain_entries, whole_chain, write_chain

Run = Callable[..., tuple[dict[str, Any], list[str]]]


def folder(root: Path, name: str) -> Path:
    (root / name).mkdir()
    (root / name / "adapter_model.safetensors").write_bytes(name.encode())
    return root / name


def test_what_lies_below_is_found_and_said(tmp_path: Path) -> None:
    below, top = folder(tmp_path, "a"), folder(tmp_path, "b")
    write_chain(top, chain_entries([str(below)], None))
    notes: list[str] = []
    assert whole_chain([str(top)], None, notes) == [str(below), str(top)]
    assert notes == [f"adapter {top} was trained on top of {below}, which goes below it"]
    assert whole_chain([str(below), str(top)], None, notes) == [str(below), str(top)]
    assert whole_chain([str(below)], None, notes) == [str(below)]
    assert len(notes) == 1


def test_a_moved_adapter_below_may_be_named(tmp_path: Path) -> None:
    below, top = folder(tmp_path, "a"), folder(tmp_path, "b")
    write_chain(top, chain_entries([str(below)], None))
    moved = shutil.move(below, tmp_path / "moved")
    with pytest.raises(UsageFault, match="gone or has changed"):
        whole_chain([str(top)], None, [])
    assert whole_chain([str(moved), str(top)], None, []) == [str(moved), str(top)]


def test_another_adapter_below_is_refused(tmp_path: Path) -> None:
    below, top, other = folder(tmp_path, "a"), folder(tmp_path, "b"), folder(tmp_path, "c")
    write_chain(top, chain_entries([str(below)], None))
    with pytest.raises(UsageFault, match="not what is named before it"):
        whole_chain([str(other), str(top)], None, [])
    (below / "adapter_model.safetensors").write_bytes(b"trained further")
    with pytest.raises(UsageFault, match="gone or has changed"):
        whole_chain([str(top)], None, [])


@pytest.mark.train
def test_an_adapter_on_an_adapter_is_exported_with_it(
    make: Any, run_job: Run, tiny_model: Path, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    import torch
    import transformers

    from stages.train.job import ModelSpec
    from stages.train.model.export import ExportJob, export

    out = make.out(tmp_path / "out", "lm", {"train": make.lm(8)})
    keys = {"finetuning_type": "lora", "max_steps": 2, "learning_rate": 2e-2}
    run_job(out, tmp_path / "a", **keys)
    on_top = {"adapter_name_or_path": str(tmp_path / "a"), "create_new_adapter": True}
    run_job(out, tmp_path / "b", **keys, **on_top, save_strategy="steps", save_steps=2)
    merged = [entry["path"] for entry in json.loads((tmp_path / "b" / CHAIN_FILE).read_text())["merged"]]
    assert merged == [str(tmp_path / "a")]
    assert (tmp_path / "b" / "checkpoint-2" / CHAIN_FILE).is_file()
    said: list[str] = []
    spec = ModelSpec(str(tiny_model), adapters=(str(tmp_path / "b"),))
    exported = export(ExportJob(spec, str(tmp_path / "merged")), said.append)
    assert any("goes below it" in text for text in said)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    for name in "ab":
        model = peft.PeftModel.from_pretrained(model, tmp_path / name).merge_and_unload()
    ids = torch.arange(100, 120)[None]
    again = transformers.AutoModelForCausalLM.from_pretrained(exported)
    with torch.no_grad():
        assert float((model(ids).logits - again(ids).logits).abs().max()) < 1e-5
