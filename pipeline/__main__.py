"""`python -m pipeline` is `prep`."""

if __name__ == "__main__":  # a spawned worker imports this module, too, and needs no command line
    from .cli import main

    main()
