"""A hub name in a YAML works as it stands when the model is in this machine's cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.runs.pack.run import prepare
from registry.errors import UsageFault
from stages.tokenize.hub_cache import looks_like_hub_name, model_folder
from stages.tokenize.tokenizer_files import load_tokenizer_files

ROOT = Path(__file__).parents[3]
TINY = ROOT / "fixtures" / "tiny"
COMMIT = "a" * 40


def cached(hub: Path, name: str, *, ref: str = "main") -> Path:
    """A model as huggingface_hub keeps it."""
    model = hub / f"models--{name.replace('/', '--')}"
    snapshot = model / "snapshots" / COMMIT
    shutil.copytree(TINY, snapshot)
    (model / "refs").mkdir()
    (model / "refs" / ref).write_text(COMMIT)
    return snapshot


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", "."), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_the_cache_is_where_the_library_has_it(
    variable: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    snapshot = cached(tmp_path / below, "org/model-1.5")
    assert Path(model_folder("org/model-1.5")) == snapshot
    assert Path(model_folder("org/model-1.5", COMMIT)) == snapshot
    assert model_folder("org/model-1.5", "other-branch") == "org/model-1.5"
    assert model_folder("org/other") == "org/other"


def test_a_data_set_is_packed_with_a_cached_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same shards as from the folder itself."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cached(tmp_path / "hub", "org/tiny", ref="v1")
    words = [f"dataset={ROOT / 'fixtures' / 'demo' / 'alpaca.jsonl'}", "template=qwen3", "model_revision=v1"]
    digests = []
    for number, model in enumerate(("org/tiny", str(TINY))):
        config = load_config(None, [*words, f"model_name_or_path={model}"], for_command="pack")
        manifest = prepare(config, tmp_path / f"out{number}", lambda line: None).manifest
        digests.append([shard["sha256"] for shard in manifest["splits"]["train"]["shards"]])
    assert digests[0] == digests[1]


def test_a_folder_goes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cached(tmp_path / "hub", "org/tiny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    assert model_folder("org/tiny") == "org/tiny"


@pytest.mark.parametrize("revision", ["../../../etc", "..", "/etc"])
def test_a_revision_does_not_lead_out_of_the_cache(
    revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cached(tmp_path / "hub", "org/tiny")
    assert model_folder("org/tiny", revision) == "org/tiny"


def test_what_is_not_there_is_reported_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageFault) as caught:
        load_tokenizer_files("org/model")
    assert "hf download org/model" in caught.value.hint


@pytest.mark.parametrize("name", ["/org/model", "./model", "a/b/c", "org/../model", "~/model", "", "s3://a/b"])
def test_a_path_is_no_hub_name(name: str) -> None:
    assert not looks_like_hub_name(name)
