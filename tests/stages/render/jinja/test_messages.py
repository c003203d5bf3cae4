"""A conversation becomes the messages that chat templates expect, and marks change nothing but what they show."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.render.jinja.messages import MARKS, Dialect, Prepared, has_marks, prepare

USER = Message("user", "q")


def prepared(*messages: Message, dialect: Dialect | None = None, marking: str = "none", **fields: Any) -> Prepared:
    ready = prepare(Conversation(messages, **fields), dialect or Dialect(), marking)
    assert isinstance(ready, Prepared)
    return ready


def call(arguments: object = None, call_id: str | None = None, name: str = "f") -> Message:
    return Message("function", "", calls=(ToolCall(name, {"a": 1} if arguments is None else arguments, call_id),))


def test_a_system_prompt_comes_first_and_an_empty_one_is_left_to_the_template() -> None:
    assert prepared(USER, system="S").messages[0] == {"role": "system", "content": "S"}
    assert prepared(USER, system="").messages == prepared(USER).messages == [{"role": "user", "content": "q"}]


def test_a_call_without_text_has_an_empty_content_or_none_as_the_template_wants() -> None:
    assert prepared(USER, call()).messages[1]["content"] == ""
    assert prepared(USER, call(), dialect=Dialect(null_content=True)).messages[1]["content"] is None


def test_arguments_are_objects_even_where_the_record_wrote_json_text() -> None:
    for arguments in ({"a": [1, "é"]}, '{"a": [1, "é"]}'):
        function = prepared(USER, call(arguments)).messages[1]["tool_calls"][0]["function"]
        assert function == {"name": "f", "arguments": {"a": [1, "é"]}}
    text = prepared(USER, call({"a": "é"}), dialect=Dialect(text_arguments=True))
    assert text.messages[1]["tool_calls"][0]["function"]["arguments"] == '{"a": "é"}'


def test_reasoning_is_given_under_both_of_its_names() -> None:
    turn = prepared(USER, Message("assistant", "a", reasoning="why")).messages[1]
    assert turn == {"role": "assistant", "thinking": "why", "reasoning_content": "why", "content": "a"}


def test_bare_tools_get_the_wrapper_and_broken_ones_are_a_note() -> None:
    tools = '[{"name": "f", "parameters": {}}, {"type": "function", "function": {"name": "g"}}]'
    assert prepared(USER, tools=tools).tools == [
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"type": "function", "function": {"name": "g"}},
    ]
    assert prepared(USER, tools="[]").tools is None
    for broken in ("[", '"text"', "3"):
        note = prepare(Conversation((USER,), tools=broken, tools_at="/tools"), Dialect())
        assert isinstance(note, Note)
        assert (note.rule, note.pointer) == ("template.refuses", "/tools")


def test_nine_character_ids_are_kept_made_and_matched() -> None:
    nine = Dialect(nine_ids=True)
    result = Message("observation", "r")
    kept = prepared(USER, call(call_id="abcDEF123"), result, dialect=nine)
    assert kept.messages[2]["tool_call_id"] == kept.messages[1]["tool_calls"][0]["id"] == "abcDEF123"
    for call_id in ("call_0a1b2c3d4e", None):
        made = prepared(USER, call(call_id=call_id), result._replace(call_id=call_id), dialect=nine)
        new = made.messages[1]["tool_calls"][0]["id"]
        assert len(new) == 9
        assert new.isalnum()
        assert made.messages[2]["tool_call_id"] == new


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=12)), min_size=1, max_size=6))
def test_different_ids_stay_different_and_equal_ones_equal(ids: list[str | None]) -> None:
    calls = tuple(ToolCall("f", {}, call_id) for call_id in ids)
    messages = prepared(USER, Message("function", "", calls=calls), dialect=Dialect(nine_ids=True)).messages
    made = [item["id"] for item in messages[1]["tool_calls"]]
    assert all(len(item) == 9 and item.isalnum() and item.isascii() for item in made)
    for (one, new), (other, made_other) in combinations(zip(ids, made, strict=True), 2):
        assert (new == made_other) == (one == other and one is not None)


def test_results_without_an_id_answer_the_calls_in_order() -> None:
    calls = Message("function", "", calls=(ToolCall("f", {}, "x1"), ToolCall("g", {}, "x2")))
    messages = prepared(USER, calls, Message("observation", "1"), Message("observation", "2")).messages
    assert [turn["tool_call_id"] for turn in messages[2:]] == ["x1", "x2"]


texts = st.text(st.characters(exclude_categories=("Cs", "Co")), max_size=40)


@given(texts, texts, texts, st.sampled_from(["", "<think>\nhm\n</think>\n\n", " <think></think>"]))
def test_marked_messages_without_their_marks_are_the_plain_ones(system: str, user: str, answer: str, lead: str) -> None:
    messages = (Message("user", user), Message("assistant", lead + answer), call({"k": [user, {"n": answer}], "m": 3}))
    marked = prepared(*messages, system=system, marking="all")
    plain = prepared(*messages, system=system)
    assert MARKS.sub("", json.dumps(marked.messages, ensure_ascii=False)) == json.dumps(
        plain.messages, ensure_ascii=False
    )
    for piece in marked.pieces:
        assert piece.text == piece.text.strip() != ""


def test_a_record_that_holds_mark_characters_says_so() -> None:
    assert not has_marks(Conversation((Message("user", "emoji 😀 and 汉字"),)))
    assert has_marks(Conversation((Message("user", "odd \U000f0000"),)))
    assert has_marks(Conversation((USER, call({"k": ["\U000f1234"]}))))


def test_any_id_becomes_nine_characters_even_one_with_half_a_surrogate_pair() -> None:
    turns = (Message("user", "q"), Message("function", "", calls=(ToolCall("f", {}, "\ud800"),)))
    ready = prepare(Conversation(turns), Dialect(nine_ids=True))
    assert isinstance(ready, Prepared)
    made = ready.messages[1]["tool_calls"][0]["id"]
    assert len(made) == 9
    assert made.isascii()
