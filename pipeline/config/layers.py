"""The layers of a configuration, laid one over the other and settled: defaults, file, command line, options.

Every mistake is collected and raised at once, with the place where it was written.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.datasets.info_file import INFO_NAME
from registry.errors import UsageFault, unreadable
from registry.kinds import STAGES, dpo_losses
from registry.rules import Policy

from .coerce import unusable
from .consistency import CommandName, contradictions, remarks
from .environment import expand
from .keys import Key, coerce, is_off, keys, renames, suggestion
from .yaml_file import FileProblem, Plain, read_document

_SHIPPED_DEEPSPEED = frozenset({"z0", "z1", "z2", "z3", "z2_offload", "z3_offload"})


@dataclass
class Layers:
    """Collects values and mistakes layer by layer."""

    environ: Mapping[str, str]
    option_names: Sequence[str] = ()
    raw: dict[str, object] = field(default_factory=dict)
    place: dict[str, str] = field(default_factory=dict)  # key -> "sft.yaml:3 key", for messages
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    of_rules: int = 0  # problems that are about single rules

    def add_file(self, path: str) -> None:
        """Lays a configuration file over what is there."""
        try:
            document = read_document(Path(path).read_bytes(), is_json=path.lower().endswith(".json"))
        except FileProblem as problem:
            raise UsageFault(f"{path}:{problem.line}: {problem}" if problem.line else f"{path}: {problem}") from None
        except OSError as problem:
            raise unreadable(problem, path) from None
        self.add(document.values, path, document.lines)

    def add(self, layer: Mapping[str, object], source: str, lines: Mapping[str, int] | None = None) -> None:
        """Lays one layer over the ones before it, old names first.

        Args:
            layer: Values by key, under their present or an old name.
            source: The file they stand in; empty for the command line.
            lines: The line of each key in that file.
        """
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

    def settled(self, path: str | None, command: CommandName | None) -> dict[str, object]:
        """The typed values of every key that prep or its training uses. Raises UsageFault with every mistake."""
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
        self._settle(values, given, command)
        if not self.problems:
            self._find_inputs(values, path)
            found = [self._placed(problem) for problem in contradictions(values, given, command)]
            self.problems.extend(found)
        if self.problems:
            raise UsageFault(sorted(self.problems, key=_line_of), hint=self._hint(command))
        self.notes.extend(remarks(values, given))
        return values

    def _hint(self, command: CommandName | None) -> str:
        if not self.raw and command is not None:
            return f"prep {command} CONFIG.yaml, or settings alone; prep {command} --help shows examples"
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
        if problem := unusable(value, as_name=key.is_name, as_text=key.name == "default_system"):
            self.problems.append(f"{self.place[key.name]}: {problem}")
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

    def _settle(self, values: dict[str, object], given: frozenset[str], command: CommandName | None) -> None:
        """Values that follow from others."""
        stage = str(values["stage"])
        if command == "predict":
            values["do_train"], values["do_predict"] = False, True
        elif command == "train" and not values["do_predict"] and not values["do_eval"]:
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
