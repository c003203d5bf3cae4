"""Typed access to a configuration that collects what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Reader:
    """Typed access to a config that collects the problems instead of stopping at the first."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values
        self.problems: list[str] = []

    def check(self, holds: bool, key: str, problem: str) -> None:
        """Note `problem` under `key` unless it `holds`."""
        if not holds:
            self.problems.append(f"{key}: {problem}")

    def text(self, key: str, default: str) -> str:
        """A text; the default when the key is missing, null or empty."""
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return "true" if value else default
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value, also as YAML's words for it."""
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        self.check(word in _WORDS, key, f'"{value}" is neither true nor false')
        return _WORDS.get(word, default)

    def whole(self, key: str, default: int | None = None) -> int | None:
        """A whole number."""
        number = self.number(key, default)
        if number is None:
            return None
        self.check(float(number).is_integer(), key, f"{number:g} is not a whole number")
        return int(number)

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number, also as text: YAML 1.1 reads `1e-4` so."""
        value = self.values.get(key)
        if value is None or value == "":
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(str(value))
        except ValueError:
            self.check(False, key, f'"{value}" is not a number')
            return default

    def words(self, key: str) -> tuple[str, ...]:
        """A comma list, or a YAML list, as a tuple."""
        value = self.values.get(key)
        if value is None:
            return ()
        items = value if isinstance(value, (list, tuple)) else str(value).split(",")
        return tuple(word for word in (str(item).strip() for item in items) if word)
