"""The command line, the configuration and everything between the stages.

On import it makes sure that the four packages are ours: a folder or module called `stages` in the working directory, or
another distribution's, would otherwise be picked up in silence.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _check_neighbours() -> None:
    home = Path(__file__).resolve().parent.parent
    for name in ("schemas", "registry", "stages"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or origin.parent.parent != home:
            found = origin or (list(spec.submodule_search_locations or ()) if spec else "nothing")
            raise ImportError(
                f"prep needs its own package {name!r} at {home / name}, but Python finds {found}. "
                f"Rename that folder or module, or set PYTHONSAFEPATH=1, or install prep in an environment of its own."
            )


_check_neighbours()
