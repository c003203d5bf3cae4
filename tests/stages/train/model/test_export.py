"""An exported model is one folder that answers as the trained one did and knows its chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.job import ModelSpec

pytestmark = pytest.mark.train
pytest.importorskip("peft")
Run = Callable[..., tuple[dict[str, Any], list[str]]]
CHAT = {"template": {"name": "llama3"}, "compat": "llamafactory-0.9.6", "options": {"template_date": "2026-11-21"}}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, make: Any, run_job: Run) -> Path:
    root = tmp_path_factory.mktemp("adapter")
    out = make.out(root / "out", "lm", {"train": make.lm(16)})
    run_job(out, root / "lora", finetuning_type="lora", max_steps=4, learning_rate=2e-2)
    return root / "lora"


def logits(folder: Path, adapter: Path | None = None) -> Any:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    if adapter is not None:
        model = peft.PeftModel.from_pretrained(model, adapter)
    with torch.no_grad():
        return model.eval()(torch.tensor([[20, 21, 22, 23, 900]])).logits


def test_the_merged_model_answers_as_model_and_adapter(adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    from stages.train.model.export import ExportJob, export

    said: list[str] = []
    folder = export(ExportJob(ModelSpec(str(tiny_model), adapters=(str(adapter),)), str(tmp_path / "m")), said.append)
    gap = float((logits(folder) - logits(tiny_model, adapter)).abs().max())
    assert gap < 1e-5
    assert float((logits(folder) - logits(tiny_model)).abs().max()) > 1e-3, "the adapter must have an effect"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert not list(tmp_path.glob(".*")), "no half-written folder stays"
    assert any("loaded again" in text for text in said)


def test_the_chat_template_is_the_one_it_was_trained_with(adapter: Path, tiny_model: Path, tmp_path: Path) -> None:
    import transformers

    from stages.train.model.export import ExportJob, export

    job = ExportJob(ModelSpec(str(tiny_model), adapters=(str(adapter),)), str(tmp_path / "m"), chat=CHAT)
    folder = export(job, lambda _: None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>" in text
    file = (folder / "Modelfile").read_text()
    assert file.startswith("FROM .\n")
    assert 'PARAMETER stop "<|eot_id|>"' in file


def test_training_saves_the_template_with_the_tokenizer(adapter: Path) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(adapter)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text == "Human: hi</s>\nAssistant:"


def test_weight_files_have_the_requested_size(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train.model import export as module

    save = module.models.load_model(ModelSpec(str(tiny_model)), module.models.Loading()).save_pretrained
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "transformers.PreTrainedModel.save_pretrained",
        lambda self, folder, **keys: (seen.update(keys), save(folder, max_shard_size="200KB")),
    )
    folder = module.export(module.ExportJob(ModelSpec(str(tiny_model)), str(tmp_path / "m"), file_gb=3), lambda _: None)
    assert seen["max_shard_size"] == "3GB"
    assert len(list(folder.glob("*.safetensors"))) > 1


def test_the_number_format_can_be_chosen(tiny_model: Path, tmp_path: Path) -> None:
    from stages.train.model.export import ExportJob, export

    export(ExportJob(ModelSpec(str(tiny_model)), str(tmp_path / "m"), dtype="bfloat16"), lambda _: None)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_filled_folder_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from stages.train.model.export import ExportJob, export

    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageFault, match="not empty"):
        export(ExportJob(ModelSpec(str(tiny_model)), str(tmp_path)), lambda _: None)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_an_adapter_that_does_not_fit_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from stages.train.model.export import ExportJob, export

    job = ExportJob(ModelSpec(str(tiny_model), adapters=(str(tmp_path / "none"),)), str(tmp_path / "m"))
    with pytest.raises(UsageFault, match="adapter_name_or_path"):
        export(job, lambda _: None)
    assert not (tmp_path / "m").exists()


def test_the_exported_model_stops_where_the_template_ends_an_answer(
    adapter: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """Full training, an exported adapter and the Modelfile write the same ids."""
    import transformers

    from stages.train.model.export import ExportJob, export

    chat = {"template": {"name": "qwen3_nothink"}, "compat": "llamafactory-0.9.6", "options": {}}
    folder = export(
        ExportJob(ModelSpec(str(tiny_model), adapters=(str(adapter),)), str(tmp_path / "m"), chat=chat), lambda _: None
    )
    end = transformers.AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|im_end|>")
    base = json.loads((tiny_model / "config.json").read_text())["eos_token_id"]
    assert json.loads((folder / "config.json").read_text())["eos_token_id"] == end != base
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [end, base]
    stops = [line for line in (folder / "Modelfile").read_text().splitlines() if line.startswith("PARAMETER stop")]
    assert stops == ['PARAMETER stop "<|im_end|>"', 'PARAMETER stop "</s>"']
