"""`engine: ray` gives the bytes of the local engine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.output.open import read_manifest
from pipeline.runs.pack.run import prepare
from registry.errors import MachineFault

TINY = Path(__file__).parents[3] / "fixtures" / "tiny"


def pack(data: Path, out: Path, *settings: str) -> Any:
    words = [
        f"dataset={data}",
        f"model_name_or_path={TINY}",
        "template=qwen3",
        "cutoff_len=128",
        "packing=true",
        *settings,
    ]
    return prepare(load_config(None, words, for_command="pack"), out, lambda line: None)


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    rows = [
        {"conversations": [{"from": "human", "value": f"Q{n} " * (n % 9 + 1)}, {"from": "gpt", "value": f"A{n}"}]}
        for n in range(300)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_ray_gives_the_same_bytes(chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local cluster with two workers writes shards and a manifest that equal those of one process."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from pipeline import plan
    from stages.core.records import Limits

    monkeypatch.setattr(plan, "Limits", lambda: Limits(chunk_bytes=8 << 10))
    local = pack(chats, tmp_path / "local", "workers=1").manifest
    ray = pack(chats, tmp_path / "ray", "engine=ray", "workers=2").manifest
    assert ray["run"]["chunks"] > 1
    assert local["sha256"] == ray["sha256"]
    for shard in read_manifest(tmp_path / "ray")["splits"]["train"]["shards"]:
        assert hashlib.sha256((tmp_path / "ray" / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]


def test_without_ray_it_says_what_to_install(chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MachineFault) as caught:
        pack(chats, tmp_path / "out", "engine=ray")
    assert "pip install" in caught.value.hint and "ray" in caught.value.hint  # by extra or by package
