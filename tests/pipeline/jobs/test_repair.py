"""A repaired record passes the checks as it is written; everything else is copied byte for byte or excluded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.jobs import repair
from pipeline.jobs.repair import BOM, FixResult, FixSpec, FixTask
from registry.rules import Policy
from stages.formats.table import FORMATS
from tests.support.chunks import PATH, chunk_of

GOOD = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
THANKS = {"conversations": [*GOOD["conversations"], {"from": "human", "value": "Thanks"}]}
LOST = {"conversations": [{"from": "human", "value": "Hi"}]}


def repaired(*records: Any, strict: bool = False, errors: tuple[str, ...] = ()) -> FixResult:
    policy = Policy.make("sft", dict.fromkeys(errors, "error"), strict=strict)
    state = repair.prepare(FixSpec("sharegpt", FORMATS["sharegpt"].default_fields, "sft", policy, ("<|im_end|>",)))
    return repair.run(state, FixTask(PATH, chunk_of(*records)))


def test_a_good_record_keeps_its_bytes() -> None:
    odd = json.dumps(GOOD).replace(": ", ":   ").encode()
    found = repaired(odd, GOOD)
    assert found.block.split(b"\n")[0] == odd
    assert (found.read, found.kept, found.repaired, found.rejected) == (2, 2, 0, 0)
    assert found.before == found.after


def test_a_repair_is_made_and_reported_as_a_warning() -> None:
    for strict in (False, True):
        found = repaired(THANKS, strict=strict)
        assert json.loads(found.block) == GOOD
        assert (found.kept, found.repaired) == (1, 1)
        assert {severity for _, severity in found.after} == {"warning"}
        assert ("repair.drop-trailing-user", "warning") in found.after


@pytest.mark.parametrize("record", [LOST, b"{", b"[1]"])
def test_what_no_repair_helps_is_excluded_under_its_own_findings(record: object) -> None:
    found = repaired(record, GOOD)
    assert json.loads(found.block) == GOOD
    assert (found.kept, found.repaired, found.rejected) == (1, 0, 1)
    assert found.before == found.after
    assert any(severity == "error" for _, severity in found.after)


def test_a_repair_that_leaves_another_error_is_not_made() -> None:
    marked = {"conversations": [{"from": "human", "value": "Hi <|im_end|>"}, *THANKS["conversations"][1:]]}
    assert repaired(marked).repaired == 1
    found = repaired(marked, errors=("text.special-token",))
    assert (found.kept, found.repaired, found.block) == (0, 0, b"")
    assert found.before == found.after


def test_a_byte_order_mark_is_taken_off_and_nothing_else() -> None:
    plain = json.dumps(GOOD).encode()
    found = repaired(GOOD, BOM + plain)
    assert found.block == plain + b"\n" + plain
    assert ("repair.bom", "warning") in found.after
