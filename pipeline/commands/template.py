"""`prep template show|check`: what a template writes, and whether the tokenizer's own chat template writes the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from registry.templates import COMPATS

if TYPE_CHECKING:
    from registry.templates import Slot, Template
    from stages.render.jinja.probe import Traits
    from stages.render.jinja.renderer import AutoRenderer
    from stages.render.parity import CaseProof, TemplateProof


_DATE = "2026-11-21"  # contract.md: the default of template_date


@click.group()
def command() -> None:
    """Show a template, or prove it against the tokenizer's own.

    NAME is one of `prep list templates`, or `auto` for the tokenizer's own chat template.
    """


_tokenizer = click.option("--tokenizer", "folder", metavar="DIR", help="The folder that holds tokenizer.json.")
_compat = click.option("--compat", default=COMPATS[0], show_default=True, help="Whose templates.")
_json = click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")


@command.command()
@click.argument("name")
@_tokenizer
@_compat
@_json
def show(name: str, folder: str | None, compat: str, as_json: bool) -> int:
    """Show the slots of template NAME; `auto` needs --tokenizer."""
    from registry.errors import UsageFault
    from registry.templates import load_template

    if name != "auto":
        _show_slots(load_template(name, compat), as_json)
        return 0
    if folder is None:
        raise UsageFault("template auto is the tokenizer's own: --tokenizer DIR says which")
    from stages.render.jinja.chat_template import load_auto
    from stages.render.jinja.renderer import AutoRenderer

    template = load_auto(folder)
    with AutoRenderer(template) as renderer:
        traits = {source: renderer.traits(source == "tool_use") for source in template.sources if source in _NAMED}
    if as_json:
        from dataclasses import asdict

        found = {source: asdict(trait) for source, trait in traits.items()}
        click.echo(
            json.dumps({"origin": template.origin, "sha256": template.sha256, "found": found}, ensure_ascii=False)
        )
        return 0
    click.echo(f"{folder}/{template.origin}  sha256 {template.sha256[:16]}")
    for source, trait in traits.items():
        click.echo(f"{source}")
        _show_traits(trait)
    return 0


_NAMED = ("default", "tool_use")


@command.command()
@click.argument("name")
@click.option(
    "--tokenizer",
    "folder",
    metavar="DIR",
    required=True,
    help="The folder that holds tokenizer.json.",
)
@_compat
@click.option("--template-date", default=_DATE, show_default=True, help="The date that templates get.")
@click.option("--enable-thinking", type=click.BOOL, default=None, help="Passed to both templates; unset by default.")
@_json
def check(name: str, folder: str, compat: str, template_date: str, enable_thinking: bool | None, as_json: bool) -> int:
    """Compare template NAME with the tokenizer's own chat template, token by token.

    Exits 0 when both write the same wherever both can write, 1 when they differ. For `auto` it shows what of each
    conversation would be trained.
    """
    from datetime import date

    from registry.errors import UsageFault
    from stages.render.jinja.chat_template import load_auto
    from stages.render.jinja.renderer import AutoOptions, AutoRenderer
    from stages.render.parity import prove

    try:
        date.fromisoformat(template_date)
    except ValueError as error:
        raise UsageFault(f"--template-date: {template_date!r} is not a day like {_DATE}") from error
    options = AutoOptions(enable_thinking=enable_thinking, template_date=template_date)
    try:
        theirs = load_auto(folder)
    except UsageFault as fault:
        if name == "auto" or "no chat template" not in fault.problems[0]:
            raise
        raise UsageFault(
            f"{folder}: the tokenizer has no chat template of its own, so there is nothing to compare {name} with",
            hint=f"prep template show {name} prints what {name} writes",
        ) from None
    with AutoRenderer(theirs, options) as renderer:
        if name == "auto":
            return _check_auto(renderer, as_json)
        proof = prove(folder, name, compat, renderer, template_date)
    if as_json:
        click.echo(json.dumps(proof.as_dict(), ensure_ascii=False))
    else:
        _show_proof(proof, folder)
    return 1 if proof.verdict == "differs" else 0


def _check_auto(renderer: AutoRenderer, as_json: bool) -> int:
    from stages.core.display import clean
    from stages.render.jinja.token_spans import RenderedText
    from stages.render.parity import CASES, visible

    results = renderer.render([case.conversation for case in CASES])
    rows = []
    for case, result in zip(CASES, results, strict=True):
        notes = list(result.notes) if isinstance(result, RenderedText) else [result]
        spans = [result.text[start:end] for start, end in result.spans] if isinstance(result, RenderedText) else []
        noted = [{"rule": note.rule, "message": note.message} for note in notes]
        row: dict[str, Any] = {"case": case.name, "proven": isinstance(result, RenderedText)}
        rows.append(row | {"trained": spans, "notes": noted})
    if as_json:
        click.echo(json.dumps({"template": "auto", "cases": rows}, ensure_ascii=False))
        return 0
    for row in rows:
        click.echo(f"{row['case']}: {'trained text proven' if row['proven'] else 'cannot be written or proven'}")
        for span in row["trained"]:
            click.echo(f"  trained  {visible(span)}")
        for note in row["notes"]:
            click.echo(f"  {clean(note['message'])} [{note['rule']}]")
    return 0


# --- what a person reads ----------------------------------------------------------------------------------------------


def _show_slots(template: Template, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        click.echo(json.dumps(asdict(template), ensure_ascii=False))
        return
    from stages.render.parity import visible

    click.echo(f"{template.name} ({template.compat}), a {template.kind} template")
    for part in ("prefix", "system", "user", "assistant", "observation", "function"):
        slots: tuple[Slot, ...] = getattr(template, part)
        click.echo(f"  {part:<12} {'  '.join(_slot(slot) for slot in slots) or '-'}")
    click.echo(f"  {'tools':<12} {template.tools_format}; calls {template.function_format}")
    if template.default_system:
        click.echo(f"  {'system text':<12} {visible(template.default_system)}")
    click.echo(f"  {'stop words':<12} {'  '.join(map(visible, template.stop_words)) or '-'}")
    if template.reasoning:
        click.echo(f"  {'thoughts':<12} {visible(' ... '.join(template.thought_words))}")
    flags = [flag for flag in ("efficient_eos", "replace_eos", "replace_jinja_template") if getattr(template, flag)]
    click.echo(f"  {'flags':<12} {', '.join(flags) or '-'}")


def _slot(slot: Slot) -> str:
    from stages.render.parity import visible

    return f'"{visible(slot.value)}"' if slot.kind == "text" else f"<{slot.kind} {visible(slot.value)}>"


def _show_traits(traits: Traits) -> None:
    from stages.render.parity import visible

    rows = {
        "answers follow": "  or  ".join(f'"{visible(header)}"' for header in traits.headers)
        or "nothing that was found",
        "and end with": "  or  ".join(visible(stop) for stop in traits.stops) or "no stop token",
        "tool calls": f"not written: {visible(traits.tools_why_not)}" if traits.tools_why_not else "written",
        "system text": visible(traits.default_system) or "none of its own",
    }
    for what, text in rows.items():
        click.echo(f"  {what:<14} {text if len(text) <= 200 else text[:199] + '…'}")


def _show_proof(proof: TemplateProof, folder: str) -> None:
    click.echo(f"{proof.template} against {folder}/{proof.theirs_origin}: {_VERDICTS[proof.verdict]}")
    if proof.default_system:
        click.echo(f"  the tokenizer's template brings a system prompt: {proof.default_system[:100]}")
    for case in proof.cases:
        click.echo(f"{case.case}: {_VERDICTS[case.verdict]}{_size(case)}")
        if case.reason:
            click.echo(f"  {case.reason}")
        if case.difference is not None and case.verdict == "differs":
            there = case.difference
            click.echo(f"  after {there.at_token} equal tokens   ...{there.shared[-60:]}")
            click.echo(f"  ours    {there.ours}   (first token {there.ours_token!r})")
            click.echo(f"  theirs  {there.theirs}   (first token {there.theirs_token!r})")


_VERDICTS = {
    "equal": "equal, token by token",
    "equal-up-to-the-last-stop": "equal up to the last stop; only what follows it differs",
    "differs": "they differ",
    "ours-refuses": "ours cannot write it",
    "theirs-refuses": "theirs cannot write it",
    "neither": "neither can write it",
    "nothing-to-compare": "there is no conversation that both can write",
}


def _size(case: CaseProof) -> str:
    return f" ({case.ours_tokens} tokens)" if case.verdict == "equal" else ""
