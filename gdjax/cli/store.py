"""`gdjax resume` and `gdjax replay`: commands on the store of a sweep."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax import interrupts
from gdjax.cli import problem_file
from gdjax.cli.grid import TRUTH, number
from gdjax.cli.problem_file import Given
from gdjax.errors import InputError

StorePath = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class Resume:
    """Finish an interrupted sweep; stored runs are not recomputed."""

    store: StorePath
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""
    problem: Given = None
    """Problem of the sweep, if it is user-defined."""
    allow_unverified: bool = False
    """Go on if a version, a numeric flag or a function of the host cannot be compared."""
    out: Path | None = None
    """Folder for summary and figures; by default, the parent folder of the store if it contains
    only results of this sweep, otherwise results/resume/<hash of these settings>."""

    def run(self) -> None:
        """Compute the missing runs, write summary and figures, then print the table."""
        exists(self.store)
        problem_file.check(self.problem)
        from gdjax._runtime import process

        process.configure()
        from gdjax._runtime import results
        from gdjax.sweeps import resume

        with interrupts.resumable(resumption(self.store, self.problem)):
            runs = resume(
                self.store,
                problem=problem_file.load(self.problem),
                allow_unverified=self.allow_unverified,
            )
        from gdjax.cli import report  # imports matplotlib, so it comes after the sweep

        beside = None if "://" in self.store else report.own_folder(Path(self.store), runs)
        report.sweep(runs, results.folder("resume", self, self.out or beside), self, self.store)


@dataclass(frozen=True)
class Replay:
    """Recompute one run of a sweep, and compare it with the stored run.

    The exit status is 0 if the two are bitwise equal, and 1 otherwise. If they differ, the first
    step at which they differ and the largest difference are printed.
    """

    store: StorePath
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Run to replay, by values of its axes, such as learning_rate=0.5 seed=3."""
    skip_damaged: bool = False
    """Replay even if other runs of the store are damaged."""
    problem: Given = None
    """Problem of the sweep, if it is user-defined."""
    allow_unverified: bool = False
    """Go on if a version, a numeric flag or a function of the host cannot be compared."""

    def run(self) -> None:
        """Recompute the run, and print the comparison."""
        exists(self.store)
        problem_file.check(self.problem)
        at = parse_at(self.at)
        from gdjax._runtime import process

        process.configure()
        from gdjax._runtime import results
        from gdjax.sweeps import replay

        problem = problem_file.load(self.problem)
        comparison = replay(
            self.store,
            at,
            problem=problem,
            allow_unverified=self.allow_unverified,
            skip_damaged=self.skip_damaged,
        )
        run = " ".join(f"{axis}={format_value(value)}" for axis, value in comparison.at.items())
        if comparison.equal:
            print(f"{run}: bitwise equal")
        else:
            print(
                f"{run}: differs from step {comparison.first_step} on; the largest difference is "
                f"{comparison.largest_difference:.3g}"
            )
        mine = () if self.problem is None else ("--problem", self.problem)
        skip = ("--skip-damaged",) if self.skip_damaged else ()
        words = ("landscape", "--store", self.store, *mine, *skip, "--at", *run.split())
        print(results.next_command(*words))
        if not comparison.equal:
            raise SystemExit(1)


def format_value(value: Any, digits: int = 8) -> str:
    """Format a value of an axis as text: integers and names exactly."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(int(value) if isinstance(value, bool) else value)


def resumption(store: str | Path, problem: str | None) -> str:
    """Return the command that resumes the sweep of a store."""
    return f"gdjax resume {store}" + ("" if problem is None else f" --problem {problem}")


def parse_at(texts: tuple[str, ...]) -> dict[str, int | float | str]:
    """Parse axis values such as `seed=3` or `activation=tanh`.

    Raises:
        InputError: if a text is not of the form AXIS=VALUE, or an axis is given twice.

    Examples:
        >>> parse_at(("learning_rate=0.5", "seed=3"))
        {'learning_rate': 0.5, 'seed': 3}
    """
    at: dict[str, int | float | str] = {}
    for text in texts:
        axis, equals, value = text.partition("=")
        if not equals or not axis or len(value.split()) != 1:
            raise InputError(f"--at {text}: expected AXIS=VALUE, such as seed=3")
        if axis in at:
            raise InputError(f"--at {text}: {axis} is given twice; keep one value of each axis")
        try:
            at[axis] = number(TRUTH.get(value, value))
        except ValueError:
            at[axis] = value
    return at


def exists(store: str) -> None:
    """Check that the folder of a store exists, unless the store is a URL."""
    if "://" not in store and not Path(store).is_dir():
        raise InputError(
            f"{store}: no such store; pass the folder or URL of the store of a sweep, such as "
            f"results/sweep/<hash>/runs.zarr"
        )
