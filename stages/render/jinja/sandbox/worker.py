"""The process that renders untrusted templates: limits first, then work from one pipe, answers into another.

Started by `stages.render.jinja.sandbox.process`; not meant to be imported elsewhere. A frame is eight hexadecimal
digits, the number of bytes that follow, and that many bytes of JSON lines. The first frame is the setup; each later one
is a batch, read whole before the first answer is written, so that neither side can block the other.

    in    {"name", "messages", "tools", "generate", "marked", "variables", "cap_chars"}   one line an item
    out   {"text", "marks"} | {"error", "message"[, "leaving"]}                   one frame an item
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from typing import Any, BinaryIO

# jinja2 imports it when an error comes up: too late for a process that may open no file
import jinja2.debug  # noqa: F401
import orjson
from jinja2 import Environment, Template
from jinja2.exceptions import SecurityError, TemplateSyntaxError

from stages.render.jinja.messages import FIRST_MARK, MARKS

from .environment import FILTERS, OutputTooLong, Refusal, make_environment, render

# in JSON bytes, so that one pass makes the plain item out of the marked one
_MARK_BYTES = re.compile(b"\xf3[\xb0-\xbf][\x80-\xbf][\x80-\xbf]")

# those of texts that a template may name; `'x'.encode` of another is reported as an unknown one
_CODECS = (  # noqa: SIM905  # one name a line would be fifteen lines
    "ascii cp1252 idna latin-1 punycode raw_unicode_escape unicode_escape utf-7 utf-8 utf-8-sig utf-16 utf-16-be"
    " utf-16-le utf-32 no-such-codec"
).split()

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_WARM_UP = "{% macro m(x) %}{{ x | tojson(indent=1) | trim | title }}{% endmacro %}{% for x in ['\\n\\u00e9'] %}" + (
    "{{ m(x) ~ strftime_now('%d %b %Y') | urlencode }}{% endfor %}"
)


def read_frame(source: BinaryIO) -> bytes | None:
    """The next frame's bytes, or None when the other side has gone."""
    head = source.read(8)
    if len(head) < 8:
        return None
    size = int(head, 16)
    data = source.read(size)
    return data if len(data) == size else None


def frame(data: bytes) -> bytes:
    """`data` as a frame."""
    return b"%08x" % len(data) + data


def cut_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and (number of the mark, position in that text) in order of appearance."""
    places = []
    for gone, found in enumerate(MARKS.finditer(marked)):
        places.append((ord(found.group()) - FIRST_MARK, found.start() - gone))
    return MARKS.sub("", marked), places


def warm_up(environment: Environment) -> None:
    """Runs every filter once and looks up the codecs: some import a module at their first use, and no file can be
    opened after the limits."""
    for name in sorted(FILTERS):
        for value in ("a", ["a"], {"a": 1}):
            with contextlib.suppress(Exception):  # not every filter takes every value
                environment.call_filter(name, value)
    for codec in _CODECS:
        with contextlib.suppress(LookupError, ValueError):
            "a".encode(codec).decode(codec)


def limit(address_space_bytes: int) -> None:
    """Memory, files, core dumps. A limit that this system does not know is left out; the wall's own timers remain."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for name, value in (
        ("RLIMIT_AS", address_space_bytes),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", 0),  # what is open stays open, nothing else can be opened
    ):
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (ceiling, ceiling))
        except (ValueError, OSError):  # macOS refuses some of them
            continue


def limit_cpu(seconds: float) -> None:
    """The process ends when it has used this much more CPU time: by the profiling timer to the millisecond, and by the
    kernel's own limit at the next whole second. 0 stops the timer."""
    if not hasattr(signal, "setitimer"):
        return
    signal.setitimer(signal.ITIMER_PROF, seconds)
    if seconds:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 2, hard))


class _Work:
    def __init__(self, setup: dict[str, Any]) -> None:
        self.sources: dict[str, str] = setup["sources"]
        self.variables: dict[str, Any] = setup["variables"]
        self.cpu_s: float = setup["cpu_s"]
        self.environment: Environment = make_environment(setup["template_date"])
        self.compiled: dict[str, Template] = {}

    def item(self, line: bytes) -> dict[str, Any]:
        limit_cpu(self.cpu_s)
        try:
            return self._render(line)
        except Refusal as error:
            return {"error": "refused", "message": str(error)}
        except TemplateSyntaxError as error:
            return {"error": "syntax", "message": f"line {error.lineno}: {error.message}"}
        except SecurityError as error:
            return {"error": "unsafe", "message": str(error)}
        except OutputTooLong as error:
            return {"error": "limit", "message": str(error)}
        except MemoryError:
            # the heap is in pieces now; the next item deserves a fresh one
            return {"error": "limit", "message": "more memory than a template may use", "leaving": True}
        except (OverflowError, RecursionError) as error:
            return {"error": "limit", "message": str(error)}
        except Exception as error:  # whatever a template's code runs into is the template's
            # an address in the message would make two runs differ
            return {"error": "broken", "message": _ADDRESS.sub("", f"{type(error).__name__}: {error}")}
        finally:
            limit_cpu(0)

    def _render(self, line: bytes) -> dict[str, Any]:
        loads = json.loads if line.startswith(b" ") else orjson.loads
        item = loads(line)
        if not item["marked"]:
            return {"text": self._text(item), "marks": None}
        plain = self._text(loads(_MARK_BYTES.sub(b"", line)))
        self.environment.marked = True  # type: ignore[attr-defined]  # read by the generation blocks
        try:
            text, marks = cut_marks(self._text(item))
        except Exception:  # the marks themselves were in the way; the plain text stands
            return {"text": plain, "marks": None}
        finally:
            self.environment.marked = False  # type: ignore[attr-defined]
        return {"text": plain, "marks": marks if text == plain else None}

    def _text(self, item: dict[str, Any]) -> str:
        name = item["name"]
        template = self.compiled.get(name)
        if template is None:
            template = self.compiled[name] = self.environment.from_string(self.sources[name])
        variables = {
            **self.variables,
            "documents": None,
            **(item.get("variables") or {}),
            "messages": item["messages"],
            "tools": item.get("tools"),
            "add_generation_prompt": item["generate"],
        }
        return render(template, variables, item["cap_chars"])


def main() -> None:
    """Serves one wall until its pipe closes."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    setup = read_frame(source)
    if setup is None:
        return
    settings = orjson.loads(setup)
    work = _Work(settings)
    # one render before the limits, so that nothing is imported after them: not even the codec of "\\n"
    work.environment.from_string(_WARM_UP).render()
    warm_up(work.environment)
    orjson.dumps({"ready": ["é"]})
    limit(settings["address_space_bytes"])
    sink.write(frame(b'{"ready":true}'))
    sink.flush()
    while (batch := read_frame(source)) is not None:
        for line in batch.split(b"\n"):
            reply = work.item(line)
            try:
                data = orjson.dumps(reply)
            except (orjson.JSONEncodeError, MemoryError):  # a text with half a surrogate pair, or one too many
                data = orjson.dumps({"error": "broken", "message": "the rendered text is not valid Unicode"})
            sink.write(frame(data))
            sink.flush()
            if reply.get("leaving"):
                os._exit(0)
