"""`template: auto`: what the template does beside writing the texts is followed or told."""

from __future__ import annotations

from typing import Any

import pytest

from registry.datasets.types import Fields
from registry.errors import UsageFault
from registry.rules import Policy
from stages.core.conversation import Conversation, Message, ToolCall
from stages.core.findings import Note
from stages.formats.openai import Reader
from stages.formats.tool_calls import CallWords
from stages.render.jinja.chat_template import AutoTemplate
from stages.render.jinja.record_variables import kept_thoughts
from stages.render.jinja.renderer import AutoOptions, AutoRenderer
from stages.render.jinja.token_spans import RenderedText
from stages.truncate.split_turns import _in_pairs
from stages.validate.record import RecordValidator

ADDED = ("<|im_start|>", "<|im_end|>", "<call>", "</call>", "<res>", "</res>", "<think>", "</think>")
CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
ASKED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
USER, ANSWER = Message("user", "Is chalk soft?", "/messages/0"), Message("assistant", "Yes.", "/messages/1")
FIELDS = Fields(
    messages="messages", tools="tools", role_tag="role", content_tag="content", user_tag="user",
    assistant_tag="assistant", observation_tag="tool", system_tag="system",
)  # fmt: skip
CALLS = [{"id": "c1", "function": {"name": "dig", "arguments": {"at": "quay"}}}]
TOOLS = [{"type": "function", "function": {"name": "dig", "parameters": {"type": "object"}}}]


def template(turn: str = CHATML, requested: str = ASKED, before: str = "", **variables: str) -> AutoTemplate:
    source = f"{before}{{% for m in messages %}}{turn}{{% endfor %}}{requested}"
    return AutoTemplate({"default": source}, {"eos_token": "<|im_end|>", **variables}, ADDED, sha256=source)


def render(made: AutoTemplate, *records: Conversation, **options: Any) -> list[RenderedText | Note]:
    with AutoRenderer(made, AutoOptions(**options)) as renderer:
        return renderer.render(records)


def one(made: AutoTemplate, record: Conversation, **options: Any) -> RenderedText:
    result = render(made, record, **options)[0]
    assert isinstance(result, RenderedText), result
    return result


def read(record: dict[str, Any], *, own_template: bool = True) -> Conversation:
    reader = Reader(FIELDS, "sft")
    reader.turns.own_template = own_template
    found = reader(record, [])
    assert found is not None
    return found


def trained(result: RenderedText) -> list[str]:
    return [result.text[start:end] for start, end in result.spans]


def rules(result: RenderedText) -> list[str]:
    return [note.rule for note in result.notes]


# --- tools ------------------------------------------------------------------------------------------------------------

# writes calls, then the results that follow, then the text beside the calls, all in one turn
LATE_TEXT = """
{%- for m in messages %}{% if m.role != 'tool' %}<|im_start|>{{ m.role }}
{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments.at }}</call>{% endfor %}
{%- if m.tool_calls and loop.nextitem and loop.nextitem.role == 'tool' %}<res>{{ loop.nextitem.content }}</res>
{%- endif %}{{ m.content }}<|im_end|>
{% endif %}{% endfor %}"""


def test_an_answer_over_the_text_of_a_tool_is_refused() -> None:
    source = LATE_TEXT + ASKED
    made = AutoTemplate({"default": source}, {"eos_token": "<|im_end|>"}, ADDED, sha256=source)
    call = Message("function", "I dig.", "/messages/1", (ToolCall("dig", {"at": "quay"}, "c1"),))
    result = Message("observation", "Shells.", "/messages/2", call_id="c1")
    mixed, plain = render(
        made,
        Conversation((USER, call, result, Message("assistant", "Only shells."))),
        Conversation((USER, call._replace(content=""), ANSWER)),
    )
    assert isinstance(mixed, Note)
    assert (mixed.rule, mixed.pointer) == ("template.not-prefix-stable", "/messages/1")
    assert "another message's text" in mixed.message
    assert isinstance(plain, RenderedText)


def test_each_of_two_results_is_a_message_with_its_own_id_and_name() -> None:
    shown = (
        "{% if m.role == 'tool' %}<res>{{ m.tool_call_id }}/{{ m.name }}: {{ m.content }}</res>{% elif m.tool_calls %}"
        "<|im_start|>assistant\n{% for c in m.tool_calls %}<call>{{ c.id }} {{ c.function.name }}"
        " {{ c.function.arguments.at }}</call>"
        "{% endfor %}<|im_end|>{% else %}" + CHATML + "{% endif %}"
    )
    calls = [{"id": key, "function": {"name": "dig", "arguments": {"at": at}}} for key, at in (("a", "N"), ("b", "S"))]
    record = read(
        {
            "tools": TOOLS,
            "messages": [
                {"role": "user", "content": "Dig."},
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "b", "name": "dig", "content": "Clay."},
                {"role": "tool", "tool_call_id": "a", "name": "dig", "content": "Sand."},
                {"role": "assistant", "content": "Clay and sand."},
            ],
        }
    )
    text = one(template("{% if m.role == 'user' and tools %}{{ tools }}{% endif %}" + shown), record).text
    assert "<res>b/dig: Clay.</res><res>a/dig: Sand.</res>" in text
    assert "tool_response" not in text


def test_tools_inside_the_system_message_are_the_records_tools() -> None:
    turns = [{"role": "user", "content": "Dig."}, {"role": "assistant", "content": "No."}]
    record = read({"messages": [{"role": "system", "content": "Be brief.", "tools": TOOLS}, *turns]})
    assert record.tools is not None
    assert '"dig"' in record.tools
    assert record.tools_at == "/messages/0/tools"


# --- keys of messages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking", "thought", "reasoning_text"])
def test_a_thought_is_read_under_each_of_its_keys(key: str) -> None:
    turn = "{% if m.reasoning_content %}<|im_start|>assistant\n<think>{{ m.reasoning_content }}</think>{{ m.content }}"
    made = template(turn + "<|im_end|>\n{% else %}" + CHATML + "{% endif %}")
    answer = {"role": "assistant", "content": "Yes.", key: "Chalk is lime."}
    found = one(made, read({"messages": [{"role": "user", "content": "Is chalk soft?"}, answer]}))
    assert trained(found) == ["<think>Chalk is lime.</think>Yes.<|im_end|>"]
    assert not found.notes


def test_names_and_other_keys_reach_the_template_and_what_it_does_not_use_is_named() -> None:
    messages = [
        {"role": "user", "content": "Is chalk soft?", "name": "ann", "mood": "curious", "gait": "slow and even"},
        {"role": "assistant", "content": "Yes.", "name": "bob", "gait": "slow and even"},
    ]
    made = template("<|im_start|>{{ m.role }}\n{% if m.name %}({{ m.name }}) {% endif %}{{ m.content }}<|im_end|>\n")
    found = one(made, read({"messages": messages}))
    assert "(ann) Is chalk soft?" in found.text
    assert "(bob) Yes." in found.text
    assert [(note.rule, note.pointer) for note in found.notes] == [
        ("template.unused-key", "/messages/0/mood"),
        ("template.unused-key", "/messages/0/gait"),
    ]
    asker = "{{ m.role }}{% if m.role == 'user' %}{{ m.mood }}{{ m.gait }}{% endif %}"
    used = one(template(CHATML.replace("{{ m.role }}", asker)), read({"messages": messages}))
    assert "usercuriousslow and even" in used.text
    assert [note.pointer for note in used.notes] == ["/messages/0/name"]


def test_without_a_template_of_the_tokenizers_own_such_keys_are_named_too() -> None:
    messages = [{"role": "user", "content": "Is chalk soft?"}, {"role": "assistant", "content": "Yes.", "mood": "glad"}]
    record = {"messages": messages, "chat_template_kwargs": {"deep": True}, "documents": [{"text": "Chalk."}]}
    notes: list[Note] = []
    RecordValidator("openai", FIELDS, "sft", Policy("sft")).check({**record, "helpers": TOOLS}, notes)
    wanted = ["/chat_template_kwargs", "/documents", "/helpers", "/messages/1/mood"]
    assert sorted(note.pointer for note in notes if note.rule == "shape.unmapped-text") == wanted


# --- variables of a record --------------------------------------------------------------------------------------------


def test_chat_template_kwargs_and_documents_are_the_records_own_variables() -> None:
    before = "{% for d in documents or [] %}[{{ d.text }}]{% endfor %}"
    turn = "<|im_start|>{{ m.role }}\n{% if deep and m.role == 'assistant' %}<think>\n\n</think>{% endif %}"
    requested = ASKED[:-11] + "{% if deep %}<think>\n\n</think>{% endif %}{% endif %}"
    made = template(turn + "{{ m.content }}<|im_end|>\n", requested, before)
    plain = Conversation((USER, ANSWER))
    deep = plain._replace(extra={"chat_template_kwargs": {"deep": True}, "documents": [{"text": "Chalk."}]})
    switched, left = render(made, deep, plain)
    assert isinstance(switched, RenderedText)
    assert isinstance(left, RenderedText)
    assert switched.text.startswith("[Chalk.]<|im_start|>user")
    assert trained(switched) == trained(left) == ["Yes.<|im_end|>"]
    assert "<think>" in switched.text
    unused = one(template(), deep)
    assert rules(unused) == ["template.unused-key", "template.unused-key"]


# --- prompts of the template's own ------------------------------------------------------------------------------------

OWN = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a quarry.<|im_end|>\n{% endif %}"


def test_a_system_prompt_of_the_templates_own_is_told_replaced_or_taken_away() -> None:
    record = Conversation((USER, ANSWER))
    assert one(template(before=OWN), record).traits == ("default-system",)
    assert one(template(before=OWN), record._replace(system="Be brief.")).traits == ()
    other = one(template(before=OWN), record, default_system="You are a pilot.")
    assert other.text.startswith("<|im_start|>system\nYou are a pilot.<|im_end|>")
    none = one(template(before=OWN), record, default_system="")
    assert none.text.startswith("<|im_start|>system\n<|im_end|>\n")
    assert other.traits == none.traits == ()
    assert one(template(), record, default_system="").text.startswith("<|im_start|>user")


def test_an_empty_default_system_that_cannot_be_honoured_is_a_usage_error() -> None:
    stubborn = OWN.replace("messages[0].role != 'system'", "not (messages[0].role == 'system' and messages[0].content)")
    with pytest.raises(UsageFault, match="default_system"):
        render(template(before=stubborn), Conversation((USER, ANSWER)), default_system="")


# --- thoughts and stops -----------------------------------------------------------------------------------------------


def test_an_empty_thought_that_is_trained_is_told() -> None:
    thought = "{% if m.role == 'assistant' %}<think>\n\n</think>{% endif %}"
    made = template(CHATML.replace("{{ m.content", thought + "{{ m.content"))
    assert one(made, Conversation((USER, ANSWER))).traits == ("empty-thought",)
    own = ANSWER._replace(content="<think>\n\n</think>Yes.")
    assert one(template(), Conversation((USER, own))).traits == ()


def test_a_call_that_ends_without_a_stop_is_told() -> None:
    call_turn = "<call>{{ c.function.name }} {{ c.function.arguments.at or c.function.arguments.what }}</call>\n"
    turn = "{% if m.tool_calls %}<|im_start|>assistant\n{% for c in m.tool_calls %}" + call_turn
    turn += "{% endfor %}{% else %}" + CHATML + "{% endif %}"
    made = template("{% if loop.first and tools %}{{ tools }}{% endif %}" + turn)
    call = Message("function", "", "/messages/1", (ToolCall("dig", {"at": "quay"}, "c1"),))
    record = Conversation((USER, call, Message("observation", "Shells.", call_id="c1"), ANSWER))
    found = one(made, record)
    assert [(note.rule, note.pointer) for note in found.notes] == [("template.no-stop", "/messages/1")]
    assert "a tool call" in found.notes[0].message


def test_generation_blocks_that_say_less_than_the_answer_are_followed() -> None:
    turn = "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n\n</think>{% generation %}{{ m.content }}"
    made = template(turn + "<|im_end|>{% endgeneration %}\n{% else %}{{ m.content }}<|im_end|>\n{% endif %}")
    found = one(made, Conversation((USER, ANSWER, USER, ANSWER)))
    assert trained(found) == ["Yes.<|im_end|>", "Yes.<|im_end|>"]
    assert (found.traits, found.notes) == ((), ())
    assert "<think>" in found.text


def test_a_quoted_end_of_a_thought_that_the_template_takes_for_one_is_named() -> None:
    made = template(CHATML.replace("m.content", "m.content.split('</think>')[-1]"))
    answer = Message("assistant", "<think>\nEasy.\n</think>\n\nThe tag </think> closes it.", "/messages/1")
    found = render(made, Conversation((USER, answer)))[0]
    assert isinstance(found, Note)
    assert (found.rule, found.pointer) == ("template.changes-answer", "/messages/1")


# --- roles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "place"),
    [
        (("user", "user", "assistant"), 1),
        (("system", "user", "assistant", "system", "user", "assistant"), 3),
        (("user", "assistant", "tool", "user", "assistant"), 3),
        (("assistant", "user", "assistant"), 0),
        (("user", "assistant", "assistant"), 2),
    ],
)
def test_the_template_decides_about_the_order_of_roles(roles: tuple[str, ...], place: int) -> None:
    record = {"messages": [{"role": role, "content": f"Words {at}."} for at, role in enumerate(roles)]}
    notes: list[Note] = []
    validator = RecordValidator("openai", FIELDS, "sft", Policy("sft"), (), CallWords(own_template=True))
    found = validator.check(record, notes)
    assert found is not None
    assert ("template.role-order", f"/messages/{place}") in [(note.rule, note.pointer) for note in notes]
    result = one(template(), found)
    assert result.text.count("<|im_start|>") == len(roles)
    assert RecordValidator("openai", FIELDS, "sft", Policy("sft")).check(record, []) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tool_format": "qwen"}, "tool_format has no effect with template auto"),
        ({"preserve_thinking": True}, "preserve_thinking has no effect here"),
    ],
)
def test_a_key_that_the_own_template_cannot_follow_is_a_usage_error(settings: dict[str, Any], said: str) -> None:
    from pipeline.plan.encoding import _check_own_template

    class Settings:
        def text(self, key: str) -> Any:
            return settings.get(key)

        def flag(self, key: str) -> bool:
            return bool(settings.get(key))

    with pytest.raises(UsageFault, match=said):
        _check_own_template(Settings(), template())  # type: ignore[arg-type]  # all that is asked of a Config
    switch = template(before="{% if preserve_thinking %}{% endif %}")
    assert kept_thoughts(switch) == (("preserve_thinking", True),)
    assert kept_thoughts(template(before="{{ clear_thinking or '' }}")) == (("clear_thinking", False),)


def test_only_a_conversation_of_alternating_turns_is_split() -> None:
    assert _in_pairs(Conversation((USER, ANSWER, Message("observation", "r"), ANSWER)))
    for messages in ((USER, USER, ANSWER), (USER, USER, ANSWER, ANSWER), (ANSWER, USER), (USER, ANSWER, USER)):
        assert not _in_pairs(Conversation(messages))
