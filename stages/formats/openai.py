"""OpenAI chat records: `messages` of `{role, content}` with `tool_calls`, tool results and `tools` as real JSON.

    {"role": "assistant", "content": "Let me see.", "tool_calls": [...]}   a function turn; its text is kept beside
    {"role": "tool", "tool_call_id": "c1", "content": "5.4"}               an observation turn

Results that follow one another become one observation turn, joined by "\n</tool_response>\n<tool_response>\n"
(LLaMA-Factory's rule, right for templates of qwen's kind); its `call_id` holds the ids, one a line. Results at the very
end of what is trained answer nothing and are left out, with a note. `developer` is read as system and the older role
`function` as a result. Unlike LLaMA-Factory's reader, nothing is added to the system prompt, and arguments are decoded,
not encoded twice.

OpenAI records out: `messages` of `{role, content}`, real `tool_calls` with ids, one message a tool result.

The tool list is written as JSON, each definition wrapped as {"type": "function", "function": ...} when all of them are
bare. The system prompt is always the leading message.
"""

from __future__ import annotations

import functools
import itertools
import json
import operator
from typing import Any

import orjson

from registry.datasets.types import Fields
from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note

from . import chat_writer, sharegpt
from .chat_writer import beside, key_loss
from .losses import Loss, loss
from .messages import ANSWERS, RESULT_BORDER, key_pointer, message_weight, plain_message, weight_notes
from .roles import Turns, message_thought, tag_roles
from .tool_calls import calls_list, openai_call, openai_calls
from .tool_list import tools_list

_CALLS = "assistant with tool_calls"  # stands for the role word of such a turn
_NEW = tuple.__new__  # see `plain_messages`
_USUAL_MESSAGES = 256


class Reader(sharegpt.Reader):
    """Reads records of one column and tag map; plain conversations as ShareGPT ones under other words."""

    def __init__(self, fields: Fields, kind: str) -> None:
        super().__init__(fields, kind)
        self.role_of = {"developer": "system", "function": "observation", **tag_roles(fields)}
        self.turns = Turns({**self.role_of, _CALLS: "function"}, self.base, kind)
        special = {word for word, role in self.role_of.items() if role in ("observation", "function")}
        self._special = frozenset(special)
        self._word = operator.itemgetter(fields.role_tag)
        self._text_key = itertools.repeat(fields.content_tag)
        self._ats = [f"{self.base}/{index}" for index in range(_USUAL_MESSAGES)]

    def __call__(self, record: dict[str, Any], notes: list[Note]) -> Conversation | None:
        """The record as a `Conversation`; None after a note that says why there is none."""
        raw: list[dict[str, Any]] = record[self.fields.messages]  # type: ignore[index]  # checked by fields_problems
        # a call or a result has more keys than role and content, a role word of its own, or no content at all
        if (
            max(map(len, raw)) > 2
            or not self._special.isdisjoint(map(self._word, raw))
            or not all(map(operator.contains, raw, self._text_key))
        ):
            return self._with_tools(record, raw, notes)
        return super().__call__(record, notes)

    def _with_tools(self, record: dict[str, Any], raw: list[dict[str, Any]], notes: list[Note]) -> Conversation | None:
        self.plain = False
        fields = self.fields
        words: list[str] = []
        places: list[int] = []
        turns: list[Message] = []
        broken = False
        text_key, role_of, ats = fields.content_tag, self.role_of, self._pointers(len(raw))
        before = ""
        weighted = False
        for index, (word, source) in enumerate(zip(map(self._word, raw), raw, strict=True)):
            message: Message | None
            role = role_of[word]
            if len(source) == 2 and text_key in source and role != "function":
                message = plain_message(role, source[text_key], ats[index])
            else:
                message = self._message(source, role, ats[index], notes)
                if message is None:
                    broken = True
                    continue
                role = message.role
                weighted = weighted or message.weight is not None
            if role == "observation" and before == "observation":
                turns[-1] = _joined(turns[-1], message)
                continue
            before = role
            words.append(_CALLS if role == "function" else word)
            places.append(index)
            turns.append(message)
        if broken:
            return None
        # a prompt, of a pair or to predict from, may end with what the model is to answer
        if turns and turns[-1].role == "observation" and self.kind not in ("predict", "pref"):
            text = "tool results at the end of the conversation, with no answer after them, are left out"
            notes.append(Note("tools.trailing-result", turns[-1].at, text, shown(turns[-1].content)))
            del words[-1], places[-1], turns[-1]
        order = self.turns.order(tuple(words))
        if order.problems:
            self.turns.report(order.problems, notes, places)
            return None
        self.turns.report(order.remarks, notes, places)
        if weighted:
            weight_notes(turns[order.start :], self.kind, notes)
        system, system_at = record.get(fields.system) if fields.system is not None else None, self.system_at
        if order.start:
            if system:
                text = "the system message is used, the system field is not"
                notes.append(Note("role.two-systems", self.system_at, text, shown(system)))
            system, system_at = turns[0].content, turns[0].at + self.text_at
        found = self.finish(record, turns[order.start :], system, system_at, notes)
        return self.with_system_keys(found, raw[0], notes) if found and order.start and len(raw[0]) > 2 else found

    def _pointers(self, count: int) -> list[str]:
        """Pointers of at least `count` messages."""
        if count > len(self._ats):
            return [f"{self.base}/{index}" for index in range(count)]
        return self._ats

    def _message(self, source: dict[str, Any], role: str, at: str, notes: list[Note]) -> Message | None:
        content: str | None = source.get(self.fields.content_tag)  # type: ignore[arg-type]
        text = content or ""
        calls = None
        used = ""
        if role in ANSWERS:
            listed, single = source.get("tool_calls"), source.get("function_call")
            if listed:
                role = "function"
                calls = openai_calls(listed, at + "/tool_calls", notes)
            elif single:
                role = "function"
                call = openai_call(single, at + "/function_call", None, notes)
                calls = None if call is None else (call,)
            elif role == "function":
                messages = [Message(role, text, at)]
                calls = messages[0].calls if self._call(messages, 0, notes) else None
                calls, text = (messages[0].calls, messages[0].content) if messages[0].calls else (None, text)
            if role == "function" and calls is None:
                return None
            used = "tool_calls" if listed else "function_call"
        extras: dict[str, object] = {}
        if len(source) > 2:
            extras = source.copy()
            del extras[self.fields.role_tag]  # type: ignore[arg-type]  # checked by fields_problems
            extras.pop(self.fields.content_tag, None)  # type: ignore[arg-type]
            if calls:
                del extras[used]
        if calls and content == "":
            extras[str(self.fields.content_tag)] = ""  # beside calls it is null; what is not is kept for the way back
        get = source.get
        weight, reasoning = message_weight(source), message_thought(source)
        beside = (extras,) if extras else ()
        return _NEW(
            Message,
            (role, text, at, calls or (), weight, reasoning, get("name"), get("tool_call_id"), beside, False, ()),
        )

    def answer(self, record: dict[str, Any], key: str | None, notes: list[Note]) -> Message | None:
        """The chosen or rejected answer: a message, or a list of one (OpenAI's own preference form)."""
        if key is None:
            notes.append(Note("answer.missing", "", "chosen and rejected are not both mapped to a field"))
            return None
        raw = record[key]
        at = key_pointer(key)
        if isinstance(raw, list):
            raw, at = raw[0], at + "/0"
        self.plain = False
        message = self._message(raw, self.role_of[raw[self.fields.role_tag]], at, notes)
        if message is not None and message.role not in ANSWERS:
            text = f'the answer has the role "{raw[self.fields.role_tag]}"; it must be the assistant\'s'
            notes.append(Note("preference.answer-role", f"{at}{key_pointer(self.fields.role_tag)}", text))
            return None
        return message

    def tools(self, record: dict[str, Any]) -> str | None:
        """The tool list as JSON text, None when there is none; written as LLaMA-Factory writes it."""
        if self.fields.tools is None:
            return None
        tools = record.get(self.fields.tools)
        if isinstance(tools, (list, dict)):
            return _tools_text(orjson.dumps(tools)) if tools else None
        return tools or None


@functools.lru_cache(maxsize=512)
def _tools_text(raw: bytes) -> str:
    # records of one set offer the same tools again and again, and `json` writes slowly
    return json.dumps(orjson.loads(raw), ensure_ascii=False)


def _joined(first: Message, second: Message) -> Message:
    ids = [call_id for call_id in (first.call_id, second.call_id) if call_id]
    return first._replace(
        content=first.content + RESULT_BORDER + second.content,
        call_id="\n".join(ids) if ids else None,
        extras=_extras_of(first) + _extras_of(second) if first.extras or second.extras else (),
        results=(*(first.results or (first,)), second),
    )


def _extras_of(message: Message) -> tuple[dict[str, object], ...]:
    """One dict for each result that the turn was joined from."""
    return message.extras or ({},) * (message.content.count(RESULT_BORDER) + 1)


_CALL_KEYS = ("tool_calls", "function_call")


def write(conversation: Conversation, fields: Fields, kind: str, losses: list[Loss]) -> dict[str, Any]:
    """The conversation as an OpenAI record under a column and tag map. kind: sft | pref | kto | predict."""
    turns = _Turns(fields, losses)
    tools = None if conversation.tools is None else tools_list(conversation.tools)
    return chat_writer.write_chat(conversation, fields, kind, turns, leading=True, tools=tools)


class _Turns(chat_writer.Turns):
    def function(self, message: Message, calls: int) -> dict[str, Any]:
        out: dict[str, Any] = {self.role_key: self.words["assistant"], self.text_key: message.content or None}
        out["tool_calls"] = calls_list(message, calls)
        for key, value in beside(message).items():
            if key == self.text_key and value == "" and not message.content:
                out[key] = ""
            elif key in out:
                self.losses.append(key_loss(message, key, value))
            else:
                out[key] = value
        return out

    def observation(self, message: Message) -> list[dict[str, Any]]:
        parts = message.content.split(RESULT_BORDER)
        word = self.words["observation"]
        if word is None:
            self.losses.append(loss("tool-turn", message.at))
            return [self.entry(message, self.words["user"], message.content, beside(message))]
        listed = []
        for index, (part, extras) in enumerate(zip(parts, _split(message, len(parts)), strict=True)):
            entry: dict[str, Any] = {self.role_key: word}
            if "tool_call_id" not in extras and index < len(self.ids):
                entry["tool_call_id"] = self.ids[index]
            entry[self.text_key] = part
            for key, value in extras.items():
                if key in entry:
                    self.losses.append(key_loss(message, key, value))
                else:
                    entry[key] = value
            listed.append(entry)
        return listed

    def entry(self, message: Message, word: str | None, text: str, extras: Any) -> dict[str, Any]:
        if message.role == "assistant" and any(extras.get(key) for key in _CALL_KEYS):
            # the source format does not read them; here they would become calls
            ignored = {key: value for key, value in extras.items() if key in _CALL_KEYS and value}
            self.losses.extend(key_loss(message, key, value) for key, value in ignored.items())
            extras = {key: value for key, value in extras.items() if key not in ignored}
        return super().entry(message, word, text, extras)


def _split(message: Message, count: int) -> list[dict[str, Any]]:
    """The keys beside each of `count` results: their own, or lines of joined ones."""
    if len(message.extras) == count:
        return [dict(extras) for extras in message.extras]
    joined = beside(message)
    lines = {key: value.split("\n") if isinstance(value, str) else [value] for key, value in joined.items()}
    if all(len(values) == count for values in lines.values()):
        return [{key: values[index] for key, values in lines.items()} for index in range(count)]
    return [dict(joined), *({} for _ in range(count - 1))]
