"""Where the `prep` command begins: SIGTERM is answered from here on, also while everything else is being imported.

Names of files are UTF-8 in everything that prep writes, whatever the locale says: Python takes its view of them from
the locale when it starts, and so it is started once more where that is another one.
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Runs the command line."""
    signal.signal(signal.SIGTERM, _at_once)
    if not sys.flags.utf8_mode and codecs.lookup(sys.getfilesystemencoding()).name != "utf-8":
        os.environ["PYTHONUTF8"] = "1"  # for every Python that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606
    # prep solves no equations; threads for that take address space, and places in the container's count of processes
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _fit_terminal()
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:  # without click there is no command line to say it
        from .installation import missing_package

        fault = missing_package(error)
        if fault is None:
            raise
        sys.stderr.write(f"prep: {fault.problems[0]}\n")
        sys.exit(fault.exit_code)
    run()


def _fit_terminal() -> None:
    """A terminal or a `PYTHONIOENCODING` that cannot show a character gets it in ASCII, instead of an error."""
    import locale

    codecs.register_error("prep.ascii", _in_ascii)
    own = locale.getencoding()
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if sys.flags.utf8_mode and stream.isatty() and codecs.lookup(own).name not in ("utf-8", "ascii"):
            stream.reconfigure(encoding=own)  # UTF-8 mode has changed it; ASCII is what no one has set up
        if codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="prep.ascii")
        elif stream.errors == "strict":  # names of files may hold bytes that are no UTF-8
            stream.reconfigure(errors="surrogateescape")


_MARKS = {
    "…": "...", "·": "-", "•": "*", "→": "->", "←": "<-", "↳": "->", "×": "x", "✓": "ok", "✗": "x", "–": "-",
    "—": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "≥": ">=", "≤": "<=", "─": "-", "━": "-", "│": "|", "┃": "|",
    "█": "#", "▏": "|", "▁": "_", "⏎": "\\n", "␣": " ", "╸": "-", "╺": "-",
}  # fmt: skip


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: marks as ASCII writes them, other characters as their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_MARKS.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text), error.end


def _at_once(number: int, frame: FrameType | None) -> None:
    """Nothing has been written yet, so there is nothing to unwind."""
    try:
        os.write(2, b"prep: terminated; nothing half-written was published\n")
    except OSError:  # nobody listens
        pass
    os._exit(143)
