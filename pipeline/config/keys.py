"""The table of configuration keys (keys.yaml), and what it says of one: is there such a key, does a value fit it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import yaml

from registry.errors import did_you_mean, nearest

from .coerce import FALSE_WORDS, read_as

Status = Literal["used", "train", "accepted", "refused"]
Affects = Literal["", "rows", "run", "train"]


@dataclass(frozen=True)
class Key:
    """One row of keys.yaml. `types` are tried in turn; `values` closes an enum or a set of numbers."""

    name: str
    group: str
    types: tuple[str, ...]
    default: object
    status: Status
    help: str
    note: str
    values: tuple[object, ...]
    low: float | None
    high: float | None
    nullable: bool
    secret: bool
    affects: Affects
    through: str

    @property
    def is_switch(self) -> bool:
        """True when the key is a plain yes/no."""
        return self.types == ("bool",)

    @property
    def is_input(self) -> bool:
        """True when the key names something to read."""
        return "path" in self.types or "paths" in self.types

    @property
    def is_name(self) -> bool:
        """True when its text is the name of a file or folder, which may have bytes that are no UTF-8."""
        return self.is_input or self.name in ("dataset", "eval_dataset") or self.name.endswith(("_dir", "_path"))


@dataclass(frozen=True)
class Rename:
    """An old name of a key. `values` maps old values that also changed."""

    name: str
    to: str
    note: str
    values: Mapping[object, object]


@functools.cache
def _raw() -> dict[str, dict[str, dict[str, object]]]:
    loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some builds have no C loader
    table: dict[str, dict[str, dict[str, object]]] = yaml.load(
        (resources.files(__package__) / "keys.yaml").read_text(encoding="utf-8"),
        Loader=loader,  # noqa: S506 - the C form of the safe loader
    )
    return table


_NO_KEYS = ("renames", "elsewhere")


@functools.cache
def keys() -> dict[str, Key]:
    """Every key by name, in file order."""
    return {
        name: _key(name, group, row)
        for group, rows in _raw().items()
        if group not in _NO_KEYS
        for name, row in rows.items()
    }


@functools.cache
def renames() -> dict[str, Rename]:
    """Old names."""
    table = {}
    for name, row in _raw()["renames"].items():
        values = row.get("values") or {}
        assert isinstance(values, dict)
        table[name] = Rename(name, str(row["to"]), str(row["note"]), values)
    return table


_PARTS = frozenset(
    {"type", "default", "status", "help", "note", "values", "min", "max", "nullable", "secret", "affects", "through"}
)


def _key(name: str, group: str, row: dict[str, object]) -> Key:
    known = {
        "type",
        "default",
        "status",
        "help",
        "note",
        "values",
        "min",
        "max",
        "nullable",
        "secret",
        "affects",
        "through",
    }
    if row.keys() - known:
        raise ValueError(f"keys.yaml: {name}: {sorted(row.keys() - known)}")
    status = row.get("status", "used")
    assert status in ("used", "train", "accepted", "refused")
    affects = row.get("affects", "")
    assert affects in ("", "rows", "run", "train")
    if not affects and status in ("used", "train"):
        raise ValueError(f"keys.yaml: {name}: affects is missing: rows, run or train")
    values = row.get("values", ())
    assert isinstance(values, (list, tuple))
    low, high = row.get("min"), row.get("max")
    assert low is None or isinstance(low, (int, float))
    assert high is None or isinstance(high, (int, float))
    types = tuple(str(row["type"]).split("|"))
    default = row.get("default")
    if types == ("bytes",) and default is not None:
        default = read_as("bytes", default)
    return Key(
        name=name,
        group=group,
        types=types,
        default=default,
        status=status,
        help=str(row.get("help", "")),
        note=str(row.get("note", "")),
        values=tuple(values),
        low=low,
        high=high,
        nullable=bool(row.get("nullable", False)),
        secret=bool(row.get("secret", False)),
        affects=affects,
        through=str(row.get("through", "")),
    )


def suggestion(name: str, options: Sequence[str] = ()) -> str:
    """`; did you mean "x"?` among all keys, their old names, and a command's own options (`--quiet`).

    A name of another tool is answered with ours.
    """
    elsewhere = _raw()["elsewhere"].get(name.lower().replace("-", "_"))
    if elsewhere is not None:
        return f'; it is called "{elsewhere["to"]}" here'
    spelled = {key: key for key in [*keys(), *renames()]}
    spelled |= {option.split()[-1].lstrip("-").replace("-", "_"): option for option in options}
    near = nearest(name.replace("-", "_"), spelled)
    return f'; did you mean "{spelled[near]}"?' if near else ""


def coerce(key: Key, value: object) -> object:
    """The value as the key has it: of the first of its types that can read it, one of its values, within its range.

    Raises ValueError with what is wrong, without place or key name.
    """
    error = ""
    for kind in key.types:
        try:
            if kind == "enum":
                return _enum(key, value)
            result = read_as(kind, value)
            _check_range(key, result)
            return result
        except ValueError as problem:
            error = error or str(problem)
    raise ValueError(error)


def is_off(key: Key, value: object) -> bool:
    """True when a value leaves a refused key switched off."""
    if value is None or value == key.default:
        return True
    text = str(value).strip().lower()
    return text in FALSE_WORDS or text in ("", "none", "null") or text == str(key.default).lower()


def _check_range(key: Key, value: object) -> None:
    if key.values and value not in key.values:
        raise ValueError(f"{value} is not one of {', '.join(map(str, key.values))}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if key.low is not None and value < key.low:
            raise ValueError(f"{value} is too small: at least {key.low:g} is needed")
        if key.high is not None and value > key.high:
            raise ValueError(f"{value} is too large: at most {key.high:g} is possible")


def _enum(key: Key, value: object) -> str:
    text = ("true" if value else "false") if isinstance(value, bool) else str(value).strip()
    if text == "false" and "no" in key.values:  # YAML 1.1 and JSON writers turn an unquoted `no` into false
        text = "no"
    if text not in key.values:
        names = [str(item) for item in key.values]
        raise ValueError(f'"{text}" is not one of {", ".join(names)}{did_you_mean(text, names)}')
    return text
