"""A DeepSpeed file by short name, by path, or by LLaMA-Factory's name for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.errors import UsageFault
from stages.train.launch.distributed import NAMES, deepspeed_config, zero_stage


@pytest.mark.parametrize("name", NAMES)
def test_ours_ship_with_the_package_and_can_be_converted_later(name: str) -> None:
    config = deepspeed_config(name, [])
    assert zero_stage(config) == int(name[1])
    assert config is not None
    assert ("offload_optimizer" in config["zero_optimization"]) == name.endswith("offload")
    assert not config["zero_optimization"].get("round_robin_gradients")
    assert config["train_batch_size"] == "auto"


def test_the_users_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ds_z2_config.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2, "round_robin_gradients": True}}))
    notes: list[str] = []
    assert deepspeed_config(str(path), notes) == {"zero_optimization": {"stage": 2, "round_robin_gradients": True}}
    assert notes == []


def test_llama_factorys_name_without_its_file_gives_ours_with_a_note() -> None:
    notes: list[str] = []
    config = deepspeed_config("examples/deepspeed/ds_z3_offload_config.json", notes)
    assert zero_stage(config) == 3
    assert "our own z3_offload" in notes[0]


@pytest.mark.parametrize("given", ["z4", "my.json"])
def test_an_unknown_name_is_refused(given: str) -> None:
    with pytest.raises(UsageFault, match="ours are z0"):
        deepspeed_config(given, [])


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    for text in ("{", "[]"):
        path.write_text(text)
        with pytest.raises(UsageFault, match="deepspeed"):
            deepspeed_config(str(path), [])


def test_none_and_a_mapping_pass_through() -> None:
    assert deepspeed_config(None, []) is None
    assert zero_stage(None) == 0
    assert deepspeed_config({"zero_optimization": {"stage": 1}}, []) == {"zero_optimization": {"stage": 1}}
