"""Alpaca records out: the last question is the instruction, the last answer the output, earlier turns are history.

user  a  user  a      ->  history [[user, a]], instruction user, input "", output a
"""

from __future__ import annotations

from typing import Any

from registry.datasets import Fields
from stages.conversation import Conversation, Message

from .losses import Loss, loss
from .turns import ANSWERS
from .write_calls import calls_text
from .writing import add_extra, add_system, add_tools, text_only


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
