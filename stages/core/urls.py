"""Paths that are URLs: told apart, and shown without user name, password or query."""

from __future__ import annotations

import re

from .display import clean

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)(?:://|::)")


def is_url(spec: str) -> bool:
    """Whether a path is a URL (of any protocol, a chain included)."""
    return URL.match(spec) is not None


def public(spec: str) -> str:
    """A path or URL as it may be shown: without user name, password and query, control characters escaped."""
    return clean(named(spec))


def named(spec: str) -> str:
    """A path or URL as data carries it: without user name, password and query, else as it is, line breaks included.

    JSON has no bytes: in a name that is not UTF-8 each byte XX that is no character stands as `\\udcXX`, which is how
    Python's `os.fsdecode` names it.
    """
    if is_url(spec):
        spec = re.sub(r"(//)[^/]*@", r"\1", spec)
        spec = re.sub(r"[?#].*", "", spec, flags=re.DOTALL) if spec.lower().startswith("http") else spec
    return spec if spec.isascii() else spec.encode("utf-8", "backslashreplace").decode()


def local_path(spec: str) -> str | None:
    """The path inside a file:// URL, or None for any other spec."""
    return spec[len("file://") :] if spec.lower().startswith("file://") and "::" not in spec else None
