"""ORPO: one loss without a reference model, and rows that are not cut a second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.train.methods import Parts
from tests.support.jobs import train_job
from tests.support.training import unset_fields

pytestmark = pytest.mark.train
pytest.importorskip("trl")


def config(folder: Path, **keys: object) -> Any:
    from stages.train.methods.orpo import orpo_config
    from stages.train.trainer_args import transformers_defaults

    values = {"model_name_or_path": "m", "output_dir": str(folder), "stage": "dpo", "pref_loss": "orpo", **keys}
    job = train_job(values, Path("d"))
    fields = {**transformers_defaults(), "output_dir": str(folder), "use_cpu": True}
    return orpo_config(Parts(job=job, model=None, tokenizer=None, fields=fields, train=None))


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl.experimental.orpo import ORPOConfig

    from stages.train.methods.orpo import orpo_config

    assert unset_fields(orpo_config, ORPOConfig) == []


def test_rows_may_be_as_long_as_they_were_packed(tmp_path: Path) -> None:
    made = config(tmp_path, cutoff_len=3000, pref_beta=0.3)
    assert (made.max_length, made.max_completion_length, made.beta) == (3000, None, 0.3)


def test_dropout_is_off_unless_it_is_kept(tmp_path: Path) -> None:
    assert config(tmp_path).disable_dropout
    assert not config(tmp_path, disable_dropout=False).disable_dropout


def test_a_field_that_trl_does_not_have_is_an_error(tmp_path: Path) -> None:
    from stages.train.methods.orpo import orpo_config

    job = train_job({"model_name_or_path": "m", "output_dir": "o", "stage": "dpo", "pref_loss": "orpo"}, Path("d"))
    with pytest.raises(TypeError, match="no_such_field"):
        orpo_config(Parts(job=job, model=None, tokenizer=None, fields={"no_such_field": 1}, train=None))
