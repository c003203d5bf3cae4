"""Plan: what a configuration means, decided before a single record is read.

    Config -> sources (data set, files, format, map) -> kind of rows -> template, tokenizer -> options of each stage

`make_plan` looks at folders, tokenizer files and the first records of sets whose format is `auto`; it raises every
usage mistake it can see, so that no work is lost when one turns up.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config import Config
from registry.errors import UsageFault
from registry.kinds import STAGES
from registry.rules import Policy
from stages.core.records import Limits
from stages.tokenize.hub_cache import model_folder

from .encoding import with_tokens
from .sources import resolve_sources
from .types import Plan, Source


def make_plan(
    config: Config, *, needs_tokens: bool, limits: Limits | None = None, sources: Sequence[Source] | None = None
) -> Plan:
    """Plans a run.

    Args:
        config: The settings.
        needs_tokens: A tokenizer must be there (pack); otherwise it is used when given. Without a template it is the
            tokenizer's own (auto), in either case.
        limits: Bounds on the input; None for the usual ones.
        sources: When they are known already; else they are those of the configuration.

    Raises:
        UsageFault: With every mistake of one kind at once.
        DataFault: The records of a data set are of several formats or of none, and `needs_tokens` is set.
    """
    limits = limits or Limits()
    stage = config.method
    policy = Policy.make(STAGES[stage].rule_stage, config.data.rules, strict=config.data.strict)
    lenient = not needs_tokens  # what is wrong with the records is then reported of each
    found, notes = (
        (list(sources), []) if sources is not None else resolve_sources(config, stage, limits, lenient=lenient)
    )
    plan = Plan(config, stage, config.kind, tuple(found), policy, notes=tuple(notes), limits=limits)
    model = config.model.model_name_or_path
    if model is None:
        if needs_tokens:
            raise UsageFault("model_name_or_path: not given", hint="name the folder that holds tokenizer.json")
        return plan
    return with_tokens(plan, model_folder(model, config.model.model_revision))
