"""`gdjax sweep`: train the digit network for a grid of settings and seeds."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gdjax.base import documents, interrupts, process, results
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Seed
from gdjax.cli.grid import GRAMMAR, parse, parse_any
from gdjax.cli.options import (
    NetworkOptions,
    check_new_store,
    make_optimizer,
    optimizer_keywords,
    resume_command,
)
from gdjax.cli.problem_file import ProblemOption, load_problem

Values = Annotated[str, tyro.conf.arg(metavar="VALUES")]
LIMITS: dict[str, Any] = {
    "seed": Seed,
    "data_seed": Seed,
    "noise_seed": Seed,
    "batch_size": Count,
    "learning_rate": Positive,
}
NETWORK_AXES = ("init_scale", "temperature")


@dataclass(frozen=True)
class Sweep(NetworkOptions):
    """Compare learning rates and other settings in many descents, run as one program.

    Values of an axis: 1  |  0.5,1,2  |  0:8 (integers)  |  0:1:5  |  0.1:30:12:log
    """

    learning_rate: Values = "0.1:30:12:log"
    """Learning rates."""
    seed: Values = "0:8"
    """Seeds of the initial parameters."""
    data_seed: Values | None = None
    """Seeds of the order of mini-batches; by default, all runs have the same order."""
    init_scale: Values | None = None
    """Scales of the initial weights."""
    axes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUES")] = ()
    """Further axes, such as temperature=1,0.5, nesterov=false,true or batch_size=16,64."""
    problem: ProblemOption = None
    """User-defined problem, used instead of the digit network that data, widths, activation and
    initializer define."""
    batch_size: Count | Literal["full"] = 32
    """Number of samples per step, or full for the whole training set."""
    replacement: bool = False
    """Draw the samples of mini-batches with replacement, instead of once per pass."""
    epochs: Count = 20
    """Number of passes over the training set."""
    num_steps: Count | None = None
    """Number of steps; overrides --epochs."""
    record_every: Count | None = None
    """Number of steps between records; by default, the number of steps of one epoch."""
    root_seed: Seed = 0
    """Seed of the whole study."""
    store: Annotated[str | None, check_new_store] = None
    """Zarr store for the runs; runs that it already contains are not recomputed. By default, it is
    in the results folder."""
    plan: bool = False
    """Create the store and print its size, number of tiles and estimated time, and compute nothing;
    gdjax resume STORE --part K/N then computes a part."""
    out: Path | None = None
    """Folder for summary and figures; by default results/sweep/<hash of these settings>."""

    def run(self) -> None:
        """Run the sweep, write summary and figures, then print the table."""
        named = self._axes()
        self._check_axes(named)
        runs = math.prod(map(len, named.values()))
        passes = f"{self.num_steps:,} steps" if self.num_steps else f"{self.epochs:,} epochs"
        process.configure(f"starting {runs:,} runs of {passes}")
        from gdjax import sweeps
        from gdjax.descent import steps_for
        from gdjax.problems import digits

        problem = load_problem(self.problem) or digits(self.data, **self.network())
        whole = self.batch_size == "full" or not problem.samples
        batch_size = None if whole else min(self.batch_size, problem.samples)
        epoch = steps_for(1, problem.samples, batch_size)
        store = self.store or results.folder("sweep", self, self.out) / "runs.zarr"
        arguments = (problem, sweeps.axes(**named), self.num_steps or self.epochs * epoch)
        settings: dict[str, Any] = {
            "make_optimizer": make_optimizer(self.optimizer, named),
            "batch_size": None if "batch_size" in named else batch_size,
            "replacement": self.replacement,
            "record_every": self.record_every or epoch,
            "root_seed": self.root_seed,
        }
        if self.plan:
            planned = sweeps.plan(sweeps.Sweep(*arguments, **settings), store)
            print(planned)
            print(f"next: {resume_command(store, self.problem)} --part 0/{planned.num_parts}")
            return
        folder = results.folder("sweep", self, self.out)
        with interrupts.resumable(resume_command(store, self.problem)):
            runs = sweeps.sweep(*arguments, **settings, store=store)
        from gdjax.cli.report import report_sweep  # after the sweep: matplotlib is slow

        config = documents.plain(self, other=str)
        if self.problem is not None:  # the network's options do not apply
            config = {k: v for k, v in config.items() if k not in ("data", *self.network())}
        report_sweep(runs, folder, config, store)

    def _axes(self):
        named: dict[str, Any] = {}
        for name in ("learning_rate", "seed", "data_seed", "init_scale"):
            if (text := getattr(self, name)) is not None:
                named[name] = parse(text, "--" + name.replace("_", "-"))
        for entry in self.axes:
            name, equals, text = entry.partition("=")
            if not equals or not name or name in named:
                raise InputError(
                    f"--axes {entry}: expected NAME=VALUES with a new name and values {GRAMMAR}"
                )
            named[name] = parse_any(text, f"--axes {name}")
        return named

    def _check_axes(self, named):
        """Find the mistakes in names and values that need no JAX."""
        from gdjax.base.arguments import check_limits, meant_keyword  # imports NumPy

        keywords = optimizer_keywords(self.optimizer)
        if self.problem is None and keywords:
            valid = [*LIMITS, *NETWORK_AXES, *(name for name in keywords if name not in LIMITS)]
            for name in (name for name in named if name.rpartition(".")[2] not in valid):
                raise InputError(
                    f"--axes {name}: unexpected axis; expected one of {', '.join(valid)}."
                    f"{meant_keyword(name, valid)}"
                )
        for name, values in named.items():
            for value in {min(values), max(values)} if name in LIMITS else ():
                check_limits(f"axes: {name}", value, LIMITS[name])
            if len(set(values)) < len(values):
                raise InputError(f"axes: a value of {name} occurs more than once; keep one")
        if "data_seed" in named and self.batch_size == "full" and "batch_size" not in named:
            raise InputError(
                "axes: data_seed sets the order of mini-batches, but with --batch-size full there "
                "are none; pass a batch size or leave the axis out"
            )
