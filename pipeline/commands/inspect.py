"""`prep inspect`: rows as text, tokens, mask and boundaries."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from stages.core.findings import as_json

from .options import PASS_ON

if TYPE_CHECKING:
    from pipeline.inspect.row_view import View
    from pipeline.inspect.select_rows import Pick
    from pipeline.output.shards import Shards
    from stages.tokenize.decode import TokenTexts


@click.command("inspect", context_settings=PASS_ON)
@click.argument("target", nargs=-1, type=click.UNPROCESSED, metavar="OUT | CONFIG.yaml [key=value ...]")
@click.option("--row", "rows", type=int, multiple=True, metavar="N", help="A row, from 0; may be given several times.")
@click.option("--split", metavar="NAME", help="Only this split (default: train for --row, else all).")
@click.option("--find", metavar="TEXT", help="Examples that hold this text.")
@click.option("--rule", metavar="RULE", help="Examples of records that a finding of this rule names.")
@click.option("--worst", type=click.Choice(["truncated", "longest", "least-trained"]), help="The worst examples first.")
@click.option("--limit", type=click.IntRange(min=1), default=3, show_default=True, help="Rows or examples to show.")
@click.option("--ids", is_flag=True, help="Show each token's id.")
@click.option("--full", is_flag=True, help="Show long turns whole.")
@click.option("--tokenizer", metavar="DIR", help="Tokenizer folder (default: the one that packed).")
@click.option("--plain", is_flag=True, help="No colour and no pager.")
@click.option("--quiet", is_flag=True, help="No legend and no notes.")
@click.option("--json", "wanted_json", is_flag=True, help="The rows as JSON on stdout.")
def command(
    target: tuple[str, ...],
    rows: tuple[int, ...],
    split: str | None,
    find: str | None,
    rule: str | None,
    worst: str | None,
    limit: int,
    ids: bool,
    full: bool,
    tokenizer: str | None,
    plain: bool,
    quiet: bool,
    wanted_json: bool,
) -> int:
    """Show rows as they will be trained on: text, token borders, mask, end marks, and where each came from.

    TARGET is an output of `prep pack`, or a configuration, which is prepared into a temporary folder.

    \b
      prep inspect prepared/chats-sft --row 812
      prep inspect sft.yaml --worst truncated
      prep inspect prepared/chats-sft --rule text.special-token --limit 10

    Exit code 1 when --find, --rule or --worst matches nothing.
    """
    from pipeline.inspect.open_target import opened, token_texts
    from pipeline.inspect.row_view import Viewer
    from registry.errors import UsageFault

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if sum(bool(way) for way in (rows, find, rule, worst)) > 1:
        raise UsageFault("--row, --find, --rule and --worst choose rows in different ways", hint="give one of them")
    with opened(target, say, command) as found:
        texts = token_texts(found.shards, tokenizer, say)
        chosen, remarks = _choose(found.shards, texts, _Wanted(rows, split, find, rule, worst, limit))
        for line in remarks:
            say(line)
        viewer = Viewer(found.shards, texts)
        views = (viewer.view(name, number, only) for name, number, only in _by_row(chosen))
        if wanted_json:
            _write_json(found.name, views)
        elif chosen:
            _show(views, texts, ids=ids, full=full, plain=plain, quiet=quiet)
    return 0 if chosen or not (find or rule or worst) else 1


class _Wanted(NamedTuple):
    """Which rows are requested: one of rows, find, rule and worst, or none of them for the first ones."""

    rows: tuple[int, ...]
    split: str | None
    find: str | None
    rule: str | None
    worst: str | None
    limit: int


def _choose(shards: Shards, texts: TokenTexts, wanted: _Wanted) -> tuple[list[Pick], list[str]]:
    """What to show, and what to say about it."""
    from pipeline.inspect import select_rows as select

    rows, split, find, rule, worst, limit = wanted
    splits = [split] if split else shards.splits
    for name in splits:
        shards.shards(name)  # a split that is not there is named before anything is read
    if rows:
        return [select.Pick(split or splits[0], number) for number in rows], []
    if find is not None:
        chosen = list(itertools.islice(select.find_text(shards, texts, splits, find), limit + 1))
        more = "there are more; --limit shows more of them" if len(chosen) > limit else ""
        return chosen[:limit], [more or f"{len(chosen)} examples hold that text"]
    if rule is not None:
        named = select.by_rule(shards, splits, rule)
        line = f"{rule}: {named.counted:,} findings, {named.listed:,} of them listed in report.json"
        gone = f"{named.without_row:,} of those records stand in no row (see rejects/)" if named.without_row else ""
        return named.picks[:limit], [line, *([gone] if gone else []), *_rest(len(named.picks), limit)]
    if worst is not None:
        chosen = select.worst(shards, splits, worst, limit)
        return chosen, [] if chosen else ["no record was cut"]
    every = sum(shards.rows(name) for name in splits)
    return list(itertools.islice(select.first_rows(shards, splits), limit)), _rest(every, limit)


def _rest(count: int, limit: int) -> list[str]:
    return [f"{limit} of {count:,} shown; --limit N shows more"] if count > limit else []


def _by_row(chosen: Iterable[Pick]) -> Iterator[tuple[str, int, set[int] | None]]:
    """Picks with neighbours of the same row put together."""
    for (split, row), group in itertools.groupby(chosen, key=lambda pick: (pick.split, pick.row)):
        parts = [pick.part for pick in group]
        yield split, row, None if None in parts else {part for part in parts if part is not None}


def _write_json(name: str, views: Iterable[View]) -> None:
    click.echo(as_json({"target": name, "rows": [view.as_dict() for view in views]}))


def _show(views: Iterable[View], texts: TokenTexts, *, ids: bool, full: bool, plain: bool, quiet: bool) -> None:
    from pipeline.inspect.row_text import Look, legend, view_lines

    terminal = sys.stdout.isatty()
    size = shutil.get_terminal_size()
    look = Look(
        width=min(max(size.columns, 60), 140) if terminal else 80,
        colour=not plain and wants_colour(terminal),
        ids=ids,
        full=full,
    )
    lines = [] if quiet else [*legend(look), ""]
    for view in views:
        lines += [*view_lines(view, texts, look), ""]
    text = "\n".join(lines[:-1])
    if terminal and not plain and len(lines) > size.lines:
        click.echo_via_pager(text, color=look.colour)
    else:
        click.echo(text, color=look.colour)


def wants_colour(terminal: bool) -> bool:
    """Colour on a terminal, unless NO_COLOR (any text) or TERM=dumb says no; FORCE_COLOR switches it on anywhere."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (terminal and os.environ.get("TERM") != "dumb")
