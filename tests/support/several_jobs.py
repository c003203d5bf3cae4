"""A worker that runs several jobs in one process group: what takes the time in these tests is importing torch."""

from __future__ import annotations

import gc
import sys
from pathlib import Path


def main(paths: list[str]) -> None:
    """Train each job file in turn, with accelerate's idea of the run forgotten in between."""
    from accelerate.state import AcceleratorState

    from stages.train.__main__ import say
    from stages.train.generate.run import predict
    from stages.train.job import from_json
    from stages.train.launch import distributed
    from stages.train.run import train

    leave, distributed.leave = distributed.leave, lambda: None  # the group is opened once
    for path in paths:
        job = from_json(Path(path).read_text("utf-8"))
        if job.task == "predict":
            predict(job, say)
        else:
            train(job, say)
        AcceleratorState._reset_state(reset_partial_state=False)
        gc.freeze()  # each run collects at its end, and would look through all of torch again
    leave()


if __name__ == "__main__":
    main(sys.argv[1:])
