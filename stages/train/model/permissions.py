"""Files that a serving process of another user can read: safetensors writes them for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path


def follow_umask(folder: Path) -> None:
    """Give the files of a folder the permissions that a plainly opened file gets there. Does not descend."""
    probe = folder / f".umask.{os.getpid()}"
    # asking for the umask means changing it, for every thread
    os.close(os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666))
    wanted = probe.stat().st_mode & 0o777
    probe.unlink()
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600 != wanted:
            path.chmod(wanted)
