"""How records become ids is one value: it travels to a worker as it is, and nothing changes it on the way."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from pipeline.jobs.encode_spec import EncodeSpec
from stages.core.fingerprint import canonical
from tests.support.plans import pack_plan, write_records


@pytest.fixture
def spec(tmp_path: Path) -> EncodeSpec:
    data = write_records(tmp_path / "data.jsonl", {"instruction": "Name a metal.", "output": "Iron."})
    found = pack_plan(data, "add_tokens=<a>", "mask_history=true").encode
    assert found is not None
    return found


def test_a_worker_gets_the_spec_as_it_was_made(spec: EncodeSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_nothing_changes_it_on_the_way(spec: EncodeSpec) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.template = "llama3"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.options.kind = "pt"  # type: ignore[misc]


def test_what_gives_other_ids_has_another_key_of_its_chunks(spec: EncodeSpec) -> None:
    others = [
        dataclasses.replace(spec, template="llama3"),
        dataclasses.replace(spec, tokenizer_sha256="0" * 64),
        dataclasses.replace(spec, options=dataclasses.replace(spec.options, train_on_prompt=True)),
        dataclasses.replace(spec, extra_tokens=()),
    ]
    assert len({repr(canonical(one, "chunk")) for one in (spec, *others)}) == 5
