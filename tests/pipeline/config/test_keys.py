"""The key table is complete, and its page and schema are the same as it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from docs.tools.config_page import config_markdown, config_schema
from pipeline.config import load_config
from pipeline.config.keys import Key, _raw, coerce, keys, renames, suggestion
from registry.kinds import STAGES, dpo_losses
from registry.profiles import profile_names
from registry.templates import COMPATS
from stages.formats.table import FORMATS
from stages.mix import MIXERS
from stages.pack import PACKERS
from stages.render import tool_formats as tools
from stages.truncate import OVERLONG

ROOT = Path(__file__).parents[3]
SEEDS = sorted((ROOT / "fixtures" / "configs").glob("*.yaml"))


def test_the_page_and_the_schema_are_made_from_the_table() -> None:
    hint = "run `python -m docs.tools.config_page` in the repository's root"
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == config_markdown(), hint
    assert json.loads((ROOT / "schemas" / "config.json").read_text(encoding="utf-8")) == config_schema(), hint


def test_every_key_says_what_it_does_or_why_not() -> None:
    for key in keys().values():
        assert bool(key.help) == (key.status in ("used", "train")), key.name
        assert bool(key.note) == (key.status in ("accepted", "refused")), key.name
        if key.default is not None:
            assert coerce(key, key.default) == key.default, key.name


TABLES = {  # key -> what the package that does the work offers
    "stage": STAGES.keys() - {"predict"},
    "format": {"auto", *FORMATS},
    "profile": set(profile_names()),
    "overlong": set(OVERLONG),
    "tool_format": set(tools.FORMATS),
    "compat": set(COMPATS),
    "mix_strategy": set(MIXERS),
    "packing_strategy": set(PACKERS),
}


def unlike(table: Mapping[str, Key]) -> set[str]:
    """The keys whose values are not those of the table that they choose from."""
    return {name for name, wanted in TABLES.items() if set(table[name].values) != wanted}


def test_values_of_a_key_are_those_of_the_table_it_chooses_from() -> None:
    assert unlike(keys()) == set()
    assert keys()["compat"].default == COMPATS[0]
    assert set(dpo_losses()) <= set(keys()["pref_loss"].values)


@pytest.mark.parametrize("name", TABLES)
def test_a_value_too_many_or_too_few_is_found(name: str) -> None:
    key = keys()[name]
    for values in ((*key.values, "planted"), key.values[1:]):
        assert unlike({**keys(), name: dataclasses.replace(key, values=values)}) == {name}


def test_old_names_lead_to_keys_and_are_none_themselves() -> None:
    for old in renames().values():
        assert old.to in keys()
        assert old.name not in keys()


def test_names_of_other_tools_are_answered_with_ours() -> None:
    """They are not read, since their values may mean something else."""
    assert suggestion("sequence_len") == '; it is called "cutoff_len" here'
    assert suggestion("Base-Model") == '; it is called "model_name_or_path" here'
    for name, row in _raw()["elsewhere"].items():
        assert name not in keys() and name not in renames(), name
        assert row.keys() == {"to"} and row["to"] in keys(), name


def test_every_training_argument_of_transformers_is_known() -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    fields = {field.name for field in dataclasses.fields(transformers.Seq2SeqTrainingArguments)}
    assert fields <= keys().keys() | renames().keys()


def test_handed_on_defaults_are_those_of_transformers() -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    ours = {name: key.default for name, key in keys().items() if key.status == "train"}
    spelt_otherwise = {"report_to", "include_num_input_tokens_seen"}
    for field in dataclasses.fields(transformers.Seq2SeqTrainingArguments):
        if field.name in ours.keys() - spelt_otherwise and field.default is not dataclasses.MISSING:
            default = getattr(field.default, "value", field.default)
            assert ours[field.name] == default, field.name


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_schema_accepts_what_people_wrote(path: Path) -> None:
    validator = jsonschema_rs.Draft202012Validator(config_schema())
    validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("text", ["cutof_len: 5", "packing: maybe", "seed: x", "stage: stf", "use_unsloth: true"])
def test_the_schema_refuses_what_the_reader_refuses(text: str) -> None:
    validator = jsonschema_rs.Draft202012Validator(config_schema())
    assert not validator.is_valid(yaml.safe_load(text))


EXPECTED_NOTES = {
    "home_robot_lora_predict": ["overwrite_cache", "do_predict"],
    "minicpm_dpo": ["evaluation_strategy", "overwrite_cache"],
    "minicpm_guide_dpo": [],
    "minicpm_kto": ["kto_ftx", "evaluation_strategy", "overwrite_cache"],
    "minicpm_sala_dpo": ["warmup_ratio", "overwrite_cache", "val_size"],
    "minicpm_sala_kto": ["warmup_ratio", "overwrite_cache", "val_size"],
    "minicpm_sala_sft": ["warmup_ratio", "overwrite_cache", "val_size"],
    "minicpm_sala_sft_lora": ["warmup_ratio", "overwrite_cache", "val_size"],
    "minicpm_sft": ["evaluation_strategy", "overwrite_cache"],
    "opendataarena_llama": ["warmup_ratio", "overwrite_cache"],
    "opendataarena_llama_long": ["warmup_ratio", "overwrite_cache"],
    "opendataarena_qwen": ["warmup_ratio", "overwrite_cache"],
    "opendataarena_qwen3": ["warmup_ratio", "overwrite_cache"],
    "opendataarena_qwen_long": ["warmup_ratio", "overwrite_cache"],
}
ENVIRON = {"SEED": "42", "DATASET": "x", "DATA_SETTING": "x"}


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_configurations_of_other_projects_load_with_a_note_for_each_old_key(path: Path) -> None:
    config = load_config(str(path), [], environ=ENVIRON, for_command="train")
    assert [note.split(":")[0] for note in config.notes] == EXPECTED_NOTES[path.stem]
    assert config.get("seed") == 42
    if "warmup_ratio" in EXPECTED_NOTES[path.stem]:
        assert 0 < float(str(config.get("warmup_steps"))) < 1


def test_all_the_configurations_are_there() -> None:
    assert {path.stem for path in SEEDS} == EXPECTED_NOTES.keys()


def test_the_long_command_line_loads_without_a_file() -> None:
    text = (ROOT / "fixtures" / "configs" / "opendataarena_command.args").read_text(encoding="utf-8")
    words = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    config = load_config(None, words, environ=ENVIRON, for_command="train")
    assert (config.get("seed"), config.get("cutoff_len"), config.flag("bf16")) == (42, 4096, True)
    assert config.get("output_dir") == "saves/llama3.1-8b/full/sft-x/seed-42"
    assert [note.split(":")[0] for note in config.notes] == ["warmup_ratio", "overwrite_cache"]


def test_a_seed_is_one_that_every_generator_takes() -> None:
    """numpy's, whose order is part of the result, takes 32 bits."""
    assert coerce(keys()["seed"], str(2**32 - 1)) == 2**32 - 1
    with pytest.raises(ValueError, match="too large"):
        coerce(keys()["seed"], str(2**32))
