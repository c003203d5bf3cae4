"""A model is loaded as the job says, or what is wrong with it is found before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.errors import UsageFault
from stages.train.job import ModelSpec, RunSpec, TrainJob
from stages.train.model.load import Loading, check_start, first_line, fit_vocabulary, load_model, read_config

pytestmark = pytest.mark.train
pytest.importorskip("transformers")


def test_embeddings_grow_only_when_they_may(tmp_path: Path, tiny_config: Path) -> None:
    config = json.loads((tiny_config / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 1026}))
    model = load_model(ModelSpec(str(tmp_path), from_scratch=True), Loading())
    fit_vocabulary(model, 1026, False, [])
    with pytest.raises(UsageFault, match="embeddings for 1,026") as caught:
        fit_vocabulary(model, 1030, False, [])
    assert "resize_vocab" in caught.value.hint
    notes: list[str] = []
    fit_vocabulary(model, 1030, True, notes)
    assert model.get_input_embeddings().num_embeddings >= 1030
    assert notes == ["embeddings grown from 1,026 to 1,088 rows"]


def test_a_config_without_weights_trains_only_on_request(
    make: Any, run_job: Callable[..., Any], tmp_path: Path, tiny_config: Path
) -> None:
    plain = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
    with pytest.raises(UsageFault, match="no weights") as caught:
        run_job(plain, tmp_path / "o", model_name_or_path=str(tiny_config))
    assert "train_from_scratch" in caught.value.hint
    run_job(plain, tmp_path / "o", model_name_or_path=str(tiny_config), train_from_scratch=True, max_steps=1)
    assert (tmp_path / "o" / "model.safetensors").exists()


def test_random_weights_are_the_same_in_every_process(tiny_config: Path) -> None:
    spec = ModelSpec(str(tiny_config), from_scratch=True)
    one, same, other = (load_model(spec, Loading(seed=seed)).state_dict() for seed in (1, 1, 2))
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_a_reward_model_has_one_score_and_no_vocabulary(tiny_config: Path) -> None:
    model = load_model(ModelSpec(str(tiny_config), from_scratch=True), Loading(reward=True))
    assert model.score.out_features == 1
    assert model.get_output_embeddings() is None


def test_layer_norms_can_stay_in_float32(tiny_config: Path) -> None:
    import torch

    spec = ModelSpec(str(tiny_config), from_scratch=True, upcast_layernorm=True)
    kinds = {name: weight.dtype for name, weight in load_model(spec, Loading("bfloat16")).named_parameters()}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_rope_scaling_is_written_into_the_configuration(kind: str, tiny_config: Path) -> None:
    config = read_config(ModelSpec(str(tiny_config), rope_scaling=kind))
    assert config.rope_parameters["rope_type"] == kind
    assert config.rope_parameters["factor"] == 2.0


def test_an_unknown_rope_scaling_is_refused_with_the_known_ones(tiny_config: Path) -> None:
    with pytest.raises(UsageFault, match=r"none of .*yarn"):
        read_config(ModelSpec(str(tiny_config), rope_scaling="ntk"))


def start_job(model: ModelSpec, **run: Any) -> TrainJob:
    return TrainJob("sft", "d", model, RunSpec("o", **run))


def test_what_is_wrong_is_found_without_loading_anything(tiny_config: Path, tmp_path: Path) -> None:
    good = ModelSpec(str(tiny_config), from_scratch=True)
    check_start(start_job(good))
    with pytest.raises(UsageFault, match="no weights"):
        check_start(start_job(replace(good, from_scratch=False)))
    with pytest.raises(UsageFault, match=r"no adapter_config\.json"):
        check_start(start_job(replace(good, adapters=(str(tmp_path),))))
    with pytest.raises(UsageFault, match="no such folder"):
        check_start(start_job(replace(good, adapters=(str(tmp_path / "gone"),))))
    with pytest.raises(UsageFault, match="deepspeed"):
        check_start(start_job(good, deepspeed="z9"))
    check_start(start_job(replace(good, adapters=("owner/repository",))))


def test_a_broken_config_is_named_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(UsageFault, match=r"no usable config\.json"):
        read_config(ModelSpec(str(tmp_path)))


@pytest.mark.parametrize(("text", "line"), [("a\nb", "a"), ("\n  a \n", "a"), ("", "ValueError"), ("  ", "ValueError")])
def test_the_first_line_of_an_error_is_never_empty(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line
