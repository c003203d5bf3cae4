"""What a user may write as configuration, and what they are told."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline.config import Config, load_config, worker_count
from registry.errors import UsageFault


def write(folder: Path, text: str, name: str = "run.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(folder: Path, text: str, *overrides: str, **environ: str) -> Config:
    return load_config(write(folder, text), overrides, environ=environ)


def problems(folder: Path, text: str, *overrides: str, command: str | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(UsageFault) as caught:
        load_config(write(folder, text), overrides, environ=environ, for_command=command)  # type: ignore[arg-type]
    return tuple(problem.replace(f"{folder}/", "") for problem in caught.value.problems)


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", '"1e-4"', "0.0001", ".0001"])
def test_a_learning_rate_is_a_number_however_it_is_written(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"learning_rate: {text}\n").get("learning_rate") == 1e-4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(word, True) for word in ("yes", "on", "True", '"true"', "1")],
        *[(word, False) for word in ("no", "off", '"false"', "0")],
    ],
)
def test_a_switch_takes_every_usual_word_also_in_quotes(tmp_path: Path, text: str, expected: bool) -> None:
    assert load(tmp_path, f"enable_thinking: {text}\n").get("enable_thinking") is expected


def test_no_is_a_word_where_a_word_is_meant(tmp_path: Path) -> None:
    config = load(tmp_path, "eval_strategy: no\nsave_strategy: no\nrun_name: on\n")
    assert (config.get("eval_strategy"), config.get("save_strategy"), config.get("run_name")) == ("no", "no", "on")


def test_a_date_stays_text(tmp_path: Path) -> None:
    assert load(tmp_path, "template_date: 2024-01-02\n").encode.template_date == "2024-01-02"


@pytest.mark.parametrize("text", ["a,b", "a, b ", "[a, b]", "\n- a\n- b"])
def test_a_list_is_a_comma_list_or_a_yaml_list(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"dataset: {text}\n").data.dataset == ("a", "b")


@pytest.mark.parametrize("text", ["0.5,0.3,0.2", "[0.5, 0.3, 0.2]"])
def test_interleave_probs_are_numbers(tmp_path: Path, text: str) -> None:
    yaml = f"interleave_probs: {text}\nmix_strategy: interleave_under\ndataset: a,b,c\n"
    assert load(tmp_path, yaml).get("interleave_probs") == [0.5, 0.3, 0.2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5%", 0.05), ("0.05", 0.05), ("5", 5), ("0", 0), ("1", 1), ("1.0", 1.0), ("0.5%", 0.005)],
)
def test_the_rejection_budget_is_a_count_a_share_or_a_percentage(tmp_path: Path, text: str, expected: float) -> None:
    value = load(tmp_path, f"max_rejected: {text}\n").get("max_rejected")
    assert value == pytest.approx(expected)
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 4 * 10**9), ("512MiB", 512 << 20), ("1000000", 10**6), ("2g", 2 * 10**9)]
)
def test_a_memory_limit_is_a_size(tmp_path: Path, text: str, size: int) -> None:
    assert load(tmp_path, f"memory_limit: {text}\n").run.memory_limit == size


def test_null_means_the_default_except_where_null_has_a_meaning(tmp_path: Path) -> None:
    config = load(tmp_path, "cutoff_len: null\nresume_from_checkpoint: ~\neval_dataset:\nenable_thinking: null\n")
    assert config.encode.cutoff_len == 2048
    assert config.get("resume_from_checkpoint") is None
    assert config.data.eval_dataset == ()
    assert config.get("enable_thinking") is None


def test_a_deepspeed_configuration_may_stand_in_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "deepspeed:\n  zero_optimization:\n    stage: 2\n  bf16: {enabled: auto}\n")
    assert config.get("deepspeed") == {"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}


def test_every_wrong_value_and_unknown_key_is_told_at_once_with_its_line(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "[1]", "{a: 1}", "true"])
def test_what_is_no_finite_number_is_refused(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, f"learning_rate: {text}\n")) == 1


def test_unknown_keys_can_be_let_through(tmp_path: Path) -> None:
    config = load(tmp_path, "xyzzy: 1\n", ALLOW_EXTRA_ARGS="1")
    assert config.notes == ("xyzzy: unknown, ignored (ALLOW_EXTRA_ARGS)",)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_key_that_stands_twice_is_an_error_with_both_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed: 1\nstage: sft\nseed: 2\n") == (
        'run.yaml:3: the key "seed" stands twice (also on line 1)',
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("seed: [1\nstage: sft\n", "run.yaml:2: is not YAML"),
        ("seed: 1\n\tstage: sft\n", "run.yaml:2: is not YAML"),
        ("- a\n- b\n", "run.yaml:1: must hold"),
        ("just words\n", "run.yaml:1: must hold"),
        ("", "run.yaml: is empty"),
        ("# only a comment\n", "run.yaml: is empty"),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: is not YAML"),
        ("seed: !!python/object/apply:os.system [ls]\n", "run.yaml:1: the tag"),
        ("seed: !!binary aGk=\n", "run.yaml:1: the tag"),
        ("run_name: a\x07b\n", "run.yaml:1: holds a character"),
        ("a: " + "[" * 200 + "\n", "run.yaml:1: is nested too deeply"),
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path: Path, text: str, where: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(where)
    assert "\n" not in problem


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "aliases" in problems(tmp_path, "\n".join(rows))[0]
    assert "aliases" in problems(tmp_path, "a: &a x\nb: [" + "*a, " * 200 + "]")[0]
    assert "contains itself" in problems(tmp_path, "rules: &a {b: *a}\n")[0]


def test_a_few_anchors_and_merges_are_fine(tmp_path: Path) -> None:
    config = load(tmp_path, "rules: &r {text.special-token: error}\nlr_scheduler_kwargs: {<<: *r, num_cycles: 2}\n")
    assert config.get("lr_scheduler_kwargs") == {"text.special-token": "error", "num_cycles": 2}


def test_bytes_that_are_no_text_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"seed: 1\nrun_name: \xff\n")
    with pytest.raises(UsageFault, match=r"a\.yaml:2: is not UTF-8"):
        load_config(str(tmp_path / "a.yaml"), [])
    with pytest.raises(UsageFault, match="cannot be read: No such file"):
        load_config(str(tmp_path / "b.yaml"), [])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("\ufeffseed: 7\r\nstage: dpo\r\n".encode())
    config = load_config(str(tmp_path / "a.yaml"), [])
    assert (config.get("seed"), config.get("stage")) == (7, "dpo")


def test_json_files_are_read_too(tmp_path: Path) -> None:
    text = '{"seed": 3, "packing": false, "dataset": ["a", "b"], "eval_strategy": false, "run_name": null}'
    config = load_config(write(tmp_path, text, "run.json"), [])
    assert (config.get("seed"), config.pack.packing, config.data.dataset) == (3, False, ("a", "b"))
    assert config.get("eval_strategy") == "no"
    with pytest.raises(UsageFault, match=r'run\.json: the key "seed" stands twice'):
        load_config(write(tmp_path, '{"seed": 3, "seed": 4}', "run.json"), [])
    with pytest.raises(UsageFault, match=r"run\.json:2: is not JSON"):
        load_config(write(tmp_path, '{"seed": 3,\n}', "run.json"), [])


# --- environment ------------------------------------------------------------------------------------------------------


def test_variables_are_replaced_before_the_type_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "seed: ${SEED}\ndataset: ${A},b\nrules: {text.special-token: '${LEVEL:-off}'}\n"
        "output_dir: out/${A}-${SEED:-1}\n",
        SEED="42",
        A="x",
    )
    assert (config.get("seed"), config.data.dataset) == (42, ("x", "b"))
    assert config.get("rules") == {"text.special-token": "off"}
    assert config.get("output_dir") == "out/x-42"


def test_a_default_stands_in_for_an_unset_or_empty_variable_and_may_hold_another(tmp_path: Path) -> None:
    config = load(tmp_path, "seed: ${A:-${B:-5}}\nrun_name: ${EMPTY:-name}\n", EMPTY="")
    assert (config.get("seed"), config.get("run_name")) == (5, "name")


def test_every_unset_variable_is_named_with_its_key(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed: ${SEED}\noutput_dir: a/${SEED}/${NAME}\n") == (
        "run.yaml:1 seed: the environment variable SEED is not set",
        "run.yaml:2 output_dir: the environment variable SEED is not set",
        "run.yaml:2 output_dir: the environment variable NAME is not set",
    )


def test_a_setting_on_the_command_line_needs_no_variable_of_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "seed: ${SEED}\n", "seed=9").get("seed") == 9


def test_a_variable_is_taken_as_it_is_and_a_dollar_can_be_escaped(tmp_path: Path) -> None:
    config = load(tmp_path, "run_name: ${A}\ndefault_system: 'Use $${name}, not $5.'\n", A="${B}")
    assert config.get("run_name") == "${B}"
    assert config.get("default_system") == "Use ${name}, not $5."


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${a.b}", "${oc.env:SEED}", "${A:+x}"])
def test_a_reference_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    assert "run_name: " in problems(tmp_path, f"run_name: '{text}'\n", A="x")[0]


# --- layers, old names, notes -----------------------------------------------------------------------------------------


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


def test_secrets_do_not_reach_the_manifest(tmp_path: Path) -> None:
    config = load(tmp_path, "hub_token: hf_secret\nseed: 4\n")
    assert config.get("hub_token") == "hf_secret"
    assert "hf_secret" not in str(config.public())
    assert config.public()["seed"] == 4


# --- values that follow from others -----------------------------------------------------------------------------------


def test_packing_is_settled(tmp_path: Path) -> None:
    assert load(tmp_path, "stage: pt\n").pack.packing is True
    assert load(tmp_path, "stage: pt\npacking: false\n").pack.packing is False
    assert load(tmp_path, "neat_packing: true\n").pack.packing is True
    assert load(tmp_path, "stage: sft\n").pack.packing is False


@pytest.mark.parametrize(
    ("text", "method", "kind"),
    [
        ("stage: pt", "pt", "pt"),
        ("stage: sft", "sft", "lm"),
        ("stage: rm", "rm", "pref"),
        ("stage: dpo", "dpo", "pref"),
        ("stage: dpo\npref_loss: orpo", "orpo", "pref"),
        ("stage: simpo", "simpo", "pref"),
        ("stage: kto", "kto", "unpaired"),
        ("stage: grpo", "grpo", "prompt"),
        ("do_predict: true", "predict", "prompt"),
        ("do_predict: true\ndo_train: true", "sft", "lm"),
    ],
)
def test_stage_and_loss_decide_method_and_kind(tmp_path: Path, text: str, method: str, kind: str) -> None:
    config = load(tmp_path, text + "\n")
    assert (config.method, config.kind) == (method, kind)


def test_a_preference_stage_by_its_own_name_sets_the_loss(tmp_path: Path) -> None:
    assert load(tmp_path, "stage: orpo\n").get("pref_loss") == "orpo"
    assert load(tmp_path, "lora_rank: 4\n").get("lora_alpha") == 8


def test_commands_say_what_the_run_does(tmp_path: Path) -> None:
    text = write(tmp_path, "model_name_or_path: m\ndataset: a\ndo_train: true\n")
    assert load_config(text, [], for_command="predict").method == "predict"
    plain = write(tmp_path, "model_name_or_path: m\ndataset: a\n")
    assert load_config(plain, [], for_command="train").train.do_train is True


def test_workers_follow_the_command_and_never_exceed_the_cores_otherwise(tmp_path: Path) -> None:
    assert worker_count(load(tmp_path, "workers: 64\n")) == 64
    assert worker_count(load(tmp_path, "preprocessing_num_workers: 1\n")) == 1
    assert worker_count(load(tmp_path, "preprocessing_num_workers: 9999\n")) == worker_count(load_config(None, []))


def test_a_configuration_can_be_sent_to_a_worker() -> None:
    config = load_config(None, ["seed=3"])
    assert pickle.loads(pickle.dumps(config)) == config


# --- paths ------------------------------------------------------------------------------------------------------------


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


# --- contradictions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("stage: dpo\ntrain_on_prompt: true", "train_on_prompt"),
        ("stage: kto\nmask_history: true", "mask_history"),
        ("stage: rm\nneat_packing: true", "neat_packing"),
        ("stage: dpo\npredict_with_generate: true", "predict_with_generate"),
        ("train_on_prompt: true\nmask_history: true", "mask_history"),
        ("dataset: a\neval_dataset: b\nval_size: 0.1", "val_size"),
        ("dataset: a\nval_size: 1", "val_size"),
        ("dataset: a\nval_size: 2.5", "val_size"),
        ("dataset: a,b\ninterleave_probs: 0.5,0.5", "interleave_probs"),
        ("dataset: a,b\nmix_strategy: interleave_under\ninterleave_probs: 0.5,0.3,0.2", "interleave_probs"),
        ("dataset: a,b\nmix_strategy: interleave_under\ninterleave_probs: 0.5,0.6", "interleave_probs"),
        ("finetuning_type: full\nadapter_name_or_path: a", "adapter_name_or_path"),
        ("finetuning_type: full\nuse_dora: true", "use_dora"),
        ("finetuning_type: full\nquantization_bit: 4", "quantization_bit"),
        ("quantization_bit: 4\nresize_vocab: true", "resize_vocab"),
        ("use_galore: true", "use_galore"),
        ("finetuning_type: full\nuse_apollo: true\ndeepspeed: z2", "use_apollo"),
        ("stage: dpo\npref_loss: hinge\ndpo_label_smoothing: 0.1", "dpo_label_smoothing"),
        ("stage: dpo\npissa_init: true", "pissa_init"),
        ("stage: dpo\ninit_lora_weights: pissa_niter_4", "init_lora_weights"),
        ("stage: kto\ninit_lora_weights: olora", "init_lora_weights"),
        ("stage: orpo\npref_loss: ipo", "pref_loss"),
        ("bf16: true\nfp16: true", "bf16, fp16"),
        ("template_date: yesterday", "template_date"),
        ("rules: {no.such-rule: error}", "rules"),
    ],
)
def test_contradictions_are_refused_for_every_command(tmp_path: Path, text: str, key: str) -> None:
    (problem,) = problems(tmp_path, text + "\n")
    assert f"{key}: " in f"{problem} "


@pytest.mark.parametrize("stage", ["ppo", "grpo", "rloo"])
def test_prompt_stages_can_be_packed_but_not_trained(tmp_path: Path, stage: str) -> None:
    text = f"stage: {stage}\nmodel_name_or_path: m\ndataset: a\n"
    assert load_config(write(tmp_path, text), [], for_command="pack").kind == "prompt"
    (problem,) = problems(tmp_path, text, command="train")
    assert problem.startswith(f"run.yaml:1 stage: {stage} ")
    assert "prep pack" in problem


@pytest.mark.parametrize(
    ("command", "text", "key"),
    [
        ("pack", "dataset: a", "model_name_or_path"),
        ("pack", "model_name_or_path: m", "dataset"),
        ("train", "model_name_or_path: m", "dataset"),
        ("train", "model_name_or_path: m\ndataset: a\neval_strategy: steps", "eval_strategy"),
        ("train", "model_name_or_path: m\ndataset: a\ndo_eval: true", "do_eval"),
        ("train", "model_name_or_path: m\ndataset: a\nload_best_model_at_end: true", "load_best_model_at_end"),
        ("train", "model_name_or_path: m\ndataset: a\nstage: dpo\npref_loss: kto_pair", "pref_loss"),
        ("predict", "model_name_or_path: m\ndataset: a\ninfer_backend: sglang", "infer_backend"),
        ("export", "model_name_or_path: m", "export_dir"),
    ],
)
def test_each_command_says_what_it_lacks(tmp_path: Path, command: str, text: str, key: str) -> None:
    assert any(f"{key}:" in problem for problem in problems(tmp_path, text + "\n", command=command))
    load(tmp_path, text + "\n")  # and nothing is wrong with it otherwise


def test_a_validation_split_that_nothing_uses_is_noted(tmp_path: Path) -> None:
    (note,) = load(tmp_path, "dataset: a\nval_size: 0.1\neval_steps: 500\n").notes
    assert note.startswith("val_size: splits off 0.1 of the records, and eval_strategy is no")
    assert load(tmp_path, "dataset: a\nval_size: 0.1\neval_strategy: steps\n").notes == ()


def test_prediction_needs_no_evaluation_set(tmp_path: Path) -> None:
    text = "model_name_or_path: m\ndataset: a\ndo_predict: true\n"
    config = load_config(write(tmp_path, text), [], for_command="train")
    assert config.method == "predict"
    assert [note.split(":")[0] for note in config.notes] == ["do_predict", "do_predict"]
