"""`prep explain RULE`: what a rule means, why it matters, how to fix it, and a record that breaks it."""

from __future__ import annotations

import json
import textwrap

import click

from registry.errors import UsageFault, did_you_mean
from registry.rules import Rule, rules

_COLUMNS = 80


@click.command(epilog="Example: prep explain role.unknown")
@click.argument("rule", required=False)
@click.option("--json", "as_json", is_flag=True, help="The rule as a JSON object on stdout.")
def command(rule: str | None, as_json: bool) -> None:
    """Explain a rule: meaning, reason, remedy, example."""
    table = rules()
    if rule is None:
        raise UsageFault("which rule is not given", hint="prep explain role.unknown; prep list rules shows them all")
    found = table.get(rule)
    if found is None:
        area = [rule_id for rule_id in table if rule_id.startswith(f"{rule}.")]
        if area:
            raise UsageFault(f"{rule} is an area, not a rule", hint=f"its rules: {', '.join(area)}")
        raise UsageFault(f"there is no rule {rule!r}{did_you_mean(rule, table)}", hint="prep list rules shows them all")
    if as_json:
        click.echo(json.dumps({**vars(found), "by_stage": dict(found.by_stage)}, ensure_ascii=False))
        return
    for line in explained(found):
        click.echo(line)


def explained(rule: Rule) -> list[str]:
    """The rule as lines of at most 80 columns; the example stays on one line, so that it can be copied."""
    level = rule.severity + (" (cannot be lowered: such a record cannot be encoded)" if rule.fixed else "")
    stages = "".join(f", {severity} in stage {stage}" for stage, severity in rule.by_stage.items())
    lines = [rule.id, ""]
    parts = [("what", rule.meaning), ("why", rule.why), ("hint", rule.hint), ("level", level + stages)]
    if rule.repair:
        parts.append(("repair", f"{rule.repair} (prep validate --fix OUT)"))
    for name, text in parts:
        lines += textwrap.wrap(f"{name:<8}{text}", _COLUMNS, subsequent_indent=" " * 8, break_on_hyphens=False)
    if rule.example:
        lines += ["", "breaks it:", f"  {rule.example}"]
    return lines
