"""The record in the middle: every format converts into `Conversation` and out of it.

    alpaca   ─┐                                                      ┌─ alpaca
    sharegpt ─┼─ to_conversation → Conversation → from_conversation ─┼─ sharegpt
    openai   ─┘                                                      └─ openai

Roles: `user`, `assistant`, `function` (an assistant's tool calls), `observation` (a tool's result). A leading system
message becomes `Conversation.system`. Contents are never stripped or normalised.
"""

from __future__ import annotations

from typing import NamedTuple

# under which a message's thought may stand, the usual one first
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "thought", "reasoning_text")


class ToolCall(NamedTuple):
    """One call. `arguments` is a decoded JSON value (an object unless the record is odd); `id` as in the record."""

    name: str
    arguments: object
    id: str | None = None


class Message(NamedTuple):
    """One turn.

    at: where it came from, as an unescaped JSON Pointer inside the record ("/conversations/3"); a finding about the
    text adds the text's key. weight: None = the stage decides, 0 = never trained, 1 = trained.
    For role `function`: `calls` holds the calls and `content` the text beside them.
    inline: the calls stood inside the text (ShareGPT), so that nothing comes between `content` and them.
    extras: the keys beside role and text (`weight`, `name`, ...) as they stood in the record, one dict for each source
    message when one of them has such keys; results that were joined into one turn have several.
    results: the tool results as they were, when this turn joins several.
    """

    role: str
    content: str
    at: str = ""
    calls: tuple[ToolCall, ...] = ()
    weight: float | None = None
    reasoning: str | None = None  # under one of THOUGHT_KEYS
    name: str | None = None
    call_id: str | None = None  # openai's tool_call_id on an observation
    extras: tuple[dict[str, object], ...] = ()
    inline: bool = False
    results: tuple[Message, ...] = ()


class Conversation(NamedTuple):
    """One record.

    sft: `messages` ends in an assistant or function message. pref: `messages` is the prompt; `chosen` and `rejected`
    are the answers. kto: as sft, with `label`. pt: one user message that holds the text.
    system: None = not given; "" = given and empty (LLaMA-Factory treats both as "use the template's default").
    tools: JSON text of a list of tool definitions, or None. extra: keys of the record that no field took.
    system_keys: the keys beside role and text of the system message, None when there are none.
    """

    messages: tuple[Message, ...]
    system: str | None = None
    system_at: str = ""
    tools: str | None = None
    tools_at: str = ""
    chosen: Message | None = None
    rejected: Message | None = None
    label: bool | None = None
    extra: dict[str, object] | None = None
    system_keys: dict[str, object] | None = None
