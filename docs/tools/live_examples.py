"""Guides whose examples are run: what stands behind a command in a ```console block is what the command prints.

    <!-- file: data/chats.jsonl -->      the next block is written to this file before anything below it runs
    <!-- show: 10 -->                    of the next block's outputs the first 10 lines are kept (`last: 10`: the last)

`python -m docs.tools.cli_pages` writes the outputs anew, a test compares. Commands run one after the other in a
temporary folder that holds the demo (`docs.tools.cli_pages.sandbox`). A block in another language is never run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_MARK = re.compile(r"<!-- (file|show|last): (.+?) -->")
_FENCE = "```"
_OTHERS = frozenset({"cat", "cp", "head", "ls"})  # what an example may run beside prep, in its own folder
ROOT = Path(__file__).parents[2]


def refreshed(text: str, folder: Path) -> str:
    """The page with every output written anew. Raises RuntimeError when a command ends with a traceback."""
    lines = text.splitlines()
    fresh: list[str] = []
    marks: dict[str, str] = {}
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        fresh.append(line)
        if mark := _MARK.fullmatch(line.strip()):
            marks[mark[1]] = mark[2]
        if not line.startswith(_FENCE):
            continue
        end = next(number for number in range(at, len(lines)) if lines[number].startswith(_FENCE))
        block = lines[at:end]
        at = end + 1
        if "file" in marks:
            path = folder / marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(block) + "\n", encoding="utf-8")
        if line == "```console":
            block = list(_answered(block, marks, folder))
        fresh += [*block, _FENCE]
        marks = {}
    return "\n".join(fresh) + "\n"


def _answered(block: list[str], marks: dict[str, str], folder: Path) -> Iterator[str]:
    for line in block:
        if not line.startswith("$ "):
            continue  # the old output
        yield line
        yield from shortened(run_shown(line[2:], folder)[1].splitlines(), marks)


def shortened(lines: list[str], marks: dict[str, str]) -> list[str]:
    """Output lines as `show` or `last` keep them."""
    first, last = int(marks.get("show", len(lines))), int(marks.get("last", len(lines)))
    if last < len(lines):
        return ["...", *lines[-last:]]
    return [*lines[:first], *["..."] * (len(lines) > first)]


def run_shown(command: str, folder: Path) -> tuple[int, str]:
    """Exit code and settled output of a command as a reader would type it (`NAME=value` may stand before it).

    Raises RuntimeError for a command that examples may not run, and for a traceback.
    """
    words = shlex.split(command)
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONSAFEPATH": "1", "TZ": "UTC"}
    environment["PYTHONPATH"] = str(ROOT)  # the same prep, installed or not
    environment |= dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), "-1")  # as on a machine without any
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    if not words or words[0] not in {"prep", *_OTHERS}:
        raise RuntimeError(f"{command}: not a command that the documentation may run")
    argv = [sys.executable, "-m", "pipeline", *words[1:]] if words[0] == "prep" else words
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", check=False,
    )  # fmt: skip
    if "Traceback (most recent call last)" in done.stdout:
        raise RuntimeError(f"{command}\n{done.stdout}")
    return done.returncode, settled(done.stdout, folder)


def settled(output: str, folder: Path) -> str:
    """Output without what differs from run to run and machine to machine: times, the temporary folder, cores, ports,
    and what holds a digest of the code."""
    output = output.replace(f"{folder}{os.sep}", "").replace(sys.executable, "python")
    output = re.sub(r"^\d+\.\d s\n?", "", output, flags=re.MULTILINE)  # a line that only slow machines print
    output = re.sub(r"; slowest: [a-z, ]+|, \d+\.\d MB/s", "", output)  # printed only for runs above a second
    output = re.sub(r"\b\d+\.\d s\b", "0.3 s", output)
    # the key holds a digest of prep's own code, which every edit changes
    output = re.sub(r"\bkey [0-9a-f]{16}\b", "key 5f1c0de5a9b27e34", output)
    output = re.sub(r"(prep's source:\s+)[0-9a-f]{64}", r"\g<1>" + "c0de" * 16, output)
    output = re.sub(r"OMP_NUM_THREADS=\d+", "OMP_NUM_THREADS=8", output)
    output = re.sub(r"--master_port \d+", "--master_port 29500", output)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-11-21T09:00:00Z", output)
