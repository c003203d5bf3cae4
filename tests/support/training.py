"""Tiny models and packed folders for the training tests: nothing is downloaded, nothing has weights to keep."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import inspect
import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded; see stages.train.launch.distributed
os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test may wait for a network

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"
VOCABULARY = 1026  # ids of the tokenizer; the model has room for 1088
FIRST = 100  # above the tiny tokenizer's special ids

NO_DIGEST = "0" * 64

Row = dict[str, Any]


@pytest.fixture(scope="session")
def tiny_config() -> Path:
    """The folder with the tiny tokenizer and a model config, but no weights."""
    return TINY


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: 2 layers, 64 wide, random weights, with its tokenizer."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("model")
    torch.set_num_threads(1)  # threads that spin cost more than they bring at this size
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(TINY)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    return folder


def log_entries(output: Path) -> list[dict[str, Any]]:
    """What a run logged, an entry a logged step."""
    return [json.loads(text) for text in (output / "trainer_log.jsonl").read_text().splitlines()]


def losses(output: Path, key: str = "loss") -> list[float]:
    """A measure's values in a run's log, in order; entries without it are passed over."""
    return [entry[key] for entry in log_entries(output) if key in entry]


def unset_fields(make_config: Callable[..., Any], kind: type) -> list[str]:
    """The fields of a TRL configuration that are neither transformers' nor set by `make_config`: TRL's defaults change
    what is trained and change between releases."""
    from stages.train.trainer_args import transformers_defaults

    source = inspect.getsource(make_config)
    own = {field.name for field in dataclasses.fields(kind) if field.init} - set(transformers_defaults())
    return [name for name in sorted(own) if f"{name}=" not in source]


def example(rng: random.Random, low: int = 6, high: int = 24) -> list[int]:
    """A sequence with a rule a model learns within a few steps: each id is followed by the next one."""
    start = rng.randrange(40)
    return [FIRST + (start + step) % 40 for step in range(rng.randrange(low, high))]


def lm_rows(count: int, seed: int = 0) -> list[Row]:
    """Unpacked rows; the first third of each is prompt."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        ids = example(rng)
        cut = len(ids) // 3
        rows.append({"input_ids": ids, "labels": [-100] * cut + ids[cut:]})
    return rows


def packed_rows(rows: Sequence[Row], each: int = 3) -> list[Row]:
    """The same examples, `each` to a row."""
    out = []
    for first in range(0, len(rows), each):
        group = rows[first : first + each]
        out.append(
            {
                "input_ids": [i for row in group for i in row["input_ids"]],
                "labels": [i for row in group for i in row["labels"]],
                "seq_lengths": [len(row["input_ids"]) for row in group],
            }
        )
    return out


def pref_rows(count: int, seed: int = 0) -> list[Row]:
    """Pairs whose chosen answer counts up and whose rejected answer counts down."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        ids = example(rng, 9, 20)
        cut = len(ids) // 3
        rows.append({"prompt_ids": ids[:cut], "chosen_ids": ids[cut:], "rejected_ids": ids[cut:][::-1]})
    return rows


def unpaired_rows(count: int, seed: int = 0) -> list[Row]:
    """Good and bad answers in turn."""
    rows = []
    for number, row in enumerate(pref_rows(count, seed)):
        good = number % 2 == 0
        rows.append(
            {
                "prompt_ids": row["prompt_ids"],
                "completion_ids": row["chosen_ids" if good else "rejected_ids"],
                "label": good,
            }
        )
    return rows


def prompt_rows(count: int, seed: int = 0) -> list[Row]:
    """Prompts with the answer that the rule of `example` gives."""
    return [{"prompt_ids": row["prompt_ids"], "label_ids": row["chosen_ids"]} for row in pref_rows(count, seed)]


def write_out(
    root: Path, kind: str, splits: dict[str, Iterable[Row]], *, packed: bool = False, shards: int = 2
) -> Path:
    """A folder as `prep pack` leaves it: Arrow stream shards of int32 lists, and the manifest."""
    pa = pytest.importorskip("pyarrow")
    manifest = empty_manifest(kind, packed=packed)
    for split, given in splits.items():
        rows = list(given)
        folder = root / split
        folder.mkdir(parents=True, exist_ok=True)
        size = -(-len(rows) // shards) or 1
        entries = []
        for number in range(shards):
            part = rows[number * size : (number + 1) * size]
            if not part:
                continue
            names = list(part[0])
            arrays = [
                pa.array(
                    [row[name] for row in part], pa.bool_() if isinstance(part[0][name], bool) else pa.list_(pa.int32())
                )
                for name in names
            ]
            table = pa.Table.from_arrays(arrays, names)
            path = folder / f"data-{number:05d}-of-{shards:05d}.arrow"
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            data = path.read_bytes()
            entries.append(
                {
                    "file": f"{split}/{path.name}",
                    "rows": len(part),
                    "tokens": sum(len(v) for row in part for k, v in row.items() if k.endswith("_ids")),
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "lineage": {"file": f"lineage/{split}-{number:05d}.arrow", "bytes": 0, "sha256": NO_DIGEST},
                }
            )
        manifest["splits"][split] = {
            "rows": len(rows),
            "examples": sum(len(row.get("seq_lengths", [0])) for row in rows),
            "tokens": sum(e["tokens"] for e in entries),
            "trained_tokens": sum(sum(1 for i in row.get("labels", ()) if i != -100) for row in rows),
            "fill_rate": None,
            "shards": entries,
        }
    write_manifest(root, manifest)
    return root


def empty_manifest(kind: str, *, packed: bool = False) -> dict[str, Any]:
    """A manifest that fits its schema, of an output without inputs and without splits."""
    ledger: dict[str, Any] = dict.fromkeys(
        ("read", "not_sampled", "repeated", "examples", "tokens_in", "trained_tokens_in", "tokens", "trained_tokens"), 0
    )
    ledger |= {name: {} for name in ("rejected", "dropped", "tokens_lost", "trained_tokens_lost")}
    cut = {"limit_tokens": 128, "from_end": False, "efficient_eos": None, "label_first_source": False}
    return {
        "schema_version": 1,
        "kind": kind,
        "stage": {"lm": "sft", "pref": "dpo", "unpaired": "kto", "prompt": "predict"}[kind],
        "packed": packed,
        "cutoff_len": 128,
        "compat": "llamafactory-0.9.6",
        "template": {"name": "default", "sha256": NO_DIGEST},
        "template_proof": {"verdict": "nothing-to-compare", "reason": "", "cases": {}},
        "tokenizer": {
            "sha256": NO_DIGEST,
            "vocab_size": VOCABULARY,
            "eos_id": None,
            "added": [],
            "check": {"back_end": "tokenizers", "checked_texts": 0, "differ": 0},
        },
        "cut": {"kind": kind, "overlong": "truncate", **cut},
        "recipe": {},
        "options": {"packing_strategy": "best_fit"},
        "inputs": [],
        "ledger": {**ledger, "sources": {}},
        "mixture": {},
        "truncated": {},
        "findings": {},
        "splits": {},
        "files": [],
        "key": NO_DIGEST,
        "run": {"finished": "now", "chunks": 1, "chunks_reused": 0},
    }


def write_manifest(root: Path, manifest: dict[str, Any]) -> None:
    """Writes a manifest as prep does, with its digest."""
    from stages.core.manifest_document import dump, self_digest

    manifest["sha256"] = self_digest(manifest)
    (root / "manifest.json").write_bytes(dump(manifest))


def relist(out: Path, name: str) -> dict[str, Any]:
    """Writes an output's manifest anew for a file that a test has put in another's place; returns the manifest."""
    data = (out / name).read_bytes()
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if entry["file"] == name:
            entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if (out / "manifest.json").is_symlink():
        (out / "manifest.json").unlink()
    write_manifest(out, manifest)
    return manifest


@pytest.fixture(scope="session")
def make() -> Any:
    """The row makers and `write_out`, as one namespace."""

    class Make:
        lm = staticmethod(lm_rows)
        packed = staticmethod(packed_rows)
        pref = staticmethod(pref_rows)
        unpaired = staticmethod(unpaired_rows)
        prompts = staticmethod(prompt_rows)
        out = staticmethod(write_out)

    return Make


@pytest.fixture(scope="session")
def run_job(tiny_model: Path) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Train in this process with small, fast settings; gives the result and the lines it said."""

    def run(data: Path, output: Path, **keys: object) -> tuple[dict[str, Any], list[str]]:
        from stages.train.run import train
        from tests.support.jobs import train_job

        values: dict[str, object] = {
            "model_name_or_path": str(tiny_model),
            "output_dir": str(output),
            "do_train": True,
            "finetuning_type": "full",
            "per_device_train_batch_size": 4,
            "learning_rate": 3e-3,
            "max_steps": 12,
            "logging_steps": 1,
            "save_strategy": "no",
            "use_cpu": True,
            "seed": 7,
            **keys,
        }
        said: list[str] = []
        result = train(train_job(values, data), said.append)
        _pass_over_modules()
        return result, said

    return run


_modules_seen = 0


def _pass_over_modules() -> None:
    """Keep the collector off what imports have left: a trainer collects at its end, and looking through torch's and
    TRL's modules each time takes longer than a few steps do."""
    global _modules_seen
    if len(sys.modules) != _modules_seen:
        gc.freeze()
        _modules_seen = len(sys.modules)
