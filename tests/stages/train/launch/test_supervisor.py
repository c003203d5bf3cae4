"""torchrun's own noise stays away from the user; what a worker said, and how it ended, does not."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from registry.errors import MachineFault, UsageFault
from stages.train.launch.supervisor import STATUS_VARIABLE, _Ends, quieted, run_launch, write_status
from stages.train.launch.torchrun import Launch

AGENT = """\
W1121 04:50:01.000000 1 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 12 closing signal SIGTERM
E1121 04:50:01.000000 1 torch/distributed/elastic/multiprocessing/api.py:988] failed (exitcode: -9) local_rank: 0
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/torch/distributed/run.py", line 991, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============
stages.train FAILED
  exitcode  : 1 (pid: 12)
"""
WORKER = """\
step 1/4  loss 3.2
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/stages/train/__main__.py", line 60, in <module>
    main()
ValueError: a bug of ours
the line after
"""


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def test_the_agents_lines_and_traceback_are_dropped() -> None:
    ends = _Ends()
    assert list(quieted(lines(AGENT), ends)) == []
    assert set(ends.codes) == {-9}


def test_a_workers_lines_and_traceback_are_kept() -> None:
    assert list(quieted(lines(WORKER + AGENT), _Ends())) == WORKER.splitlines()
    assert list(quieted(lines(WORKER), _Ends())) == WORKER.splitlines()


def run(code: str) -> tuple[int, list[str]]:
    said: list[str] = []
    return run_launch(Launch((sys.executable, "-c", code), {}, ""), said.append), said


def test_a_clean_end_is_0_and_lines_pass_through() -> None:
    assert run("import sys; sys.stderr.write('one\\ntwo\\n')") == (0, ["one", "two"])


def test_a_status_decides_whatever_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"exit_code": 2, "problems": ["template: unknown"], "hint": "see list"})
    with pytest.raises(UsageFault, match="template") as caught:
        run(f"import os, sys; open(os.environ['{STATUS_VARIABLE}'], 'w').write({body!r}); sys.exit(1)")
    assert caught.value.hint == "see list"
    stopped = json.dumps({"exit_code": 143, "problems": [], "hint": ""})
    assert run(f"import os; open(os.environ['{STATUS_VARIABLE}'], 'w').write({stopped!r}); exit(1)")[0] == 143


def test_a_death_without_a_word_is_the_machines_fault() -> None:
    with pytest.raises(MachineFault, match="exit code 9"):
        run("import sys; sys.exit(9)")
    noise = AGENT.replace("\n", "\\n").replace('"', '\\"')
    with pytest.raises(MachineFault, match="killed from outside") as caught:
        run(f'import sys; sys.stderr.write("{noise}"); sys.exit(1)')
    assert "memory" in caught.value.hint


def test_only_the_first_workers_word_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATUS_VARIABLE, str(tmp_path / "status"))
    write_status(2, ["first"])
    write_status(3, ["second"])
    assert json.loads((tmp_path / "status").read_text())["problems"] == ["first"]


def test_an_interrupted_parent_takes_its_workers_along() -> None:
    started = time.monotonic()

    class Interrupt(BaseException):
        pass

    def say(text: str) -> None:
        raise Interrupt

    code = "import sys, time; sys.stderr.write('up\\n'); sys.stderr.flush(); time.sleep(60)"
    with pytest.raises(Interrupt):
        run_launch(Launch((sys.executable, "-c", code), {}, ""), say)
    assert time.monotonic() - started < 20


DONE = """
import os, sys
from stages.train.launch.supervisor import worker_exit
for number in sys.argv[1].split(","):
    os.environ.update(RANK=number, LOCAL_WORLD_SIZE="2")
    worker_exit(lambda: None, print)
os.abort()
"""


def test_a_worker_that_crashes_after_its_work_has_not_failed() -> None:
    """Libraries with threads of their own sometimes abort while the interpreter goes down."""
    assert run_launch(Launch((sys.executable, "-c", DONE, "0,1"), {}, ""), lambda _: None) == 0


def test_a_crash_before_every_worker_is_done_is_one() -> None:
    with pytest.raises(MachineFault, match="died without a word"):
        run_launch(Launch((sys.executable, "-c", DONE, "0"), {}, ""), lambda _: None)
