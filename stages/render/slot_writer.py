"""Slots: one message written into the slots of a template: pieces of text, and token ids that are inserted as they are.

    slot  text "<|im_start|>user\\n{{content}}<|im_end|>\\n"  ->  one piece around the message's text
    slot  id or token                                      ->  the token's id

The first message of a record carries what stands before the conversation: prefix, system prompt, tools.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from registry.templates import Slot, Template
from stages.core.conversation import Conversation, Message
from stages.core.findings import Note
from stages.render.tool_formats.base import ToolFormat, ToolFormatError

from .tool_formats import DEFECTS, tool_format

if TYPE_CHECKING:
    from stages.core.segments import Segment
    from stages.tokenize.fitted import SpecialIds


INDEX = "{{idx}}"


class Op(NamedTuple):
    """A compiled slot: text around {{content}} (`has_content`), or a fixed piece."""

    before: str
    after: str
    has_content: bool
    fixed: int | None


class SlotWriter:
    """Writes messages with one template. Holds no state that depends on the records.

    Args:
        template: Whose slots are filled.
        ids: The ids that slots insert.
        default_system: The system prompt of a record that has none; "" for no prompt.
        chosen_format: A tool format that is used in place of the template's own.
        date: The day that a tool prompt may name.
    """

    def __init__(
        self, template: Template, ids: SpecialIds, default_system: str, chosen_format: str | None, date: str
    ) -> None:
        self.ids = ids
        self.date = date
        self.default_system = default_system
        self.prefix = self._compile(template.prefix)
        self.system = self._compile(template.system)
        self.slots = {
            "user": self._compile(template.user),
            "assistant": self._compile(template.assistant),
            "observation": self._compile(template.observation),
            "function": self._compile(template.function),
        }
        prompt_format, call_format = template.tools_format, template.function_format
        if chosen_format:
            # upstream then ends a call with content + EOS, whatever the template's own ending is; with content alone
            # where the template appends its EOS itself
            prompt_format = call_format = chosen_format
            end = () if template.efficient_eos else (Slot("id", "eos"),)
            self.slots["function"] = self._compile((Slot("text", "{{content}}"), *end))
        self.calls: ToolFormat = tool_format(call_format, template.compat)
        self.tool_prompt: ToolFormat = tool_format(prompt_format, template.compat)
        self.tools_slot = template.tools_slots[0].value if template.tools_slots and not chosen_format else None
        self.defect = DEFECTS.get(call_format, "") if template.compat != "llamafactory-0.9.2" else ""
        self.system_in_user = template.kind == "system-in-user"
        self.strip_system = template.strip_system
        self.has_index = any(INDEX in slot.value for slot in template.user)

    def _compile(self, slots: tuple[Slot, ...]) -> list[Op]:
        ops = []
        known = dict(self.ids.tokens)
        for kind, value in slots:
            if kind == "text":
                before, found, after = value.partition("{{content}}")
                ops.append(Op(before, after, bool(found), None))
            elif kind == "token":
                ops.append(Op("", "", False, known[value]))
            elif kind == "id":
                token_id = self.ids.bos if value == "bos" else self.ids.eos
                if token_id is not None:
                    ops.append(Op("", "", False, token_id))
        return ops

    def write(self, message: Message, text: str, position: int, record: Conversation, notes: list[Note]) -> Segment:
        """The segment of one message.

        Args:
            message: The message.
            text: Its content, with its thought as it is to be written.
            position: Its place in the record, from 0. The first carries the prefix, the system prompt and the tools.
            record: The conversation around it.
            notes: Takes what could not be written as it stood.

        Raises:
            ToolFormatError: Its calls or the record's tools cannot be written.
        """
        segment: Segment = []
        role = message.role
        if role == "function":
            text = self._call_text(message, text, notes)
        if position == 0:
            for op in self.prefix:
                segment.append(op.before if op.fixed is None else op.fixed)
            system = record.system or self.default_system
            if record.tools is not None:
                system = (system or "") + self._tool_text(record)
            elif not system:
                system = ""
            if system or record.tools:  # upstream writes the block for an empty list of tools as well
                if self.strip_system:
                    system = system.lstrip("\n")
                if self.system_in_user:
                    first = self.system[0]
                    text = first.before + system + first.after + text if role == "user" else text
                else:
                    self._fill(self.system, system, segment)
        if role == "user" and (self.has_index or (INDEX in text and not self.system_in_user)):
            for op in self.slots["user"]:
                if op.fixed is not None:
                    segment.append(op.fixed)
                    continue
                # upstream fills in the number of the turn behind the text, in whose words it then finds it as well
                filled = op.before + text + op.after if op.has_content else op.before
                if filled:
                    segment.append(filled.replace(INDEX, str(position // 2), 1))
            return segment
        self._fill(self.slots[role], text, segment)
        return segment

    @staticmethod
    def _fill(ops: list[Op], content: str, segment: Segment) -> None:
        for before, after, has_content, fixed in ops:
            if fixed is not None:
                segment.append(fixed)
            else:
                text = before + content + after if has_content else before
                if text:
                    segment.append(text)

    def _tool_text(self, record: Conversation) -> str:
        tools = record.tools or ""
        if self.tools_slot is not None:
            return self.tools_slot.replace("{{content}}", tools, 1)
        try:
            return _tool_prompt(self.tool_prompt, tools, self.date)
        except (AttributeError, TypeError, KeyError) as error:
            raise ToolFormatError("tools.not-a-definition", f"a tool definition cannot be written: {error}") from error

    def _call_text(self, message: Message, text: str, notes: list[Note]) -> str:
        calls = message.calls
        if not calls:
            return text
        if len(calls) > 1 and not self.calls.parallel:
            raise ToolFormatError("tools.parallel-calls", "this template's tool format writes one call a turn")
        if self.defect:
            notes.append(Note("template.tool-format-defect", message.at, f"upstream's tool format: {self.defect}"))
        written = self.calls.calls(calls)
        if text and not message.inline and not text.endswith("\n"):
            text += "\n"
        return text + written


@functools.lru_cache(maxsize=512)
def _tool_prompt(form: ToolFormat, tools: str, date: str) -> str:
    listed: list[dict[str, Any]] = json.loads(tools)
    return form.prompt(listed, date) if listed else ""
