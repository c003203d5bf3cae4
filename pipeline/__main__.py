"""`python -m pipeline` is `prep`."""

from __future__ import annotations

if __name__ == "__main__":  # a spawned worker imports this module, too, and needs no command line
    from .start import main

    main()
