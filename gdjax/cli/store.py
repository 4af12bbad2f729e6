"""`gdjax resume` and `gdjax replay`: what can be done with the store of a sweep."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax import interrupts
from gdjax.cli import problem_file
from gdjax.cli.grid import TRUTH
from gdjax.cli.problem_file import Given
from gdjax.errors import InputError

StorePath = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class Resume:
    """Finish a sweep that was interrupted; what its store holds is not computed again."""

    store: StorePath
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""
    problem: Given = None
    """The sweep's own problem, where it was a user's."""
    out: Path | None = None
    """Folder for summary and pictures; by default the one that the store's folder is in."""

    def run(self) -> None:
        """Compute what is missing, write summary and pictures, then print the table."""
        exists(self.store)
        problem_file.check(self.problem)
        from gdjax._runtime import process

        process.own()
        from gdjax._runtime import results
        from gdjax.sweeps import resume

        with interrupts.resumable(resumption(self.store, self.problem)):
            runs = resume(self.store, problem=problem_file.load(self.problem))
        beside = None if "://" in self.store else Path(self.store).resolve().parent
        folder = results.folder("resume", self, self.out or beside)
        from gdjax.cli import report  # imports matplotlib: the first block need not wait

        report.sweep(runs, folder, self, self.store)


@dataclass(frozen=True)
class Replay:
    """Run one run of a sweep again, and compare it with what the store holds.

    Exit status 0: equal to the last bit. 1: it differs; by how much and from which step is printed.
    """

    store: StorePath
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Which run: its axes, such as learning_rate=0.5 seed=3, values of its grid."""
    skip_damaged: bool = False
    """Replay though other runs of the store are damaged."""
    problem: Given = None
    """The sweep's own problem, where it was a user's."""

    def run(self) -> None:
        """Replay, and print how it compares."""
        exists(self.store)
        problem_file.check(self.problem)
        at = parse_at(self.at)
        from gdjax._runtime import process

        process.own()
        from gdjax._runtime import results
        from gdjax.sweeps import replay

        own = problem_file.load(self.problem)
        found = replay(self.store, at, problem=own, skip_damaged=self.skip_damaged)
        run = " ".join(f"{axis}={told(value)}" for axis, value in found.at.items())
        if found.equal:
            print(f"{run}: equal to the last bit")
        else:
            print(
                f"{run}: differs from step {found.first_step} on; the largest difference is "
                f"{found.largest_difference:.3g}"
            )
        mine = () if self.problem is None else ("--problem", self.problem)
        skip = ("--skip-damaged",) if self.skip_damaged else ()
        words = ("landscape", "--store", self.store, *mine, *skip, "--at", *run.split())
        print(results.next_command(*words))
        if not found.equal:
            raise SystemExit(1)


def told(value: Any) -> str:
    """A value of an axis as text."""
    return f"{value:.8g}" if isinstance(value, int | float) else str(value)


def resumption(store: str | Path, problem: str | None) -> str:
    """The command that goes on with a store's sweep."""
    return f"gdjax resume {store}" + ("" if problem is None else f" --problem {problem}")


def parse_at(texts: tuple[str, ...]) -> dict[str, float | str]:
    """Axis values from texts like `seed=3` or `activation=tanh`.

    Raises:
        InputError: a text of another form, or an axis that is given twice.

    Examples:
        >>> parse_at(("learning_rate=0.5", "seed=3"))
        {'learning_rate': 0.5, 'seed': 3.0}
    """
    at: dict[str, float | str] = {}
    for text in texts:
        axis, equals, value = text.partition("=")
        if not equals or not axis or len(value.split()) != 1:
            raise InputError(f"--at {text}: expected AXIS=VALUE, such as seed=3")
        if axis in at:
            raise InputError(f"--at {text}: {axis} is given twice; keep one value of each axis")
        try:
            at[axis] = float(TRUTH.get(value, value))
        except ValueError:
            at[axis] = value
    return at


def exists(store: str) -> None:
    """Check that a store's folder exists, before JAX is imported; a URL is opened later."""
    if "://" not in store and not Path(store).is_dir():
        raise InputError(
            f"{store}: there is no store; give the folder or the URL of a sweep's store, such as "
            f"results/sweep/<hash>/runs.zarr"
        )
