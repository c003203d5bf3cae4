"""The chat template and its special tokens are found where transformers finds them, and a folder without says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.render.jinja.chat_template import load_auto


@pytest.fixture
def folder(tmp_path: Path, tiny: str) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(tiny) / name, tmp_path / name)
    return tmp_path


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_template_in_the_config_is_used(folder: Path) -> None:
    configure(folder, chat_template="one")
    template = load_auto(str(folder))
    assert template.sources == {"default": "one"}
    assert template.origin == "tokenizer_config.json"
    assert template.variables["eos_token"] == "</s>"
    assert "<|im_start|>" in template.added


def test_a_template_file_wins_over_the_config(folder: Path) -> None:
    configure(folder, chat_template="one")
    (folder / "chat_template.jinja").write_text("two")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("three")
    template = load_auto(str(folder))
    assert template.sources == {"default": "two", "tool_use": "three"}
    assert template.name_for(tools=True) == "tool_use"
    assert template.name_for(tools=False) == "default"


def test_named_templates_in_the_config_and_the_file_of_old_processors(folder: Path) -> None:
    configure(folder, chat_template=[{"name": "default", "template": "a"}, {"name": "rag", "template": "b"}])
    assert load_auto(str(folder)).sources == {"default": "a", "rag": "b"}
    assert load_auto(str(folder), name="rag").sources == {"default": "b"}
    with pytest.raises(UsageFault, match='did you mean "rag"'):
        load_auto(str(folder), name="rga")
    configure(folder, chat_template=None)
    (folder / "chat_template.json").write_text('{"chat_template": "old"}')
    assert load_auto(str(folder)).sources == {"default": "old"}


def test_no_template_is_a_usage_fault_with_the_way_out(folder: Path) -> None:
    with pytest.raises(UsageFault, match="has no chat template") as caught:
        load_auto(str(folder))
    assert "template: NAME" in caught.value.hint


@pytest.mark.parametrize(
    "broken", [{"chat_template": 3}, {"chat_template": [{"name": "x"}]}, {"chat_template": "x" * (1 << 21)}]
)
def test_a_malformed_template_is_a_usage_fault(folder: Path, broken: dict[str, Any]) -> None:
    configure(folder, **broken)
    with pytest.raises(UsageFault, match="tokenizer_config"):
        load_auto(str(folder))


def test_special_tokens_come_from_both_files_and_a_null_means_none(folder: Path) -> None:
    token = {"__type": "AddedToken", "content": "<e>", "lstrip": False}
    extra = {"image_token": "<image>"}
    configure(folder, chat_template="x", bos_token=None, eos_token=token, extra_special_tokens=extra)
    (folder / "special_tokens_map.json").write_text('{"bos_token": "<s>", "cls_token": {"content": "<c>"}}')
    variables = load_auto(str(folder)).variables
    assert variables == {"cls_token": "<c>", "eos_token": "<e>", "image_token": "<image>", "pad_token": "<pad>"}


def test_end_tokens_of_the_generation_config_are_known_by_their_text(folder: Path) -> None:
    configure(folder, chat_template="x")
    (folder / "generation_config.json").write_text('{"eos_token_id": [20, 18, 99999]}')
    assert load_auto(str(folder)).stops == ("<|user|>", "<|observation|>")


def test_a_tokenizer_that_writes_bos_by_itself_is_recognised(folder: Path) -> None:
    configure(folder, chat_template="x")
    assert not load_auto(str(folder)).adds_bos
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]}
    path.write_text(json.dumps(raw))
    assert load_auto(str(folder)).adds_bos


def test_another_template_or_token_is_another_digest(folder: Path) -> None:
    configure(folder, chat_template="x")
    first = load_auto(str(folder)).sha256
    configure(folder, chat_template="y")
    second = load_auto(str(folder)).sha256
    configure(folder, chat_template="y", eos_token="<pad>")
    assert len({first, second, load_auto(str(folder)).sha256}) == 3


@pytest.mark.parametrize("ends", ['"</s>"', "[[2]]", '[{"id": 2}]', "true", "1.5"])
def test_end_tokens_that_are_no_ids_are_named(folder: Path, ends: str) -> None:
    configure(folder, chat_template="x")
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": {ends}}}')
    with pytest.raises(UsageFault, match="eos_token_id must be a whole number"):
        load_auto(str(folder))


def test_a_device_beside_the_template_is_no_file(folder: Path) -> None:
    configure(folder, chat_template="x")
    (folder / "generation_config.json").symlink_to("/dev/zero")
    with pytest.raises(UsageFault, match="is a device or a pipe"):
        load_auto(str(folder))
