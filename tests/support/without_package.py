"""A command as it runs where a package is not installed: `python -m tests.support.without_package NAME COMMAND ...`."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import Any


class _Finder:
    """Another finder's answers, but for one package."""

    def __init__(self, finder: Any, name: str) -> None:
        self.finder = finder
        self.name = name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Nothing for the package, as where it is not installed."""
        return None if fullname.partition(".")[0] == self.name else self.finder.find_spec(fullname, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


def hide(name: str) -> None:
    """From now on, no import and no metadata finds the package. name: as it is imported."""
    sys.meta_path[:] = [_Finder(finder, name) for finder in sys.meta_path]
    found = importlib.metadata.Distribution.from_name
    hidden = {name, name.replace("_", "-")}

    def from_name(wanted: str) -> Any:
        if wanted in hidden:
            raise importlib.metadata.PackageNotFoundError(wanted)
        return found(wanted)

    importlib.metadata.Distribution.from_name = staticmethod(from_name)  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    hide(sys.argv[1])
    from pipeline.start import main

    sys.argv[1:] = sys.argv[2:]
    main()
