"""The page docs/rules.md, made from the rule table."""

from __future__ import annotations

from registry.rules import Rule, areas, rules


def page() -> str:
    """The page as Markdown: one section an area, one entry a rule, in the order of the table."""
    table = rules()
    names = list(dict.fromkeys(rule_id.split(".")[0] for rule_id in table))
    lines = [
        "# Rules",
        "",
        f"{len(table)} rules. This page is made from `registry/rules.yaml` by `prep list rules --markdown`.",
        "",
        "*error*: the record is rejected. *warning*: it is kept and told about. A level can be changed with",
        "`rules:` in the configuration, `--error`, `--warn`, `--off`, and `--strict` (every warning is an error).",
        "*fixed* ones cannot be lowered, because such a record cannot be encoded at all.",
    ]
    for name in names:
        lines += ["", f"## {areas()[name].title}"]
        for rule in table.values():
            if rule.id.split(".")[0] == name:
                lines += ["", *_entry(rule)]
    return "\n".join(lines) + "\n"


def _entry(rule: Rule) -> list[str]:
    level = rule.severity + (", fixed" if rule.fixed else "")
    for stage, severity in rule.by_stage.items():
        level += f"; {severity} in {stage}"
    lines = [f"### {rule.id}", "", f"*{level}*. {_sentence(rule.meaning)} {_sentence(rule.why)}", ""]
    lines.append(f"Hint: {rule.hint}." + (f" Repair: `{rule.repair}` (`--fix`)." if rule.repair else ""))
    if rule.example:
        lines += ["", "```", rule.example, "```"]
    return lines


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
