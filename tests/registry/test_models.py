"""A model's name finds its template."""

from __future__ import annotations

import pytest

from registry.models import Model, all_models, suggest
from registry.templates import template_names

GENERIC = {"alpaca", "chatml_de", "default", "empty", "fewshot"}  # belong to no model


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.family)
def test_every_family_is_found_by_its_example(model: Model) -> None:
    assert suggest(model.example) == model.template


def test_every_template_belongs_to_a_family_and_every_family_to_a_template() -> None:
    assert {model.template for model in all_models()} == set(template_names()) - GENERIC


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("models/MiniCPM4/", "cpm4"),
        ("./temp/models/Qwen1.5-7B", "qwen"),
        ("/ckpt/Qwen3-8B-Base/checkpoint-500", "qwen3"),
        ("~/.cache/hub/models--Qwen--Qwen3-8B/snapshots/abc", "qwen3"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("my-llama-3.1-tune", "llama3"),
        ("google/gemma-2b-it", "gemma"),
        ("deepseek-ai/DeepSeek-R1", "deepseekr1"),
        ("C:\\models\\phi-4", "phi4"),
        ("gpt2", None),
        ("out", None),
        ("", None),
        (None, None),
    ],
)
def test_names_and_folders_as_people_write_them(name: str | None, template: str | None) -> None:
    assert suggest(name) == template


def test_a_nameless_folder_is_known_by_its_configuration() -> None:
    assert suggest("out", {"model_type": "qwen3_moe"}) == "qwen3"
    assert suggest("out", {"_name_or_path": "Qwen/Qwen2.5-7B", "model_type": "llama"}) == "qwen"
    assert suggest("out", {"model_type": "llama"}) is None
    assert suggest("out", {}) is None
