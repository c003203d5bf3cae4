"""Where the texts of a record stand: each with its JSON Pointer, in the record's own keys.

`Places.texts` are those that every rule about characters looks at: system, turns, thoughts, calls. `Places.beside` is
what a template may write besides: tool definitions, names and ids.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import pointer
from stages.formats.messages import ANSWERS, RESULT_BORDER


class Placed(NamedTuple):
    """One text. answer: it is the assistant's own words, in which a thought may stand."""

    text: str
    at: str
    answer: bool = False


class Places:
    """The texts of the records of one data set. text_at: what a message's pointer lacks to be that of its text."""

    def __init__(self, fields: Fields, text_at: str) -> None:
        self._fields = fields
        self._text_at = text_at
        self._prompt_keys = tuple(key for key in (fields.prompt, fields.query) if key is not None)

    def of(self, message: Message) -> str:
        """The pointer of a message's text."""
        return message.at + self._text_at

    def texts(self, record: dict[str, Any], found: Conversation) -> Iterator[Placed]:
        """Every text of the conversation: system, turns, thoughts, names and arguments of calls."""
        if found.system:
            yield Placed(found.system, found.system_at)
        for message in _messages(found):
            if message.role == "user" and self._prompt_keys and message.at == pointer(self._prompt_keys[0]):
                # the user's text may be two fields joined
                yield from (Placed(record[key], pointer(key)) for key in self._prompt_keys if record.get(key))
            elif message.content:
                yield from self._turn(record, message)
            if message.reasoning:
                yield Placed(message.reasoning, message.at + "/reasoning_content")
            yield from self._calls(record, message)

    def beside(self, record: dict[str, Any], found: Conversation) -> Iterator[Placed]:
        """Every text of the tool definitions, and the names and ids of calls and results."""
        if found.tools is not None:
            value = record.get(self._fields.tools) if self._fields.tools is not None else None
            if isinstance(value, (list, dict)):
                yield from _inside(value, found.tools_at)
            else:
                yield Placed(tools_text(found.tools), found.tools_at)
        for message in _messages(found):
            if message.name:
                yield Placed(message.name, message.at + "/name")
            if message.call_id:
                yield Placed(message.call_id, message.at + "/tool_call_id")
            for index, call in enumerate(message.calls):
                if call.id:
                    at = self.of(message) if message.inline else f"{message.at}/tool_calls/{index}/id"
                    yield Placed(call.id, at)

    def _turn(self, record: dict[str, Any], message: Message) -> Iterator[Placed]:
        at, role = self.of(message), message.role
        if role == "observation" and RESULT_BORDER in message.content and self._fields.messages is not None:
            base = pointer(self._fields.messages)
            first = int(message.at.removeprefix(f"{base}/"))
            turns, key = record[self._fields.messages], self._fields.content_tag
            if turns[first].get(key) != message.content:  # results that follow one another, joined into one turn
                for index, part in enumerate(message.content.split(RESULT_BORDER), first):
                    if index < len(turns) and turns[index].get(key) != part:  # one of them holds the border itself
                        break
                    yield Placed(part, f"{base}/{index}{self._text_at}")
                else:
                    return
        yield Placed(message.content, at, role in ANSWERS)

    def _calls(self, record: dict[str, Any], message: Message) -> Iterator[Placed]:
        if not message.calls:
            return
        raw = _at(record, message.at)
        listed, single = (raw.get("tool_calls"), raw.get("function_call")) if isinstance(raw, dict) else (None, None)
        for index, call in enumerate(message.calls):
            if message.inline or not (listed or single):  # the call is a text of its own
                at = self.of(message)
                yield Placed("\n".join(text for text, _, _ in _inside([call.name, call.arguments], "")), at)
                continue
            at = f"{message.at}/tool_calls/{index}/function" if listed else f"{message.at}/function_call"
            yield Placed(call.name, at + "/name")
            written: Any = listed[index]["function"] if listed else single
            texts = _inside(call.arguments, at + "/arguments")
            if isinstance(written["arguments"], str):
                yield Placed("\n".join(text for text, _, _ in texts), at + "/arguments")
            else:
                yield from texts


def beside_text(found: Conversation) -> str:
    """All texts of `Places.beside`, joined, for one search."""
    texts = [] if found.tools is None else [tools_text(found.tools)]
    for message in _messages(found):
        texts += [text for text in (message.name, message.call_id) if text]
        texts += [call.id for call in message.calls if call.id]
    joined = "\n".join(texts)
    # the id of a call that was written as text may hold half a surrogate pair, which no search takes
    return joined if joined.isascii() else joined.encode("utf-8", "replace").decode()


@functools.lru_cache(maxsize=512)
def tools_text(written: str) -> str:
    """The texts inside the JSON of a tool list, joined; what is no JSON as it stands."""
    if "\\" not in written:  # nothing is escaped, and what is no text holds no control token
        return written
    try:
        return "\n".join(text for text, _, _ in _inside(json.loads(written), ""))
    except (ValueError, RecursionError):
        return written


def _messages(found: Conversation) -> Iterator[Message]:
    yield from found.messages
    for answer in (found.chosen, found.rejected):
        if answer is not None:
            yield answer


def _at(record: dict[str, Any], at: str) -> object:
    """The value at a pointer of a record; None when it leads nowhere."""
    value: Any = record
    for part in at.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(key)]
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _inside(value: object, at: str) -> Iterator[Placed]:
    """Every text of a JSON value, keys included, in order."""
    stack = [(value, at)]
    while stack:
        node, place = stack.pop()
        if isinstance(node, str):
            yield Placed(node, place)
        elif isinstance(node, dict):
            for key, inner in reversed(node.items()):
                below = place + pointer(key)
                stack += [(inner, below), (key, below)]
        elif isinstance(node, list):
            stack.extend((inner, f"{place}/{index}") for index, inner in reversed(list(enumerate(node))))
