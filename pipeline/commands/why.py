"""`prep why`: what an output's identity is made of."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="The parts as JSON on stdout.")
def command(out: str, as_json: bool) -> int:
    """Show what each stage's cache key of OUT is made of, and what the last run reused."""
    from pipeline.output.manifest import CACHE, KEYS
    from pipeline.output.open import read_manifest
    from pipeline.output.store import is_store
    from stages.core.display import clean
    from stages.core.urls import public

    manifest = read_manifest(out)
    folder = _folder(out, manifest["key"])
    made_of = _parts(folder / CACHE / KEYS)
    if as_json:
        click.echo(json.dumps({"key": manifest["key"], "made_of": made_of, "run": manifest["run"]}, ensure_ascii=False))
        return 0
    run = manifest["run"]
    click.echo(f"{public(out)}: key {manifest['key'][:16]}, finished {run['finished']}")
    click.echo(f"  chunks: {run['chunks_reused']} of {run['chunks']} reused from the cache")
    if not made_of:
        if is_store(out):
            click.echo(
                "  no cache of it on this machine (made elsewhere, or with --no-cache), so its parts are not known"
            )
        else:
            click.echo("  no cache in this output (made with --no-cache), so its parts are not kept")
    for part, values in made_of.items():
        click.echo(part)
        for line in _lines(part, values):
            click.echo(textwrap.fill(clean(line), 80, initial_indent="  ", subsequent_indent="    "))
    return 0


def _parts(path: Path) -> dict[str, dict[str, Any]]:
    """What an output's key is made of, none where that is not kept or is damaged: it is a cache."""
    from registry.errors import DataFault
    from stages.core.plain_file import read_plain

    try:
        found = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError, DataFault):
        return {}
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        return {}
    return found


def _lines(part: str, values: dict[str, Any]) -> Iterator[str]:
    """What one part of a key is made of, a line a value; what was left out says nothing."""
    if part == "rules":  # more than a hundred of them: --json lists each
        counts = Counter(values.values())
        yield ", ".join(f"{counts[severity]} {severity}" for severity in sorted(counts))
        return
    for name, value in values.items():
        if name == "inputs":
            yield from (f"{entry['source']}: {entry['path']}  sha256 {entry['sha256'][:16]}" for entry in value)
        elif (given := _given(value)) is not None:
            yield f"{name}: {given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)}"


def _given(value: Any) -> Any:
    """A value without what is null in it."""
    if isinstance(value, dict):
        return {name: _given(inner) for name, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def _folder(out: str, key: str) -> Path:
    """Where the output's cache is: in its folder, or in the one that it was built in before it went to a URL."""
    from pipeline.output.open import read_manifest
    from pipeline.output.store import STAGING, cache_folder, is_store, local_folder
    from registry.errors import Fault

    if not is_store(out):
        return local_folder(out)
    folder = cache_folder(out, STAGING)
    try:
        is_same = read_manifest(folder)["key"] == key
    except Fault:
        is_same = False
    return folder if is_same else folder / "none"
