"""Entry point of `gdjax`; handles Ctrl-C before any slow import."""

from gdjax.base import interrupts


def main() -> None:
    """Run the command line of this process."""
    interrupts.end_at_ctrl_c()
    from gdjax import cli

    cli.main()


if __name__ == "__main__":
    main()
