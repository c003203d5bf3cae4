"""SimPO: CPO's trainer with SimPO's loss, and its supervised part only where it is requested."""

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
    from stages.train.methods.simpo import simpo_config
    from stages.train.trainer_args import transformers_defaults

    values = {"model_name_or_path": "m", "output_dir": str(folder), "stage": "dpo", "pref_loss": "simpo", **keys}
    job = train_job(values, Path("d"))
    fields = {**transformers_defaults(), "output_dir": str(folder), "use_cpu": True}
    return simpo_config(Parts(job=job, model=None, tokenizer=None, fields=fields, train=None))


def test_every_field_of_trls_configuration_is_set_by_us() -> None:
    from trl.experimental.cpo import CPOConfig

    from stages.train.methods.simpo import simpo_config

    assert unset_fields(simpo_config, CPOConfig) == []


def test_the_loss_is_simpo_s_alone_unless_pref_ftx_adds_the_supervised_one(tmp_path: Path) -> None:
    made = config(tmp_path, simpo_gamma=0.7, pref_beta=2.0)
    assert (made.loss_type, made.simpo_gamma, made.beta, made.cpo_alpha, made.alpha) == ("simpo", 0.7, 2.0, 0.0, 0.0)
    assert config(tmp_path, pref_ftx=0.2).cpo_alpha == 0.2


def test_rows_may_be_as_long_as_they_were_packed(tmp_path: Path) -> None:
    assert config(tmp_path, cutoff_len=3000).max_length == 3000


def test_a_field_that_trl_does_not_have_is_an_error(tmp_path: Path) -> None:
    from stages.train.methods.simpo import simpo_config

    job = train_job({"model_name_or_path": "m", "output_dir": "o", "stage": "dpo", "pref_loss": "simpo"}, Path("d"))
    with pytest.raises(TypeError, match="no_such_field"):
        simpo_config(Parts(job=job, model=None, tokenizer=None, fields={"no_such_field": 1}, train=None))
