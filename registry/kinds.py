"""Training stages and the kinds of rows: which stage takes what, in one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowKind:
    """One kind of rows.

    shards: what the manifest calls it. columns: those of a row there, in order. segments: what an example is made of,
    in order; those of lm take turns as often as there are turns.
    """

    name: str
    shards: str
    columns: tuple[str, ...]
    segments: tuple[str, ...]

    @property
    def sequence(self) -> bool:
        """Whether a row is one sequence of ids with labels, and several examples may share one."""
        return self.shards == "lm"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns that hold token ids."""
        return tuple(name for name in self.columns if name.endswith("_ids"))


_ROW_KINDS = (
    RowKind("lm", "lm", ("input_ids", "labels"), ("prompt", "answer")),
    RowKind("pt", "lm", ("input_ids", "labels"), ("text",)),
    RowKind("pref", "pref", ("prompt_ids", "chosen_ids", "rejected_ids"), ("prompt", "chosen", "rejected")),
    RowKind("unpaired", "unpaired", ("prompt_ids", "completion_ids", "label"), ("prompt", "completion")),
    RowKind("prompt", "prompt", ("prompt_ids", "label_ids"), ("prompt", "label")),
)
ROW_KINDS = {kind.name: kind for kind in _ROW_KINDS}


@dataclass(frozen=True)
class Stage:
    """One training stage.

    records: kind of records it reads (the `kind` of a record format, or predict: those of sft with the answer left
    open). rows: name of its `RowKind`. trained_as: the stage whose trainer takes it, "" when prep does not train it.
    rules_as: the stage whose severities hold for it.
    reference: whether its loss compares with a second, frozen model. not_trained: why prep does not train it.
    """

    name: str
    records: str
    rows: str
    trained_as: str = ""
    rules_as: str = ""
    reference: bool = False
    not_trained: str = ""

    @property
    def kind(self) -> RowKind:
        """The kind of its rows."""
        return ROW_KINDS[self.rows]

    @property
    def pairs(self) -> bool:
        """Whether it compares two answers."""
        return self.records == "pref"

    @property
    def labelled(self) -> bool:
        """Whether its records are single answers with a verdict."""
        return self.records == "kto"

    @property
    def prompts_only(self) -> bool:
        """Whether its rows are prompts, which something else answers."""
        return self.rows == "prompt"

    @property
    def one_stream(self) -> bool:
        """Whether its records are documents of one stream, which is packed unless the user says no."""
        return self.records == "pt"

    @property
    def rule_stage(self) -> str:
        """The stage that the rule table knows it by."""
        return self.rules_as or self.name

    @property
    def data_stage(self) -> str:
        """The stage that data sets know it by: prompts are those of predict."""
        return "predict" if self.prompts_only else self.name


_REWARDS = "it needs reward functions, which are code"
_STAGES = (
    Stage("pt", "pt", "pt", trained_as="pt"),
    Stage("sft", "sft", "lm", trained_as="sft"),
    Stage("rm", "pref", "pref", trained_as="rm"),
    Stage("dpo", "pref", "pref", trained_as="dpo", reference=True),
    Stage("kto", "kto", "unpaired", trained_as="kto", reference=True),
    Stage("orpo", "pref", "pref", trained_as="dpo"),
    Stage("simpo", "pref", "pref", trained_as="dpo"),
    Stage("ppo", "predict", "prompt", not_trained="TRL dropped its PPO trainer"),
    Stage("grpo", "predict", "prompt", rules_as="predict", not_trained=_REWARDS),
    Stage("rloo", "predict", "prompt", rules_as="predict", not_trained=_REWARDS),
    Stage("predict", "predict", "prompt"),
)
STAGES = {stage.name: stage for stage in _STAGES}


def method_of(stage: str, pref_loss: str) -> str:
    """The stage as it is trained: orpo or simpo for dpo with that loss."""
    return pref_loss if stage == "dpo" and pref_loss in dpo_losses() else stage


def trained_stages() -> dict[str, str]:
    """The stages that have a trainer of their own, with the kind of shards that it reads."""
    return {stage.name: stage.kind.shards for stage in _STAGES if stage.trained_as == stage.name}


def dpo_losses() -> tuple[str, ...]:
    """The preference losses of dpo that have a stage of their own: they need no reference model."""
    return tuple(stage.name for stage in _STAGES if stage.trained_as == "dpo" and stage.name != "dpo")


_USUAL = {"pref": "dpo"}


def usual_stage(records: str) -> str:
    """The stage that records of a kind are checked for when none is given."""
    return _USUAL.get(records, records)
