"""`python -m pipeline` is `prep`."""

from .cli import main

if __name__ == "__main__":
    main()
