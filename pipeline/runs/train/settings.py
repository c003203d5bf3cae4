"""Typed access to a configuration that collects what cannot be done with it."""

from __future__ import annotations

from pipeline.config import Config


class Settings:
    """A configuration's values, and every problem that was found with them.

    The configuration has typed them and filled in the defaults: what has one is never None here.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[str] = []

    def check(self, holds: bool, key: str, problem: str) -> None:
        """Adds `problem` under `key` unless it `holds`."""
        if not holds:
            self.problems.append(f"{key}: {problem}")

    def text(self, key: str) -> str:
        """A text that has a default."""
        value = self.config.text(key)
        assert value is not None, key
        return value

    def optional(self, key: str) -> str | None:
        """A text, None when it is not set or empty."""
        value = self.config.text(key)
        return value if value else None

    def whole(self, key: str) -> int:
        """A whole number that has a default."""
        value = self.config.whole(key)
        assert value is not None, key
        return value

    def number(self, key: str) -> float:
        """A number that has a default."""
        value = self.config.number(key)
        assert value is not None, key
        return value

    def flag(self, key: str) -> bool:
        """A switch."""
        return self.config.flag(key)

    def words(self, key: str) -> tuple[str, ...]:
        """A list, empty when it is not set."""
        return tuple(self.config.items(key))

    def modules(self, key: str) -> tuple[str, ...]:
        """A list of module names, which must not be empty."""
        names = self.words(key)
        self.check(bool(names), key, "names no module; all stands for every one that fits")
        return names
