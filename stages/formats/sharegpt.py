"""ShareGPT records: `conversations` of `{from, value}`, and every data set that maps itself to that form.

LLaMA-Factory's rules hold: a leading message of the system role is the system prompt and wins over a system column;
turns alternate; tools are JSON text; a `function_call` turn is JSON of its calls (see `calls`). What it ignores and we
read: a message's `weight` (or `train`, `loss`) and `reasoning_content`.

ShareGPT records out: `conversations` of `{from, value}`, calls as the text of a turn, tools as JSON text.

A system prompt that was a leading message stays one; any other goes into the system column. LLaMA-Factory ignores keys
beside role and text, so they can stay.
"""

from __future__ import annotations

import json
from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note

from . import chat_writer
from .chat_writer import beside, key_loss
from .losses import Loss, loss
from .messages import ANSWERS, RESULT_BORDER, key_pointer, message_weight, plain_message, plain_messages, weight_notes
from .roles import Order, Turns, message_thought, tag_roles
from .tool_calls import USUAL_WORDS, read_calls


class Reader:
    """Reads records that have passed the schema, of one column and tag map.

    kind: sft | pref | kto | pt | predict. plain: the record read last has no calls, thoughts or weights. words: those
    around thoughts and calls that are written as text.
    """

    def __init__(self, fields: Fields, kind: str) -> None:
        self.fields = fields
        self.kind = kind
        self.plain = True
        self.words = USUAL_WORDS
        self.base = key_pointer(fields.messages)
        self.turns = Turns(tag_roles(fields), self.base, kind)
        self.text_at = key_pointer(fields.content_tag)
        self.system_at = key_pointer(fields.system)
        self.tools_at = key_pointer(fields.tools)
        taken = (fields.messages, fields.system, fields.tools, fields.chosen, fields.rejected, fields.kto_tag)
        self.taken = frozenset(key for key in taken if key is not None)

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`; None after a note that says why there is none."""
        fields = self.fields
        raw: list[dict[str, Any]] = record[fields.messages]  # type: ignore[index]  # checked by fields_problems
        role_key, text_key = fields.role_tag, fields.content_tag
        order = self.turns.order(tuple([message[role_key] for message in raw]))  # type: ignore[index]
        if order.problems:
            self.report(order, record, raw, notes)
            return None
        if order.remarks:
            self.turns.report(order.remarks, notes)
        texts = [message[text_key] for message in raw]  # type: ignore[index]
        if order.start:
            system, system_at = texts.pop(0), self.base + "/0" + self.text_at
            if fields.system is not None and record.get(fields.system):
                text = "the system message is used, the system field is not"
                notes.append(Note("role.two-systems", self.system_at, text, shown(record[fields.system])))
        else:
            system, system_at = record.get(fields.system) if fields.system is not None else None, self.system_at
        messages = plain_messages(order.roles, texts, order.ats)
        self.plain = not order.calls
        if order.calls and not self._with_calls(messages, order, notes):
            return None
        if max(map(len, raw)) > 2:
            self.plain = False
            self._with_extras(messages, raw[order.start :], notes)
            weight_notes(messages, self.kind, notes)
        found = self.finish(record, messages, system, system_at, notes)
        return self.with_system_keys(found, raw[0], notes) if found and order.start and len(raw[0]) > 2 else found

    def finish(
        self, record: dict[str, Any], messages: list[Message], system: str | None, system_at: str, notes: list[Note]
    ) -> Conversation | None:
        """Adds what stands beside the turns: tools, answers, label, unmapped keys."""
        fields, kind = self.fields, self.kind
        tools = self.tools(record)
        chosen = rejected = label = None
        if kind == "pref":
            chosen = self.answer(record, fields.chosen, notes)
            rejected = self.answer(record, fields.rejected, notes)
            if chosen is None or rejected is None:
                return None
        elif kind == "kto" and fields.kto_tag is not None:
            label = record[fields.kto_tag]
        elif kind == "pt":
            if len(messages) > 1:
                text = f"pretraining uses the first turn only; {len(messages) - 1} more are not trained"
                notes.append(Note("pretrain.turns-unused", self.base, text))
            messages = messages[:1]
        extra = None if record.keys() <= self.taken else {k: v for k, v in record.items() if k not in self.taken}
        return Conversation(
            tuple(messages), system, system_at, tools, self.tools_at if tools else "", chosen, rejected, label, extra
        )

    def with_system_keys(self, found: Conversation, source: dict[str, Any], notes: list[Note]) -> Conversation:
        """The conversation with what stands beside the text of its system message; tools there are the record's."""
        taken = (self.fields.role_tag, self.fields.content_tag)
        keys = {key: value for key, value in source.items() if key not in taken}
        tools, at = keys.get("tools"), f"{self.base}/0/tools"
        if not tools or not isinstance(tools, (list, dict, str)):
            return found._replace(system_keys=keys)
        text = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
        if found.tools is None:
            return found._replace(system_keys=keys, tools=text, tools_at=at)
        if text != found.tools:
            message = "the record's tools are used, those of the system message are not"
            notes.append(Note("shape.unmapped-text", at, message, shown(text)))
        return found._replace(system_keys=keys)

    def tools(self, record: dict[str, Any]) -> str | None:
        """The tool list as JSON text, None when there is none."""
        return record.get(self.fields.tools) or None if self.fields.tools is not None else None

    def report(self, order: Order, record: dict[str, Any], raw: list[dict[str, Any]], notes: list[Note]) -> None:
        """Notes about the order of turns; copied answers in a preference prompt are named as what they are."""
        if self.kind == "pref" and (copied := self._copied_answers(record, raw)):
            text = "the prompt holds copies of chosen and rejected; it must end with the user's turn"
            notes.extend(Note("preference.answers-in-prompt", f"{self.base}/{index}", text) for index in copied[:1])
            return
        self.turns.report(order.problems, notes)

    def _copied_answers(self, record: dict[str, Any], raw: list[dict[str, Any]]) -> list[int]:
        """Indices of the trailing messages that repeat chosen or rejected."""
        text_key, role_key = self.fields.content_tag, self.fields.role_tag
        answers = [record.get(key) for key in (self.fields.chosen, self.fields.rejected) if key is not None]
        texts = [answer.get(text_key) for answer in answers if isinstance(answer, dict)]
        copied: list[int] = []
        for index in range(len(raw) - 1, -1, -1):
            message = raw[index]
            if self.turns.role_of[message[str(role_key)]] not in ANSWERS or message.get(str(text_key)) not in texts:
                break
            copied.insert(0, index)
        return copied

    def answer(self, record: dict[str, Any], key: str | None, notes: list[Note]) -> Message | None:
        """The chosen or rejected answer as a message; None after a note."""
        if key is None:
            notes.append(Note("answer.missing", "", "chosen and rejected are not both mapped to a field"))
            return None
        fields = self.fields
        raw = record[key]
        at = key_pointer(key)
        role = self.turns.role_of[raw[fields.role_tag]]
        if role not in ANSWERS:
            text = f'the answer has the role "{raw[fields.role_tag]}"; it must be the assistant\'s'
            notes.append(Note("preference.answer-role", f"{at}{key_pointer(fields.role_tag)}", text))
            return None
        messages = [plain_message(role, raw[fields.content_tag], at)]
        if role == "function":
            self.plain = False
            if not self._call(messages, 0, notes):
                return None
        if len(raw) > 2:
            self.plain = False
            self._with_extras(messages, [raw], notes)
        return messages[0]

    def _with_calls(self, messages: list[Message], order: Order, notes: list[Note]) -> bool:
        # no early stop: all broken calls of a record are named at once
        return not [position for position in order.calls if not self._call(messages, position, notes)]

    def _call(self, messages: list[Message], position: int, notes: list[Note]) -> bool:
        message = messages[position]
        found = read_calls(message.content, message.at + self.text_at, notes, self.words)
        if found is None:
            return False
        messages[position] = message._replace(content=found[0], calls=found[1], inline=True)
        return True

    def _with_extras(self, messages: list[Message], raw: list[dict[str, Any]], notes: list[Note]) -> None:
        beside = (self.fields.role_tag, self.fields.content_tag)
        for position, source in enumerate(raw):
            if len(source) > 2:
                message = messages[position]
                extras = {key: value for key, value in source.items() if key not in beside}
                weight, reasoning = message_weight(source), message_thought(source)
                messages[position] = message._replace(weight=weight, reasoning=reasoning, extras=(extras,))
                if source.get("tool_calls"):
                    text = "tool_calls is not read in this format: the call is not trained"
                    notes.append(Note("tools.ignored-calls", message.at + "/tool_calls", text))


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation as a ShareGPT record under a column and tag map. kind: sft | pref | kto | predict."""
    led = conversation.system_at.count("/") > 1  # "/conversations/0/value", not "/system"
    turns = _Turns(fields, losses)
    return chat_writer.write_chat(conversation, fields, kind, turns, leading=led, tools=conversation.tools)


class _Turns(chat_writer.Turns):
    def observation(self, message: Message) -> list[dict[str, Any]]:
        word = self.words["observation"]
        if word is None:
            self.losses.append(loss("tool-turn", message.at))
            word = self.words["user"]
        extras = _joined(message, self.losses)
        if extras.get("tool_call_id") == "\n".join(self.ids[: message.content.count(RESULT_BORDER) + 1]):
            del extras["tool_call_id"]
        return [self.entry(message, word, message.content, extras)]


def _joined(message: Message, losses: list[Loss]) -> dict[str, object]:
    """The keys beside several results, as those of one turn: texts are joined, one a line."""
    if len(message.extras) < 2:
        return dict(beside(message))
    out: dict[str, object] = {}
    for key in dict.fromkeys(key for extras in message.extras for key in extras):
        values = [extras.get(key) for extras in message.extras]
        if all(isinstance(value, str) and value and "\n" not in value for value in values):
            out[key] = "\n".join(str(value) for value in values)
        else:
            losses.extend(key_loss(message, key, value) for value in values if value is not None)
    return out
