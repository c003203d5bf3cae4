"""`template: auto`: the tokenizer's own chat template, with a loss mask that is proven.

Takes conversations, gives `RenderedText` (the whole text as the model will see it, and the characters that are
trained), then token ids with the runs that are trained. The ids are those of transformers'
`apply_chat_template(tokenize=True)`: the text is tokenized whole, and spans become runs through the tokenizer's
offsets, so nothing is encoded piece by piece.

    text   <|im_start|>assistant\\nFour.<|im_end|>\\n        spans  [(22, 37)]
    ids    151644 77091 198 38830 13 151645 198             runs   [(3, 6)]

A trained span runs from the end of the generation prompt to the end of the stop token. Price: two renders a
conversation, about 0.5 ms, in the limited process of `stages.render.jinja.sandbox.process`; the tokenizer takes about
as long.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import UsageFault
from stages.core.conversation import Conversation
from stages.core.display import shown
from stages.core.findings import Note

from .chat_template import AutoTemplate
from .findings import traits_seen
from .loss_spans import ANSWERS, Located, Turn, by_marks
from .messages import Prepared, has_marks, prepare
from .prefix_spans import by_prefix, thought_note
from .probe import Traits, learn
from .record_variables import settings_of, variables_of
from .results import Results, pair, refusal
from .sandbox.environment import DEFAULT_DATE
from .sandbox.process import Wall
from .sandbox.requests import Item, Limits, Outcome, Program
from .shape_cache import Skeleton, Skeletons, by_shape, shape_of
from .token_spans import RenderedText

MAX_TRAITS = 64  # named templates times the settings of records


@dataclass(frozen=True)
class AutoOptions:
    """What changes the text or the mask. enable_thinking: None leaves it to the template. default_system: the system
    prompt of records without one, "" for none where the template has its own. extra: further variables for the
    template, as (name, value)."""

    enable_thinking: bool | None = None
    train_on_prompt: bool = False
    mask_history: bool = False
    template_date: str = DEFAULT_DATE
    default_system: str | None = None
    extra: tuple[tuple[str, Any], ...] = field(default=(), hash=False)


class AutoRenderer:
    """Renders with one template and one set of options. Holds a child process: use it in a `with`, or `close` it."""

    def __init__(
        self, template: AutoTemplate, options: AutoOptions | None = None, limits: Limits | None = None
    ) -> None:
        self.template = template
        self.options = options or AutoOptions()
        thinking = self.options.enable_thinking
        switch = {} if thinking is None else {"enable_thinking": thinking}
        variables: dict[str, Any] = {**template.variables, **dict(self.options.extra), **switch}
        self.wall = Wall(Program(template.sources, variables, self.options.template_date), limits)
        self._results = Results(template, self.options.train_on_prompt, self.options.mask_history)
        self._traits: dict[tuple[str, str], Traits] = {}
        self._skeletons = Skeletons(template.name_for(False), self.wall)

    def __enter__(self) -> AutoRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child process."""
        self.wall.close()

    def traits(self, tools: bool = False, settings: dict[str, Any] | None = None) -> Traits:
        """What the template does around an answer. Raises UsageFault for a template that can write no conversation.

        `settings` are switches that a record sets for itself: what is found may depend on them.
        """
        name = self.template.name_for(tools)
        key = name, json.dumps(settings, sort_keys=True) if settings else ""
        if key not in self._traits:
            if len(self._traits) >= MAX_TRAITS:
                self._traits.clear()

            def render(items: Sequence[Item]) -> list[Outcome]:
                return self.wall.render([item._replace(variables=settings) for item in items])

            try:
                traits = learn(self.template, render if settings else self.wall.render, name)
            except UsageFault as fault:
                traits = Traits(refuses=fault.problems[0])
            if traits.refuses:
                raise UsageFault(
                    f"template: auto: the tokenizer's chat template does not work: {shown(traits.refuses, 300)}",
                    hint="choose one of ours with `template: NAME`; `prep list templates` shows them",
                )
            self._traits[key] = self._without_system(traits, name) if self.options.default_system == "" else traits
        return self._traits[key]

    def _without_system(self, traits: Traits, name: str) -> Traits:
        """The traits with an empty system message in place of the template's own prompt. Raises UsageFault where that
        does not remove it."""
        if not traits.default_system:
            return traits
        empty = {"role": "system", "content": ""}
        outcome = self.wall.render([Item(name, [empty, {"role": "user", "content": "What is two and two?"}])])[0]
        if outcome.error or traits.default_system in outcome.text:
            raise UsageFault(
                f"default_system: the chat template writes {shown(traits.default_system, 60)} of its own, also where"
                " the system prompt is empty",
                hint="give a text as default_system, or choose one of our templates with `template: NAME`",
            )
        return replace(traits, default_system="", dialect=replace(traits.dialect, empty_system=True))

    def _with_system(self, record: Conversation) -> Conversation:
        """The record with the run's default_system where it has no system prompt."""
        default = self.options.default_system
        if not default or record.system or (record.messages and record.messages[0].role == "system"):
            return record
        return record._replace(system=default)

    def _traits_of(self, record: Conversation) -> Traits:
        variables = variables_of(record)
        return self.traits(bool(record.tools), settings_of(variables) if variables else None)

    def render(self, records: Sequence[Conversation]) -> list[RenderedText | Note]:
        """One result a record, in order: the text and its trained spans, or the reason why there is none.

        Raises UsageFault when the template works for no record at all.
        """
        results: list[RenderedText | Note | None] = [None] * len(records)
        records = [self._with_system(record) for record in records] if self.options.default_system else records
        pending = self._by_shape(records, results)
        for marking in ("all", "answers", "none"):
            pending = self._pass(records, pending, marking, results)
        return [result for result in results if result is not None]

    def prompts(self, records: Sequence[Conversation]) -> list[RenderedText | Note]:
        """The records as prompts: all their messages and the generation prompt, nothing trained."""
        return self.plain(records, generate=True)

    def plain(self, records: Sequence[Conversation], *, generate: bool = False) -> list[RenderedText | Note]:
        """The rendered texts alone, without looking for spans; `generate` adds the generation prompt."""
        results: list[RenderedText | Note | None] = [None] * len(records)
        records = [self._with_system(record) for record in records] if self.options.default_system else records
        items, indices = [], []
        for index, record in enumerate(records):
            ready = prepare(record, self._traits_of(record).dialect, "none")
            if isinstance(ready, Note):
                results[index] = ready
            else:
                name = self.template.name_for(bool(ready.tools))
                variables = variables_of(record) or None
                items.append(Item(name, ready.messages, ready.tools, generate, variables=variables))
                indices.append(index)
        for index, outcome in zip(indices, self.wall.render(items), strict=True):
            seen = traits_seen(records[index], self._traits_of(records[index]), outcome.text, ())
            results[index] = refusal(outcome) if outcome.error else RenderedText(outcome.text, (), (), seen)
        return [result for result in results if result is not None]

    def pairs(self, records: Sequence[Conversation]) -> list[tuple[RenderedText, RenderedText] | Note]:
        """Preference records: the prompt with the chosen and with the rejected answer, only these trained.

        Both texts are equal up to where the answers begin; a record for which they are not is a note.
        """
        both = []
        for record in records:
            for answer in (record.chosen, record.rejected):
                prompt = tuple(message._replace(weight=0) for message in record.messages)
                messages = prompt if answer is None else (*prompt, answer._replace(weight=1))
                both.append(record._replace(messages=messages))
        rendered = self.render(both)
        return [pair(rendered[at], rendered[at + 1], records[at // 2]) for at in range(0, len(rendered), 2)]

    def _by_shape(self, records: Sequence[Conversation], results: list[RenderedText | Note | None]) -> list[int]:
        """Renders once what has a predictable shape; returns what this did not prove."""
        shapes = [shape_of(record) for record in records]
        if any(shapes):
            self._skeletons.learn((shape for shape in shapes if shape is not None), self.traits())
        items: list[Item] = []
        work: list[tuple[int, Prepared, Skeleton]] = []
        left: list[int] = []
        for index, shape in enumerate(shapes):
            skeleton = self._skeletons.get(shape) if shape is not None else None
            ready = prepare(records[index], self.traits().dialect, "none") if skeleton is not None else None
            if skeleton is None or not isinstance(ready, Prepared):
                left.append(index)
                continue
            items.append(Item(self.template.name_for(False), ready.messages))
            work.append((index, ready, skeleton))
        for (index, ready, skeleton), outcome in zip(work, self.wall.render(items) if items else [], strict=True):
            found = None if outcome.error else by_shape(records[index], skeleton, outcome.text)
            if found is None:
                left.append(index)
            else:
                results[index] = self._finish(records[index], ready, outcome.text, found)
        return sorted(left)

    def _pass(
        self,
        records: Sequence[Conversation],
        pending: list[int],
        marking: str,
        results: list[RenderedText | Note | None],
    ) -> list[int]:
        """Renders the pending records with this marking; returns those that another one may still prove."""
        items: list[Item] = []
        work: list[tuple[int, Prepared]] = []
        left: list[int] = []
        for index in pending:
            record = records[index]
            if marking != "none" and has_marks(record):
                left.append(index)
                continue
            ready = prepare(record, self._traits_of(record).dialect, marking)
            if isinstance(ready, Note):
                results[index] = ready
                continue
            name = self.template.name_for(bool(ready.tools))
            variables = variables_of(record) or None
            items.append(Item(name, ready.messages, ready.tools, False, marking != "none", variables))
            work.append((index, ready))
        located: list[tuple[int, Prepared, str, Located]] = []
        for (index, ready), outcome in zip(work, self.wall.render(items) if items else [], strict=True):
            record = records[index]
            if outcome.error:
                results[index] = refusal(outcome)
                continue
            found = by_marks(record, ready, outcome, self._traits_of(record))
            if found is None and marking != "none":
                left.append(index)
                continue
            if found is None:
                unknown = [at for at, message in enumerate(record.messages) if message.role in ANSWERS]
                found = Located([], [], unknown, [], [])
            if found.lost:
                # a thought alone is no reason to leave a record out, the text behind it is
                worst = next((note for note in found.lost if note.rule != "template.thought-dropped"), found.lost[0])
                lost = worst.rule == "template.thought-dropped"
                results[index] = worst._replace(rule="template.changes-answer") if lost else worst
            else:
                located.append((index, ready, outcome.text, found))
        self._by_prefix(records, located, results)
        for index, ready, text, found in located:
            if results[index] is None:
                results[index] = self._finish(records[index], ready, text, found)
        return left

    def _by_prefix(
        self,
        records: Sequence[Conversation],
        located: list[tuple[int, Prepared, str, Located]],
        results: list[RenderedText | Note | None],
    ) -> None:
        """Finds the answers that marks left open."""
        items: list[Item] = []
        places: list[tuple[int, int]] = []
        for number, (index, _, _, found) in enumerate(located):
            if not found.open:
                continue
            record = records[index]
            ready = prepare(record, self._traits_of(record).dialect, "none")
            assert isinstance(ready, Prepared)  # it was prepared before
            name = self.template.name_for(bool(ready.tools))
            variables = variables_of(record) or None
            for position in found.open:
                start = ready.starts[position]
                items.append(Item(name, ready.messages[:start], ready.tools, True, variables=variables))
                items.append(Item(name, ready.messages[: start + 1], ready.tools, False, variables=variables))
                places.append((number, position))
        outcomes = self.wall.render(items) if items else []
        for at, (number, position) in enumerate(places):
            index, _, text, found = located[number]
            record = records[index]
            renders = outcomes[2 * at], outcomes[2 * at + 1]
            turn = by_prefix(text, record.messages, position, renders, self._traits_of(record))
            if isinstance(turn, Turn):
                found.answers.append(turn)
                dropped = thought_note(record.messages[position], text[turn.start : turn.end])
                found.notes.extend([dropped] if dropped is not None else ())
            elif isinstance(turn, Note):
                results[index] = results[index] or turn
            elif results[index] is None:
                message = record.messages[position]
                results[index] = Note("template.not-prefix-stable", message.at, turn, shown(message.content))

    def _finish(self, record: Conversation, ready: Prepared, text: str, found: Located) -> RenderedText | Note:
        return self._results.finish(record, ready, text, found, self._traits_of(record))
