"""vLLM gets the job's own settings and ids, and answers end before their stop."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from registry.errors import MachineFault
from stages.train.data import read_manifest
from stages.train.generate.vllm import generate_with_vllm, vllm_adapter
from stages.train.job import TrainJob
from tests.support.jobs import predict_job

pytestmark = pytest.mark.train
pytest.importorskip("transformers")


def job(folder: Path, model: Path, **keys: object) -> TrainJob:
    values = {"model_name_or_path": str(model), "output_dir": str(folder / "o"), "infer_backend": "vllm", **keys}
    return predict_job({"finetuning_type": "full", **values}, folder / "prompts")


class Fake(types.ModuleType):
    """A vllm that answers each prompt with its ids, then a stop."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.seen: dict[str, Any] = {}

    def LLM(self, **keywords: Any) -> Any:  # vLLM's name
        self.seen["engine"] = keywords
        return self

    def SamplingParams(self, **keywords: Any) -> Any:  # vLLM's name
        self.seen["sampling"] = keywords
        return keywords

    def generate(self, inputs: Any, sampling: Any, lora_request: Any) -> list[Any]:
        stop = sampling["stop_token_ids"][0]
        outputs = [types.SimpleNamespace(token_ids=[*each["prompt_token_ids"], stop]) for each in inputs]
        return [types.SimpleNamespace(outputs=[output]) for output in outputs]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr("stages.train.generate.vllm.require", lambda packages, key: None)
    return fake


def test_answers_come_back_in_order_without_their_stop(
    vllm: Fake, make: Any, tmp_path: Path, tiny_config: Path
) -> None:
    prepared = read_manifest(make.out(tmp_path / "prompts", "prompt", {"train": make.prompts(2)}))
    assert generate_with_vllm(job(tmp_path, tiny_config), prepared, [[5, 6], [7]]) == [[5, 6], [7]]


@pytest.mark.parametrize(("drawn", "temperature"), [(True, 0.5), (False, 0.0)])
def test_settings_reach_vllm_under_its_own_names(
    drawn: bool, temperature: float, vllm: Fake, make: Any, tmp_path: Path, tiny_config: Path
) -> None:
    prepared = read_manifest(make.out(tmp_path / "prompts", "prompt", {"train": make.prompts(1)}))
    keys = {"do_sample": drawn, "temperature": 0.5, "max_new_tokens": 7, "vllm_maxlen": 99, "vllm_config": {"x": 1}}
    generate_with_vllm(job(tmp_path, tiny_config, seed=11, **keys), prepared, [[5]])
    engine, sampling = vllm.seen["engine"], vllm.seen["sampling"]
    assert (engine["max_model_len"], engine["seed"], engine["x"]) == (99, 11, 1)
    assert "enable_lora" not in engine
    assert (sampling["temperature"], sampling["max_tokens"]) == (temperature, 7)


def test_a_job_without_an_adapter_makes_no_request(tmp_path: Path, tiny_config: Path) -> None:
    assert vllm_adapter(job(tmp_path, tiny_config)) is None


def test_vllm_that_is_missing_is_named_with_what_installs_it(make: Any, tmp_path: Path, tiny_config: Path) -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vllm is installed here")
    prepared = read_manifest(make.out(tmp_path / "prompts", "prompt", {"train": make.prompts(1)}))
    with pytest.raises(MachineFault, match="vllm") as caught:
        generate_with_vllm(job(tmp_path, tiny_config), prepared, [[5]])
    assert caught.value.hint == "pip install vllm"
