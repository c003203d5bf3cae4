"""One worker of a training run: `python -m stages.train prep_job.json`, started by torchrun or by hand."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from registry.errors import UsageFault
from stages.train.launch.supervisor import worker_exit
from stages.train.launch.torchrun import rank

from .checkpoints import checkpoints
from .job import TrainJob, from_json
from .library_errors import translated


def main(argv: list[str]) -> int:
    """Do the job in the file named by `argv`; returns the exit code of contract.md."""
    # DeepSpeed's launcher adds --local_rank=N; the environment says the same
    names = [word for word in argv if not word.startswith("-")]

    def work() -> None:
        if len(names) != 1:
            raise UsageFault("usage: python -m stages.train prep_job.json")
        job = from_json(Path(names[0]).read_text("utf-8"))
        if job.task == "predict":
            from stages.train.generate.run import predict

            with translated():
                predict(job, say)
        else:
            from .run import train

            train(restarted(job), say)

    return worker_exit(work, say)


def restarted(job: TrainJob) -> TrainJob:
    """The job as it is after torchrun has started this worker again: it goes on from its last checkpoint."""
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") or 0) == 0:
        return job
    last = "last" if checkpoints(Path(job.run.output_dir)) else job.run.resume
    return dataclasses.replace(job, run=dataclasses.replace(job.run, resume=last))


def say(text: str) -> None:
    """One line on stderr, which processes share."""
    number = rank(os.environ)
    sys.stderr.write((f"[process {number}] " if number else "") + text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
