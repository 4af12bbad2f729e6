"""Command line `gdjax`, with a typed dataclass for each subcommand.

JAX is imported only when a command runs, so `gdjax --help` and errors in flags appear immediately.
"""

import contextlib
import difflib
import os
import sys
from dataclasses import is_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, get_type_hints

import tyro

from gdjax import __version__
from gdjax.base import interrupts
from gdjax.base.errors import GdjaxError, InputError
from gdjax.cli.compare import Compare
from gdjax.cli.data import Data
from gdjax.cli.landscape import Landscape
from gdjax.cli.minima import Minima
from gdjax.cli.options import check_limits, parts
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
ALIASES = {"--lr": "--learning-rate", "--steps": "--num-steps", "--lrs": "--learning-rate"}
NUMBERS = {int: "a whole number", float: "a number"}
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
        check_words(arguments)
        command = tyro.cli(
            reduce(or_, (Annotated[c, tyro.conf.subcommand(n)] for n, c in COMMANDS.items())),
            prog="gdjax",
            description="See gradient descent: train networks, sweep settings, and examine the "
            "cost. Also: --version; --completion bash, zsh or fish prints a completion script.",
            args=arguments,
            config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.ConsolidateSubcommandArgs),
        )
        check_limits(command)
        command.run()
    except GdjaxError as error:
        print(f"gdjax: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(interrupts.message(), file=sys.stderr)
        raise SystemExit(interrupts.STATUS) from None


def check_words(arguments: list[str]) -> None:
    """Check commands, abbreviations and values, where tyro's errors are long or missing."""
    name = arguments[0] if arguments else "--help"
    if not name.startswith("-") and name not in COMMANDS:
        raise InputError(f"{name}: expected {', '.join(COMMANDS)}{_suggestion(name, COMMANDS)}")
    hints = _hints(COMMANDS[name]) if name in COMMANDS else {}
    words = [*arguments, "", ""]
    for flag, value, after in zip(words, words[1:], words[2:], strict=False):
        if ALIASES.get(flag) in hints:
            raise InputError(f"{flag}: no such option; did you mean {ALIASES[flag]}?")
        if flag == "--axes" and (not value or value.startswith("--")):  # no axes for tyro
            raise InputError("--axes: no value given; expected NAME=VALUES, such as momentum=0,0.9")
        if flag in hints and value and not value.startswith("--"):
            if name == "sweep" and after[:1].isdigit() and [*parts(hints[flag])] == [str]:
                commas = f"expected values separated by commas: {flag} {value},{after}"
                raise InputError(f"{flag} {value} {after}: {commas}")
            _check_value(flag, value, hints[flag])


def _hints(command):
    """Return the types of the options of a command, by flag."""
    hints: dict[str, Any] = {}
    for name, hint in get_type_hints(command).items():
        hints |= _hints(hint) if is_dataclass(hint) else {f"--{name.replace('_', '-')}": hint}
    return hints


def _check_value(flag, value, hint):
    """Check one word, if its type consists of numbers and choices."""
    alternatives = list(parts(hint))
    if value in alternatives or not all(a in NUMBERS or isinstance(a, str) for a in alternatives):
        return
    for number in filter(NUMBERS.get, alternatives):
        with contextlib.suppress(ValueError):
            number(value)
            return
    expected = ", ".join(NUMBERS.get(a, a) for a in alternatives)
    choices = [a for a in alternatives if isinstance(a, str)]
    raise InputError(f"{flag} {value}: expected {expected}{_suggestion(value, choices)}")


def _suggestion(word, choices):
    near = difflib.get_close_matches(word, choices, 1)
    return f"; did you mean {near[0]}?" if near else ""
