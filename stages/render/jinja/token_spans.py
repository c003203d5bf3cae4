"""From a rendered text to token ids and the runs of them that are trained.

    text   <|im_start|>assistant\\nFour.<|im_end|>\\n        spans  [(22, 37)]
    ids    151644 77091 198 38830 13 151645 198             runs   [(3, 6)]

The text is encoded whole; the tokenizer's offsets say where each token starts, and it belongs to the side it starts in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from stages.core.display import shown
from stages.core.findings import Note

from .chat_template import AutoTemplate

if TYPE_CHECKING:
    import tokenizers


class RenderedText(NamedTuple):
    """text: the whole conversation. spans: [start, end) characters that are trained, sorted and disjoint. notes: what
    the template did that the user should know. traits: what it added, as in `stages.core.segments.TRAITS`."""

    text: str
    spans: tuple[tuple[int, int], ...]
    notes: tuple[Note, ...] = ()
    traits: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """ids of the whole text; runs: [start, end) tokens that are trained; border_tokens: tokens that reach over the edge
    of a span (each belongs to the side in which it starts)."""

    ids: list[int]
    runs: list[tuple[int, int]]
    border_tokens: int


def encode_auto(batch: Sequence[RenderedText], tokenizer: tokenizers.Tokenizer) -> list[Encoded]:
    """Token ids and trained runs of each text: the whole text is encoded at once, without further special tokens.

    `tokenizer` must neither truncate nor pad.
    """
    encodings = tokenizer.encode_batch([item.text for item in batch], add_special_tokens=False)
    return [_encoded(item, encoding) for item, encoding in zip(batch, encodings, strict=True)]


def _encoded(item: RenderedText, encoding: tokenizers.Encoding) -> Encoded:
    ids: list[int] = encoding.ids
    if not item.spans:
        return Encoded(ids, [], 0)
    offsets: list[tuple[int, int]] = encoding.offsets
    starts = [start for start, _ in offsets]
    runs = []
    border_tokens = 0
    for start, end in item.spans:
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        for edge, token in ((start, first - 1), (end, last - 1)):
            if token >= 0 and offsets[token][0] < edge < offsets[token][1]:
                border_tokens += 1
        if first < last:
            runs.append((first, last))
    return Encoded(ids, runs, border_tokens)


def bos_note(text: str, template: AutoTemplate) -> Note | None:
    """A finding when the rendered text begins with BOS twice, or not at all though the tokenizer would write one."""
    bos = template.bos
    if not bos:
        return None
    if text.startswith(bos + bos):
        return Note("template.double-bos", "", f"the text begins with {shown(bos)} twice", shown(text))
    if template.adds_bos and not text.startswith(bos):
        return Note("template.missing-bos", "", f"the chat template does not begin with {shown(bos)}", shown(text))
    return None
