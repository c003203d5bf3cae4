"""The configuration of a run: a file, the command line, the environment and the defaults, as typed values.

    file      ──┐
    key=value ──┼─ old names → new ─ ${VAR} ─ types ─ input paths ─ cross checks ─→ Config
    options   ──┘

Every mistake is collected and raised at once. Input paths (data, models, DeepSpeed files) are looked for from the
working directory, and where nothing is found there, from the folder of the configuration file; outputs always belong
to the working directory.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from registry.kinds import STAGES, method_of

from .consistency import CommandName
from .groups import (
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
from .keys import keys
from .layers import Layers
from .overrides import parse_overrides


@dataclass(frozen=True)
class Config:
    """One run's settings.

    values: every key that prep or its training uses, typed, defaults filled in. given: the keys the user wrote, by
    their present name. notes: one line each about keys without effect, old names and settings that may not do what is
    meant. path: the configuration file. said: what was set beside it, as words of the command line. `packing` is
    resolved (neat_packing, stage pt), `lora_alpha` too, stage orpo/simpo sets `pref_loss`, and the commands train and
    predict set `do_train` and `do_predict`.
    """

    values: Mapping[str, object]
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    path: str | None = None
    said: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """The words that give a command these settings, but for where it writes and with how many workers."""
        said = [word for word in self.said if not word.startswith(("tokenized_path=", "workers="))]
        return [*([self.path] if self.path else []), *said]

    def get(self, key: str) -> object:
        """The value of a key by its name; KeyError for a key that is not in the table (a bug of ours)."""
        return self.values[key]

    def text(self, key: str) -> str | None:
        """A text or path, None when it was not given."""
        value = self.values[key]
        assert value is None or isinstance(value, str), key
        return value

    def whole(self, key: str) -> int | None:
        """A whole number, None when it was not given."""
        value = self.values[key]
        assert value is None or (isinstance(value, int) and not isinstance(value, bool)), key
        return value

    def number(self, key: str) -> float | None:
        """A number, None when it was not given."""
        value = self.values[key]
        assert value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)), key
        return value

    def items(self, key: str) -> list[str]:
        """A list of texts, empty when it was not given."""
        value = self.values[key]
        assert value is None or isinstance(value, list), key
        return [str(item) for item in value or []]

    def flag(self, key: str) -> bool:
        """A switch; off when it was not given and has no default."""
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
    requested = config.run.preprocessing_num_workers
    return config.run.workers or (min(requested, cores) if requested else cores)


def load_config(
    path: str | None,
    overrides: Sequence[str] | Mapping[str, object] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    for_command: CommandName | None = None,
    options: Mapping[str, object] | None = None,
    option_names: Sequence[str] = (),
) -> Config:
    """The configuration of a run. Later wins: defaults, file, `overrides`, `options`.

    Args:
        path: The configuration file, YAML or JSON; None without one.
        overrides: Words of the command line, or the values of `parse_arguments`.
        environ: What `${NAME}` in a value stands for.
        for_command: Also check what this command needs and cannot do; None checks only what is wrong for every command.
        options: Typed values of the command's own options; None = not given.
        option_names: How the command's own options are spelled, for a guess at a mistyped one.

    Raises:
        UsageFault: With every mistake at once.
        MachineFault: The file may not be read.
    """
    layers = Layers(environ, option_names)
    if path is not None:
        layers.add_file(path)
    words = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    layers.add(words, "")
    if options:
        layers.add({name: value for name, value in options.items() if value is not None}, "")
    values = layers.settled(path, for_command)
    return Config(values, frozenset(layers.raw), tuple(layers.notes), path, _said(words))


def _said(words: Mapping[str, object]) -> tuple[str, ...]:
    """What was set beside the file, as words of the command line, without secrets."""
    secret = {name for name, key in keys().items() if key.secret}
    return tuple(f"{name}={_word(value)}" for name, value in words.items() if name not in secret)


def _word(value: object) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)
