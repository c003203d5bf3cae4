"""Conversion: there and back gives the same record, or says in how far it does not."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.jobs.convert import ConvertSpec, ConvertTask, State, run
from registry.datasets.types import Fields
from registry.errors import UsageFault
from registry.rules import Policy, rules
from stages.convert.converter import Converter
from stages.core.findings import Note
from stages.core.records import Chunk, Limits
from stages.formats.losses import ANYWHERE, LOSSES, Loss
from stages.formats.table import FORMATS
from stages.readers.scan import scan
from stages.validate.schema import compiled

FAMILIES = ("alpaca", "sharegpt", "openai")
SUFFIXES = ("", "-dpo", "-kto")
PAIRS = [(a + suffix, b + suffix) for suffix in SUFFIXES for a in FAMILIES for b in FAMILIES]
RENAMED = {
    "prompt": "ask", "query": "about", "response": "reply", "history": "before", "messages": "dialog", "tools": "apis",
    "system": "rules", "chosen": "better", "rejected": "worse", "kto_tag": "good", "role_tag": "who", "images": "pics",
    "content_tag": "says", "user_tag": "U", "assistant_tag": "A", "observation_tag": "R", "function_tag": "F",
    "system_tag": "S",
}  # fmt: skip


def convert(
    record: dict[str, Any], from_id: str, from_fields: Fields, to_id: str, to_fields: Fields,
    losses: list[Loss], notes: list[Note] | None = None,
) -> dict[str, Any] | None:  # fmt: skip
    """One record of one format as a record of another one."""
    converter = Converter(from_id, from_fields, to_id, to_fields)
    return converter.convert(record, losses, [] if notes is None else notes)


def renamed(fields: Fields) -> Fields:
    """The same map under other names, so that nothing works by chance."""
    return replace(fields, **{name: new for name, new in RENAMED.items() if getattr(fields, name) is not None})


# --- records as people write them, the odd ones included -------------------------------------------------------------

known = ["", " ", "Hi", "你好 🙂", "a\nb", "<think>\nhm\n</think>\n\nyes", "<tool_call>x</tool_call>", "\u2028\x00"]
texts = st.one_of(st.sampled_from(known), st.text(max_size=12))
words = st.sampled_from(["f", "get_tide", "g<x>", "工具"])
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
values = st.recursive(plain, lambda x: st.lists(x, max_size=3) | st.dictionaries(texts, x, max_size=3), max_leaves=6)
arguments = st.dictionaries(st.sampled_from(["a", "b", "ключ"]), values, max_size=2)
further_keys = st.sampled_from(["id", "source", "text", "a/b", "0", ""])
colliding_keys = st.sampled_from(["input", "instruction", "history", "label", "messages", "conversations", "images"])
message_keys = {
    "weight": st.sampled_from([0, 1, True, 0.5, None]),
    "train": st.booleans(),
    "name": texts,
    "reasoning_content": texts,
    "further key": values,
}
odd_keys = {
    "name": st.none(),
    "reasoning_content": st.none(),
    "tool_call_id": st.sampled_from(["c1", "call00001", "c1\nc2", ""]),
    "from": texts,
    "content": texts,
    "role": texts,
    "tool_calls": st.sampled_from([None, []]),
}


class Draw:
    """Draws, and now and then something odd: a further key, other spacing, a null. Tidy records have none."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.any = draw
        self.odd_ones = draw(st.booleans())

    def sometimes(self, one_in: int = 3) -> bool:
        return bool(self.any(st.integers(1, one_in)) == 1)

    def odd(self, one_in: int = 4) -> bool:
        return self.odd_ones and self.sometimes(one_in)

    def dumped(self, value: object) -> str:
        """JSON text with the spacing of one writer or another."""
        styles: list[dict[str, Any]] = [{"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": True}]
        return json.dumps(value, **{"ensure_ascii": False, **(self.any(st.sampled_from(styles)) if self.odd() else {})})

    def with_keys(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message with some keys beside role and text, in front or behind."""
        if not self.sometimes():
            return message
        more = self.any(st.fixed_dictionaries({}, optional=odd_keys if self.odd(2) else message_keys))
        more = {key: value for key, value in more.items() if key not in message}
        return {**message, **more} if self.any(st.booleans()) else {**more, **message}

    def calls(self, least: int, most: int) -> list[dict[str, Any]]:
        count = self.any(st.integers(least, most))
        return [{"name": self.any(words), "arguments": self.any(arguments)} for _ in range(count)]

    def call_text(self) -> str:
        """The text of a function_call turn."""
        calls = self.calls(1, 2)
        for call in calls:
            if self.odd():
                call["arguments"] = json.dumps(call["arguments"])
            if self.sometimes(5):
                call["id"] = self.any(st.sampled_from(["c1", "call00001" if self.odd_ones else "c2", "zz"]))
        text = self.dumped(calls[0] if len(calls) == 1 and not self.odd() else calls)
        frames = ["{}", "<think>\nhm\n</think>\n\n{}", "Look.<tool_call>{}</tool_call>"]
        return str(self.any(st.sampled_from(frames))).replace("{}", text)

    def roles(self, pairs: int) -> list[str]:
        """Roles of `pairs` questions and answers."""
        found: list[str] = []
        for _ in range(pairs):
            found += ["user", "function", "observation", "assistant"] if self.sometimes() else ["user", "assistant"]
        return found


def sharegpt_turn(draw: Draw, role: str, fields: Fields) -> dict[str, Any]:
    tags = {"user": fields.user_tag, "assistant": fields.assistant_tag}
    tags |= {"function": fields.function_tag, "observation": fields.observation_tag}
    text = draw.call_text() if role == "function" else draw.any(texts)
    if role == "observation" and draw.sometimes():
        text += "\n</tool_response>\n<tool_response>\n" + draw.any(texts)
    return draw.with_keys({str(fields.role_tag): tags[role], str(fields.content_tag): text})


def openai_turn(draw: Draw, role: str, fields: Fields, ids: list[str]) -> list[dict[str, Any]]:
    role_key, text_key = str(fields.role_tag), str(fields.content_tag)
    if role == "function":
        ids.clear()
        listed = []
        for call in draw.calls(1, 3):
            function = {**call, "arguments": call["arguments"] if draw.odd() else draw.dumped(call["arguments"])}
            entry: dict[str, Any] = {"function": function}
            if not draw.odd():
                entry = {"id": draw.any(st.sampled_from(["c1", "call00001", "call_9f"])), "type": "function", **entry}
                ids.append(entry["id"])
            listed.append(entry)
        message = {role_key: fields.assistant_tag, "tool_calls": listed}
        if not draw.odd():
            message[text_key] = None if draw.sometimes() else draw.any(texts)
        return [draw.with_keys(message)]
    if role == "observation":
        results = []
        for call_id in ids or ["c1"]:
            message = {role_key: "function" if draw.odd() else fields.observation_tag, text_key: draw.any(texts)}
            if not draw.odd():
                message["tool_call_id"] = call_id
            results.append(draw.with_keys(message))
        return results
    word = fields.user_tag if role == "user" else fields.assistant_tag
    return [draw.with_keys({role_key: word, text_key: draw.any(texts)})]


def turn(draw: Draw, role: str, fields: Fields, family: str, ids: list[str]) -> list[dict[str, Any]]:
    return [sharegpt_turn(draw, role, fields)] if family == "sharegpt" else openai_turn(draw, role, fields, ids)


def chat_record(draw: Draw, fields: Fields, family: str, kind: str) -> dict[str, Any]:
    roles = draw.roles(draw.any(st.integers(1, 3)))
    messages: list[dict[str, Any]] = []
    ids: list[str] = []
    if draw.sometimes():
        word = "developer" if family == "openai" and draw.odd() else fields.system_tag
        system = {str(fields.role_tag): word, str(fields.content_tag): draw.any(texts)}
        messages.append(draw.with_keys(system) if draw.odd() else system)
    for role in roles[:-1] if kind == "pref" else roles:
        messages += turn(draw, role, fields, family, ids)
    record: dict[str, Any] = {str(fields.messages): messages}
    if kind == "pref":
        for key in (fields.chosen, fields.rejected):
            role = draw.any(st.sampled_from(["assistant", "assistant", "function"]))
            answer = turn(draw, role, fields, family, ids)[0]
            record[str(key)] = [answer] if family == "openai" and draw.odd() else answer
    if draw.sometimes():
        definition = {"name": draw.any(words), "parameters": {"type": "object"}}
        wrapped = (family == "openai") != draw.odd()
        tools: Any = [{"type": "function", "function": definition} if wrapped else definition]
        tools = draw.any(st.sampled_from([[], None])) if draw.odd() else tools
        if family == "sharegpt" and tools is not None:
            tools = "" if draw.odd() else draw.dumped(tools)
        record[str(fields.tools)] = tools
    return record


def alpaca_record(draw: Draw, fields: Fields, kind: str) -> dict[str, Any]:
    record: dict[str, Any] = {str(fields.prompt): None if draw.odd() else draw.any(texts)}
    if not draw.odd():
        record[str(fields.query)] = draw.any(st.sampled_from(["about it", None])) if draw.odd() else ""
    for key in (fields.chosen, fields.rejected) if kind == "pref" else (fields.response,):
        record[str(key)] = draw.any(texts)
    if draw.sometimes():
        pairs = st.lists(st.lists(texts, min_size=2, max_size=2), min_size=0 if draw.odd() else 1, max_size=3)
        record[str(fields.history)] = None if draw.odd() else draw.any(pairs)
    if draw.sometimes():
        listed = ["", None, "[]", '[{"type": "function", "function": {"name": "f"}}]']
        record[str(fields.tools)] = draw.any(st.sampled_from(listed)) if draw.odd() else '[{"name": "f"}]'
    return record


@st.composite
def records(draw_any: st.DrawFn, format_id: str, fields: Fields) -> dict[str, Any]:
    """A valid record of a format."""
    draw = Draw(draw_any)
    form = FORMATS[format_id]
    alpaca = form.family == "alpaca"
    record = alpaca_record(draw, fields, form.kind) if alpaca else chat_record(draw, fields, form.family, form.kind)
    if form.kind == "kto":
        record[str(fields.kto_tag)] = draw.any(st.booleans())
    if draw.sometimes() and (alpaca or draw.odd_ones):
        record[str(fields.system)] = None if draw.odd() else draw.any(texts)
    if draw.sometimes(5):
        record[str(fields.images)] = draw.any(st.sampled_from([[], None, "a.png", ["a.png", "b.png"]]))
    keys = colliding_keys if draw.odd() else further_keys
    more = draw.any(st.dictionaries(keys, values, max_size=2)) if draw.sometimes() else {}
    named = set(vars(fields).values())
    more = {key: value for key, value in more.items() if key not in record and key not in named}
    return {**more, **record} if draw.any(st.booleans()) else {**record, **more}


def same(first: object, second: object) -> bool:
    """Equal as JSON: 1 is not true."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@pytest.mark.parametrize("maps", ["default", "renamed"])
@pytest.mark.parametrize(("from_id", "to_id"), PAIRS)
@settings(max_examples=settings().max_examples // 3)  # of each of 54 pairs and maps
@given(data=st.data())
def test_there_and_back_is_the_same_or_a_stated_loss(maps: str, from_id: str, to_id: str, data: st.DataObject) -> None:
    """No loss stated means that converting back gives the same record; a stated one lies inside the record."""
    from_fields, to_fields = FORMATS[from_id].default_fields, FORMATS[to_id].default_fields
    if maps == "renamed":
        from_fields, to_fields = renamed(from_fields), renamed(to_fields)
    record = data.draw(records(from_id, from_fields))
    before = copy.deepcopy(record)
    assert compiled(from_id, from_fields, FORMATS[from_id].kind).is_valid(record), record
    losses: list[Loss] = []
    notes: list[Note] = []
    out = convert(record, from_id, from_fields, to_id, to_fields, losses, notes)
    assert same(record, before)  # the input is left as it was
    if out is None:
        assert {note.rule for note in notes} <= set(rules())
        assert notes
        return
    assert compiled(to_id, to_fields, FORMATS[to_id].kind).is_valid(out)
    assert {item.what for item in losses} <= {*FORMATS[to_id].cannot_carry, *ANYWHERE}
    assert all(item.field for item in losses), losses
    back = convert(out, to_id, to_fields, from_id, from_fields, [])
    if not losses:
        assert same(back, record)
    assert losses or list(record)[:1] == list(back or {})[:1]


def lossless(from_id: str, to_id: str, record: dict[str, Any]) -> dict[str, Any]:
    """The record converted with the default maps; there may be no loss, and converting back gives the same."""
    losses: list[Loss] = []
    out = convert(record, from_id, FORMATS[from_id].default_fields, to_id, FORMATS[to_id].default_fields, losses)
    assert losses == []
    assert out is not None
    assert convert(out, to_id, FORMATS[to_id].default_fields, from_id, FORMATS[from_id].default_fields, []) == record
    return out


def lossy(from_id: str, to_id: str, record: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The record converted, and (pointer, what) of its losses."""
    losses: list[Loss] = []
    out = convert(record, from_id, FORMATS[from_id].default_fields, to_id, FORMATS[to_id].default_fields, losses)
    assert out is not None
    return out, [(item.pointer, item.what) for item in losses]


CHAT = [
    {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"},
    {"from": "human", "value": "Bye"}, {"from": "gpt", "value": "Ciao"},
]  # fmt: skip
CALL = {"from": "function_call", "value": '{"name": "tide", "arguments": {"harbour": "Brest"}}'}
TOOLS = '[{"name": "tide"}]'
RESULT = {"from": "observation", "value": "5.4"}
ASKED = [{"from": "human", "value": "Tide?"}, CALL, RESULT, {"from": "gpt", "value": "5.4 m."}]


def test_turns_become_history_and_the_last_pair_the_instruction() -> None:
    """A conversation in alpaca's form, further keys kept in their place."""
    record = {"id": 7, "conversations": CHAT, "system": "Be brief.", "source": "x"}
    out = lossless("sharegpt", "alpaca", record)
    assert json.dumps(out) == json.dumps(
        {
            "id": 7,
            "instruction": "Bye",
            "input": "",
            "output": "Ciao",
            "system": "Be brief.",
            "history": [["Hi", "Hello"]],
            "source": "x",
        }
    )


def test_tool_calls_become_openai_calls_with_ids() -> None:
    """Calls, results and tools in OpenAI's own form, and back without a loss."""
    out = lossless("sharegpt", "openai", {"conversations": ASKED, "tools": TOOLS})
    function = {"name": "tide", "arguments": '{"harbour": "Brest"}'}
    assert out["messages"][1:3] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call00001", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call00001", "content": "5.4"},
    ]
    assert out["tools"] == [{"type": "function", "function": {"name": "tide"}}]


def test_weights_and_ids_travel_between_chat_formats() -> None:
    """What LLaMA-Factory ignores in a message is kept for the way back."""
    messages = [
        {"role": "user", "content": "Tides?", "name": "Ann"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "a1", "type": "function", "function": {"name": "tide", "arguments": "{}"}},
            {"id": "b2", "type": "function", "function": {"name": "tide", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "b2", "content": "1"},
        {"role": "tool", "tool_call_id": "a1", "content": "2"},
        {"role": "assistant", "content": "1 and 2.", "weight": 0},
    ]  # fmt: skip
    out = lossless("openai", "sharegpt", {"messages": messages})
    assert out["conversations"][2]["tool_call_id"] == "b2\na1"
    assert out["conversations"][3] == {"from": "gpt", "value": "1 and 2.", "weight": 0}


def test_alpaca_cannot_carry_tool_turns_and_says_so() -> None:
    """The text of a call and of a result stays; that they were none of the user's and no answer is lost."""
    out, losses = lossy("sharegpt", "alpaca", {"conversations": ASKED, "tools": TOOLS})
    assert out["history"] == [["Tide?", CALL["value"]]]
    assert (out["instruction"], out["output"], out["tools"]) == ("5.4", "5.4 m.", TOOLS)
    assert losses == [("/conversations/1", "tool-turn"), ("/conversations/2", "tool-turn")]


def test_each_loss_names_its_field() -> None:
    """Weights, names and thoughts that alpaca has no place for, each with its own pointer."""
    messages = [
        {"role": "user", "content": "Hi", "name": "Ann"},
        {"role": "assistant", "content": "Hello", "weight": 0, "mood": "glad", "reasoning_content": "A greeting."},
    ]
    out, losses = lossy("openai", "alpaca", {"messages": messages})
    assert out["output"] == "<think>\nA greeting.\n</think>\n\nHello"
    assert set(losses) >= {
        ("/messages/0/name", "name"), ("/messages/1/weight", "weight"), ("/messages/1/mood", "message-key"),
        ("/messages/1/reasoning_content", "reasoning"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"instruction": "Add", "input": "1 2", "output": "3"}, [("/input", "prompt-split")]),
        ({"instruction": "Add", "output": "3"}, [("/input", "empty-field")]),
        ({"instruction": "Add", "input": "", "output": "3", "history": []}, [("/history", "empty-field")]),
        ({"instruction": "A", "input": "", "output": "3", "conversations": "x"}, [("/conversations", "record-key")]),
    ],
)
def test_what_a_chat_cannot_tell_of_an_alpaca_record(record: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Where one text ended, and which fields were there and empty."""
    assert lossy("alpaca", "sharegpt", record)[1] == expected


def test_alpaca_to_alpaca_keeps_instruction_and_input_apart() -> None:
    """Renaming columns loses nothing."""
    fields = FORMATS["alpaca"].default_fields
    losses: list[Loss] = []
    record = {"instruction": "Add", "input": "1 2", "output": "3"}
    out = convert(record, "alpaca", fields, "alpaca", renamed(fields), losses)
    assert out == {"ask": "Add", "about": "1 2", "reply": "3"}
    assert losses == []


def test_a_preference_pair_becomes_its_chosen_answer() -> None:
    """dpo -> sft states that the rejected answer is gone."""
    record = {"conversations": CHAT[:1], "chosen": CHAT[1], "rejected": CHAT[3]}
    out, losses = lossy("sharegpt-dpo", "openai", record)
    assert out == {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    assert losses == [("/rejected", "rejected")]


@pytest.mark.parametrize(
    ("from_id", "to_id"),
    [
        ("sharegpt", "sharegpt-dpo"),
        ("alpaca", "alpaca-kto"),
        ("alpaca-kto", "alpaca"),
        ("openai-dpo", "openai-kto"),
        ("pretrain", "alpaca"),
        ("openai", "pretrain"),
        ("alpca", "openai"),
    ],
)
def test_formats_that_hold_different_things_are_refused(from_id: str, to_id: str) -> None:
    """A missing answer or label is not invented."""
    with pytest.raises(UsageFault) as caught:
        Converter(from_id, Fields(), to_id, Fields())
    assert caught.value.hint


def test_a_map_without_the_answer_is_refused() -> None:
    """A column map out that leaves out what every record needs."""
    fields = FORMATS["alpaca"].default_fields
    with pytest.raises(UsageFault, match="response"):
        Converter("sharegpt", FORMATS["sharegpt"].default_fields, "alpaca", replace(fields, response=None))


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"conversations": CHAT[:1]}, "role.last-not-answer"),
        ({"conversations": [{"from": "humna", "value": "Hi"}, CHAT[1]]}, "role.unknown"),
        ({"conversations": []}, "shape.no-messages"),
        ([], "json.not-an-object"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(record: Any, rule: str) -> None:
    """The rule is the one that validation gives."""
    notes: list[Note] = []
    fields = FORMATS["sharegpt"].default_fields
    assert Converter("sharegpt", fields, "openai", FORMATS["openai"].default_fields).convert(record, [], notes) is None
    assert [note.rule for note in notes] == [rule]


def test_media_paths_follow_the_map() -> None:
    """Files keep their column, under its name in the other map, or are a stated loss."""
    fields = FORMATS["sharegpt"].default_fields
    record = {"conversations": CHAT[:2], "images": ["a.png"]}
    losses: list[Loss] = []
    out = convert(record, "sharegpt", fields, "openai", renamed(FORMATS["openai"].default_fields), losses)
    assert out is not None
    assert out["pics"] == ["a.png"]
    assert losses == []
    without = replace(FORMATS["openai"].default_fields, images=None)
    out = convert(record, "sharegpt", fields, "openai", without, losses)
    assert out is not None
    assert "images" not in out
    assert [(item.pointer, item.what) for item in losses] == [("/images", "media")]


def test_every_format_states_only_known_losses() -> None:
    """What a format cannot carry is named by ids of the table."""
    for form in FORMATS.values():
        assert set(form.cannot_carry) <= set(LOSSES)


FIXTURES = Path(__file__).parents[3] / "fixtures"
FILES = [path for form in FORMATS for path in sorted((FIXTURES / form).glob("*/*.jsonl"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_no_fixture_is_too_odd_to_convert(path: Path) -> None:
    """Every record of every fixture, good or bad, is converted or named; what converts comes back or states a loss."""
    source = FORMATS[path.parent.parent.name]
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for target in FORMATS.values():
        if (source.kind, target.kind) not in ((source.kind, source.kind), ("pref", "sft")):
            continue
        there = Converter(source.id, source.default_fields, target.id, target.default_fields)
        for record in records:
            losses: list[Loss] = []
            notes: list[Note] = []
            out = there.convert(record, losses, notes)
            assert (out is None) <= bool(notes)
            if out is not None and not losses:
                back = convert(out, target.id, target.default_fields, source.id, source.default_fields, [])
                assert back == record


def test_a_record_that_would_be_misread_is_not_written() -> None:
    """Text beside a call that looks like another call: named, with a rule of the table."""
    record = json.loads(rules()["convert.cannot-write"].example)
    notes: list[Note] = []
    openai, sharegpt = FORMATS["openai"].default_fields, FORMATS["sharegpt"].default_fields
    assert convert(record, "openai", openai, "sharegpt", sharegpt, [], notes) is None
    assert [note.rule for note in notes] == ["convert.cannot-write"]


NOTE = re.compile(r'(?:Note\(|Problem\(|found\.append\(\()\s*"([a-z]+\.[a-z-]+)"')


def test_every_note_has_a_rule_in_the_table() -> None:
    """An id without a row would end a run."""
    root = Path(__file__).parents[3]
    files = [path for name in ("stages", "pipeline") for path in root.glob(f"{name}/**/*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    used = set(NOTE.findall(code))
    assert len(used) > 80
    assert used <= set(rules())


# --- JSON inside a text -----------------------------------------------------------------------------------------------


def _tool_record(tools: str, arguments: str) -> dict[str, Any]:
    call = f'{{"name": "f", "arguments": {arguments}}}'
    turns = [("human", "q"), ("function_call", call), ("observation", "r"), ("gpt", "a")]
    return {"conversations": [{"from": who, "value": text} for who, text in turns], "tools": tools}


@pytest.mark.parametrize(
    "odd", ["NaN", "1e999", "100000000000000000000000", r'"\ud800"', "[" * 100 + "]" * 100, "[" * 900 + "]" * 900]
)
@pytest.mark.parametrize("to_id", ["openai", "alpaca", "sharegpt"])
def test_tools_that_no_record_can_hold_stay_the_text_they_are(odd: str, to_id: str) -> None:
    tools = f'[{{"name": "f", "parameters": {{"maximum": {odd}}}}}]'
    converter = Converter("sharegpt", FORMATS["sharegpt"].default_fields, to_id, FORMATS[to_id].default_fields)
    record = {**_tool_record(tools, "{}"), "conversations": _tool_record("", "{}")["conversations"][::3]}
    out = converter.convert(record, [], [])
    assert out is not None
    assert to_id == "alpaca" or out["tools"] in (tools, [{"type": "function", "function": json.loads(tools)[0]}])
    assert json.loads(orjson.dumps(out)) == out


@pytest.mark.parametrize(("depth", "odd"), [(1, r'"\ud800"'), (900, "1"), (5000, "1"), (1, "9" * 5000)])
@pytest.mark.parametrize("to_id", ["openai", "sharegpt"])
def test_a_call_that_cannot_be_written_rejects_its_record_and_no_more(
    depth: int, odd: str, to_id: str, tmp_path: Path
) -> None:
    good = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    bad = _tool_record("", '{"a": ' + "[" * depth + odd + "]" * depth + "}")
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in (good, bad, good)))
    sharegpt, target = FORMATS["sharegpt"].default_fields, FORMATS[to_id].default_fields
    state = State(ConvertSpec("sharegpt", sharegpt, to_id, target, Policy()))
    (chunk,) = [item for item in scan(str(path), Limits()) if isinstance(item, Chunk)]
    result = run(state, ConvertTask(str(path), chunk))
    assert result.written + sum(result.rejected.values()) == result.read == 3
    assert result.written >= 2
