"""`gdjax sweep`: train the digit network for a grid of settings and seeds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gdjax import interrupts
from gdjax.cli import checks, problem_file
from gdjax.cli.grid import GRAMMAR, parse, parse_any
from gdjax.cli.problem_file import Given
from gdjax.cli.store import resumption
from gdjax.errors import InputError

Values = Annotated[str, tyro.conf.arg(metavar="VALUES")]


@dataclass(frozen=True)
class Sweep:
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
    problem: Given = None
    """User-defined problem, used instead of the digit network that the next four flags define."""
    data: str = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or another data set prepared with
    `gdjax data prepare`."""
    widths: tuple[int, ...] = (16, 16)
    """Number of neurons in each hidden layer."""
    activation: Literal["sigmoid", "tanh", "relu", "softplus", "identity", "step"] = "sigmoid"
    """Activation of the neurons."""
    initializer: Literal["normal", "fan_in", "glorot", "he", "uniform"] = "fan_in"
    """Initializer of the weights."""
    optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    """Update rule; momentum is SGD with a momentum of 0.9 unless momentum is an axis."""
    batch_size: int | Literal["full"] = 32
    """Number of samples per step, or full for the whole training set."""
    replacement: bool = False
    """Draw the samples of mini-batches with replacement, instead of once per pass."""
    epochs: int = 20
    """Number of passes over the training set."""
    num_steps: int | None = None
    """Number of steps; overrides --epochs."""
    record_every: int | None = None
    """Number of steps between records; by default, the number of steps of one epoch."""
    root_seed: int = 0
    """Seed of the whole study."""
    store: str | None = None
    """Zarr store for the runs; runs that it already contains are not recomputed. By default, it is
    in the results folder."""
    out: Path | None = None
    """Folder for summary and figures; by default results/sweep/<hash of these settings>."""

    def run(self) -> None:
        """Run the sweep, write summary and figures, then print the table."""
        problem_file.check(self.problem)
        named = self._axes()
        if self.batch_size != "full" and self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected at least 1, or full")
        checks.at_least(1, self, "epochs", "num_steps", "record_every", "widths")
        from gdjax._runtime import process

        process.configure()
        from gdjax._runtime import results
        from gdjax.cli import optimizers
        from gdjax.descent import steps_for
        from gdjax.problems import digits
        from gdjax.sweeps import axes, sweep

        problem = problem_file.load(self.problem) or digits(
            self.data,
            widths=self.widths,
            activation=self.activation,
            initializer=self.initializer,
        )
        whole = self.batch_size == "full" or not problem.samples
        batch_size = None if whole else min(self.batch_size, problem.samples)
        epoch = steps_for(1, problem.samples, batch_size)
        if "batch_size" in named:
            batch_size = None
        folder = results.folder("sweep", self, self.out)
        store = self.store or folder / "runs.zarr"
        with interrupts.resumable(resumption(store, self.problem)):
            runs = sweep(
                problem,
                axes(**named),
                self.num_steps or self.epochs * epoch,
                make_optimizer=optimizers.factory(self.optimizer, named),
                batch_size=batch_size,
                replacement=self.replacement,
                record_every=self.record_every or epoch,
                root_seed=self.root_seed,
                store=store,
            )
        from gdjax.cli import report  # imports matplotlib, so it comes after the sweep

        report.sweep(runs, folder, self, store)

    def _axes(self):
        texts = {
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "data_seed": self.data_seed,
            "init_scale": self.init_scale,
        }
        named: dict[str, Any] = {
            name: parse(text, "--" + name.replace("_", "-"))
            for name, text in texts.items()
            if text is not None
        }
        for entry in self.axes:
            name, equals, text = entry.partition("=")
            if not equals or not name or name in named:
                raise InputError(
                    f"--axes {entry}: expected NAME=VALUES with a new name and values {GRAMMAR}"
                )
            named[name] = parse_any(text, f"--axes {name}")
        return named
