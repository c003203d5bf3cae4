"""`prep`, and `python -m pipeline`, which is the same."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs prep. Without click there is no command line: one line on stderr, and exit code 3."""
    try:
        from .cli import main as run_command
    except ModuleNotFoundError as error:
        from .installation import missing_package

        fault = missing_package(error)
        if fault is None:
            raise
        sys.stderr.write(f"prep: {fault.problems[0]}\n")
        sys.exit(fault.exit_code)
    run_command()


if __name__ == "__main__":  # a spawned worker imports this module, too, and needs no command line
    main()
