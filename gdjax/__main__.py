"""`gdjax` and `python -m gdjax`: Ctrl-C has its meaning before anything long is imported."""

from gdjax import interrupts


def main() -> None:
    """The command line of this process."""
    interrupts.own()
    from gdjax import cli

    cli.main()


if __name__ == "__main__":
    main()
