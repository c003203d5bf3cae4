"""Every file of an output is held against its manifest, wherever the files lie."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pipeline.output.manifest import dump, self_digest
from pipeline.output.verify import Place, notes, problems

NAMES = ("train/data-00000-of-00001.arrow", "lineage/train/data-00000-of-00001.arrow", "README.md")


class Held:
    """An output in memory: content and rows by name."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.content_of = {name: (name.encode(), 3) for name in NAMES}
        shard, lineage = ({"file": name, **about(name.encode()), "rows": 3} for name in NAMES[:2])
        split = {"rows": 3, "tokens": 7, "shards": [{**shard, "tokens": 7, "lineage": lineage}]}
        self.manifest: dict[str, Any] = {
            "splits": {"train": split},
            "files": [{"file": NAMES[2], **about(NAMES[2].encode())}],
        }
        self.seal()

    def seal(self) -> None:
        self.manifest["sha256"] = self_digest(self.manifest)

    @property
    def text(self) -> bytes:
        return dump(self.manifest)

    def place(self, name: str) -> Place | None:
        return Place(len(self.content_of[name][0]), self.kinds.get(name, "")) if name in self.content_of else None

    def content(self, name: str, *, rows: bool) -> tuple[str, int]:
        data, count = self.content_of[name]
        return hashlib.sha256(data).hexdigest(), count if rows else 0

    def names(self) -> list[str]:
        return sorted(self.content_of)


def about(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_whole_output_has_no_problem() -> None:
    assert problems(Held()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_missing_shorter_or_changed_is_named(name: str) -> None:
    held = Held()
    data, rows = held.content_of[name]
    held.content_of[name] = (data[:-1], rows)
    assert problems(held) == [f"{name}: {len(data) - 1} bytes instead of {len(data)}"]
    held.content_of[name] = (bytes(len(data)), rows)
    assert problems(held) == [f"{name}: its content has changed (sha256 differs)"]
    del held.content_of[name]
    assert problems(held) == [f"{name}: is missing"]


def test_rows_are_counted_and_strangers_are_named() -> None:
    held = Held()
    held.content_of[NAMES[0]] = (held.content_of[NAMES[0]][0], 2)
    held.content_of["train/other.arrow"] = (b"", 0)
    assert problems(held) == [f"{NAMES[0]}: 2 rows instead of 3", "train/other.arrow: is not in the manifest"]


def test_a_changed_manifest_is_named_and_its_sums_are_counted() -> None:
    held = Held()
    held.manifest["splits"]["train"]["tokens"] = 8
    assert problems(held) == [
        "manifest.json: has been changed",
        "manifest.json: train: shards have 7 tokens, the split says 8",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_named_and_not_read(name: str) -> None:
    held = Held()
    held.kinds[name] = "a FIFO"
    held.content = lambda name, *, rows: pytest.fail("it was read") if held.kinds.get(name) else ("", 0)  # type: ignore[method-assign]
    assert f"{name}: is a FIFO instead of a file" in problems(held)


def test_files_of_the_user_are_notes() -> None:
    held = Held()
    held.content_of |= {"notes.txt": (b"", 0), "mine/a": (b"", 0), "mine/b": (b"", 0)}
    assert problems(held) == []
    assert notes(held) == ["mine: is not a part of the output", "notes.txt: is not a part of the output"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside"])
def test_a_name_that_leads_outside_is_never_looked_at(name: str) -> None:
    held = Held()
    held.manifest["files"][0]["file"] = name
    held.seal()
    assert f"{name}: lies outside the output" in problems(held)
