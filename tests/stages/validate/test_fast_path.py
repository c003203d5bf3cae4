"""What is taken by the fast path would have passed the long way without a note, and counts as the same conversation."""

from __future__ import annotations

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.rules import Policy
from stages.core.findings import Note
from stages.formats.table import FORMATS
from stages.parse.json_record import UNPARSED, parse
from stages.validate.record import RecordValidator

SPECIALS = ("<|im_end|>", "</s>")
STAGE = {"sharegpt": "sft", "openai": "sft", "alpaca": "sft", "pretrain": "pt"}
VALIDATORS = {
    name: RecordValidator(name, FORMATS[name].default_fields, stage, Policy(stage), SPECIALS)
    for name, stage in STAGE.items()
}

# ordinary text, and everything that some rule looks for
marks = ["<think>", "</think>", "<image>", "</s>"]
odd = ["", " ", "\n", '"', "\\", '\\"', "\u200b", "\x07", "\ufffd", "Ã¼", "，", "“", "\U0001f3f4", *marks]
text = st.one_of(st.text(max_size=12), st.lists(st.sampled_from([*odd, "tide", "潮汐", "é"]), max_size=4).map("".join))
words = "human gpt system observation function_call user assistant tool developer x"
role = st.sampled_from(words.split())


def turns(role_key: str, text_key: str) -> st.SearchStrategy[list[object]]:
    turn = st.fixed_dictionaries({role_key: role, text_key: text}, optional={"weight": st.sampled_from([0, 1])})
    pair = st.tuples(text, text).map(
        lambda both: [
            {role_key: {"from": "human", "role": "user"}[role_key], text_key: both[0]},
            {role_key: {"from": "gpt", "role": "assistant"}[role_key], text_key: both[1]},
        ]
    )
    return st.one_of(st.lists(turn, max_size=5), pair)


def shaped(name: str, needed: dict[str, object], further: dict[str, object]) -> st.SearchStrategy[tuple[str, object]]:
    return st.tuples(st.just(name), st.fixed_dictionaries(needed, optional=further))


records = st.one_of(
    shaped("sharegpt", {"conversations": turns("from", "value")}, {"system": text}),
    shaped("openai", {"messages": turns("role", "content")}, {"id": text}),
    shaped("alpaca", {"instruction": text, "output": text}, {"input": text | st.none()}),
    shaped("pretrain", {"text": text}, {}),
)


def long_way(name: str, data: bytes) -> tuple[object, list[Note], int]:
    notes: list[Note] = []
    value = parse(data, notes)
    found = VALIDATORS[name].check(value, notes) if value is not UNPARSED else None
    return found, notes, VALIDATORS[name].digest


def check(name: str, data: bytes) -> bool:
    fast_path = VALIDATORS[name].fast_path
    assert fast_path is not None
    try:
        passed_fast = fast_path(orjson.loads(data), data)
    except ValueError:
        return False
    if passed_fast is None:
        return False
    digest, texts, has_system = passed_fast
    found, notes, expected = long_way(name, data)
    assert notes == []
    assert found is not None
    assert digest == expected
    assert texts == [message.content for message in found.messages] + ([found.system] if has_system else [])
    assert bool(found.system) <= has_system
    return True


@given(records, st.booleans(), st.sampled_from([None, (",", ":")]))
def test_a_taken_by_the_fast_path_record_would_have_passed_without_a_note(
    record: tuple[str, dict[str, object]], ascii_only: bool, separators: tuple[str, str] | None
) -> None:
    name, value = record
    try:
        data = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    except UnicodeEncodeError:  # a lone surrogate has no bytes
        return
    check(name, data)


@given(records, st.data())
def test_mutated_bytes_are_never_taken_by_the_fast_path_wrongly(
    record: tuple[str, dict[str, object]], draw: st.DataObject
) -> None:
    name, value = record
    data = bytearray(json.dumps(value).encode())
    at = draw.draw(st.integers(0, len(data) - 1))
    what = draw.draw(st.sampled_from(["flip", "cut", "double"]))
    if what == "flip":
        data[at] = draw.draw(st.integers(0, 255))
    elif what == "cut":
        del data[at]
    else:
        data[at:at] = data[at : at + 20]
    check(name, bytes(data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("sharegpt", b'{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Say \\"Hi\\""}]}'),
        ("openai", b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'),
        ("alpaca", b'{"instruction":"Hi","input":"","output":"Hello"}'),
        ("alpaca", b'{"instruction":"Hi","input":null,"output":"Hello"}'),
        ("pretrain", b'{"text":"Tides."}'),
    ],
)
def test_ordinary_records_are_taken_by_the_fast_path(name: str, data: bytes) -> None:
    assert check(name, data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"conversations":[{"from":"human","value":"Hi","value":"Hi"},{"from":"gpt","value":"Hello"}]}',
        b'{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello"}],"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Hello"}]}',
    ],
)
def test_a_doubled_key_is_never_taken_by_the_fast_path(data: bytes) -> None:
    assert not check("sharegpt", data)


@pytest.mark.parametrize("field", ["system", "tools", "history"])
def test_a_field_that_is_read_twice_is_not_taken_by_the_fast_path(field: str) -> None:
    """`columns` may name one key for two things: a plain record then has a system prompt as well."""
    fields = replace(FORMATS["alpaca"].default_fields, **{field: "input"})
    assert RecordValidator("alpaca", fields, "sft", Policy("sft")).fast_path is None
