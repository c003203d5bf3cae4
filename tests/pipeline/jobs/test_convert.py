"""A chunk is converted record by record: every one is written or rejected, and what it lost is stated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.jobs import convert
from pipeline.jobs.convert import ConvertResult, ConvertSpec, ConvertTask
from stages.formats.table import FORMATS
from tests.support.chunks import PATH, chunk_of

GOOD = {"instruction": "Q", "input": "", "output": "A"}


def converted(there: str, back: str, *records: Any) -> ConvertResult:
    spec = ConvertSpec(there, FORMATS[there].default_fields, back, FORMATS[back].default_fields)
    return convert.run(convert.prepare(spec), ConvertTask(PATH, chunk_of(*records)))


def test_each_record_is_written_or_rejected_with_a_reason() -> None:
    found = converted("alpaca", "openai", GOOD, {**GOOD, "output": 5}, b"{", GOOD)
    assert (found.read, found.written, sum(found.rejected.values())) == (4, 2, 2)
    assert [json.loads(line)["messages"][1]["content"] for line in found.lines.splitlines()] == ["A", "A"]
    assert [reject.line for reject in found.rejects] == [2, 3]
    assert {finding.severity for finding in found.findings} == {"error"}


def test_a_loss_has_the_place_of_its_record() -> None:
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]
    plain = {"messages": [{key: turn[key] for key in ("role", "content")} for turn in messages]}
    found = converted("openai", "alpaca", plain, {"messages": messages})
    (lossy,) = found.losses
    assert (lossy.path, lossy.line, lossy.record) == (PATH, 2, 1)
    assert [loss.pointer for loss in lossy.losses] == ["/messages/1/weight"]


@pytest.mark.parametrize("number", ["12345678901234567890123", "0.12345678901234567890"])
def test_numbers_of_any_size_are_carried_exactly(number: str) -> None:
    line = json.dumps({**GOOD, "id": 0}).replace('"id": 0', f'"id": {number}')
    found = converted("alpaca", "openai", line.encode())
    assert found.lines.endswith(f'"id":{number}}}'.encode())
    assert list(found.keys) == ["messages", "id"]


def test_tool_calls_among_the_written_records_are_noticed() -> None:
    call = {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}
    turns = [
        {"from": "human", "value": "q"},
        call,
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "x"},
    ]
    tools = '[{"name": "f", "parameters": {}}]'
    assert converted("sharegpt", "openai", {"conversations": turns, "tools": tools}).has_calls
    assert not converted("sharegpt", "openai", {"conversations": [turns[0], turns[3]]}).has_calls


def test_a_chunk_of_nothing_good_is_empty() -> None:
    found = converted("alpaca", "openai", b"[1]", b"")
    assert (found.written, found.lines, found.losses) == (0, b"", [])
