"""Render: a `Conversation` becomes segments of pieces, ready to tokenize.

    messages   user            assistant       user            assistant
    segments   [piece ...]     [piece ...]     [piece ...]     [piece ...]
               source          target          source          target
    piece      a text, tokenized on its own, or a token id that is inserted as it is

The borders between pieces are part of the result: neighbouring texts are never joined before they are tokenized
(research: LLaMA-Factory encodes each slot with a call of its own). A segment is trained or not (`Rendered.trained`),
which the stage, `mask_history`, `train_on_prompt` and per-message weights decide.

Kinds of example (contract.md, columns): lm = source and target in turn; pref = prompt, chosen, rejected;
unpaired = prompt, completion; prompt = prompt, label.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass

from registry.templates import Template
from stages.core.conversation import Conversation, Message
from stages.core.display import shown
from stages.core.findings import Note
from stages.core.segments import Rendered, Segment, template_traits
from stages.formats.messages import plain_message, plain_messages
from stages.render.tool_formats.base import ToolFormatError
from stages.tokenize.fitted import SpecialIds

from .slot_writer import INDEX, SlotWriter

_NOWHERE = itertools.repeat("")


@dataclass(frozen=True)
class RenderOptions:
    """What changes the text or the mask. Names are LLaMA-Factory's keys.

    kind: lm | pref | unpaired | prompt | pt. enable_thinking None = unset.
    """

    kind: str = "lm"
    enable_thinking: bool | None = True
    preserve_thinking: bool = False
    train_on_prompt: bool = False
    mask_history: bool = False
    default_system: str | None = None
    tool_format: str | None = None
    template_date: str = "2026-11-21"


class Renderer:
    """Renders conversations with one template. Holds no state that depends on the records."""

    def __init__(self, template: Template, options: RenderOptions, ids: SpecialIds) -> None:
        self.template = template
        self.options = options
        self.ids = ids
        self.eos = ids.eos
        self.default_system = template.default_system
        if options.default_system is not None and template.compat != "llamafactory-0.9.2":  # that version lacks the key
            self.default_system = options.default_system
        self.writer = SlotWriter(template, ids, self.default_system, options.tool_format, options.template_date)
        self._segment = self.writer.write
        self.opening, self.closing = template.thought_words
        self.thought = re.compile(re.escape(self.opening) + "(.*?)" + re.escape(self.closing), re.DOTALL)
        self.opening_word, self.closing_word = self.opening.strip(), self.closing.strip()
        self.empty_thought = self.closing if template.kind == "reasoning-close-only" else self.opening + self.closing
        self._around = self._plain_slots()
        self._flags = [1 if options.train_on_prompt else 0, 1]

    # --- one record ---------------------------------------------------------------------------------------------------

    def render(self, record: Conversation, notes: list[Note]) -> Rendered | None:
        """Segments of one record; None after a note that says why it cannot be written."""
        kind = self.options.kind
        try:
            if kind == "lm":
                return self._lm(record, notes)
            if kind == "pt":
                return Rendered([[record.messages[0].content + self.ids.eos_text]], [1])
            if kind == "pref":
                return self._pref(record, notes)
            return self._one_answer(record, notes)
        except ToolFormatError as error:
            notes.append(Note(error.rule, "", str(error)))
            return None

    def _lm(self, record: Conversation, notes: list[Note]) -> Rendered:
        options = self.options
        messages = record.messages
        count = len(messages)
        reasoning = self.template.reasoning
        history_only = options.mask_history and not options.preserve_thinking
        segments: list[Segment] = []
        trained: list[int] = []
        last = count - 1
        inserted = stripped = False
        for position in range(count):
            message = messages[position]
            text = message.content
            if position & 1:
                if reasoning:
                    text = self._answer_text(message, text)
                    if options.enable_thinking is False or (history_only and position < last):
                        whole, text = text, self._without_thought(text)
                        stripped = stripped or len(text) != len(whole)
                elif message.reasoning:
                    notes.append(thought_dropped(message))
                segment = self._segment(message, text, position, record, notes)
                if reasoning and (not history_only or position == last) and not self._has_thought(message, text):
                    inserted = True
                    if options.enable_thinking:
                        segment.insert(0, self.empty_thought)
                    else:
                        segments[-1].append(self.empty_thought)
                segments.append(segment)
                weight = message.weight
                trained.append(0 if weight == 0 or (options.mask_history and position < last) else 1)
            else:
                segments.append(self._segment(message, text, position, record, notes))
                trained.append(1 if options.train_on_prompt else 0)
        by_default = not record.system and bool(self.default_system)
        return Rendered(segments, trained, traits=template_traits(inserted, stripped, by_default))

    def plain(self, texts: list[str], has_system: bool) -> Rendered:
        """`render` of a record that is nothing but texts: user and assistant in turn, then, when `has_system`, a system
        prompt. Kinds lm and pt, where such a record gives no note."""
        system = texts.pop() if has_system else None
        if self.options.kind == "pt":
            return Rendered([[texts[0] + self.ids.eos_text]], [1])
        around = self._around
        if around is None or self._is_special(texts):
            messages = plain_messages(itertools.cycle(("user", "assistant")), texts, _NOWHERE)
            return self._lm(Conversation(tuple(messages), system), [])
        before_user, after_user, before_answer, after_answer, with_thought = around
        first = self._segment(plain_message("user", texts[0], ""), texts[0], 0, Conversation((), system), [])
        prompts: list[Segment] = [[before_user + text + after_user] for text in texts[2::2]]
        segments: list[Segment] = [[]] * len(texts)
        segments[::2] = [first, *prompts]
        if with_thought:
            thought = self.empty_thought
            segments[1::2] = [[thought, before_answer + text + after_answer] for text in texts[1::2]]
        else:
            segments[1::2] = [[before_answer + text + after_answer] for text in texts[1::2]]
        traits = template_traits(with_thought, False, not system and bool(self.default_system))
        return Rendered(segments, (self._flags * len(texts))[: len(texts)], 255, traits)

    def _is_special(self, texts: list[str]) -> bool:
        if True in [INDEX in text for text in texts[::2]]:
            return True
        if not self.template.reasoning:
            return False
        opening, closing = self.opening_word, self.closing_word
        return True in [opening in text or closing in text for text in texts[1::2]]

    def _plain_slots(self) -> tuple[str, str, str, str, bool] | None:
        """Text around the user's words, text around the answer, and whether an empty thought stands before that. None
        where a turn takes more than this to write."""
        options, reasoning = self.options, self.template.reasoning
        user, answer = self.writer.slots["user"], self.writer.slots["assistant"]
        if options.kind != "lm" or self.writer.has_index or options.mask_history or len(user) != 1 or len(answer) != 1:
            return None
        if reasoning and not options.enable_thinking:  # thoughts are then taken away, or stand in the prompt
            return None
        if not (user[0].has_content and answer[0].has_content):
            return None
        return user[0].before, user[0].after, answer[0].before, answer[0].after, reasoning

    def _pref(self, record: Conversation, notes: list[Note]) -> Rendered | None:
        chosen, rejected = record.chosen, record.rejected
        if chosen is None or rejected is None:
            return None
        prompt, first, inserted, stripped = self._one_turn(record, chosen, notes)
        _, second, also_inserted, _ = self._one_turn(record, rejected, [])
        traits = template_traits(inserted or also_inserted, stripped, False)
        return Rendered([prompt, first, second], [0, 1, 1], traits=traits)

    def _one_answer(self, record: Conversation, notes: list[Note]) -> Rendered:
        if len(record.messages) & 1:  # predict without an answer
            answer = Message("assistant", "")
        else:
            record, answer = record._replace(messages=record.messages[:-1]), record.messages[-1]
        prompt, target, inserted, stripped = self._one_turn(record, answer, notes)
        label = 255 if record.label is None else int(record.label)
        return Rendered([prompt, target], [0, 1], label, template_traits(inserted, stripped, False))

    def _one_turn(
        self, record: Conversation, answer: Message, notes: list[Note]
    ) -> tuple[Segment, Segment, bool, bool]:
        """All messages but the answer as one segment, and the answer; thoughts of earlier answers go unless preserved.

        Behind them: whether an empty thought was put in, and whether a thought was taken away.
        """
        options = self.options
        prompt: Segment = []
        inserted = stripped = False
        reasoning = self.template.reasoning
        for position, message in enumerate(record.messages):
            text = message.content
            if reasoning and position & 1:
                text = self._answer_text(message, text)
                if not options.preserve_thinking:
                    whole, text = text, self._without_thought(text)
                    stripped = stripped or len(text) != len(whole)
            prompt += self._segment(message, text, position, record, notes)
        text = answer.content
        if reasoning:
            text = self._answer_text(answer, text)
            if options.enable_thinking is False:
                text = self._without_thought(text)
        target = self._segment(answer, text, len(record.messages), record, notes)
        if reasoning and not self._has_thought(answer, text):
            inserted = True
            if options.enable_thinking:
                target.insert(0, self.empty_thought)
            else:
                prompt.append(self.empty_thought)
        if self.template.efficient_eos and self.eos is not None:
            target.append(self.eos)
        return prompt, target, inserted, stripped

    # --- thoughts -----------------------------------------------------------------------------------------------------

    def _answer_text(self, message: Message, text: str) -> str:
        """The answer with `reasoning_content` written in the template's thought words, when the record has it."""
        if message.reasoning:
            return f"{self.opening}{message.reasoning}{self.closing}{text}"
        return text

    def _without_thought(self, text: str) -> str:
        return self.thought.sub("", text).lstrip("\n")

    def _has_thought(self, message: Message, text: str) -> bool:
        if message.calls:  # upstream looks into the calls as well
            text += json.dumps([call[:2] for call in message.calls], ensure_ascii=False, default=str)
        return self.opening_word in text or self.closing_word in text


def thought_dropped(message: Message) -> Note:
    """The finding for reasoning that a template without thought words does not write."""
    return Note("template.thought-dropped", message.at, "this template writes no reasoning", shown(message.reasoning))
