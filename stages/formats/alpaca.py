"""Alpaca records: instruction, input, output, with optional system prompt, history, tools, answers and label.

The user's text is the non-empty ones of instruction and input joined by a line break; both may be empty (LLaMA-Factory
trains on that, a note says so). Pairs of `history` come before it.

Alpaca records out: the last question is the instruction, the last answer the output, earlier turns are history.

user  a  user  a      ->  history [[user, a]], instruction user, input "", output a
"""

from __future__ import annotations

from typing import Any

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note

from .chat_writer import add_extra, add_system, add_tools, text_only
from .losses import Loss, loss
from .messages import ANSWERS, key_pointer, plain_message
from .tool_calls import calls_text


class Reader:
    """Reads records of one column map. kind: sft | pref | kto | pt | predict. Records have passed the schema."""

    def __init__(self, fields: Fields, kind: str) -> None:
        self.fields = fields
        self.kind = kind
        self.plain = True
        self.ats = {key: key_pointer(key) for key in vars(fields).values() if key is not None}
        taken = (
            fields.prompt, fields.query, fields.response, fields.history, fields.system, fields.tools, fields.chosen,
            fields.rejected, fields.kto_tag,
        )  # fmt: skip
        self.taken = frozenset(key for key in taken if key is not None)

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`."""
        fields, kind, ats = self.fields, self.kind, self.ats
        get = record.get
        messages: list[Message] = []
        if fields.history is not None and (history := get(fields.history)):
            base = ats[fields.history]
            for index, (question, answer) in enumerate(history):
                messages.append(plain_message("user", question, f"{base}/{index}/0"))
                messages.append(plain_message("assistant", answer, f"{base}/{index}/1"))
        prompt = get(fields.prompt) if fields.prompt is not None else None
        query = get(fields.query) if fields.query is not None else None
        if query:
            text, key = (f"{prompt}\n{query}", fields.prompt) if prompt else (query, fields.query)
        else:
            text, key = prompt or "", fields.prompt or fields.query
        messages.append(plain_message("user", text, ats[key] if key is not None else ""))
        chosen = rejected = label = None
        if kind == "pref":
            chosen = self._answer(record, fields.chosen)
            rejected = self._answer(record, fields.rejected)
            if chosen is None or rejected is None:
                notes.append(_missing(fields.chosen if chosen is None else fields.rejected))
                return None
        elif kind == "pt":
            self._unused(record, messages, notes)
            del messages[1:]
        else:
            answered = self._answer(record, fields.response)
            if answered is not None:
                messages.append(answered)
            elif kind != "predict":
                notes.append(_missing(fields.response))
                return None
            if kind == "kto" and fields.kto_tag is not None:
                label = record[fields.kto_tag]
        system = get(fields.system) if fields.system is not None else None
        tools = get(fields.tools) or None if fields.tools is not None else None
        extra = None if record.keys() <= self.taken else {k: v for k, v in record.items() if k not in self.taken}
        return Conversation(
            tuple(messages),
            system,
            ats[fields.system] if fields.system is not None else "",
            tools,
            ats[fields.tools] if tools and fields.tools is not None else "",
            chosen,
            rejected,
            label,
            extra,
        )

    def _answer(self, record: dict[str, Any], key: str | None) -> Message | None:
        text = record.get(key) if key is not None else None
        return None if text is None or key is None else plain_message("assistant", text, self.ats[key])

    def _unused(self, record: dict[str, Any], messages: list[Message], notes: list[Note]) -> None:
        if len(messages) > 1:
            text = f"pretraining uses the first text only; {len(messages) - 1} more are not trained"
            notes.append(Note("pretrain.turns-unused", messages[1].at, text))
        key = self.fields.response
        if key is not None and record.get(key):
            text = f'pretraining does not train the answer in "{shown(key, 30)}"'
            notes.append(Note("pretrain.answer-unused", self.ats[key], text, shown(record[key])))


def _missing(key: str | None) -> Note:
    text = "no field is mapped to the answer" if key is None else f'there is no answer in "{shown(key, 30)}"'
    return Note("answer.missing", "", text)


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation as an alpaca record under a column map. kind: sft | pref | kto | predict."""
    messages = conversation.messages
    texts = _texts(messages, losses)
    answer = texts.pop() if kind != "pref" and messages and messages[-1].role in ANSWERS else None
    question = texts[-1] if texts else ""
    record: dict[str, Any] = {}
    if fields.prompt is not None:
        record[fields.prompt] = question
    if fields.query is not None:
        record[fields.query] = question if fields.prompt is None else ""
    if kind == "pref":
        for key, side in ((fields.chosen, conversation.chosen), (fields.rejected, conversation.rejected)):
            if key is not None and side is not None:
                record[key] = _texts((side,), losses)[0]
    elif fields.response is not None and answer is not None:
        record[fields.response] = answer
    if kind == "kto" and fields.kto_tag is not None:
        record[fields.kto_tag] = conversation.label
    add_system(record, conversation, fields, losses)
    if len(texts) > 1:
        earlier = texts[:-1]
        if fields.history is not None and not len(earlier) % 2:
            record[fields.history] = [list(pair) for pair in zip(earlier[::2], earlier[1::2], strict=True)]
        else:
            losses.extend(loss("turns", message.at) for message in messages[: len(earlier)])
    add_tools(record, conversation.tools, conversation, fields, losses)
    add_extra(record, conversation, fields, losses)
    return record


def _texts(messages: tuple[Message, ...], losses: list[Loss]) -> list[str]:
    texts = []
    calls = 0
    for message in messages:
        role, text = message[0], message[1]
        if role not in ("user", "assistant"):
            losses.append(loss("tool-turn", message.at))
        if role == "function":
            text = calls_text(message, calls)
            calls += len(message.calls)
        if message[8] or message[4] is not None or message[5]:  # extras, weight, reasoning
            text = text_only(message, text, losses)
        texts.append(text)
    return texts
