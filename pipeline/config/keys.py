"""The table of configuration keys (keys.yaml) and the reading of one value by its key's type.

A value arrives as text (YAML, command line, environment) or as a JSON value; `coerce` makes it what the key's type
says, so that `1e-4`, `"1e-4"` and `0.0001` are one number, and `"false"` is false where a switch is meant.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import yaml

from registry.errors import did_you_mean, nearest

from .yaml_file import Plain, parse_yaml

Status = Literal["used", "train", "accepted", "refused"]
Affects = Literal["", "rows", "run", "train"]

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
_FALSE = frozenset({"false", "no", "off", "0", "n", "f"})
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


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
        default = _bytes(default)
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
    """The value as the key's type has it. Raises ValueError with what is wrong, without place or key name."""
    error = ""
    for kind in key.types:
        try:
            if kind == "enum":
                return _enum(key, value)
            result = _READERS[kind](value)
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
    return text in _FALSE or text in ("", "none", "null") or text == str(key.default).lower()


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


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"{_seen(value)} is neither true nor false")


def _int(value: object) -> int:
    if not isinstance(value, bool):
        try:
            return int(value) if isinstance(value, (int, str)) else int(_whole(value))
        except ValueError:
            if isinstance(value, str):
                try:
                    return int(_whole(float(value)))
                except (ValueError, OverflowError):
                    pass
    raise ValueError(f"{_seen(value)} is not a whole number")


def _whole(value: object) -> float:
    if isinstance(value, float) and value.is_integer():
        return value
    raise ValueError


def _float(value: object) -> float:
    if not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass
        else:
            if math.isfinite(number):
                return number
    raise ValueError(f"{_seen(value)} is not a number")


def _str(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    raise ValueError(f"{_seen(value)} is not a text")


def _list(value: object) -> list[str]:
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        parsed = _flow(value)
        if isinstance(parsed, list):
            value = parsed
    if isinstance(value, list):
        return [_str(item).strip() for item in value]
    return [item for item in (part.strip() for part in _str(value).split(",")) if item]


def _floats(value: object) -> list[float]:
    if isinstance(value, (int, float)):
        return [_float(value)]
    return [_float(item) for item in _list(value)]


def _dict(value: object) -> dict[str, object]:
    if isinstance(value, str) and value.strip().startswith("{"):
        value = _flow(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    raise ValueError(f"{_seen(value)} is not a table of keys and values")


def _flow(text: str) -> object:
    try:
        return parse_yaml(text)
    except ValueError as problem:
        raise ValueError(f"{_seen(text)} cannot be read: {problem}") from None


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgt]i?)?b?)", str(value).strip().lower())
    if not match:
        raise ValueError(f"{_seen(value)} is not a size such as 4GB or 512MiB")
    return int(float(match[1]) * _UNITS[match[2] or ""])


def _share(value: object) -> int | float:
    text = str(value).strip()
    if text.endswith("%"):
        number: int | float = _float(text[:-1]) / 100
    elif isinstance(value, bool):
        raise ValueError(f"{_seen(value)} is neither a count nor a share")
    else:
        number = _float(value)
        if number.is_integer() and "." not in text and "e" not in text.lower():
            number = int(number)
    if number < 0 or (isinstance(number, float) and number > 1):
        raise ValueError(f"{_seen(value)} is neither a count, a share between 0 and 1, nor a percentage")
    return number


def plain(value: object) -> object:
    """Unquoted YAML text as the YAML 1.2 core value it stands for (null, true, false, a number), deeply."""
    if isinstance(value, Plain):
        text = str(value)
        if text.lower() in ("null", "~", ""):
            return None
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        return float(text) if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?", text) else text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value


def _seen(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


_READERS: dict[str, Callable[[object], object]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "list": _list,
    "floats": _floats,
    "path": _str,
    "paths": _list,
    "dict": _dict,
    "bytes": _bytes,
    "share": _share,
}
