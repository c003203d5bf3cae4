"""Our template against the tokenizer's own, on real records: where do the two differ, and why?

    python tests/benchmarks/templates.py --assets DIR [--records 2000]

DIR holds data/messages.jsonl and tok/<name>/tokenizer.json. Each tokenizer's folder is packed twice, with the
LLaMA-Factory template of its family and with `template: auto`; rows are compared record by record, and the first
difference of each kind is shown as text.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import tokenizers

from pipeline.config import load_config
from pipeline.output.open import read_manifest
from pipeline.runs.pack.run import prepare
from registry.errors import Fault
from stages.core.display import clean

TEMPLATES = {
    "qwen3": "qwen3", "qwen2_5": "qwen", "llama3_1": "llama3", "llama2": "llama2", "deepseek_v3": "deepseek3",
    "gemma3": "gemma3", "gptoss": "gpt_oss", "mistral_nemo": "mistral", "phi3": "phi",
}  # fmt: skip


def rows(out: Path) -> dict[int, dict[str, Any]]:
    """Rows of an unpacked output by the record they came from."""
    found: dict[int, dict[str, Any]] = {}
    for shard in read_manifest(out)["splits"]["train"]["shards"]:
        with (
            pa.memory_map(str(out / shard["file"])) as source,
            pa.memory_map(str(out / shard["lineage"]["file"])) as kin,
        ):
            data = pa.ipc.open_stream(source).read_all().to_pylist()
            lineage = pa.ipc.open_file(kin).read_all().to_pylist()
        found |= {entry["record"]: data[entry["row"]] for entry in lineage}
    return found


def pack(data: Path, folder: Path, template: str, out: Path) -> dict[int, dict[str, Any]] | str:
    words = [f"dataset={data}", f"model_name_or_path={folder}", f"template={template}", "cutoff_len=32768"]
    try:
        prepare(load_config(None, [*words, "max_rejected=1.0"], for_command="pack"), out, lambda line: None)
    except Fault as fault:
        return fault.problems[0]
    return rows(out)


def compare(name: str, template: str, data: Path, folder: Path, work: Path) -> None:
    ours = pack(data, folder, template, work / f"{name}-ours")
    own = pack(data, folder, "auto", work / f"{name}-auto")
    if isinstance(own, str) or isinstance(ours, str):
        print(f"{name:<13} {template:<10} not compared: {own if isinstance(own, str) else ours}")
        return
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    both = sorted(ours.keys() & own.keys())
    kinds: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for record in both:
        a, b = ours[record], own[record]
        if a["input_ids"] == b["input_ids"]:
            kinds["same ids and labels" if a["labels"] == b["labels"] else "same ids, other labels"] += 1
            continue
        at = next((n for n, (x, y) in enumerate(zip(a["input_ids"], b["input_ids"], strict=False)) if x != y), -1)
        at = min(len(a["input_ids"]), len(b["input_ids"])) if at < 0 else at
        mine = clean(tokenizer.decode(a["input_ids"][at : at + 6], skip_special_tokens=False))
        theirs = clean(tokenizer.decode(b["input_ids"][at : at + 6], skip_special_tokens=False))
        kind = (
            "ours is longer at the end"
            if at == len(b["input_ids"])
            else ("theirs is longer at the end" if at == len(a["input_ids"]) else "the texts part")
        )
        kinds[kind] += 1
        shown.setdefault(kind, f"record {record}, token {at}: ours {mine!r}, theirs {theirs!r}")
    refused = f"refused by ours {len(own) - len(both)}, by auto {len(ours) - len(both)}"
    print(f"{name:<13} {template:<10} {len(both)} compared; {refused}")
    for kind, count in kinds.most_common():
        print(f"{'':<13} {count:>6} {kind}{'  e.g. ' + shown[kind] if kind in shown else ''}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", required=True, type=Path)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = work / "messages.jsonl"
        with (arguments.assets / "data" / "messages.jsonl").open("rb") as source:
            data.write_bytes(b"".join(islice(source, arguments.records)))
        for name, template in TEMPLATES.items():
            tokenizer = arguments.assets / "tok" / name
            if tokenizer.is_dir() and name.startswith(arguments.only):
                compare(name, template, data, tokenizer, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
