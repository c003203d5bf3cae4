"""Template and tokenizer are held against each other before a record is read, and every setting reaches its stage."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from registry.templates import COMPATS
from stages.tokenize import fitted
from tests.support.plans import TINY, check_plan, pack_plan, write_records

GOOD = {"instruction": "Name a metal.", "input": "", "output": "Iron."}
OLD = "llamafactory-0.9.2"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_records(tmp_path / "data.jsonl", GOOD)


def test_settings_reach_the_stage_that_they_are_about(data: Path) -> None:
    plan = pack_plan(data, "mask_history=true", "cutoff_len=100", "overlong=drop", "default_system=Be brief.")
    spec = plan.encode
    assert spec is not None
    assert (spec.options.mask_history, spec.options.default_system, spec.overlong) == (True, "Be brief.", "drop")
    assert (spec.cut.from_end, spec.cut.limit_tokens) == (True, 100)
    assert not spec.thinking_given
    given = pack_plan(data, "enable_thinking=false").encode
    assert given is not None and given.thinking_given


def test_a_packed_example_leaves_room_for_the_pad_that_upstream_reserves(data: Path) -> None:
    assert OLD in COMPATS
    limits = []
    for compat in (COMPATS[0], OLD):
        spec = pack_plan(data, "packing=true", "cutoff_len=100", f"compat={compat}").encode
        assert spec is not None
        limits.append(spec.cut.limit_tokens)
    assert limits == [99, 100]


def test_tokens_to_add_come_from_the_settings_or_from_a_file(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "special.json"
    config.write_text(json.dumps({"<think2>": "a thought", "<end2>": ""}))
    plan = pack_plan(data, "add_tokens=<plain>", f"new_special_tokens_config={config}")
    assert plan.encode is not None
    assert plan.encode.extra_tokens == (("<plain>", False), ("<think2>", True), ("<end2>", True))
    assert sum("is added as id" in note for note in plan.notes) == 3


@pytest.mark.parametrize(
    ("text", "says"), [("{", r"special\.json:1: is not JSON"), (None, r"special\.json: cannot be read: No such file")]
)
def test_a_file_of_tokens_that_cannot_be_read_is_named_with_its_key(
    data: Path, tmp_path: Path, text: str | None, says: str
) -> None:
    config = tmp_path / "special.json"
    if text is not None:
        config.write_text(text)
    with pytest.raises(UsageFault, match=rf"^new_special_tokens_config: .*{says}"):
        pack_plan(data, f"new_special_tokens_config={config}")


def test_a_template_whose_token_the_tokenizer_lacks_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fitted.fitted_tokenizer

    def lacking(*arguments: Any) -> tuple[Any, Any]:
        files, fitted = real(*arguments)
        return files, dataclasses.replace(fitted, missing_tokens=("[gMASK]", "<sop>"))

    monkeypatch.setattr(fitted, "fitted_tokenizer", lacking)
    with pytest.raises(UsageFault, match=r"template qwen3: .* has no token \[gMASK\], <sop>, which") as caught:
        pack_plan(data)
    assert "prep list templates" in caught.value.hint


def test_an_unknown_template_is_refused_before_the_tokenizer_is_looked_at(data: Path) -> None:
    with pytest.raises(UsageFault, match="qwen4"):
        pack_plan(data, "template=qwen4", "model_name_or_path=/nowhere")


def test_a_template_that_marks_no_end_and_marks_that_are_missing_are_remarked(data: Path) -> None:
    assert any("no end is trained" in note for note in pack_plan(data, "template=empty").notes)
    (note,) = (note for note in pack_plan(data, "template=cohere").notes if "lacks" in note)
    assert note.startswith("template cohere: the tokenizer lacks <|START_OF_TURN_TOKEN|>, ")
    assert "Is this the right template?" in note


def test_pretraining_documents_under_llama3_end_as_upstream_ends_them(tmp_path: Path) -> None:
    data = write_records(tmp_path / "text.jsonl", {"text": "Iron is a metal."})
    ends = []
    for name in ("llama3", "qwen3"):
        spec = pack_plan(data, "stage=pt", f"template={name}").encode
        assert spec is not None
        ends.append(spec.pt_eos_text)
    assert ends == ["<|end_of_text|>", None]


def test_the_tokenizers_own_template_must_be_there(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(UsageFault, match="chat template"):
        check_plan(data, f"model_name_or_path={model}", "template=auto")


def test_a_device_is_no_list_of_special_tokens(data: Path) -> None:
    """It has no end: no more is read than a configuration may hold."""
    with pytest.raises(UsageFault, match="this is no configuration"):
        pack_plan(data, "new_special_tokens_config=/dev/zero")
