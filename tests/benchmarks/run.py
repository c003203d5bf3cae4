"""`prep pack` beside what its work must cost: ratios taken in one run, on one input, with one worker count.

    python tests/benchmarks/run.py --assets DIR [--sizes 1,2,4] [--part 1.0] [--no-trainer-path] [--llamafactory PYTHON]

DIR holds data/{alpaca,sharegpt,messages}.jsonl and tok/qwen3/tokenizer.json. Size n repeats every file n times with a
unique prefix. Printed: seconds, peak memory (PSS) of the whole process tree, and ratios to
  (a) a bare loop of orjson.loads over the same lines, in as many processes
  (b) the bare tokenizers on the same segments, all cores, one cold pass, loading not counted
  (c) what trainers do: `datasets.map` and one tokenizer call a segment (trainer_path.py, size 1 only)
  (d) LLaMA-Factory itself, run by the interpreter of an environment that has it (llamafactory_path.py, size 1 only)
Start-up (a run over ten records) is taken off prep's time for (a) and (b), as loading is off theirs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import llamafactory_path
import orjson

KEYS = {"alpaca": b'"instruction":"', "sharegpt": b'"from":"human","value":"', "messages": b'"role":"user","content":"'}
INFO = {
    "alpaca": {"file_name": "alpaca.jsonl"},
    "sharegpt": {
        "file_name": "sharegpt.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
    },
    "messages": {
        "file_name": "messages.jsonl",
        "formatting": "openai",
        "columns": {"messages": "messages", "tools": "tools"},
    },
}


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += tree(int(child))
    except OSError:
        pass
    return found


def pss_kib(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def timed(command: list[str], *, look_s: float = 0.0) -> tuple[float, float]:
    """Seconds and peak MiB of a command with everything it starts. look_s: how often memory is looked at, 0 for never:
    adding up the pages of a tree takes a core's time away."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while look_s and process.poll() is None:
        peak = max(peak, sum(map(pss_kib, tree(process.pid))))
        time.sleep(look_s)
    if process.wait():
        raise SystemExit(f"{command[:3]} failed: {process.stderr.read().decode()[-2000:] if process.stderr else ''}")
    return time.perf_counter() - started, peak / 1024


def write_data(assets: Path, folder: Path, size: int, part: float) -> int:
    """The three files, `size` times over, and their dataset_info.json; returns their bytes."""
    folder.mkdir(parents=True)
    total = 0
    for name, key in KEYS.items():
        lines = (assets / "data" / f"{name}.jsonl").read_bytes().split(b"\n")[:-1]
        lines = lines[: int(len(lines) * part)]
        with (folder / f"{name}.jsonl").open("wb") as out:
            for number in range(size):
                mark = b"[pass %d] " % number if number else b""
                total += out.write(b"\n".join(line.replace(key, key + mark, 1) for line in lines) + b"\n")
    (folder / "dataset_info.json").write_text(json.dumps(INFO))
    return total


def loads_part(task: tuple[str, int, int]) -> int:
    path, number, of = task
    count = 0
    with open(path, "rb") as handle:
        for at, line in enumerate(handle):
            if at % of == number:
                orjson.loads(line)
                count += 1
    return count


def bare_loads_s(folder: Path, workers: int) -> float:
    """(a): every line decoded once, the lines of each file dealt out to the processes."""
    tasks = [(str(folder / f"{name}.jsonl"), number, workers) for name in KEYS for number in range(workers)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(len, ["x"] * workers)  # started before the clock
        started = time.perf_counter()
        pool.map(loads_part, tasks, chunksize=1)
        return time.perf_counter() - started


def segments(folder: Path, tokenizer: Path) -> tuple[list[str], str]:
    """Every text that `prep pack` tokenizes, and the tokenizer.json it uses."""
    from pipeline.config import load_config
    from pipeline.jobs.check import Checker, check_records
    from pipeline.jobs.encoder import Encoding
    from pipeline.jobs.specs import Task
    from pipeline.plan import make_plan
    from stages.core.records import Chunk
    from stages.readers.scan import load, scan

    words = [f"dataset_dir={folder}", "dataset=" + ",".join(KEYS), f"model_name_or_path={tokenizer}", *SETTINGS]
    plan = make_plan(load_config(None, words, for_command="pack"), needs_tokens=True)
    assert plan.encode is not None and plan.fitted is not None
    checker = Checker(plan.batch_spec(None))
    renderer = Encoding(plan.encode).renderer()
    texts: list[str] = []
    for number, source in enumerate(plan.sources):
        for path in source.files:
            for chunk in scan(path):
                if isinstance(chunk, Chunk):
                    chunk = chunk._replace(data=load(chunk))
                    for _, _, rendered in check_records(checker, Task(number, path, chunk), chunk, renderer.render)[1]:
                        texts += [piece for segment in rendered.segments for piece in segment if isinstance(piece, str)]
    return texts, plan.fitted.json_text


def bare_tokenizers_s(texts: list[str], json_text: str) -> dict[str, float]:
    """(b): seconds of one cold pass of each library over the texts."""
    import fastokens
    import gigatoken
    import tokenizers

    found = {}
    fast = fastokens.Tokenizer.from_json_str(json_text)
    started = time.perf_counter()
    fast.encode_batch_flat(texts)
    found["fastokens"] = time.perf_counter() - started
    giga = gigatoken.Tokenizer.from_json(json_text)
    started = time.perf_counter()
    giga.encode_batch(texts)
    found["gigatoken"] = time.perf_counter() - started
    reference = tokenizers.Tokenizer.from_str(json_text)
    started = time.perf_counter()
    for at in range(0, len(texts), 20000):
        reference.encode_batch_fast(texts[at : at + 20000], add_special_tokens=False)
    found["tokenizers"] = time.perf_counter() - started
    return found


SETTINGS = ["template=qwen3", "cutoff_len=4096", "packing=true"]


def pack(folder: Path, tokenizer: Path, out: Path, workers: int, *, look_s: float = 0.0) -> tuple[float, float]:
    shutil.rmtree(out, ignore_errors=True)
    words = [f"dataset_dir={folder}", "dataset=" + ",".join(KEYS), f"model_name_or_path={tokenizer}", *SETTINGS]
    command = [sys.executable, "-m", "pipeline", "pack", *words, "-o", str(out), "--workers", str(workers), "--quiet"]
    return timed(command, look_s=look_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", required=True, type=Path)
    parser.add_argument("--sizes", default="1,2,4")
    parser.add_argument("--part", type=float, default=1.0, help="share of each file's records")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-trainer-path", action="store_true")
    parser.add_argument("--llamafactory", help="python of an environment with llamafactory")
    arguments = parser.parse_args()
    tokenizer = arguments.assets / "tok" / "qwen3"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {arguments.workers} workers"
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        work = Path(scratch)
        write_data(arguments.assets, work / "ten", 1, 0.0004)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed prep has its bytecode; a checkout gets it here
        pack(work / "ten", tokenizer, work / "out", arguments.workers)
        startup_s, _ = pack(work / "ten", tokenizer, work / "out", arguments.workers)
        print(f"start-up: {startup_s:.2f} s (a run over a few records)")
        for size in map(int, arguments.sizes.split(",")):
            folder = work / f"data{size}"
            megabytes = write_data(arguments.assets, folder, size, arguments.part) / 1e6
            elapsed, _ = pack(folder, tokenizer, work / "out", arguments.workers)
            _, peak = pack(folder, tokenizer, work / "out", arguments.workers, look_s=0.1)  # a run of its own
            net = elapsed - startup_s
            print(
                f"{size}x  {megabytes:,.0f} MB  prep pack {elapsed:.1f} s, {megabytes / net:.1f} MB/s less start-up, "
                f"peak {peak:,.0f} MiB"
            )
            loads_s = bare_loads_s(folder, arguments.workers)
            print(f"     (a) orjson.loads  {loads_s:6.2f} s   prep / bare = {net / loads_s:.1f}")
            if size == 1:
                texts, json_text = segments(folder, tokenizer)
                for name, seconds in bare_tokenizers_s(texts, json_text).items():
                    print(f"     (b) {name:<12}  {seconds:6.2f} s   prep / bare = {net / seconds:.1f}")
                del texts
            paths = [("(c) datasets.map", sys.executable, "trainer_path.py", folder)]
            if arguments.no_trainer_path or size > 1:
                paths = []
            if arguments.llamafactory and size == 1:
                data = llamafactory_path.prepared(folder, work / "prepared")
                paths.append(("(d) LLaMA-Factory", arguments.llamafactory, "llamafactory_path.py", data))
            for name, python, script, data in paths:
                words = [str(data), str(tokenizer), str(work / script), str(arguments.workers)]
                os.environ["TOKENIZERS_PARALLELISM"] = "false"
                seconds, peak = timed([python, str(Path(__file__).with_name(script)), *words], look_s=5.0)
                print(
                    f"     {name:<17} {seconds:5.1f} s   {name[:3]} / prep = {seconds / elapsed:.1f}, "
                    f"less start-up {seconds / net:.1f}; peak {peak:,.0f} MiB"
                )
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
