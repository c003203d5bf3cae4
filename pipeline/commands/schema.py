"""`prep schema FORMAT`: the published JSON Schema of a record format, or of a file that prep reads or writes."""

from __future__ import annotations

import click

import schemas
from registry.errors import UsageFault, did_you_mean


@click.command(
    epilog=f"""FORMAT is one of {", ".join(schemas.names())}.

    Example: prep schema openai > openai.schema.json"""
)
@click.argument("name", required=False, metavar="FORMAT")
def command(name: str | None) -> None:
    """Print a JSON Schema (2020-12)."""
    known = schemas.names()
    if name is None:
        raise UsageFault("which schema is not given", hint=f"prep schema FORMAT; one of {', '.join(known)}")
    if name not in known:
        raise UsageFault(f"there is no schema {name!r}{did_you_mean(name, known)}", hint=f"one of {', '.join(known)}")
    click.echo(schemas.text(name), nl=False)
