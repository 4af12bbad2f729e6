"""Command line `gdjax`, with a typed dataclass for each subcommand.

JAX is imported only when a command runs, so `gdjax --help` and errors in flags appear immediately.
"""

import os
import sys
from functools import reduce
from operator import or_
from typing import Annotated

import tyro

from gdjax import __version__
from gdjax.base import interrupts
from gdjax.base.errors import GdjaxError, InputError
from gdjax.cli.compare import Compare
from gdjax.cli.data import Data
from gdjax.cli.landscape import Landscape
from gdjax.cli.minima import Minima
from gdjax.cli.options import check_options
from gdjax.cli.pages import Explore, Lesson
from gdjax.cli.resume import Replay, Resume
from gdjax.cli.spectrum import Spectrum
from gdjax.cli.sweep import Sweep
from gdjax.cli.train import Train

COMMANDS = {
    "train": Train,
    "sweep": Sweep,
    "resume": Resume,
    "replay": Replay,
    "compare": Compare,
    "landscape": Landscape,
    "spectrum": Spectrum,
    "minima": Minima,
    "explore": Explore,
    "lesson": Lesson,
    "data": Data,
}
SHELLS = ("bash", "zsh", "fish")
BROKEN_PIPE = 141  # exit status that shells report for a program ended by SIGPIPE


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    The exit status is 2 after an error of gdjax, such as invalid input, or if standard output
    cannot be written; 130 after Ctrl-C; and 141 if the reader of standard output has closed it
    (`gdjax train | head -1`).
    """
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # the error concerns a file, not standard output
            raise
        # Python flushes standard output again at exit, which would report the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise SystemExit(BROKEN_PIPE) from None
        print(f"gdjax: standard output cannot be written: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(f"gdjax {__version__}")
        return
    try:
        if arguments[:1] == ["--completion"]:
            if arguments[1:] not in [[shell] for shell in SHELLS]:
                raise InputError(f"--completion: expected one of {', '.join(SHELLS)}")
            arguments = ["--tyro-print-completion", *arguments[1:]]
        command = tyro.cli(
            reduce(or_, (Annotated[c, tyro.conf.subcommand(n)] for n, c in COMMANDS.items())),
            prog="gdjax",
            description="See gradient descent: train networks, sweep settings, and examine the "
            "cost. Also: --version; --completion bash, zsh or fish prints a completion script.",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.ConsolidateSubcommandArgs),
        )
        check_options(command)
        command.run()
    except GdjaxError as error:
        print(f"gdjax: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(interrupts.message(), file=sys.stderr)
        raise SystemExit(interrupts.STATUS) from None
