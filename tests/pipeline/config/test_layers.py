"""Layers: which of two settings wins, what old names become, where inputs are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.config.layers import Layers
from registry.errors import UsageFault
from tests.support.configs import load, problems, write


def test_null_means_the_default_except_where_null_has_a_meaning(tmp_path: Path) -> None:
    config = load(tmp_path, "cutoff_len: null\nresume_from_checkpoint: ~\neval_dataset:\nenable_thinking: null\n")
    assert config.encode.cutoff_len == 2048
    assert config.get("resume_from_checkpoint") is None
    assert config.data.eval_dataset == ()
    assert config.get("enable_thinking") is None


def test_every_wrong_value_and_unknown_key_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "cutof_len: 5\nmodel_name_or_path: m\nval_size: much\npacking_strategy: bestfit\npacking: maybe\n"
        "seed: 1.5\ncutoff_len: 0\nxyzzy: 1\n",
        "overlong=cut",
    )
    assert list(found) == [
        'run.yaml:1 cutof_len: there is no such key; did you mean "cutoff_len"?',
        'run.yaml:3 val_size: "much" is not a number',
        'run.yaml:4 packing_strategy: "bestfit" is not one of best_fit, sequential; did you mean "best_fit"?',
        'run.yaml:5 packing: "maybe" is neither true nor false',
        'run.yaml:6 seed: "1.5" is not a whole number',
        "run.yaml:7 cutoff_len: 0 is too small: at least 1 is needed",
        "run.yaml:8 xyzzy: there is no such key",
        'overlong: "cut" is not one of truncate, drop, error, split',
    ]


def test_unknown_keys_can_be_let_through(tmp_path: Path) -> None:
    config = load(tmp_path, "xyzzy: 1\n", ALLOW_EXTRA_ARGS="1")
    assert config.notes == ("xyzzy: unknown, ignored (ALLOW_EXTRA_ARGS)",)


def test_the_command_line_wins_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 1\ncutoff_len: 10\nworkers: 3\n")
    config = load_config(path, ["seed=2", "--cutoff_len", "20"], options={"workers": 5, "strict": None})
    assert (config.get("seed"), config.get("cutoff_len"), config.get("workers")) == (2, 20, 5)
    assert config.given == {"seed", "cutoff_len", "workers"}


def test_a_table_on_the_command_line_adds_to_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "lr_scheduler_kwargs: {a: 1, b: 2}\n", "lr_scheduler_kwargs.b=3", "--fsdp_config", "{x: 1}")
    assert config.get("lr_scheduler_kwargs") == {"a": 1, "b": "3"}
    assert config.get("fsdp_config") == {"x": 1}


def test_old_names_are_read_as_new_ones_with_a_note(tmp_path: Path) -> None:
    config = load(tmp_path, "evaluation_strategy: steps\nkto_ftx: 0.1\nwarmup_ratio: 0.03\ngroup_by_length: true\n")
    assert (config.get("eval_strategy"), config.get("pref_ftx"), config.get("warmup_steps")) == ("steps", 0.1, 0.03)
    assert config.get("train_sampling_strategy") == "group_by_length"
    assert len(config.notes) == 4
    assert config.notes[0] == "evaluation_strategy: read as eval_strategy (transformers renamed it)"


def test_the_new_name_wins_over_the_old_one_of_the_same_layer_and_the_command_line_over_all(tmp_path: Path) -> None:
    config = load(tmp_path, "kto_ftx: 0.1\npref_ftx: 0.2\n")
    assert config.get("pref_ftx") == 0.2
    assert config.notes == ("kto_ftx: ignored, since pref_ftx is given too",)
    assert load(tmp_path, "pref_ftx: 0.2\n", "kto_ftx=0.3").get("pref_ftx") == 0.3
    assert load(tmp_path, "warmup_steps: 0\nwarmup_ratio: 0.1\n").get("warmup_steps") == 0.1
    assert "not a share below 1" in problems(tmp_path, "warmup_ratio: 3\n")[0]


def test_keys_without_effect_are_accepted_with_one_line_each(tmp_path: Path) -> None:
    config = load(tmp_path, "overwrite_cache: true\nstreaming: true\nimage_max_pixels: 5\n")
    assert [note.split(":")[0] for note in config.notes] == ["streaming", "overwrite_cache", "image_max_pixels"]
    with pytest.raises(KeyError):
        config.get("overwrite_cache")


def test_refused_keys_are_errors_only_when_they_are_switched_on(tmp_path: Path) -> None:
    assert load(tmp_path, "use_unsloth: false\nuse_badam: no\nmixture_of_depths: null\n").notes == ()
    found = problems(tmp_path, "use_unsloth: true\nmixture_of_depths: convert\n")
    assert [problem.split(": ")[0] for problem in found] == ["run.yaml:1 use_unsloth", "run.yaml:2 mixture_of_depths"]


def test_packing_is_settled(tmp_path: Path) -> None:
    assert load(tmp_path, "stage: pt\n").pack.packing is True
    assert load(tmp_path, "stage: pt\npacking: false\n").pack.packing is False
    assert load(tmp_path, "neat_packing: true\n").pack.packing is True
    assert load(tmp_path, "stage: sft\n").pack.packing is False


def test_a_preference_stage_by_its_own_name_sets_the_loss(tmp_path: Path) -> None:
    assert load(tmp_path, "stage: orpo\n").get("pref_loss") == "orpo"
    assert load(tmp_path, "lora_rank: 4\n").get("lora_alpha") == 8


def test_inputs_are_found_beside_the_file_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    (demo / "model").mkdir(parents=True)
    elsewhere.mkdir()
    (demo / "dataset_info.json").write_text("{}")
    path = write(demo, "dataset_dir: .\nmodel_name_or_path: model\noutput_dir: out\ndeepspeed: z2\n")
    monkeypatch.chdir(elsewhere)
    config = load_config(path, [])
    assert config.get("dataset_dir") == str(demo)
    assert config.get("media_dir") == str(demo)
    assert config.get("model_name_or_path") == str(demo / "model")
    assert (config.get("output_dir"), config.get("deepspeed")) == ("out", "z2")
    monkeypatch.chdir(tmp_path)
    assert load_config("demo/run.yaml", []).get("dataset_dir") == "demo"


def test_the_working_directory_comes_first_and_hub_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / "data", tmp_path / "conf" / "data"):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    path = write(tmp_path / "conf", "model_name_or_path: Qwen/Qwen3-8B\nadapter_name_or_path: a,b\n")
    monkeypatch.chdir(tmp_path)
    config = load_config(path, [])
    assert (config.get("dataset_dir"), config.get("model_name_or_path")) == ("data", "Qwen/Qwen3-8B")
    assert config.get("adapter_name_or_path") == ["a", "b"]


def test_a_mistake_carries_the_place_of_the_layer_that_won() -> None:
    layers = Layers({})
    layers.add({"seed": "x", "cutoff_len": "y"}, "run.yaml", {"seed": 4, "cutoff_len": 5})
    layers.add({"seed": "z"}, "")
    with pytest.raises(UsageFault) as caught:
        layers.settled("run.yaml", None)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["run.yaml:5 cutoff_len", "seed"]


def test_a_command_without_any_setting_is_shown_how_it_is_called() -> None:
    with pytest.raises(UsageFault) as caught:
        Layers({}).settled(None, "pack")
    assert caught.value.hint.startswith("prep pack CONFIG.yaml")


def test_half_a_character_is_a_mistake_of_its_key(tmp_path: Path) -> None:
    found = problems(tmp_path, "seed: 1\n", "default_system=\ud800", "add_tokens=a\0b")
    assert [line.partition(":")[0] for line in found] == ["default_system", "add_tokens"]
    assert load(tmp_path, "seed: 1\n", "dataset=\udcff.jsonl").data.dataset == ("\udcff.jsonl",)
