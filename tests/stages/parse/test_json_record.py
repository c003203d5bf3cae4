"""One record's bytes become one object, or one named reason; nothing is guessed."""

from __future__ import annotations

import json
import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.rules import rules
from stages.core.findings import Note
from stages.parse.json_record import UNPARSED, parse

TEXT = st.text(max_size=8) | st.text(alphabet='"\\/u0022a:,{}[]', max_size=12)
KEYS = st.text(alphabet='abc"\\', max_size=3) | st.text(max_size=3)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def rules_of(data: bytes) -> tuple[object, list[str]]:
    notes: list[Note] = []
    value = parse(data, notes)
    return value, [note.rule for note in notes]


FAULTS = [
    ("json.syntax", b""),
    ("json.syntax", b"hello"),
    ("json.syntax", b"{'a': 1}"),
    ("json.syntax", b'{"a": True}'),
    ("json.syntax", b'{"a": 1,}'),
    ("json.syntax", b'{"a": 1},'),
    ("json.syntax", b'{"a" 1}'),
    ("json.syntax", b'{"a": 01}'),
    ("json.syntax", b'{"a": "x\ty"}'),
    ("json.syntax", b'{"a": "\\x"}'),
    ("json.syntax", b'{"a": "\\u12"}'),
    ("json.syntax", b'{"a": "\0"}'),
    ("json.syntax", b'{"a": 1} // note'),
    ("json.truncated-line", b'{"a": 1'),
    ("json.truncated-line", b'{"a": "x'),
    ("json.truncated-line", b'{"a": "x\\'),
    ("json.truncated-line", b'{"a": tru'),
    ("json.truncated-line", b'{"a":'),
    ("json.truncated-line", b"{"),
    ("json.two-values", b'{"a": 1}{"a": 2}'),
    ("json.two-values", b'{"a": 1} ["b"]'),
    ("json.duplicate-key", b'{"a": 1, "a": 1}'),
    ("json.duplicate-key", b'{"a": 1, "\\u0061": 2}'),
    ("json.duplicate-key", b'{"a" : "\\\\", "a"\t: "\\""}'),
    ("json.duplicate-key", b'{"x": [{"y": {"z": 1, "z": [1]}}]}'),
    ("json.duplicate-key", b'{"": 1, "": 2}'),
    ("json.duplicate-key", b'{"a": "\\u0022", "a": 1}'),
    ("json.non-finite", b'{"a": NaN}'),
    ("json.non-finite", b'{"a": [-Infinity]}'),
    ("json.non-finite", b'{"a": 1e400}'),
    ("json.huge-number", b'{"a": 18446744073709551616}'),
    ("json.huge-number", b'{"a": [{"b": -9223372036854775809}]}'),
    ("json.huge-number", b'{"a": ' + b"9" * 5000 + b"}"),
    ("json.depth", b'{"a":' * 65 + b"1" + b"}" * 65),
    ("json.depth", b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"),
    ("json.depth", b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"),
    ("json.lone-surrogate", b'{"a": "x\\ud800"}'),
    ("json.lone-surrogate", b'{"a": "\\udc00\\ud800"}'),
    ("json.lone-surrogate", b'{"\\udfff": 1}'),
    ("json.not-an-object", b"null"),
    ("json.not-an-object", b"[1]"),
    ("json.not-an-object", b'"text"'),
    ("json.not-an-object", b"12"),
    ("json.not-an-object", b"true"),
    ("bytes.bad-utf8", b'{"a": "\xff"}'),
    ("bytes.bad-utf8", b'{"a": "\xed\xa0\x80"}'),
    ("bytes.bad-utf8", b'{"a": "\xc0\xaf"}'),
    ("bytes.nul-padding", b"\0" * 60),
    ("bytes.nul-padding", b'{"a": 1}\0\0\0\0'),
    ("bytes.nul-padding", b'{"a": "te\0\0\0\0\0"}'),
    ("bytes.stray-bom", b'\xef\xbb\xbf{"a": 1}'),
]


@pytest.mark.parametrize(("rule", "data"), FAULTS, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(FAULTS)])
def test_each_fault_has_its_own_name(rule: str, data: bytes) -> None:
    value, found = rules_of(data)
    assert found == [rule]
    assert rule in rules()
    if rule not in ("json.duplicate-key", "json.huge-number"):
        assert value is UNPARSED


def test_every_finding_is_short_and_safe_to_show() -> None:
    for _, data in FAULTS:
        notes: list[Note] = []
        parse(data, notes)
        assert all(len(note.value) <= 80 and len(note.message) <= 200 for note in notes)
        assert all(note.value.isprintable() and note.message.isprintable() for note in notes)


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b'{"x": [0, {"y~/": 1, "y~/": 2}]}', "/x/1/y~0~1"),
        (b'{"x": {"n": 18446744073709551616}}', "/x/n"),
        (b'{"x": ["\\ud800"]}', "/x/0"),
        (b'{"x": {"k": 1e999}}', "/x/k"),
    ],
)
def test_a_finding_points_at_the_value(data: bytes, at: str) -> None:
    notes: list[Note] = []
    parse(data, notes)
    assert [note.pointer for note in notes] == [at]


def test_the_last_of_two_equal_keys_is_handed_on_for_those_who_lower_the_rule() -> None:
    value, _ = rules_of(b'{"a": 1, "b": 2, "a": 3}')
    assert value == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 9223372036854775808, "b": 18446744073709551615, "c": -9223372036854775808}',
        b'{"a": 0.1234567890123456789012, "b": 1e300, "c": -0.0, "d": 1E-400}',
        b'{"a": 12345678901234567890123.0}',
        b'{"a": "\\u0022", "b": "\\\\\\"", "c": "\\\\", "d": "\\ud83d\\ude00", "e": "\\u0000"}',
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b'\t{"a": [[["x", {"y": []}], 1.5], "z"]} \r',
        b"{}",
    ],
)
def test_valid_json_is_left_alone(data: bytes) -> None:
    value, found = rules_of(data)
    assert not found
    assert value == json.loads(data)


@settings(max_examples=400)
@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]), st.sampled_from([(", ", ": "), (",", ":"), (" ,\t", " : ")]))
def test_no_valid_object_is_ever_blamed(
    value: dict[str, object], ascii_only: bool, indent: int | None, separators: tuple[str, str]
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=separators).encode()
    assert rules_of(data) == (value, [])


def _with_doubled_key(value: object, rng: random.Random) -> str:
    """`value` as JSON in which one object, any of them, gives one key twice."""
    objects: list[dict[str, object]] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            if node:
                objects.append(node)
            for inner in node.values():
                collect(inner)
        elif isinstance(node, list):
            for inner in node:
                collect(inner)

    collect(value)
    target = rng.choice(objects)

    def spell(key: str) -> str:
        text = json.dumps(key)
        if rng.random() < 0.3 and key and key[0].isascii() and key[0].isalnum():
            return f'"\\u{ord(key[0]):04x}' + text[2:]
        return text

    def write(node: object) -> str:
        if isinstance(node, dict):
            pairs = [(key, write(inner)) for key, inner in node.items()]
            if node is target:
                again = rng.choice(pairs)
                extra = rng.choice([again[1], '"other"', '"\\u0022\\u0022"', "1", "[]", '"a \\"b\\" \\\\"'])
                pairs.insert(rng.randrange(len(pairs) + 1), (again[0], extra))
            gap = rng.choice(["", " ", "\t"])
            return "{" + ", ".join(f"{spell(key)}{gap}:{gap}{text}" for key, text in pairs) + "}"
        if isinstance(node, list):
            return "[" + ",".join(map(write, node)) + "]"
        return json.dumps(node, ensure_ascii=rng.random() < 0.5)

    return write(value)


def _record(rng: random.Random) -> dict[str, object]:
    words = ["hello", 'say "x"', "back\\slash", "中文", "\n", "{", '\\"', "\u2028", "é", '"']
    text = lambda: " ".join(rng.choices(words, k=rng.randrange(6)))  # noqa: E731
    record: dict[str, object] = {
        "messages": [{"role": "user", "content": text()} for _ in range(rng.randrange(1, 5))],
        "system": text(),
    }
    if rng.random() < 0.5:
        record["tools"] = [{"name": text(), "parameters": {"properties": {"a": {"type": "string", "max": 1.5}}}}]
    return record


def test_5000_doubled_keys_are_all_found_and_no_other_record_is_blamed() -> None:
    rng = random.Random(7)
    for _ in range(5000):
        record = _record(rng)
        assert rules_of(json.dumps(record, ensure_ascii=rng.random() < 0.5).encode())[1] == []
        assert rules_of(_with_doubled_key(record, rng).encode())[1] == ["json.duplicate-key"]


@settings(max_examples=300)
@given(OBJECTS.filter(bool), st.integers())
def test_any_doubled_key_in_any_object_is_found(value: dict[str, object], seed: int) -> None:
    data = _with_doubled_key(value, random.Random(seed)).encode()
    assert rules_of(data)[1] == ["json.duplicate-key"]


def _mutate(line: bytes, rng: random.Random) -> bytes:
    data = bytearray(line)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        change = rng.randrange(4)
        if change == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif change == 1:
            del data[at : at + rng.randrange(1, 40)]
        elif change == 2:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        else:
            data[at:at] = rng.choice(
                [b'"', b"\\", b"{", b"]", b"\0\0", b"\xed\xa0\x80", b"\\ud800", b"1e999", b"NaN", b"\r"]
            )
    return bytes(data)


def _survives(count: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        data = _mutate(json.dumps(_record(rng)).encode(), rng)
        value, found = rules_of(data)
        assert (value is UNPARSED) <= bool(found)
        if value is not UNPARSED:
            assert orjson.loads(data) == value


def test_1000_mutated_lines_each_end_in_a_value_or_a_reason() -> None:
    _survives(1000, 1)


@pytest.mark.slow
def test_10000_mutated_lines_each_end_in_a_value_or_a_reason() -> None:
    _survives(10_000, 2)


def test_an_object_with_a_million_doubled_keys_gives_a_handful_of_findings() -> None:
    data = b"{" + b",".join(b'"k%d":1' % (n // 2) for n in range(200_000)) + b"}"
    assert len(rules_of(data)[1]) <= 20


def test_a_record_that_the_reader_cut_is_not_read_again() -> None:
    notes = [Note("bytes.line-too-long", "", "long")]
    assert parse(b'{"a": "xxxxx', notes) is UNPARSED
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [("你好，世界。今天天气很好", "gb18030", "GB18030"), ("un café très chaud", "cp1252", "WINDOWS-1252")],
)
def test_a_foreign_encoding_is_named(text: str, encoding: str, named: str) -> None:
    notes: list[Note] = []
    parse(json.dumps({"a": text}, ensure_ascii=False).encode(encoding), notes)
    assert named in notes[0].hint
