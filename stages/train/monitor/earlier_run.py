"""The run that a new one replaces in its output folder.

    before the first step   nothing is touched: a run that fails early leaves the folder as it was
    first step              its checkpoints and its log are moved to `replaced/`
    first checkpoint        `replaced/` is removed: the new run can be gone on from
    an end before that      they are put back

What lies in `replaced/` beside no checkpoint of our own is the whole record, so that a run which was killed is put
right by the parent, or by the next run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.train.checkpoints import MARK, checkpoints

FOLDER = "replaced"
_LOG = "trainer_log.jsonl"


class EarlierRun:
    """The earlier run of an output folder; only the first process of a run calls what moves files."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.aside = output / FOLDER

    def set_aside(self) -> int:
        """Move checkpoints and log of the run before; returns how many checkpoints were moved."""
        found = [folder for folder in self.output.glob("checkpoint-*") if (folder / MARK).is_file()]
        moved = [*found, *(path for path in [self.output / _LOG] if path.is_file())]
        if not moved:
            return 0
        if self.aside.exists():  # left by a run that was killed after its first checkpoint, which lies in the folder
            shutil.rmtree(self.aside)
        self.aside.mkdir()
        for path in moved:
            path.rename(self.aside / path.name)
        return len(found)

    def forget(self) -> None:
        """Remove what was moved: the new run can be gone on from."""
        if self.aside.is_dir():
            shutil.rmtree(self.aside)

    def put_back(self) -> int:
        """Undo `set_aside` unless the new run has a checkpoint; returns how many checkpoints came back."""
        if not self.aside.is_dir() or checkpoints(self.output):
            return 0
        count = 0
        for path in sorted(self.aside.iterdir()):
            there = self.output / path.name
            if there.is_dir():  # cut short while it was written
                shutil.rmtree(there)
            path.replace(there)
            count += path.name.startswith("checkpoint-")
        self.aside.rmdir()
        return count
