"""What prep is installed with: its own version, the packages that it cannot do without, and those of its extras.

Nothing here imports more than the standard library, so that a missing package can be named whichever it is.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path

from registry.errors import MachineFault

DISTRIBUTION = "prep-llm"

# module -> distribution
CORE = {
    "click": "click",
    "fastokens": "fastokens",
    "gigatoken": "gigatoken",
    "jinja2": "jinja2",
    "jsonschema_rs": "jsonschema-rs",
    "numpy": "numpy",
    "orjson": "orjson",
    "pyarrow": "pyarrow",
    "yaml": "pyyaml",
    "tokenizers": "tokenizers",
    "xxhash": "xxhash",
    "zstandard": "zstandard",
    "fsspec": "fsspec",
    "rich": "rich",
}

# extra -> distributions
EXTRAS = {
    "train": ("torch", "trl", "transformers", "datasets", "accelerate", "peft", "matplotlib"),
    "deepspeed": ("deepspeed",),
    "metrics": ("jieba", "nltk", "rouge-score"),
    "ray": ("ray",),
}
NEEDED_BY_THEM = {"huggingface-hub": "train", "safetensors": "train"}  # what the extras' packages cannot do without
HOME = Path(__file__).resolve().parents[1]  # the folder of the four packages
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_NOT_FOUND = re.compile(r"^ModuleNotFoundError: No module named '([A-Za-z0-9_.]+)'", re.MULTILINE)


def version_of(distribution: str) -> str:
    """The installed version of a distribution, an empty string when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def prep_version() -> str:
    """prep's own version; in a source tree that is not installed, the one of its pyproject.toml."""
    if installed := version_of(DISTRIBUTION):
        return installed
    try:
        return str(tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"


def install_command(extra: str = "") -> str:
    """The command that installs prep's own packages, or those of an extra, where prep itself stands: from its source
    folder when it runs from one, else by their names, for prep is on no index.
    """
    marks = f"[{extra}]" if extra else ""
    if (HOME / "pyproject.toml").is_file():
        place = f"{'.' if Path.cwd() == HOME else HOME}{marks}"
        return f"python -m pip install -e {_quoted(place) if marks else shlex.quote(place)}"
    return " ".join(["python -m pip install", *(_quoted(line) for line in _requirements(extra))])


def _quoted(word: str) -> str:
    """A word in quotes, which some shells need around brackets and all around < and >."""
    return shlex.quote(word) if set(word) & set('"$`\\!') else f'"{word}"'


def _requirements(extra: str) -> list[str]:
    """What an installed prep says that it needs, without the conditions."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        lines = []
    found = []
    for line in lines:
        what, _, condition = line.partition(";")
        named = _EXTRA.search(condition)
        if (named[1] if named else "") == extra:
            found.append(what.strip())
    return found or list(EXTRAS.get(extra, CORE.values()))


def missing_package(error: BaseException) -> MachineFault | None:
    """The fault for a package that is not installed, None when the error is about something else.

    error: a ModuleNotFoundError, or what carries the traceback of one as text (a worker's).
    """
    if isinstance(error, ModuleNotFoundError):
        cause: BaseException | None = error
        while cause is not None and not getattr(cause, "name", None):  # transformers wraps what it could not import
            cause = cause.__cause__
        name = str(getattr(cause, "name", ""))
    else:
        found = _NOT_FOUND.search(str(error))
        name = found[1] if found else ""
    name = name.partition(".")[0]
    if name in CORE:
        return MachineFault(f"{CORE[name]} is not installed, and prep needs it: python -m pip install {CORE[name]}")
    distribution = name.replace("_", "-")
    for extra, distributions in EXTRAS.items():
        if distribution in distributions or NEEDED_BY_THEM.get(distribution) == extra:
            return MachineFault(f"{name} is not installed", hint=install_command(extra))
    return None
