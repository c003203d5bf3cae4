"""`prep report`: an output as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("out")
@click.option("-o", "--output", metavar="FILE", help="Where to write the page (default: OUT's name with .html).")
@click.option("--tokenizer", metavar="DIR", help="Tokenizer folder (default: the one that packed).")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "wanted_json", is_flag=True, help="What was written, as JSON on stdout.")
def command(out: str, output: str | None, tokenizer: str | None, quiet: bool, wanted_json: bool) -> int:
    """Write OUT as one HTML page: ledger, findings, lengths, cutoffs, mixture, packing, and rows token by token.

    The page is complete in itself: nothing is fetched, and it may be sent to anyone who may see the data.

    \b
      prep report prepared/chats-sft -o report.html
    """
    from pipeline.inspect.open_target import open_shards, token_texts
    from pipeline.inspect.page.build import report_page
    from pipeline.output.protect_inputs import refuse_folder, refuse_output
    from registry.errors import UsageFault
    from stages.core.atomic_io import make_folder, write_whole
    from stages.core.display import clean
    from stages.core.findings import as_json

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    shards = open_shards(out, say)
    target = Path(output) if output else Path(f"{Path(out).resolve().name}.html")
    refuse_folder(target, "-o", "report.html")
    refuse_output(target, out, shards.manifest, "-o")
    try:
        texts = token_texts(shards, tokenizer, say)
    except UsageFault as fault:
        if tokenizer is not None:
            raise
        texts = None
        say(f"note: {clean(fault.problems[0])}; the page is without samples ({fault.hint})")
    page = report_page(shards, texts, Path(out).resolve().name)
    data = page.html.encode("utf-8")
    make_folder(target.parent)
    write_whole(target, data)
    if wanted_json:
        click.echo(as_json({"file": str(target), "bytes": len(data), "samples": page.samples}))
    elif not quiet:
        click.echo(f"{clean(str(target))}: {len(data) / 1e6:.1f} MB, {page.samples} samples")
    return 0
