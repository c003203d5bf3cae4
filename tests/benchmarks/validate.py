"""`prep validate` beside a bare loop of orjson.loads over the same lines, with the same worker count.

    python tests/benchmarks/validate.py --assets DIR [--megabytes 400]

DIR holds data/messages.jsonl, repeated with a unique prefix up to the size. Start-up (a run over a few records) is
given beside, and not taken off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

KEY = b'"role":"user","content":"'


def bare_s(path: Path) -> float:
    started = time.perf_counter()
    with path.open("rb") as handle:
        for line in handle:
            orjson.loads(line)
    return time.perf_counter() - started


def shared_s(path: Path, workers: int) -> float:
    """The same loop dealt out to as many interpreters, each over its share of the bytes; start-up not counted."""
    code = (
        "import sys,time,orjson\n"
        "path,start,end=sys.argv[1],int(sys.argv[2]),int(sys.argv[3])\n"
        "handle=open(path,'rb'); handle.seek(start); start and handle.readline(); began=time.perf_counter()\n"
        "at=handle.tell()\n"
        "while at<end:\n"
        "    line=handle.readline()\n"
        "    if not line: break\n"
        "    at+=len(line); orjson.loads(line)\n"
        "print(time.perf_counter()-began)\n"
    )
    size = path.stat().st_size
    shares = [(size * n // workers, size * (n + 1) // workers) for n in range(workers)]
    team = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(a), str(b)], stdout=subprocess.PIPE, text=True)
        for a, b in shares
    ]
    return max(float(process.communicate()[0]) for process in team)


# an installed prep has its bytecode; a checkout gets it from the first run, unless this forbids it
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def validate_s(path: Path, workers: int) -> float:
    command = [sys.executable, "-m", "pipeline", "validate", str(path), "--quiet", "--workers", str(workers)]
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", required=True, type=Path)
    parser.add_argument("--megabytes", type=int, default=400)
    arguments = parser.parse_args()
    lines = (arguments.assets / "data" / "messages.jsonl").read_bytes().split(b"\n")[:-1]
    with tempfile.TemporaryDirectory() as scratch:
        path, few = Path(scratch) / "messages.jsonl", Path(scratch) / "few.jsonl"
        few.write_bytes(b"\n".join(lines[:10]) + b"\n")
        validate_s(few, 1)
        size = number = 0
        with path.open("wb") as out:
            while size < arguments.megabytes * 1_000_000:
                mark = b"[pass %d] " % number if number else b""
                size += out.write(b"\n".join(line.replace(KEY, KEY + mark, 1) for line in lines) + b"\n")
                number += 1
        print(f"{size / 1e6:,.0f} MB; start-up {validate_s(few, 1):.2f} s")
        for workers in (1, 2):
            bare = bare_s(path) if workers == 1 else shared_s(path, workers)
            ours = validate_s(path, workers)
            print(
                f"{workers} worker(s): orjson.loads {bare:.2f} s, prep validate {ours:.2f} s, ratio {ours / bare:.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
