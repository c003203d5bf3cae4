"""`template: auto`: the tokenizer's own chat template, with a loss mask that is proven.

Takes conversations, gives `RenderedText` (the whole text as the model will see it, and the characters that are
trained), then token ids with the runs that are trained. The ids are those of transformers'
`apply_chat_template(tokenize=True)`: the text is tokenized whole, and spans become runs through the tokenizer's
offsets, so nothing is encoded piece by piece.

    text   <|im_start|>assistant\\nFour.<|im_end|>\\n        spans  [(22, 37)]
    ids    151644 77091 198 38830 13 151645 198             runs   [(3, 6)]

A trained span runs from the end of the generation prompt to the end of the stop token. Price: two renders a
conversation, about 0.5 ms, in the limited process of `stages.render.jinja.sandbox_process`; the tokenizer takes about
as long.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.errors import UsageFault
from stages.core.conversation import Conversation
from stages.core.display import shown
from stages.core.findings import Note

from .chat_template import AutoTemplate
from .loss_spans import ANSWERS, Located, Turn, by_marks, by_prefix
from .messages import Prepared, has_marks, prepare
from .probe import Traits, learn
from .results import Results, pair, refusal
from .sandbox_env import DEFAULT_DATE
from .sandbox_process import Item, Limits, Program, Wall
from .shape_cache import MAX_SHAPES, Shape, Skeleton, by_shape, sample_of, shape_of, skeleton_of
from .token_spans import RenderedText


@dataclass(frozen=True)
class AutoOptions:
    """What changes the text or the mask. enable_thinking: None leaves it to the template. extra: further variables for
    the template, as (name, value)."""

    enable_thinking: bool | None = None
    train_on_prompt: bool = False
    mask_history: bool = False
    template_date: str = DEFAULT_DATE
    extra: tuple[tuple[str, Any], ...] = field(default=(), hash=False)


class AutoRenderer:
    """Renders with one template and one set of options. Holds a child process: use it in a `with`, or `close` it."""

    def __init__(
        self, template: AutoTemplate, options: AutoOptions | None = None, limits: Limits | None = None
    ) -> None:
        self.template = template
        self.options = options or AutoOptions()
        variables: dict[str, Any] = {**template.variables, **dict(self.options.extra)}
        if self.options.enable_thinking is not None:
            variables["enable_thinking"] = self.options.enable_thinking
        self.wall = Wall(Program(template.sources, variables, self.options.template_date), limits)
        self._results = Results(self.options.train_on_prompt, self.options.mask_history)
        self._traits: dict[str, Traits] = {}
        self._skeletons: dict[Shape, Skeleton | None] = {}

    def __enter__(self) -> AutoRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child process."""
        self.wall.close()

    def traits(self, tools: bool = False) -> Traits:
        """What the template does around an answer. Raises UsageFault for a template that can write no conversation."""
        name = self.template.name_for(tools)
        if name not in self._traits:
            try:
                traits = learn(self.template, self.wall.render, name)
            except UsageFault as fault:
                traits = Traits(refuses=fault.problems[0])
            if traits.refuses:
                raise UsageFault(
                    f"template: auto: the tokenizer's chat template does not work: {shown(traits.refuses, 300)}",
                    hint="choose one of ours with `template: NAME`; `prep list templates` shows them",
                )
            self._traits[name] = traits
        return self._traits[name]

    # --- rendering ----------------------------------------------------------------------------------------------------

    def render(self, records: Sequence[Conversation]) -> list[RenderedText | Note]:
        """One result a record, in order: the text and its trained spans, or the reason why there is none.

        Raises UsageFault when the template works for no record at all.
        """
        results: list[RenderedText | Note | None] = [None] * len(records)
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
        items, indices = [], []
        for index, record in enumerate(records):
            ready = prepare(record, self.traits(bool(record.tools)).dialect, "none")
            if isinstance(ready, Note):
                results[index] = ready
            else:
                items.append(Item(self.template.name_for(bool(ready.tools)), ready.messages, ready.tools, generate))
                indices.append(index)
        for index, outcome in zip(indices, self.wall.render(items), strict=True):
            results[index] = refusal(outcome) if outcome.error else RenderedText(outcome.text, ())
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
        self._learn_shapes({shape: None for shape in shapes if shape is not None and shape not in self._skeletons})
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

    def _learn_shapes(self, shapes: Iterable[Shape]) -> None:
        """Skeletons from conversations of our own, so that no record's result depends on those before it."""
        new = list(shapes)
        if not new:
            return
        if len(self._skeletons) + len(new) > MAX_SHAPES:
            self._skeletons.clear()
        traits = self.traits()
        samples = [sample_of(shape) for shape in new]
        prepared = [prepare(sample, traits.dialect) for sample in samples]
        readies = [ready for ready in prepared if isinstance(ready, Prepared)]
        items = [Item(self.template.name_for(False), ready.messages, marked=True) for ready in readies]
        for shape, sample, ready, outcome in zip(new, samples, readies, self.wall.render(items), strict=True):
            found = None if outcome.error else by_marks(sample, ready, outcome, traits)
            self._skeletons[shape] = None if found is None else skeleton_of(sample, ready, outcome, found)

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
            ready = prepare(record, self.traits(bool(record.tools)).dialect, marking)
            if isinstance(ready, Note):
                results[index] = ready
                continue
            name = self.template.name_for(bool(ready.tools))
            items.append(Item(name, ready.messages, ready.tools, False, marking != "none"))
            work.append((index, ready))
        located: list[tuple[int, Prepared, str, Located]] = []
        for (index, ready), outcome in zip(work, self.wall.render(items) if items else [], strict=True):
            record = records[index]
            if outcome.error:
                results[index] = refusal(outcome)
                continue
            found = by_marks(record, ready, outcome, self.traits(bool(record.tools)))
            if found is None and marking != "none":
                left.append(index)
                continue
            if found is None:
                unknown = [at for at, message in enumerate(record.messages) if message.role in ANSWERS]
                found = Located([], [], unknown, [], [])
            if found.lost:
                results[index] = found.lost[0]
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
            ready = prepare(record, self.traits(bool(record.tools)).dialect, "none")
            assert isinstance(ready, Prepared)  # it was prepared before
            name = self.template.name_for(bool(ready.tools))
            shift = len(ready.messages) - len(record.messages)
            for position in found.open:
                items.append(Item(name, ready.messages[: position + shift], ready.tools, True))
                items.append(Item(name, ready.messages[: position + shift + 1], ready.tools, False))
                places.append((number, position))
        outcomes = self.wall.render(items) if items else []
        for at, (number, position) in enumerate(places):
            index, _, text, found = located[number]
            record = records[index]
            renders = outcomes[2 * at], outcomes[2 * at + 1]
            turn = by_prefix(text, record.messages, position, renders, self.traits(bool(record.tools)))
            if isinstance(turn, Turn):
                found.answers.append(turn)
            elif results[index] is None:
                message = record.messages[position]
                results[index] = Note("template.not-prefix-stable", message.at, turn, shown(message.content))

    def _finish(self, record: Conversation, ready: Prepared, text: str, found: Located) -> RenderedText | Note:
        return self._results.finish(record, ready, text, found, self.traits(bool(record.tools)))


@functools.lru_cache(maxsize=4)
def _shared(template: AutoTemplate, options: AutoOptions) -> AutoRenderer:
    return AutoRenderer(template, options)


def render_auto(
    conversation: Conversation, template: AutoTemplate, *, options: AutoOptions | None = None
) -> RenderedText | Note:
    """One record; a batch through `AutoRenderer.render` is faster. The child process is kept for the next call."""
    return _shared(template, options or AutoOptions()).render([conversation])[0]
