"""`gdjax resume` and `gdjax replay`: what can be done with the store of a sweep."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gdjax import interrupts
from gdjax.errors import InputError

StorePath = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class Resume:
    """Finish a sweep that was interrupted; what its store holds is not computed again."""

    store: StorePath
    """Zarr store of a sweep."""
    out: Path | None = None
    """Folder for summary and pictures; by default the one that the store is in."""

    def run(self) -> None:
        """Compute what is missing, then print the table and write summary and pictures."""
        exists(self.store)
        from gdjax.cli import process

        process.own()
        from gdjax.cli import results
        from gdjax.sweeps import resume

        with interrupts.resumable(f"gdjax resume {self.store}"):
            runs = resume(self.store)
        folder = results.folder("resume", self, self.out or self.store.resolve().parent)
        from gdjax.cli import report  # imports matplotlib: the first block need not wait

        report.sweep(runs, folder, self)


@dataclass(frozen=True)
class Replay:
    """Run one run of a sweep again, and compare it with what the store holds.

    Exit status 0: equal to the last bit. 1: it differs; by how much and from which step is printed.
    """

    store: StorePath
    """Zarr store of a sweep."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Which run: its axes, such as learning_rate=0.5 seed=3; the nearest grid value is taken."""
    skip_damaged: bool = False
    """Replay though other runs of the store are damaged."""

    def run(self) -> None:
        """Replay, and print how it compares."""
        exists(self.store)
        at = parse_at(self.at)
        from gdjax.cli import process

        process.own()
        from gdjax.sweeps import replay

        found = replay(self.store, at, skip_damaged=self.skip_damaged)
        run = " ".join(f"{axis}={value:.8g}" for axis, value in found.at.items())
        if found.equal:
            print(f"{run}: equal to the last bit")
            return
        print(
            f"{run}: differs from step {found.first_step} on; the largest difference is "
            f"{found.largest_difference:.3g}"
        )
        raise SystemExit(1)


def parse_at(texts: tuple[str, ...]) -> dict[str, float]:
    """Axis values from texts like `seed=3`.

    Raises:
        InputError: a text of another form.

    Examples:
        >>> parse_at(("learning_rate=0.5", "seed=3"))
        {'learning_rate': 0.5, 'seed': 3.0}
    """
    at = {}
    for text in texts:
        axis, equals, value = text.partition("=")
        try:
            at[axis] = float(value)
        except ValueError:
            equals = ""
        if not equals or not axis:
            raise InputError(f"--at {text}: expected AXIS=VALUE, such as seed=3")
    return at


def exists(store: Path) -> None:
    """Make sure that a store is there, before JAX is imported."""
    if not store.is_dir():
        raise InputError(
            f"{store}: there is no store; give the folder of a sweep, such as "
            f"results/sweep/<hash>/runs.zarr"
        )
