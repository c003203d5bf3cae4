"""The configuration of a run: a file, the command line, the environment and the defaults, as typed values.

    file ──┐
    key=value ──┼─ old names → new ─ ${VAR} ─ types ─ input paths ─ cross checks ─→ Config
    options ──┘

Every mistake is collected and raised at once. Input paths (data, models, DeepSpeed files) are looked for from the
working directory, and where nothing is found there, from the folder of the configuration file; outputs always belong
to the working directory.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.datasets import INFO_NAME
from registry.errors import UsageFault, unreadable
from registry.kinds import STAGES, dpo_losses, method_of
from registry.rules import Policy

from .checks import Verb, contradictions, remarks
from .config_groups import (
    DataConfig,
    EncodeConfig,
    ExportConfig,
    MixConfig,
    ModelConfig,
    PackConfig,
    RunConfig,
    TrainConfig,
    grouped,
)
from .environment import expand
from .keys import Key, coerce, is_off, keys, renames, suggestion
from .overrides import Arguments, parse_arguments, parse_overrides
from .yamlfile import FileProblem, Plain, read_document

__all__ = ["Arguments", "Config", "Verb", "load_config", "parse_arguments", "parse_overrides", "worker_count"]

_SHIPPED_DEEPSPEED = frozenset({"z0", "z1", "z2", "z3", "z2_offload", "z3_offload"})


@dataclass(frozen=True)
class Config:
    """One run's settings.

    values: every key that prep or its training uses, typed, defaults filled in. given: the keys the user wrote, by
    their present name. notes: one line each about keys without effect, old names and settings that may not do what is
    meant. path: the configuration file. said: what was set beside it, as words of the command line. `packing` is
    resolved (neat_packing, stage pt), `lora_alpha` too, stage orpo/simpo sets `pref_loss`, and the verbs train and
    predict set `do_train` and `do_predict`.
    """

    values: Mapping[str, object]
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    path: str | None = None
    said: tuple[str, ...] = ()

    def get(self, key: str) -> object:
        """The value of a key by its name; KeyError for a key that is not in the table (a bug of ours)."""
        return self.values[key]

    def text(self, key: str) -> str | None:
        """A text or path, None when it was left out."""
        value = self.values[key]
        assert value is None or isinstance(value, str), key
        return value

    def whole(self, key: str) -> int | None:
        """A whole number, None when it was left out."""
        value = self.values[key]
        assert value is None or (isinstance(value, int) and not isinstance(value, bool)), key
        return value

    def flag(self, key: str) -> bool:
        """A switch; left out without a default it is off."""
        value = self.values[key]
        assert value is None or isinstance(value, bool), key
        return bool(value)

    @functools.cached_property
    def data(self) -> DataConfig:
        """Which records, and how strictly they are checked."""
        return grouped(DataConfig, self.values)

    @functools.cached_property
    def encode(self) -> EncodeConfig:
        """What becomes of a record's text."""
        return grouped(EncodeConfig, self.values)

    @functools.cached_property
    def mix(self) -> MixConfig:
        """Which records of which data set, in what order."""
        return grouped(MixConfig, self.values)

    @functools.cached_property
    def pack(self) -> PackConfig:
        """How examples become rows."""
        return grouped(PackConfig, self.values)

    @functools.cached_property
    def model(self) -> ModelConfig:
        """Whose tokenizer it is."""
        return grouped(ModelConfig, self.values)

    @functools.cached_property
    def train(self) -> TrainConfig:
        """What of training decides about the data."""
        return grouped(TrainConfig, self.values)

    @functools.cached_property
    def export(self) -> ExportConfig:
        """Where an exported model goes."""
        return grouped(ExportConfig, self.values)

    @functools.cached_property
    def run(self) -> RunConfig:
        """What does the work."""
        return grouped(RunConfig, self.values)

    @property
    def method(self) -> str:
        """What the data is for, as the rule table and the trainers name it: the stage, `orpo` or `simpo` for a dpo
        stage with that loss, `predict` when the run only predicts."""
        if self.train.do_predict and not self.train.do_train:
            return "predict"
        return method_of(self.encode.stage, self.train.pref_loss)

    @property
    def kind(self) -> str:
        """Kind of the rows: lm, pt, pref, unpaired or prompt."""
        return STAGES[self.method].rows

    @property
    def folder(self) -> str | None:
        """Folder of the configuration file, None without a file."""
        return os.path.dirname(os.path.abspath(self.path)) if self.path else None

    def with_values(self, **values: object) -> Config:
        """The same configuration with some values set."""
        return replace(self, values={**self.values, **values})

    def public(self) -> dict[str, object]:
        """The values without secrets, for manifests and logs."""
        return {name: value for name, value in self.values.items() if not keys()[name].secret}


def worker_count(config: Config) -> int:
    """Worker processes to start: `workers` as given, else `preprocessing_num_workers` but no more than there are cores,
    else one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = config.run.preprocessing_num_workers
    return config.run.workers or (min(asked, cores) if asked else cores)


def load_config(
    path: str | None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    for_verb: Verb | None = None,
    options: Mapping[str, object] | None = None,
    option_names: Sequence[str] = (),
) -> Config:
    """The configuration of a run. Later wins: defaults, file, `overrides` (words of the command line, or the values of
    `parse_arguments`), `options` (typed values of the verb's own options; None = not given).

    option_names: how the verb's own options are spelled, for a guess at a mistyped one.
    for_verb: also check what this verb needs and cannot do; None checks only what is wrong for every verb.
    Raises UsageFault with every mistake at once.
    """
    build = _Build(environ, option_names)
    if path is not None:
        build.add_file(path)
    words = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    build.add(words, "")
    build.said = [f"{name}={_word(value)}" for name, value in words.items() if not isinstance(value, (dict, list))]
    if options:
        build.add({name: value for name, value in options.items() if value is not None}, "")
    return build.finish(path, for_verb)


@dataclass
class _Build:
    """Collects values and mistakes layer by layer."""

    environ: Mapping[str, str]
    option_names: Sequence[str] = ()
    raw: dict[str, object] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)  # key -> "sft.yaml:3 key", for messages
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    of_rules: int = 0  # problems that are about single rules
    said: list[str] = field(default_factory=list)

    def add_file(self, path: str) -> None:
        try:
            document = read_document(Path(path).read_bytes(), is_json=path.lower().endswith(".json"))
        except FileProblem as problem:
            raise UsageFault(f"{path}:{problem.line}: {problem}" if problem.line else f"{path}: {problem}") from None
        except OSError as problem:
            raise unreadable(problem, path) from None
        self.add(document.values, path, document.lines)

    def add(self, layer: Mapping[str, object], source: str, lines: Mapping[str, int] | None = None) -> None:
        """Lays one layer over the ones before it, old names first."""
        fresh: dict[str, object] = {}
        for name, value in layer.items():
            line = (lines or {}).get(name, 0)
            place = f"{source}:{line} {name}" if line else f"{source} {name}" if source else name
            old = renames().get(name)
            if old is None:
                if name not in keys():
                    self._unknown(name, place, () if source else self.option_names)
                    continue
                fresh[name] = value
                self.place[name] = place
                continue
            # the new name wins, except a warm-up of 0 steps, which never meant "no warm-up" beside a ratio
            beside = layer.get(old.to)
            if beside is not None and not (old.to == "warmup_steps" and str(beside) in ("0", "0.0")):
                self.notes.append(f"{name}: ignored, since {old.to} is given too")
                continue
            self.notes.append(f"{name}: read as {old.to} ({old.note})")
            fresh[old.to] = self._renamed(name, value, old.values)
            self.place[old.to] = place
        for name, value in fresh.items():
            before = self.raw.get(name)
            self.raw[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value

    def _unknown(self, name: str, place: str, options: Sequence[str]) -> None:
        if self.environ.get("ALLOW_EXTRA_ARGS", "").lower() in ("1", "true", "y"):
            self.notes.append(f"{name}: unknown, ignored (ALLOW_EXTRA_ARGS)")
        else:
            self.problems.append(f"{place}: there is no such key{suggestion(name, options)}")

    @staticmethod
    def _renamed(name: str, value: object, values: Mapping[object, object]) -> object:
        if not values:
            return value
        text = str(value).strip().lower()
        return values.get(text in ("true", "yes", "on", "1"), value)

    def finish(self, path: str | None, verb: Verb | None) -> Config:
        values: dict[str, object] = {}
        given = frozenset(self.raw)
        for name, key in keys().items():
            if name in self.raw:
                value = self._value(key)
                if key.status == "accepted":
                    self.notes.append(f"{name}: has no effect: {key.note}")
                elif key.status == "refused":
                    if not is_off(key, value):
                        self.problems.append(f"{self.place[name]}: is not offered: {key.note}")
                    continue
            else:
                value = list(key.default) if isinstance(key.default, list) else key.default
            if key.status in ("used", "train"):
                values[name] = value
        self._settle(values, given, verb)
        if not self.problems:
            self._find_inputs(values, path)
            found = [self._placed(problem) for problem in contradictions(values, given, verb)]
            self.problems.extend(found)
        if self.problems:
            raise UsageFault(sorted(self.problems, key=_line_of), hint=self._hint(verb))
        self.notes.extend(remarks(values, given))
        secret = {name for name, key in keys().items() if key.secret}
        said = [word for word in self.said if word.split("=")[0] not in secret]
        return Config(values, given, tuple(self.notes), path, tuple(said))

    def _hint(self, verb: Verb | None) -> str:
        if not self.raw and verb is not None:
            return f"prep {verb} CONFIG.yaml, or settings alone; prep {verb} --help shows examples"
        if len(self.problems) == self.of_rules:
            return "`prep list rules` shows every rule"
        return "every key: docs/config.md, or prep schema config"

    def _value(self, key: Key) -> object:
        """The typed value of a given key; the default once a mistake was noted."""
        missing: list[str] = []
        value = expand(self.raw[key.name], self.environ, missing)
        if missing:
            self.problems.extend(f"{self.place[key.name]}: {problem}" for problem in missing)
            return key.default
        if value is None or (isinstance(value, Plain) and value.lower() in ("", "null", "~")):
            return None if key.nullable else key.default
        if value == "" and key.is_input:  # `model_name_or_path=` is no folder, least of all the configuration's own
            return None if key.nullable else key.default
        if value == "" and key.types == ("str",) and key.default:  # no folder, branch or optimizer has an empty name
            return key.default
        if key.status in ("accepted", "refused"):
            return value
        try:
            typed = coerce(key, value)
        except ValueError as problem:
            self.problems.append(f"{self.place[key.name]}: {problem}")
            return key.default
        if self.place[key.name].endswith("warmup_ratio") and isinstance(typed, float) and typed >= 1:
            self.problems.append(f"{self.place[key.name]}: {typed:g} is not a share below 1")
        return typed

    def _settle(self, values: dict[str, object], given: frozenset[str], verb: Verb | None) -> None:
        """Values that follow from others."""
        stage = str(values["stage"])
        if verb == "predict":
            values["do_train"], values["do_predict"] = False, True
        elif verb == "train" and not values["do_predict"] and not values["do_eval"]:
            values["do_train"] = True
        if values["neat_packing"] or (values["packing"] is None and STAGES[stage].one_stream):
            values["packing"] = True
        values["packing"] = bool(values["packing"])
        if stage in dpo_losses() and "pref_loss" not in given:
            values["pref_loss"] = stage
        if values["lora_alpha"] is None and isinstance(values["lora_rank"], int):
            values["lora_alpha"] = 2 * values["lora_rank"]
        rules = values["rules"]
        if rules:
            assert isinstance(rules, dict)
            try:
                Policy.make(overrides={name: str(level) for name, level in rules.items()})
            except UsageFault as fault:
                self.problems.extend(self._placed(problem) for problem in fault.problems)
                self.of_rules = len(fault.problems)

    def _find_inputs(self, values: dict[str, object], path: str | None) -> None:
        # a relative file keeps its inputs relative, so that manifests do not name the machine's folders
        base = (os.path.dirname(path) or ".") if path else None
        for name, value in values.items():
            if not keys()[name].is_input or value is None:
                continue
            if isinstance(value, list):
                values[name] = [_found(str(item), base) for item in value]
            elif isinstance(value, str) and not (name == "deepspeed" and value in _SHIPPED_DEEPSPEED):
                values[name] = _found(value, base, INFO_NAME if name == "dataset_dir" else "")
        values["media_dir"] = values["media_dir"] or values["dataset_dir"]

    def _placed(self, problem: str) -> str:
        """`key: what` with the place where the key was written."""
        name, _, rest = problem.partition(":")
        return f"{self.place.get(name, name)}:{rest}"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _line_of(problem: str) -> int:
    """Line of the file that a problem names; those of the command line come last."""
    match = re.search(r":(\d+) ", problem.split(": ", 1)[0])
    return int(match[1]) if match else sys.maxsize


def _found(value: str, base: str | None, inside: str = "") -> str:
    """An input path as it can be opened from the working directory. `inside`: a file that marks the right folder, so
    that `dataset_dir: .` means the configuration's folder when only that one has the file."""
    here = os.path.expanduser(value)
    if base is None or os.path.isabs(here) or "://" in here:
        return here
    there = os.path.normpath(os.path.join(base, here))
    if inside and not os.path.exists(os.path.join(here, inside)) and os.path.exists(os.path.join(there, inside)):
        return there
    return there if not os.path.exists(here) and os.path.exists(there) else here
