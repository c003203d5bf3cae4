"""The check of a vendor's demands: beside the record checks, never instead of them."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.jobs.specs import SourceSpec
from pipeline.jobs.vendor_profile import ProfileResult, ProfileSpec, ProfileTask, State, run
from registry.errors import UsageFault
from registry.rules import Policy
from stages.core.records import Limits
from stages.formats.table import FORMATS
from tests.support.chunks import PATH, chunk_of

GOOD = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def checked(*records: Any, profile: str = "openai", off: str = "") -> ProfileResult:
    policy = Policy.make("sft", {off: "off"} if off else {})
    source = SourceSpec("x", "openai", FORMATS["openai"].default_fields)
    return run(State(ProfileSpec(profile, source, policy, Limits())), ProfileTask(PATH, chunk_of(*records)))


def test_what_the_vendor_takes_has_no_finding() -> None:
    assert checked(GOOD, GOOD).findings == []


def test_a_key_that_the_vendor_does_not_know_is_found_in_its_place() -> None:
    found = checked(GOOD, {**GOOD, "id": 7})
    (finding,) = found.findings
    assert (finding.path, finding.line, finding.record) == (PATH, 2, 1)
    assert finding.rule.startswith("profile.")
    assert sum(found.counts.values()) == 1
    assert checked({**GOOD, "id": 7}, off=finding.rule).findings == []


def test_what_the_record_checks_refuse_is_theirs_to_say() -> None:
    """No second finding about a record that is rejected already."""
    found = checked(b"{", b"[1]", {"messages": 5, "id": 7})
    assert (found.findings, found.counts) == ([], {})


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(UsageFault, match="there is no profile 'opnai'; did you mean \"openai\""):
        checked(profile="opnai")
