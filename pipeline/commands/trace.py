"""`prep trace`: which source line a packed token came from, and back."""

from __future__ import annotations

import json
from typing import Any

import click

from stages.core.findings import as_json


@click.command("trace")
@click.argument("out")
@click.option("--row", "number", type=int, metavar="N", help="A row of the split, counted from 0.")
@click.option("--token", type=int, metavar="T", help="One token of that row, counted from 0.")
@click.option("--source", metavar="FILE:LINE", help="The other way: where the record of a source line stands.")
@click.option("--split", default="train", show_default=True, help="The split that --row counts in.")
@click.option("--tokenizer", metavar="DIR", help="Tokenizer folder for the token's text (default: as packed).")
@click.option("--json", "wanted_json", is_flag=True, help="The answer as JSON on stdout.")
def command(
    out: str,
    number: int | None,
    token: int | None,
    source: str | None,
    split: str,
    tokenizer: str | None,
    wanted_json: bool,
) -> int:
    """Name the source file and line that a packed token came from; or where a source line went.

    \b
      prep trace OUT --row 812 --token 150
      prep trace OUT --source chats.jsonl:4711

    Exit code 1 when the source line stands in no row.
    """
    from pipeline.inspect.open_target import open_shards, token_texts
    from pipeline.inspect.trace import trace_row, trace_source
    from registry.errors import UsageFault
    from stages.core.display import clean

    shards = open_shards(out, lambda line: click.echo(line, err=True))
    if source is not None:
        if number is not None or token is not None:
            raise UsageFault("--source and --row ask opposite questions", hint="give one of them")
        found = trace_source(shards, source)
        if wanted_json:
            click.echo(as_json(found))
        else:
            click.echo("\n".join(clean(line) for line in _places(found)))
        return 0 if found["places"] else 1
    if number is None:
        raise UsageFault("what to trace is not given", hint="--row N [--token T], or --source FILE:LINE")
    found = trace_row(shards, split, number, token)
    if token is not None:
        found["text"] = _text(shards, tokenizer, found["id"], token_texts)
    if wanted_json:
        click.echo(as_json(found))
    else:
        click.echo("\n".join(clean(line) for line in _origin(found)))
    return 0


def _text(shards: Any, folder: str | None, number: int, load: Any) -> str | None:
    from registry.errors import Fault

    try:
        pieces: list[str] = load(shards, folder, lambda line: click.echo(line, err=True)).pieces([number])
    except Fault:
        if folder is not None:
            raise
        return None  # the place is known without it
    return pieces[0]


def _origin(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['split']} row {found['row']}: {found['tokens']:,} tokens, {found['shard']} row {found['row_in_shard']}"
    ]
    if "token" in found:
        part = found["examples"][0]
        text = f" {json.dumps(found['text'], ensure_ascii=False)}" if found["text"] is not None else ""
        loss = "trained" if found["trained"] else "masked"
        lines.append(f"token {found['token']}: id {found['id']}{text}, {loss}")
        lines.append(f"from {part['file']}:{part['line']}")
        if found["half"] is not None:
            turn = f"turn {found['turn'] + 1}, " if found["half"] in ("prompt", "answer") else ""
            lines.append(f"  {turn}{found['half']}, its token {found['in_half']} (counted from 0)")
        lines.append(f"  token {found['in_example']} of its example, which stands at {_range(part)}{_lost(part)}")
        return lines
    lines += [f"  {_range(part):<24}{part['file']}:{part['line']}{_lost(part)}" for part in found["examples"]]
    return lines


def _range(part: dict[str, Any]) -> str:
    return f"tokens {part['start']} to {part['start'] + part['tokens'] - 1}"


def _lost(part: dict[str, Any]) -> str:
    return f"  ({part['tokens_lost']:,} tokens cut)" if part["tokens_lost"] else ""


def _places(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['file']}:{found['line']}"]
    for place in found["places"]:
        lines.append(f"  {place['split']} row {place['row']}, {_range(place)}{_lost(place)}")
        lines.append(f"    {place['shard']} row {place['row_in_shard']}, {place['trained_tokens']} tokens trained")
    if not found["places"]:
        lines.append(f"  {found['reason']}")
    return lines
