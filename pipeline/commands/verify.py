"""`prep verify`: every file of an output against its manifest."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("out")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def command(out: str, quiet: bool, as_json: bool) -> int:
    """Check every file of OUT, a folder or URL, against its manifest: size, rows and sha256, and the manifest itself.

    Files in prep's own places that the manifest does not list are named as problems, others of yours as notes.
    """
    from pipeline.output.manifest import listed_files
    from pipeline.output.open import open_files
    from pipeline.output.verify import HINT, notes, problems
    from stages.core.display import clean
    from stages.core.urls import public

    held = open_files(out)
    wrong, others = problems(held), notes(held)
    shown = public(out)
    count = len(listed_files(held.manifest))
    if as_json:
        click.echo(json.dumps({"out": shown, "files": count, "problems": wrong, "notes": others}, ensure_ascii=False))
    elif wrong:
        for line in wrong:
            click.echo(f"prep: {shown}/{clean(line)}", err=True)
        click.echo(f"  hint: {HINT}", err=True)
    elif not quiet:
        for line in others:
            click.echo(f"note: {shown}/{clean(line)}", err=True)
        click.echo(f"{shown}: all {count} files are as the manifest says")
    return 1 if wrong else 0
