"""`python -m gdjax.cli` is `gdjax`."""

from gdjax.cli import main

main()
