"""`template: auto` in the shape that the rest of the line takes: segments of token ids, trained or not.

    ids      [ . . . . . . . . . . . . . ]       one encoding of the whole rendered text
    runs             |###|         |###|         what is trained
    segments   |-------|###|---------|###|-|       source, target, source, target, source (its target is empty)

`AutoHalves.render` stands where `Renderer.render` stands for a template of ours. The ids are final: pieces are numbers,
and nothing is tokenized again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING

from stages.core.conversation import Conversation
from stages.core.findings import Note
from stages.core.segments import Rendered, Segment

from .chat_template import AutoTemplate
from .renderer import AutoOptions, AutoRenderer
from .token_spans import Encoded, RenderedText, bos_note, encode_auto

if TYPE_CHECKING:
    import tokenizers


@dataclass(frozen=True)
class SegmenterSpec:
    """kind: lm | pref | unpaired | prompt | pt, as in `stages.render.slot_renderer`. pt_eos_text: what ends a
    pretraining text."""

    template: AutoTemplate
    kind: str = "lm"
    options: AutoOptions = field(default_factory=AutoOptions)
    pt_eos_text: str = ""
    texts: bool = False  # lm segments as texts, for stages.tokenize.whole_texts.WholeTexts, instead of ids


class Segmenter:
    """Renders and encodes records with a tokenizer's own template. Use it in a `with`, or `close` it."""

    def __init__(self, spec: SegmenterSpec, tokenizer: tokenizers.Tokenizer) -> None:
        self.spec = spec
        self.tokenizer = tokenizer
        # only whole conversations are trained on their prompts; elsewhere the answer must stay apart
        lm = spec.kind == "lm"
        options = spec.options if lm else replace(spec.options, train_on_prompt=False, mask_history=False)
        self.renderer = AutoRenderer(spec.template, options)
        self._seen: dict[str, None] = {}  # traits of the record at hand, in order

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the render process."""
        self.renderer.close()

    def render(self, record: Conversation, notes: list[Note]) -> Rendered | None:
        """Segments of one record, as ids; None after a note that says why there are none."""
        kind = self.spec.kind
        self._seen.clear()
        if kind == "pt":
            return Rendered([[record.messages[0].content + self.spec.pt_eos_text]], [1])
        result = {"lm": self._lm, "pref": self._pref, "unpaired": self._unpaired, "prompt": self._prompt}[kind](
            record, notes
        )
        if isinstance(result, Note):
            notes.append(result)
            return None
        return result._replace(traits=tuple(self._seen)) if self._seen else result

    # --- kinds --------------------------------------------------------------------------------------------------------

    def _lm(self, record: Conversation, notes: list[Note]) -> Rendered | Note:
        text = self.renderer.render([record])[0]
        if isinstance(text, Note):
            return text
        if self.spec.texts:
            self._noted(text, notes)
            return _in_turn(lambda start, end: [text.text[start:end]], text.spans, len(text.text))
        encoded = self._encoded(text, notes)
        return _in_turn(lambda start, end: [*encoded.ids[start:end]], encoded.runs, len(encoded.ids))

    def _pref(self, record: Conversation, notes: list[Note]) -> Rendered | Note:
        pair = self.renderer.pairs([record])[0]
        if isinstance(pair, Note):
            return pair
        prompts, answers = [], []
        for text, said in zip(pair, (notes, []), strict=True):
            prompt, answer = _split(self._encoded(text, said))
            prompts.append(prompt)
            answers.append(answer)
        if prompts[0] != prompts[1]:
            at = record.chosen.at if record.chosen else ""
            what = "the prompt's last token takes up the beginning of one of the answers"
            return Note("template.not-prefix-stable", at, what)
        return Rendered([prompts[0], answers[0], answers[1]], [0, 1, 1])

    def _unpaired(self, record: Conversation, notes: list[Note]) -> Rendered | Note:
        prompt = tuple(message._replace(weight=0) for message in record.messages[:-1])
        last = record.messages[-1]._replace(weight=1)
        text = self.renderer.render([record._replace(messages=(*prompt, last))])[0]
        if isinstance(text, Note):
            return text
        label = 255 if record.label is None else int(record.label)
        return Rendered([*_split(self._encoded(text, notes))], [0, 1], label)

    def _prompt(self, record: Conversation, notes: list[Note]) -> Rendered | Note:
        """As the model will be asked: the prompt is rendered without its answer."""
        answered = bool(record.messages) and record.messages[-1].role in ("assistant", "function")
        requested = record._replace(messages=record.messages[:-1]) if answered else record
        text = self.renderer.prompts([requested])[0]
        if isinstance(text, Note):
            return text
        prompt: Segment = [*self._encoded(text, notes).ids]
        if not answered:
            return Rendered([prompt, []], [0, 1])
        answer = self._unpaired(record, [])
        return answer if isinstance(answer, Note) else Rendered([prompt, answer.segments[1]], [0, 1])

    def _noted(self, text: RenderedText, notes: list[Note]) -> None:
        notes.extend(text.notes)
        self._seen.update(dict.fromkeys(text.traits))
        bos = bos_note(text.text, self.spec.template)
        if bos is not None:
            notes.append(bos)

    def _encoded(self, text: RenderedText, notes: list[Note]) -> Encoded:
        self._noted(text, notes)
        encoded = encode_auto([text], self.tokenizer)[0]
        if encoded.border_tokens:
            what = f"{encoded.border_tokens} tokens reach over the edge of an answer"
            notes.append(Note("template.border-token", "", what))
        return encoded


def _in_turn(part: Callable[[int, int], Segment], runs: Sequence[tuple[int, int]], size: int) -> Rendered:
    """Source, target, source, target ...: what lies between the runs, and the runs. What follows the last one is a
    source with an empty target, so that segments stay in pairs."""
    segments: list[Segment] = []
    trained: list[int] = []
    done = 0
    for start, end in runs:
        segments += (part(done, start), part(start, end))
        trained += (0, 1)
        done = end
    if done < size or not segments:
        segments += (part(done, size), [])
        trained += (0, 0)
    return Rendered(segments, trained)


def _split(encoded: Encoded) -> tuple[Segment, Segment]:
    """Ids before the only trained run, and the run."""
    if not encoded.runs:
        return [*encoded.ids], []
    start, end = encoded.runs[-1]
    return [*encoded.ids[:start]], [*encoded.ids[start:end]]
