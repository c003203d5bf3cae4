"""One value of the configuration as the type it has to be.

A value arrives as text (YAML, command line, environment) or as a JSON value; `read_as` makes it what a type's name in
keys.yaml says, so that `1e-4`, `"1e-4"` and `0.0001` are one number, and `"false"` is false where a switch is meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from .yaml_file import Plain, parse_yaml

_TRUE = frozenset({"true", "yes", "on", "1", "y", "t"})
FALSE_WORDS = frozenset({"false", "no", "off", "0", "n", "f"})
_INT_END = 1 << 63  # JSON, Arrow and torch hold no larger ones
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def read_as(kind: str, value: object) -> object:
    """The value as a type has it: bool, int, float, str, list, floats, path, paths, dict, bytes or share.

    Raises ValueError with what is wrong, without place or key name; KeyError for another type (a bug of ours).
    """
    return _READERS[kind](value)


def _bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in FALSE_WORDS:
        return False
    raise ValueError(f"{_seen(value)} is neither true nor false")


def _int(value: object) -> int:
    number = _any_int(value)
    if not -_INT_END <= number < _INT_END:
        raise ValueError(f"{_seen(value)} is too large a number")
    return number


def _any_int(value: object) -> int:
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
        return _int(value)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgt]i?)?b?)", str(value).strip().lower())
    if not match:
        raise ValueError(f"{_seen(value)} is not a size such as 4GB or 512MiB")
    size = float(match[1]) * _UNITS[match[2] or ""]
    if size >= _INT_END:
        raise ValueError(f"{_seen(value)} is too large a size")
    return int(size)


def _share(value: object) -> int | float:
    text = str(value).strip()
    if text.endswith("%"):
        number: int | float = _float(text[:-1]) / 100
    elif isinstance(value, bool):
        raise ValueError(f"{_seen(value)} is neither a count nor a share")
    else:
        number = _float(value)
        if number.is_integer() and "." not in text and "e" not in text.lower():
            number = _int(int(number))
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
            return _int(text)
        return float(text) if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?", text) else text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return _int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def unusable(value: object, *, as_name: bool = False, as_text: bool = False) -> str:
    """What is wrong with the characters of a value's texts, "" when nothing is.

    Args:
        value: As it was written, of any type.
        as_name: It names a file, which may have bytes that are no UTF-8.
        as_text: It goes into a record, which may hold a NUL character.
    """
    if isinstance(value, str):
        try:
            value.encode("utf-8", "surrogateescape" if as_name else "strict")
        except UnicodeEncodeError:
            return "holds bytes that are no UTF-8, or half a character (a lone surrogate)"
        return "holds a NUL character" if "\0" in value and not as_text else ""
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next((found for item in inner if (found := unusable(item, as_name=as_name, as_text=as_text))), "")


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
