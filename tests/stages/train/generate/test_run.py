"""Every prompt gets one answer, in order, whatever the batches and processes; what is measured is what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import MachineFault, UsageFault
from stages.train.generate.run import batches, until_stop
from stages.train.job import Generation, from_json, to_json
from tests.support.jobs import predict_job

pytestmark = pytest.mark.train
Run = Callable[..., tuple[dict[str, Any], list[str]]]


def answers(output: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (output / "generated_predictions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    return make.out(tmp_path_factory.mktemp("prompts"), "prompt", {"train": make.prompts(10)})  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make: Any, run_job: Run) -> Path:
    """A model that has learned the rule of the rows: each id is followed by the next."""
    root = tmp_path_factory.mktemp("trained")
    out = make.out(root / "out", "lm", {"train": make.lm(200)})
    run_job(out, root / "model", max_steps=60, learning_rate=1e-2, per_device_train_batch_size=16, logging_steps=50)
    return root / "model"


def predict_with(model: Path, data: Path, output: Path, **keys: Any) -> tuple[dict[str, Any], list[str]]:
    from stages.train.generate.run import predict

    said: list[str] = []
    values = {
        "model_name_or_path": str(model),
        "output_dir": str(output),
        "finetuning_type": "full",
        "use_cpu": True,
        "do_sample": False,
        "max_new_tokens": 6,
        "per_device_eval_batch_size": 4,
        **keys,
    }
    return predict(predict_job(values, data), said.append), said


def test_a_trained_model_answers_by_its_rule(trained: Path, prompts: Path, tmp_path: Path) -> None:
    import transformers

    result, said = predict_with(trained, prompts, tmp_path)
    found = answers(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    from stages.train.data import dataset, read_manifest

    rows = dataset(read_manifest(prompts), "train")
    assert [entry["prompt"] for entry in found] == [tokenizer.decode(row["prompt_ids"]) for row in rows]
    assert [entry["label"] for entry in found] == [tokenizer.decode(row["label_ids"]) for row in rows]
    right = 0
    for entry, row in zip(found, rows, strict=True):
        last = row["prompt_ids"][-1]
        expected = [100 + (last - 100 + step) % 40 for step in range(1, 7)]
        right += entry["predict"] == tokenizer.decode(expected)
    assert right >= 8
    assert json.loads((tmp_path / "predict_results.json").read_text()) == result
    assert json.loads((tmp_path / "all_results.json").read_text()) == result
    assert not list(tmp_path.glob("*.part*"))
    assert any(text.startswith("done: 10 answers") for text in said)


def test_answers_do_not_depend_on_the_batch(trained: Path, prompts: Path, tmp_path: Path) -> None:
    predict_with(trained, prompts, tmp_path / "one", per_device_eval_batch_size=1)
    predict_with(trained, prompts, tmp_path / "all", per_device_eval_batch_size=10)
    assert answers(tmp_path / "one") == answers(tmp_path / "all")


def test_no_tokenizer_encodes_while_predicting(
    trained: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("text was tokenized")

    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "__call__", refuse)
    monkeypatch.setattr(transformers.PreTrainedTokenizerFast, "_encode_plus", refuse)
    predict_with(trained, prompts, tmp_path, max_new_tokens=2)


def test_an_adapter_answers_as_its_merged_model(
    trained: Path, prompts: Path, tmp_path: Path, make: Any, run_job: Run
) -> None:
    from stages.train.job import ModelSpec
    from stages.train.model.export import ExportJob, export

    out = make.out(tmp_path / "out", "lm", {"train": make.lm(8)})
    run_job(
        out, tmp_path / "lora", model_name_or_path=str(trained), finetuning_type="lora", max_steps=3, learning_rate=0.02
    )
    lora = {"finetuning_type": "lora", "adapter_name_or_path": str(tmp_path / "lora")}
    predict_with(trained, prompts, tmp_path / "adapter", **lora)
    export(
        ExportJob(ModelSpec(str(trained), adapters=(str(tmp_path / "lora"),)), str(tmp_path / "merged")), lambda _: None
    )
    predict_with(tmp_path / "merged", prompts, tmp_path / "plain")
    assert answers(tmp_path / "adapter") == answers(tmp_path / "plain")


def test_missing_measure_libraries_are_reported_and_the_answers_written(
    trained: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.train.generate import metrics

    monkeypatch.setattr(metrics, "missing_libraries", lambda: ["jieba"])
    result, said = predict_with(trained, prompts, tmp_path, max_new_tokens=1)
    assert "predict_bleu-4" not in result
    assert any("pip install jieba" in text for text in said)
    assert len(answers(tmp_path)) == 10


def test_split_lists_are_written_beside_the_text(trained: Path, prompts: Path, tmp_path: Path) -> None:
    predict_with(trained, prompts, tmp_path, max_new_tokens=2, split="。;")
    first = answers(tmp_path)[0]
    assert isinstance(first["predict_split"], list)
    assert isinstance(first["label_split"], list)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 9))
def test_every_prompt_is_in_one_batch(lengths: list[int], rows: int) -> None:
    groups = batches(lengths, rows)
    assert sorted(number for group in groups for number in group) == list(range(len(lengths)))
    assert all(len(group) <= rows for group in groups)
    assert all(lengths[group[0]] == max(lengths[number] for number in group) for group in groups)


def test_an_answer_ends_at_its_first_stop() -> None:
    assert until_stop([5, 6, 1, 2, 2], [1, 9]) == [5, 6]
    assert until_stop([5, 6], [1]) == [5, 6]
    assert until_stop([], [1]) == []


def test_a_prediction_survives_its_file() -> None:
    job = predict_job({"model_name_or_path": "m", "output_dir": "o", "split": "。"}, Path("d"))
    assert from_json(to_json(job)) == job


def test_training_shards_are_no_prompts(trained: Path, tmp_path: Path, make: Any) -> None:
    out = make.out(tmp_path / "out", "lm", {"train": make.lm(4)})
    with pytest.raises(UsageFault, match="needs prompts"):
        predict_with(trained, out, tmp_path / "o")


def test_vllm_is_requested_by_name(trained: Path, prompts: Path, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("vllm"):
        pytest.skip("vllm is installed here")
    with pytest.raises(MachineFault, match="vllm"):
        predict_with(trained, prompts, tmp_path, infer_backend="vllm")


def test_settings_become_transformers_own() -> None:
    from stages.train.generate.run import generation_config

    greedy = generation_config(Generation(do_sample=False, max_new_tokens=9), [1, 3], 2)
    assert (greedy.do_sample, greedy.max_new_tokens, greedy.eos_token_id) == (False, 9, [1, 3])
    drawn = generation_config(Generation(max_new_tokens=0, max_length=77, temperature=0.5), [1], 2)
    assert (drawn.do_sample, drawn.max_length, drawn.temperature) == (True, 77, 0.5)


def test_a_reward_model_does_not_answer() -> None:
    with pytest.raises(UsageFault, match="stage"):
        predict_job({"model_name_or_path": "m", "output_dir": "o", "stage": "rm"}, Path("d"))


def test_a_prediction_that_fails_leaves_no_file(
    trained: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither answers nor a part of them."""
    from stages.train.generate import run as predict

    def no_memory(*_: object) -> None:
        raise MachineFault("out of memory")

    monkeypatch.setattr(predict, "load_for_answers", no_memory)
    with pytest.raises(MachineFault):
        predict_with(trained, prompts, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_answers_to_compare_with_there_are_no_measures() -> None:
    """Not zeros, which would read as a bad model; of a mixed set only what has an answer is measured."""
    from stages.train.generate.run import _measures

    said: list[str] = []
    assert _measures([{"predict": "a", "label": ""}, {"predict": "b", "label": " "}], said.append) == {}
    assert "no answers to compare with" in said[0]
    pytest.importorskip("jieba")
    pytest.importorskip("nltk")
    pytest.importorskip("rouge_score")
    found = _measures([{"predict": "one two", "label": "one two"}, {"predict": "b", "label": ""}], said.append)
    assert found["predict_rouge-1"] == 100.0
    assert "1 of 2 answers" in said[-1]
