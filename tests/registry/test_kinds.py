"""The table of training stages says what each reads and makes."""

from __future__ import annotations

from registry.kinds import (
    ROW_KINDS,
    STAGES,
    dpo_losses,
    method_of,
    trained_stages,
    usual_stage,
)
from stages.train.methods import METHODS


def test_every_stage_makes_rows_of_a_known_kind() -> None:
    assert {stage.rows for stage in STAGES.values()} == ROW_KINDS.keys()


def test_what_is_trained_comes_from_the_shards_of_its_kind() -> None:
    assert trained_stages() == {"pt": "lm", "sft": "lm", "rm": "pref", "dpo": "pref", "kto": "unpaired"}
    assert all(stage.trained_as in ("", *trained_stages()) for stage in STAGES.values())
    untrained = {name for name, stage in STAGES.items() if stage.not_trained}
    assert untrained == {"ppo", "grpo", "rloo"}, "each says why"


def test_every_stage_that_is_trained_has_a_trainer() -> None:
    trained = {name for name, stage in STAGES.items() if stage.trained_as}
    assert METHODS.keys() == trained - {"pt"}, "pt is trained as sft"


def test_orpo_and_simpo_are_losses_of_dpo() -> None:
    assert dpo_losses() == ("orpo", "simpo")
    assert [method_of("dpo", "orpo"), method_of("dpo", "sigmoid"), method_of("kto", "orpo")] == ["orpo", "dpo", "kto"]
    assert not STAGES["orpo"].reference and STAGES["dpo"].reference


def test_prompts_are_read_like_those_of_predict() -> None:
    prompts = [stage for stage in STAGES.values() if stage.prompts_only]
    assert [stage.name for stage in prompts] == ["ppo", "grpo", "rloo", "predict"]
    assert {stage.data_stage for stage in prompts} == {"predict"}
    assert [stage.rule_stage for stage in prompts] == ["ppo", "predict", "predict", "predict"]


def test_a_row_names_its_columns_and_an_example_its_segments() -> None:
    assert ROW_KINDS["lm"].sequence and ROW_KINDS["pt"].sequence and not ROW_KINDS["pref"].sequence
    for kind in ROW_KINDS.values():
        if not kind.sequence:
            assert kind.id_columns == tuple(f"{name}_ids" for name in kind.segments)


def test_records_of_a_kind_are_checked_for_a_stage_that_reads_them() -> None:
    assert [usual_stage(kind) for kind in ("sft", "pref", "kto", "pt")] == ["sft", "dpo", "kto", "pt"]
    assert all(STAGES[usual_stage(kind)].records == kind for kind in {stage.records for stage in STAGES.values()})
