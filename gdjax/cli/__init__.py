"""Command line `gdjax`, with a typed dataclass for each subcommand.

JAX is imported only when a command runs, so `gdjax --help` and errors in flags appear immediately.
"""

import os
import sys
from itertools import pairwise
from typing import Annotated

import tyro

from gdjax import __version__, interrupts
from gdjax.cli.data import Data
from gdjax.cli.explore import Explore
from gdjax.cli.landscape import Landscape
from gdjax.cli.lesson import Lesson
from gdjax.cli.minima import Minima
from gdjax.cli.spectrum import Spectrum
from gdjax.cli.store import Replay, Resume
from gdjax.cli.sweep import Sweep
from gdjax.cli.train import Train
from gdjax.errors import GdjaxError

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
        raise SystemExit(_give_up_stdout(error)) from None


def _give_up_stdout(error: OSError) -> int:
    """Discard the remaining standard output, and return the exit status."""
    # Python flushes standard output again at exit, which would report the same error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    print(f"gdjax: standard output cannot be written: {error.strerror}", file=sys.stderr)
    return 2


def _refuse_empty_axes(arguments: list[str]) -> None:
    """Raise an error for `--axes` without values, which tyro would parse as no axes."""
    for argument, value in pairwise([*arguments, ""]):
        if argument == "--axes" and (not value or value.startswith("--")):
            expected = "expected NAME=VALUES, such as momentum=0,0.9"
            print(f"gdjax: --axes: no value given; {expected}", file=sys.stderr)
            raise SystemExit(2)


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(f"gdjax {__version__}")
        return
    if arguments[:1] == ["--completion"]:
        if arguments[1:] not in [[shell] for shell in SHELLS]:
            print(f"gdjax: --completion: expected one of {', '.join(SHELLS)}", file=sys.stderr)
            raise SystemExit(2)
        arguments = ["--tyro-print-completion", *arguments[1:]]
    _refuse_empty_axes(arguments)
    command = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Sweep, tyro.conf.subcommand("sweep")]
        | Annotated[Resume, tyro.conf.subcommand("resume")]
        | Annotated[Replay, tyro.conf.subcommand("replay")]
        | Annotated[Landscape, tyro.conf.subcommand("landscape")]
        | Annotated[Spectrum, tyro.conf.subcommand("spectrum")]
        | Annotated[Minima, tyro.conf.subcommand("minima")]
        | Annotated[Explore, tyro.conf.subcommand("explore")]
        | Annotated[Lesson, tyro.conf.subcommand("lesson")]
        | Annotated[Data, tyro.conf.subcommand("data")],
        prog="gdjax",
        description="See gradient descent: train networks, sweep settings, and examine the cost. "
        "Also: --version; --completion bash, zsh or fish prints a completion script.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.ConsolidateSubcommandArgs),
    )
    try:
        command.run()
    except GdjaxError as error:
        print(f"gdjax: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(interrupts.message(), file=sys.stderr)
        raise SystemExit(interrupts.STATUS) from None
