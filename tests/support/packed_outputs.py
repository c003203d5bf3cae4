"""Outputs of `prep pack` for tests: one of the demo that many share, and small ones made for a single test."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import load_config
from pipeline.output.open import read_manifest
from pipeline.runs.pack.build import Outcome
from pipeline.runs.pack.run import prepare

ROOT = Path(__file__).parents[2]
DEMO, TINY = ROOT / "fixtures" / "demo", ROOT / "fixtures" / "tiny"
CHATS = [
    {
        "conversations": [
            {"from": "human", "value": f"Question {n}? " * (n % 17 + 1)},
            {"from": "gpt", "value": f"Answer {n}. " * (n % 23 + 1)},
        ]
    }
    for n in range(400)
]


@functools.cache
def demo_output(*settings: str) -> Path:
    """The packed demo with some settings, made once a process and not to be written to."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    config = load_config(str(DEMO / "sft.yaml"), list(settings), for_command="pack")
    return prepare(config, folder / "out", lambda line: None, keep_cache=False).out


def pack(data: Path | str, out: Path, *settings: str) -> Outcome:
    """Packs data with the tiny tokenizer, template qwen3 and cutoff 256, or as the settings say."""
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=256", *settings]
    return prepare(load_config(None, words, for_command="pack"), out, lambda line: None)


def write_records(path: Path, records: list[Any]) -> Path:
    """A file with one JSON record a line."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def rows(out: Path, split: str = "train") -> list[dict[str, Any]]:
    """Every row of a split."""
    found = []
    for shard in read_manifest(out)["splits"][split]["shards"]:
        with pa.memory_map(str(out / shard["file"])) as source:
            found += pa.ipc.open_stream(source).read_all().to_pylist()
    return found


def tree(out: Path) -> dict[str, str]:
    """Relative path -> digest of every published file; the manifest without its `run` block."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(".cache"):
            data = path.read_bytes()
            if name == "manifest.json":
                document = json.loads(data)
                document.pop("run")
                data = json.dumps(document, sort_keys=True).encode()
            found[name] = hashlib.sha256(data).hexdigest()
    return found
