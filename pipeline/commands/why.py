"""`prep why`: what an output's identity is made of."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import click


@click.command()
@click.argument("out")
@click.option("--json", "as_json", is_flag=True, help="The parts as JSON on stdout.")
def command(out: str, as_json: bool) -> int:
    """Show what each stage's cache key of OUT is made of, and what the last run reused."""
    from pipeline.output.manifest import CACHE
    from pipeline.output.open import read_manifest
    from pipeline.output.store import is_store
    from stages.core.display import clean
    from stages.core.urls import public

    manifest = read_manifest(out)
    folder = _folder(out, manifest["key"])
    path = folder / CACHE / "keys.json"
    made_of = json.loads(path.read_bytes()) if path.is_file() else {}
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
    for stage, parts in made_of.items():
        click.echo(f"{stage}")
        for name, value in parts.items():
            if name == "inputs":
                for entry in value:
                    click.echo(f"  {entry['source']}: {clean(entry['path'])}  sha256 {entry['sha256'][:16]}")
                continue
            for part in value if isinstance(value, list) and value else [value]:
                text = clean(part if isinstance(part, str) else json.dumps(part, ensure_ascii=False))
                click.echo(textwrap.fill(f"{name}: {text}", 80, initial_indent="  ", subsequent_indent="    "))
    return 0


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
