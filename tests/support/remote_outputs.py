"""Stores in memory whose changing calls can be made to fail, and small outputs to publish to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem

from pipeline.config import load_config
from pipeline.output import store
from pipeline.output.open import open_files
from pipeline.output.remote_fetch import JOURNAL, fetch_manifest
from pipeline.output.verify import problems
from pipeline.plan import sources as planning
from pipeline.runs.pack import template_check as proof
from pipeline.runs.pack.build import Outcome
from pipeline.runs.pack.run import prepare_output
from registry.errors import Fault
from stages.core.records import Limits

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"
SYSTEM = store.operations


class Killed(BaseException):
    """The process is dead: nothing that it would still do is done."""


class Faulty:
    """The changing calls of a store, of which number `at` goes wrong.

    mode: once (that one call fails), down (it and all later ones fail), late (it is done, then as down: the answer got
    lost), torn (half of the object is stored, then as down), refused (as down, without permission), kill (it and all
    later ones are never made).
    """

    def __init__(self, mode: str = "", at: int = -1) -> None:
        self.mode, self.at = mode, at
        self.done: list[str] = []

    def _act(self, what: str, whole: Callable[[], None], segment: Callable[[], None]) -> None:
        number = len(self.done)
        self.done.append(what)
        if not self.mode or number < self.at or (self.mode == "once" and number > self.at):
            whole()
            return
        if number == self.at and self.mode in ("late", "torn"):
            (whole if self.mode == "late" else segment)()
        if self.mode == "kill":
            raise Killed
        raise PermissionError("secret") if self.mode == "refused" else ConnectionResetError("secret")

    def send(self, system: Any, source: str, path: str) -> None:
        data = Path(source).read_bytes()
        self._act(
            f"send {path}",
            lambda: SYSTEM.send(system, source, path),
            lambda: SYSTEM.write(system, path, data[: len(data) // 2]),
        )

    def write(self, system: Any, path: str, data: bytes) -> None:
        self._act(
            f"write {path}",
            lambda: SYSTEM.write(system, path, data),
            # a journal that loses names leaves objects behind, and one PUT is atomic: only the manifest is torn as well
            lambda: None if path.endswith(JOURNAL) else SYSTEM.write(system, path, data[: len(data) // 2]),
        )

    def remove(self, system: Any, path: str) -> None:
        self._act(f"remove {path}", lambda: SYSTEM.remove(system, path), lambda: None)


class Tagged(MemoryFileSystem):
    """A store that has a digest of each object, as S3 has."""

    protocol = "memory"
    cachable = False

    def _tagged(self, info: dict[str, Any]) -> dict[str, Any]:
        if info["type"] == "file":
            info["ETag"] = hashlib.md5(self.store[info["name"]].getvalue()).hexdigest()
        return info

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return self._tagged(super().info(path, **options))

    def find(self, path: str, **options: Any) -> Any:
        return {name: self._tagged(info) for name, info in super().find(path, **options).items()}


def pack(data: Path, url: str, *settings: str, log: Any = lambda line: None, keep_cache: bool = True) -> Outcome:
    """Packs in this process, in several chunks and shards; the template's proof, which takes a second, is left out."""
    words = [f"dataset={data}", f"model_name_or_path={TINY}", "template=qwen3", "cutoff_len=64", "workers=1"]
    words += ["shard_size=16000", "packing=true", f"tokenized_path={url}", *settings]
    config = load_config(None, words, for_command="pack")
    kept = proof.Proof._prove, planning.Limits
    proof.Proof._prove = lambda self: {"verdict": "own", "reason": "", "cases": {}}  # type: ignore[method-assign]
    planning.Limits = lambda: Limits(chunk_bytes=4 << 10)  # type: ignore[assignment,misc]
    try:
        return prepare_output(config, log, keep_cache=keep_cache)
    finally:
        proof.Proof._prove, planning.Limits = kept  # type: ignore[method-assign,misc]


def chats(path: Path, count: int = 60) -> Path:
    """A file of short conversations, the last of which is broken."""
    turns = [(f"Question {n}? " * (n % 7 + 1), f"Answer {n}. " * (n % 9 + 1)) for n in range(count)]
    lines = [{"instruction": question, "output": answer} for question, answer in turns]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"broken\n', encoding="utf-8")
    return path


def raw(url: str) -> dict[str, bytes]:
    """Every object below a memory URL, by name."""
    root = "/" + url.removeprefix("memory://").strip("/") + "/"
    store = MemoryFileSystem.store
    return {path.removeprefix(root): held.getvalue() for path, held in store.items() if path.startswith(root)}


def objects(url: str) -> dict[str, bytes]:
    """Every object below a memory URL, by name; the manifest without its `run` block."""
    return {name: normal(name, data) for name, data in raw(url).items()}


def folder_objects(folder: Path) -> dict[str, bytes]:
    """The same of a local output."""
    return {
        name: normal(name, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (name := path.relative_to(folder).as_posix()).startswith(".cache")
    }


def normal(name: str, data: bytes) -> bytes:
    if not name.endswith("manifest.json"):
        return data
    try:
        document = json.loads(data)
    except ValueError:
        return data
    document.pop("run")
    return json.dumps(document, sort_keys=True).encode()


def put(url: str, files: dict[str, bytes]) -> None:
    """The store holds these objects and no others."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    system = MemoryFileSystem()
    for name, data in files.items():
        system.pipe_file(f"{url}/{name}", data)


def readable(url: str) -> str | None:
    """sha256 of the manifest that a reader finds, None when it finds no finished output."""
    try:
        return str(fetch_manifest(url)["sha256"])
    except Fault:
        return None


def is_whole(url: str) -> bool:
    """What `prep verify` says of the files that the manifest names; leftovers beside them are another matter."""
    return not [line for line in problems(open_files(url)) if not line.endswith("is not in the manifest")]


__all__ = [
    "JOURNAL", "SYSTEM", "Faulty", "Killed", "Tagged", "chats", "folder_objects", "is_whole", "objects", "pack", "put",
    "raw", "readable",
]  # fmt: skip
