"""The template proof of a run: our rendering against the tokenizer's own chat template, kept in the manifest.

It is computed while the chunks are read, in a thread whose work is done by the render child, and kept in the cache by
the digests of tokenizer and template. A tokenizer without a chat template has nothing to compare with; the verdict
is then `nothing-to-compare`, with the reason.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import xxhash

from pipeline.engine.limits import aside
from pipeline.plan.types import Plan
from pipeline.runs.collect import Collected
from registry.errors import Fault
from stages.core.atomic_io import write_whole
from stages.core.collector import Place
from stages.core.findings import Note
from stages.core.fingerprint import code_digest


class Proof:
    """Starts the proof; `result` waits for it. Use as a context manager."""

    def __init__(self, plan: Plan, cache: Path) -> None:
        self.plan = plan
        self.path = cache / f"proof-{self._key()}.json"
        self._pool = ThreadPoolExecutor(1)
        self._future: Future[dict[str, Any]] = aside(self._pool, self._run)

    def __enter__(self) -> Proof:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def result(self) -> dict[str, Any]:
        """`verdict`, `reason`, and the verdict of each case with its first difference."""
        return self._future.result()

    def _key(self) -> str:
        encode = self.plan.encode
        assert encode is not None
        parts = [code_digest(), encode.template, encode.compat, encode.template_sha256, encode.tokenizer_sha256]
        return hashlib.sha256(orjson.dumps([*parts, repr(encode.options)])).hexdigest()[:16]

    def _run(self) -> dict[str, Any]:
        try:
            kept = orjson.loads(self.path.read_bytes())
            if kept["xxh3"] == _digest(kept["proof"]):
                found: dict[str, Any] = kept["proof"]
                return found
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none, or damaged: it is part of the manifest, so a flipped bit must not come through
        result = self._prove()
        write_whole(self.path, orjson.dumps({"proof": result, "xxh3": _digest(result)}))
        return result

    def _prove(self) -> dict[str, Any]:
        encode = self.plan.encode
        assert encode is not None
        if encode.template == "auto":
            return {"verdict": "own", "reason": "the tokenizer's own chat template is used", "cases": {}}
        if encode.options.kind == "pt":
            return {"verdict": "nothing-to-compare", "reason": "pretraining text has no chat template", "cases": {}}
        from stages.render.jinja.chat_template import load_auto
        from stages.render.jinja.renderer import AutoOptions, AutoRenderer
        from stages.render.parity import prove

        options = AutoOptions(
            enable_thinking=encode.options.enable_thinking, template_date=encode.options.template_date
        )
        raw = self.plan.tokenizer.raw if self.plan.tokenizer is not None else None
        try:
            with AutoRenderer(load_auto(encode.tokenizer, raw), options) as renderer:
                date = encode.options.template_date
                proof = prove(encode.tokenizer, encode.template, encode.compat, renderer, date)
        except Fault as fault:
            return {"verdict": "nothing-to-compare", "reason": fault.problems[0].split(": ", 1)[-1][:200], "cases": {}}
        cases = {}
        for case in proof.cases:
            entry: dict[str, Any] = {"verdict": case.verdict}
            if case.difference is not None:
                entry |= {
                    "at_token": case.difference.at_token,
                    "ours": case.difference.ours,
                    "theirs": case.difference.theirs,
                }
            cases[case.case] = entry
        return {"verdict": proof.verdict, "reason": "", "cases": cases}


def _digest(proof: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(orjson.dumps(proof, option=orjson.OPT_SORT_KEYS))


def note_proof(plan: Plan, collected: Collected, proof: dict[str, Any]) -> None:
    """Adds a finding when our template and the tokenizer's own write different tokens.

    Args:
        plan: Template, tokenizer and severities.
        collected: Takes the finding.
        proof: As `Proof.result` returns it.
    """
    if proof["verdict"] != "differs" or plan.encode is None:
        return
    apart = [name for name, case in proof["cases"].items() if case["verdict"] == "differs"]
    share = f"{len(apart)} of {len(proof['cases'])} conversations"
    text = f"{plan.encode.template} and the tokenizer's own chat template part in {share}"
    hint = f"prep template check {plan.encode.template} --tokenizer {plan.encode.tokenizer}"
    note = Note("template.differs", "", text, ", ".join(apart)[:80], hint)
    collected.found.note(note, Place(plan.encode.tokenizer), plan.policy)
