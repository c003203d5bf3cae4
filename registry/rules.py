"""The rule table: every check has an id, a meaning, a severity for each stage and a remedy, in rules.yaml.

`Policy` answers one question for one run: is this rule an error, a warning, or off? It is made of the table, the
training stage, the user's overrides and `--strict`. A rule marked `fixed` names a record that cannot be encoded at all:
its severity cannot be lowered.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from .errors import UsageFault, did_you_mean

Severity = Literal["error", "warning", "off"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "off")


@dataclass(frozen=True)
class Rule:
    """One row of the table. `by_stage` overrides `severity` for the stages it names."""

    id: str
    severity: Severity
    by_stage: Mapping[str, Severity]
    meaning: str
    why: str
    hint: str
    example: str = ""
    fixed: bool = False
    repair: str = ""  # id of the --fix repair, "" when there is none


@dataclass(frozen=True)
class Area:
    """What the first part of a rule's id stands for. module: the source file that holds its checks."""

    name: str
    title: str
    module: str


@functools.cache
def _raw() -> dict[str, Any]:
    text = (resources.files(__package__) / "rules.yaml").read_text(encoding="utf-8")
    import yaml  # a worker that checks records has its policy and needs no table

    # the C loader is ten times as fast and reads the same; it is absent from some builds of PyYAML
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    table: dict[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506  # both loaders are safe ones
    return table


@functools.cache
def areas() -> dict[str, Area]:
    """The areas of the table by name, in file order."""
    return {name: Area(name, row["title"], row["module"]) for name, row in _raw()["areas"].items()}


@functools.cache
def rules() -> dict[str, Rule]:
    """The table by id, in file order. Raises ValueError when rules.yaml is malformed (a bug of ours)."""
    table: dict[str, Rule] = {}
    for rule_id, row in _raw().items():
        if rule_id == "areas":
            continue
        if rule_id.partition(".")[0] not in areas():
            raise ValueError(f"rules.yaml: {rule_id}: its area is not among the areas")
        severity = row["severity"]
        by_stage = {}
        if isinstance(severity, dict):
            by_stage = {stage: level for stage, level in severity.items() if stage != "default"}
            severity = severity["default"]
        if severity not in SEVERITIES or any(level not in SEVERITIES for level in by_stage.values()):
            raise ValueError(f"rules.yaml: {rule_id}: severity must be one of {SEVERITIES}")
        table[rule_id] = Rule(
            id=rule_id,
            severity=severity,
            by_stage=by_stage,
            meaning=row["meaning"],
            why=row["why"],
            hint=row["hint"],
            example=row.get("example", ""),
            fixed=bool(row.get("fixed", False)),
            repair=row.get("repair", ""),
        )
    return table


@dataclass(frozen=True)
class Policy:
    """Severities of one run."""

    stage: str = "sft"
    overrides: tuple[tuple[str, Severity], ...] = ()
    strict: bool = False

    @classmethod
    def make(cls, stage: str = "sft", overrides: Mapping[str, str] | None = None, *, strict: bool = False) -> Policy:
        """A policy whose overrides were checked against the table.

        Args:
            stage: Training stage or "predict", whose severities hold.
            overrides: Rule id -> error | warning | off, the user's choice over the stage's.
            strict: Warnings become errors.

        Raises:
            UsageFault: With every mistake in the overrides.
        """
        problems = []
        table = rules() if overrides else {}
        for rule_id, level in (overrides or {}).items():
            if rule_id not in table:
                problems.append(f"rules: there is no rule {rule_id!r}{did_you_mean(rule_id, table)}")
            elif level not in SEVERITIES:
                problems.append(f"rules: {rule_id}: {level!r} is not one of error, warning, off")
            elif table[rule_id].fixed and level != "error":
                problems.append(f"rules: {rule_id} cannot be {level}: such a record cannot be encoded at all")
        if problems:
            raise UsageFault(problems, hint="`prep list rules` shows every rule")
        return cls(stage, tuple(sorted((overrides or {}).items())), strict)  # type: ignore[arg-type]  # levels checked above

    def severity(self, rule_id: str) -> Severity:
        """The level of a rule in this run."""
        return _severity(self, rule_id)


@functools.lru_cache(maxsize=4096)
def _severity(policy: Policy, rule_id: str) -> Severity:
    rule = rules()[rule_id]
    level = dict(policy.overrides).get(rule_id) or rule.by_stage.get(policy.stage, rule.severity)
    return "error" if level == "warning" and policy.strict else level
