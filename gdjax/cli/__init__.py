"""The `gdjax` command: each subcommand is a typed dataclass that parses, calls, prints and writes.

Nothing here imports JAX before a command runs, so `gdjax --help` and a wrong flag answer at once.
"""

import sys
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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 2 on input that cannot work, with 130 on Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"gdjax {__version__}")
        return
    if arguments[:1] == ["--completion"]:
        if arguments[1:] not in [[shell] for shell in SHELLS]:
            print(f"gdjax: --completion: expected one of {', '.join(SHELLS)}", file=sys.stderr)
            raise SystemExit(2)
        arguments = ["--tyro-print-completion", *arguments[1:]]
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
        description="See gradient descent: what a step does, and where it ends. Also: --version; "
        "--completion bash, zsh or fish prints what the shell wants to be told.",
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
