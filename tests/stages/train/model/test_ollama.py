"""A Modelfile writes a chat as the template does."""

from __future__ import annotations

import re

import pytest

from registry.templates import load_template, template_names
from stages.train.model.ollama import modelfile

SPECIAL = {"bos": "<s>", "eos": "</s>"}


def written(name: str) -> str:
    text = modelfile(load_template(name), SPECIAL, default_system=None, context_tokens=4096)
    assert text is not None
    return text


def test_llama3_speaks_as_ollamas_own_file() -> None:
    text = written("llama3")
    assert (
        '{{ if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Content }}<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n" in text
    )
    assert "<|begin_of_text|>" not in text, "the engine adds it"
    assert 'PARAMETER stop "<|eot_id|>"' in text


def test_the_default_system_prompt_is_kept_or_replaced() -> None:
    assert "You are Qwen, created by Alibaba Cloud" in written("qwen")
    own = modelfile(load_template("qwen"), SPECIAL, default_system="Be brief.", context_tokens=4096)
    assert own is not None
    assert 'SYSTEM """Be brief."""' in own


def test_a_system_prompt_inside_the_first_user_turn_stays_there() -> None:
    text = written("mistral")
    assert "{{ $first := true }}" in text
    assert "{{ $first = false }}" in text


def test_numbered_turns_have_no_modelfile() -> None:
    numbered = next(
        name for name in template_names() if any("{{idx}}" in slot.value for slot in load_template(name).user)
    )
    assert modelfile(load_template(numbered), SPECIAL, default_system=None, context_tokens=1) is None


@pytest.mark.parametrize("name", template_names())
def test_every_template_gives_balanced_blocks(name: str) -> None:
    text = modelfile(load_template(name), SPECIAL, default_system=None, context_tokens=4096)
    if text is None:
        return
    body = text.split('TEMPLATE """')[1].split('"""\n\n')[0]
    opened = len(re.findall(r"{{ (?:if|range) ", body))
    assert opened == body.count("{{ end }}")
    assert body.count("{{") == body.count("}}") or '{{ "{{" }}' in body
