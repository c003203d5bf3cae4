"""Views as text for a terminal: a gutter with the segment and whether it is trained, then the tokens.

    answer 1       12 █ The¦ sky¦ is¦ blue¦.¦<|im_end|>■

Readable without colour: a full bar is trained, a thin one is masked. Whatever a record holds, only printable characters
leave here (stages.core.display.clean); line breaks and tabs are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.output.shards import IGNORE
from stages.core.display import cells, clean
from stages.tokenize.decode import TokenTexts

from .row_view import Example, Stretch, View

BORDER, BREAK, TAB, PART = "¦", "⏎", "⇥", "◌"
STOP_TRAINED, STOP_MASKED = "■", "□"
GUTTER = 20
HEAD_TOKENS, TAIL_TOKENS = 160, 60  # shown of a long stretch: its beginning, and the end where a cut shows

_TRAINED, _MASKED, _FAINT, _HEAD, _STOP = "32", "36", "2", "1", "1;35"


@dataclass(frozen=True)
class Look:
    """How views are drawn. width: columns. ids: each token's id beside it. full: no long turn is shortened."""

    width: int = 80
    colour: bool = False
    ids: bool = False
    full: bool = False

    def paint(self, text: str, code: str) -> str:
        """Text in a colour, or as it is. `text` is clean already."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def legend(look: Look) -> list[str]:
    """What the marks mean; goes on top."""
    paint = look.paint
    return [
        f"{paint('█ trained', _TRAINED)}: a loss is taken here     {paint('│ masked', _MASKED)}: context only, no loss",
        f"{BORDER} token border, {BREAK} line break, {TAB} tab, {PART} part of a letter, "
        f"{STOP_TRAINED} end mark ({STOP_MASKED} masked)",
    ]


def view_lines(view: View, texts: TokenTexts, look: Look) -> Iterator[str]:
    """A row as lines.

    Args:
        view: The row, or some of its examples.
        texts: For labels that are not the token itself.
        look: Width, colours, and how much is shown.
    """
    trained = f"{view.tokens:,} tokens, {view.trained_tokens:,} trained"
    many = f", {view.of} examples" if view.of > 1 else ""
    label = "" if view.label is None else f", label {'true (wanted)' if view.label else 'false (unwanted)'}"
    yield look.paint(f"{clean(view.split)} row {view.row}: {trained}{many}{label}", _HEAD)
    yield look.paint(f"  {view.shard} row {view.row_in_shard}", _FAINT)
    for example in view.examples:
        yield ""
        yield from _example_lines(example, view, texts, look)


def _example_lines(example: Example, view: View, texts: TokenTexts, look: Look) -> Iterator[str]:
    about = example.about
    number = f"example {about['example'] + 1} of {view.of}  " if view.of > 1 else ""
    place = clean(f"{about['file']}:{about['line']}")
    room = look.width - len(number)
    if len(place) > room:
        place = "…" + place[len(place) - room + 1 :]
    yield look.paint(number + place, _HEAD)
    end = about["start"] + about["tokens"] - 1
    lost = f"; {about['tokens_lost']:,} more were cut" if about["tokens_lost"] else ""
    begun = f"; goes on from token {about['offset']:,} of its record" if about["offset"] else ""
    yield f"  tokens {about['start']} to {end}, {about['trained_tokens']:,} of {about['tokens']:,} trained{lost}{begun}"
    for stretch in example.stretches:
        yield from _stretch_lines(stretch, view, texts, look)


def _stretch_lines(stretch: Stretch, view: View, texts: TokenTexts, look: Look) -> Iterator[str]:
    turn = f" {stretch.turn + 1}" if stretch.segment in ("prompt", "answer") and view.label is None else ""
    code = _TRAINED if stretch.trained else _MASKED
    bar = look.paint("█" if stretch.trained else "│", code)
    first = f"{stretch.segment}{turn:<4}"[:11].ljust(11) + f"{len(stretch.ids):>7,} "
    for at, line in enumerate(_wrapped(stretch, view, texts, look, code)):
        yield f"{first if at == 0 else ' ' * len(first)}{bar} {line}".rstrip()


def _wrapped(stretch: Stretch, view: View, texts: TokenTexts, look: Look, code: str) -> Iterator[str]:
    """The tokens, folded between tokens where they fit a line and inside of one where it is longer than a line."""
    room = look.width - GUTTER - 3
    line: list[str] = []
    used = 0
    for token in _shown(stretch, view, texts, look):
        columns = sum(cells(part) for part, _ in token)
        if used and used + columns > room:
            yield "".join(line)
            line, used = [], 0
        broken = False
        for text, role in token:
            if broken and role != _FAINT:
                yield "".join(line)
                line, used, broken = [], 0, False
            for piece in _pieces(text, room):
                if used + cells(piece) > room + (text == BORDER) and not broken:  # a border may stand in the margin
                    yield "".join(line)
                    line, used = [], 0
                line.append(look.paint(piece, role or code))
                used += cells(piece)
            broken = broken or (text.endswith(BREAK) and not role)
        if broken:
            yield "".join(line)
            line, used = [], 0
    if line:
        yield "".join(line)


def _pieces(text: str, room: int) -> Iterator[str]:
    """A text in pieces of at most `room` columns."""
    if cells(text) <= room:
        yield text
        return
    piece, used = "", 0
    for char in text:
        if used + cells(char) > room:
            yield piece
            piece, used = "", 0
        piece += char
        used += cells(char)
    yield piece


def _shown(stretch: Stretch, view: View, texts: TokenTexts, look: Look) -> Iterator[list[tuple[str, str]]]:
    """Each token as (clean text, colour code) parts; an empty code stands for the stretch's own colour."""
    count = len(stretch.ids)
    gap = (
        range(HEAD_TOKENS, count - TAIL_TOKENS)
        if not look.full and count > HEAD_TOKENS + TAIL_TOKENS + 20
        else range(0)
    )
    for at in range(count):
        if at in gap:
            if at == gap.start:
                yield [(f" … {len(gap):,} more tokens (--full) … ", _FAINT)]
            continue
        number, label = stretch.ids[at], stretch.labels[at]
        parts = [(text, "") for text in _lines_of(stretch.texts[at])]
        if number in view.stops:
            parts.append((STOP_TRAINED if stretch.trained else STOP_MASKED, _STOP))
        if label not in (IGNORE, number):  # some templates teach the end mark in the place of another token
            parts.append((f"→{clean(texts.text([label]))}", _STOP))
        if look.ids:
            parts.append((f"({number})", _FAINT))
        if at + 1 < count:
            parts.append((BORDER, _FAINT))
        yield parts


def _lines_of(text: str) -> list[str]:
    """A token's text, drawn, cut after each line break."""
    if not text:
        return [PART]
    lines = [drawn(part) for part in text.split("\n")]
    return [line + BREAK for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def drawn(text: str) -> str:
    """A text without line breaks as it is shown: tabs as a mark, other hidden characters as escapes."""
    return TAB.join(clean(part) for part in text.split("\t"))
