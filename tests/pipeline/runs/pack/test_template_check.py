"""The proof of a run's template: made once, kept by what it depends on, and never believed when it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from pipeline.runs.pack.template_check import Proof, note_proof
from tests.support.example_tables import plan_of

MADE = {"verdict": "equal", "reason": "", "cases": {"one": {"verdict": "equal"}}}


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a proof was made; it is always the same one."""
    made = []

    def prove(self: Proof) -> dict[str, Any]:
        made.append(self)
        return MADE

    monkeypatch.setattr(Proof, "_prove", prove)
    return lambda: len(made)


def proof(plan: Plan, folder: Path) -> dict[str, Any]:
    with Proof(plan, folder) as made:
        return made.result()


def test_a_proof_is_made_once(tmp_path: Path, count: Callable[[], int]) -> None:
    plan = plan_of(tmp_path, [1])
    assert proof(plan, tmp_path) == proof(plan, tmp_path) == MADE
    assert count() == 1


@pytest.mark.parametrize("words", [["template=llama3"], ["enable_thinking=false"], ["compat=llamafactory-0.9.2"]])
def test_another_rendering_is_proven_anew(words: list[str], tmp_path: Path, count: Callable[[], int]) -> None:
    proof(plan_of(tmp_path, [1]), tmp_path)
    proof(plan_of(tmp_path, [1], *words), tmp_path)
    assert count() == 2


@pytest.mark.parametrize("how", ["flipped", "cut", "another document", "gone"])
def test_a_damaged_proof_is_made_again(how: str, tmp_path: Path, count: Callable[[], int]) -> None:
    """It is a part of the manifest: not one changed letter of it may come through."""
    plan = plan_of(tmp_path, [1])
    proof(plan, tmp_path)
    (path,) = tmp_path.glob("proof-*.json")
    kept = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"flipped": kept.replace(b"equal", b"eqval", 1), "cut": kept[:20]}.get(how, b"[]"))
    assert proof(plan, tmp_path) == MADE
    assert count() == 2
    assert orjson.loads(path.read_bytes())["proof"] == MADE


@pytest.mark.parametrize(
    ("words", "verdict"),
    [(["template=qwen3"], "nothing-to-compare"), (["stage=pt", "format=pretrain"], "nothing-to-compare")],
)
def test_without_a_chat_template_the_reason_is_kept(words: list[str], verdict: str, tmp_path: Path) -> None:
    """The tiny tokenizer has none, and pretraining text needs none."""
    found = proof(plan_of(tmp_path, [1], *words), tmp_path)
    assert (found["verdict"], found["cases"]) == (verdict, {})
    assert "chat template" in found["reason"]


def test_a_difference_is_a_finding_that_names_the_conversations(tmp_path: Path) -> None:
    plan, collected = plan_of(tmp_path, [1]), Collected()
    cases = {"short": {"verdict": "differs"}, "long": {"verdict": "equal"}}
    note_proof(plan, collected, {"verdict": "differs", "reason": "", "cases": cases})
    (found,) = collected.found.findings
    assert (found.rule, found.value) == ("template.differs", "short")
    assert "1 of 2 conversations" in found.message and "prep template check qwen3" in found.hint
    note_proof(plan, collected, MADE)
    assert len(collected.found.findings) == 1


def test_a_proof_that_fails_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Proof) -> dict[str, Any]:
        raise RuntimeError("broken")

    monkeypatch.setattr(Proof, "_prove", broken)
    with pytest.raises(RuntimeError, match="broken"):
        proof(plan_of(tmp_path, [1]), tmp_path)
    assert not list(tmp_path.glob("proof-*"))
