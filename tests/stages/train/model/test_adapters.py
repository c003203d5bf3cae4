"""What is trained is what was requested: layers, adapters of every kind, and adapters on adapters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MachineFault, UsageFault

pytestmark = pytest.mark.train
pytest.importorskip("peft")

Run = Callable[..., tuple[dict[str, Any], list[str]]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("data"), "lm", {"train": make.lm(32)})  # type: ignore[no-any-return]


def losses(output: Path) -> list[float]:
    return [json.loads(text)["loss"] for text in (output / "trainer_log.jsonl").read_text().splitlines()]


def changed(before: Path, after: Path) -> set[str]:
    from safetensors.torch import load_file

    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    return {name for name in old if not old[name].equal(new[name])}


def logits(folder: Path, base: Path | None = None) -> Any:
    import peft
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base or folder)
    if base is not None:
        model = peft.PeftModel.from_pretrained(model, folder)
    with torch.no_grad():
        return model.eval()(torch.tensor([[20, 21, 22, 23]])).logits


@pytest.mark.parametrize(("layers", "number"), [(1, 1), (-1, 0)])
def test_freeze_trains_the_layers_that_were_chosen(
    layers: int, number: int, data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    _, said = run_job(data, tmp_path, finetuning_type="freeze", freeze_trainable_layers=layers, max_steps=10)
    moved = changed(tiny_model, tmp_path)
    assert moved
    assert all(f"layers.{number}." in name for name in moved)
    assert any(text.startswith(f"note: layers {number} of 2 are trained") for text in said)
    seen = losses(tmp_path)
    assert seen[-1] < seen[0]


def test_freeze_trains_single_modules_and_extra_ones(
    data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    keys = {"freeze_trainable_layers": 2, "freeze_trainable_modules": "mlp", "freeze_extra_modules": "lm_head"}
    run_job(data, tmp_path, finetuning_type="freeze", max_steps=2, **keys)
    moved = changed(tiny_model, tmp_path)
    assert any("lm_head" in name for name in moved)
    assert all("mlp" in name or "lm_head" in name for name in moved)


@pytest.mark.parametrize(
    "keys",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"loraplus_lr_ratio": 4.0},
        {"lora_target": "q_proj,v_proj", "additional_target": "embed_tokens"},
        {"init_lora_weights": "gaussian"},
        {"finetuning_type": "oft", "oft_block_size": 8},
    ],
    ids=["dora", "rslora", "loraplus", "additional", "gaussian", "oft"],
)
def test_every_kind_of_adapter_learns(keys: dict[str, Any], data: Path, run_job: Run, tmp_path: Path) -> None:
    run_job(data, tmp_path, **{"finetuning_type": "lora", "max_steps": 12, "learning_rate": 5e-3, **keys})
    seen = losses(tmp_path)
    assert sum(seen[-3:]) < 0.99 * sum(seen[:3])
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    assert settings.get("use_dora", False) == keys.get("use_dora", False)
    assert settings.get("use_rslora", False) == keys.get("use_rslora", False)
    if "additional_target" in keys:
        assert settings["modules_to_save"] == ["embed_tokens"]
        assert set(settings["target_modules"]) == {"q_proj", "v_proj"}


def test_an_adapter_is_trained_further_or_merged_below_a_new_one(
    data: Path, run_job: Run, tmp_path: Path, tiny_model: Path
) -> None:
    first, further, fresh = (tmp_path / name for name in ("first", "further", "fresh"))
    run_job(data, first, finetuning_type="lora", lora_rank=4, max_steps=6, learning_rate=1e-2)
    run_job(data, further, finetuning_type="lora", adapter_name_or_path=str(first), max_steps=6, learning_rate=1e-2)
    assert losses(further)[0] < losses(first)[0]
    assert json.loads((further / "adapter_config.json").read_text())["r"] == 4, "it is the same adapter"
    _, said = run_job(
        data, fresh, finetuning_type="lora", lora_rank=2, adapter_name_or_path=str(first), create_new_adapter=True,
        max_steps=1,
    )  # fmt: skip
    assert json.loads((fresh / "adapter_config.json").read_text())["r"] == 2
    assert any("merged into the start weights" in text for text in said)
    assert losses(fresh)[0] == pytest.approx(losses(further)[0], abs=1e-4)


def test_dpo_on_an_sft_adapter_starts_from_it(run_job: Run, data: Path, make: Any, tmp_path: Path) -> None:
    pairs = make.out(tmp_path / "pairs", "pref", {"train": make.pref(8)})
    run_job(data, tmp_path / "sft", finetuning_type="lora", max_steps=3, learning_rate=1e-2)
    run_job(
        pairs,
        tmp_path / "dpo",
        stage="dpo",
        finetuning_type="lora",
        adapter_name_or_path=str(tmp_path / "sft"),
        max_steps=2,
    )
    # at the first step policy and reference are the same model
    assert losses(tmp_path / "dpo")[0] == pytest.approx(0.6931, abs=1e-3)


def test_a_missing_quantization_library_is_the_machines_fault(data: Path, run_job: Run, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(MachineFault, match="bitsandbytes") as caught:
        run_job(data, tmp_path, finetuning_type="lora", quantization_bit=4)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"finetuning_type": "freeze", "freeze_trainable_modules": "mlpp"}, 'did you mean "mlp"'),
        ({"finetuning_type": "freeze", "freeze_extra_modules": "lm_hed"}, 'did you mean "lm_head"'),
        ({"finetuning_type": "lora", "additional_target": "embed"}, "additional_target"),
        ({"finetuning_type": "lora", "adapter_name_or_path": "nowhere"}, "adapter_name_or_path"),
    ],
)
def test_names_that_the_model_does_not_have_are_reported(
    keys: dict[str, Any], word: str, data: Path, run_job: Run, tmp_path: Path
) -> None:
    with pytest.raises(UsageFault) as caught:
        run_job(data, tmp_path, **keys)
    assert word in str(caught.value)


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_are_learned_beside_a_lora(tied: bool, make: Any, run_job: Run, tmp_path: Path) -> None:
    """Their rows would stay at the mean of the old ones; the exported model has what was trained, tied or not."""
    import peft
    import torch
    import transformers

    from stages.train.job import ModelSpec
    from stages.train.model.export import ExportJob, export
    from tests.support.training import TINY, VOCABULARY, write_manifest

    base = tmp_path / "base"
    config = transformers.AutoConfig.from_pretrained(TINY)
    config.vocab_size, config.tie_word_embeddings = VOCABULARY, tied
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(TINY).save_pretrained(base)
    new = [VOCABULARY, VOCABULARY + 1]
    rows = [{key: [*ids, new[n % 2], new[0]] for key, ids in row.items()} for n, row in enumerate(make.lm(8))]
    out = make.out(tmp_path / "out", "lm", {"train": rows})
    manifest = json.loads((out / "manifest.json").read_text())
    added = [{"token": f"<z{number}>", "id": number, "asked_by": "add_tokens"} for number in new]
    manifest["tokenizer"].update(vocab_size=VOCABULARY + 2, added=added)
    write_manifest(out, manifest)
    keys = {"add_tokens": f"<z{new[0]}>,<z{new[1]}>", "finetuning_type": "lora", "max_steps": 2}
    _, said = run_job(out, tmp_path / "lora", model_name_or_path=str(base), **keys)
    names = "embed_tokens" if tied else "embed_tokens, lm_head"
    assert any(f"so {names} are trained whole" in text for text in said)
    spec = ModelSpec(str(base), adapters=(str(tmp_path / "lora"),))
    folder = export(ExportJob(spec, str(tmp_path / "merged")), lambda _: None)
    exported = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    rows_of = exported.get_output_embeddings().weight
    assert float((rows_of[new[0]] - rows_of[new[1]]).abs().max()) > 1e-3
    grown = transformers.AutoModelForCausalLM.from_pretrained(base)
    grown.resize_token_embeddings(len(rows_of))
    trained = peft.PeftModel.from_pretrained(grown, tmp_path / "lora").eval()
    ids = torch.tensor([[100, 101, *new, 102]])
    with torch.no_grad():
        assert float((trained(ids).logits - exported(ids).logits).abs().max()) < 1e-5
