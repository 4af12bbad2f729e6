"""`gdjax train`: train one network to classify digits."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gdjax.base import interrupts, process, results
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive, Seed
from gdjax.cli.emit import emit, table
from gdjax.cli.options import NetworkOptions, format_cost, make_optimizer


@dataclass(frozen=True)
class Train(NetworkOptions):
    """Train one neural network to classify handwritten digits."""

    recipe: Literal["quick", "best", "plain"] = "quick"
    """Learning rate, batch size, weight decay, augmentation and number of epochs. quick is intended
    for a few thousand images; best, which is slower, for tens of thousands; plain has a constant
    learning rate, no weight decay and no augmentation."""
    learning_rate: Positive | None = None
    """Learning rate, or its maximum if the recipe has a schedule; by default that of the recipe."""
    batch_size: Count | Literal["full"] | None = None
    """Number of samples per step, or full for the whole training set; by default that of the
    recipe."""
    epochs: Count | None = None
    """Number of passes over the training set; by default that of the recipe."""
    num_steps: Count | None = None
    """Number of steps; overrides --epochs."""
    seed: Seed = 0
    """Seed of the initial parameters."""
    out: Path | None = None
    """Folder for results; by default results/train/<hash of these settings>."""

    def run(self) -> None:
        """Train, write summary, parameters and figures, then print the table."""
        process.configure()
        import jax

        from gdjax import data, problems
        from gdjax.base import keys, slabs
        from gdjax.descent import descend, steps_for
        from gdjax.sweeps import check

        recipe = self._recipe()
        images = data.load(self.data)
        samples = len(images.train_labels)
        batch_size = recipe.batch_size
        if batch_size is not None and batch_size > samples * recipe.copies:
            copies = f" in {recipe.copies} copies" if recipe.copies > 1 else ""
            raise InputError(
                f"--batch-size {batch_size}: expected at most {samples * recipe.copies}, the "
                f"training images of {images.name}{copies}; full uses all of them at every step"
            )
        problem = problems.digits(images, **self.network(), distortion=recipe.distortion)
        # An epoch has the same number of images with and without augmented copies.
        epoch = steps_for(1, samples, batch_size)
        steps = self.num_steps or recipe.epochs * epoch
        folder = results.folder("train", self, self.out)
        streams = keys.run_keys(0, seed=self.seed)
        structure = jax.eval_shape(problem.init, streams.init)
        check.check_params_fit(structure, slabs.memory_limit(jax.local_devices()[0]))
        start = problem.init(streams.init)
        with interrupts.interruptible() as stop:  # after an interruption, results are written, too
            run = descend(
                problem,
                recipe.optimizer(steps, make_optimizer(self.optimizer)),
                start,
                steps,
                key=streams,
                batch_size=batch_size,
                record_every=_cadence(steps, epoch, batch_size),
            )
            _save_params(folder / "params.npz", run.params)
            emit(
                "train",
                self,
                folder,
                summary=self._summary(problem, run, recipe),
                draw=lambda: _figures(problem, start, run, epoch),
                report=[f"{recipe}, seed {self.seed}", *_report(problem, run, epoch)],
                next_command=("spectrum", "--params", folder / "params.npz"),
            )
        if stop.is_set():
            again = "; to take all, run the same command again" if run.num_steps < steps else ""
            print(
                f"interrupted after {run.num_steps} of {steps} steps{again}; the results are in "
                f"{folder}",
                file=sys.stderr,
            )
            raise SystemExit(interrupts.STATUS)

    def _recipe(self) -> Any:
        """Return the recipe, with its settings replaced by the given flags."""
        from gdjax.descent import RECIPES

        names = ("learning_rate", "batch_size", "epochs")
        overrides = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if overrides.get("batch_size") == "full":
            overrides["batch_size"] = None
        return replace(RECIPES[self.recipe], **overrides)

    def _summary(self, problem, run, recipe):
        return {
            "problem": problem.provenance,
            "trained": {
                "data": self.data,
                "optimizer": self.optimizer,
                "learning_rate": recipe.learning_rate,
                "held": recipe.warmup_steps is None,
                "batch_size": recipe.batch_size,
            },
            "parameter_count": problem.network.parameter_count,
            "final_test_accuracy": float(run.metrics["test_accuracy"][-1]),
            "initial_cost": float(run.cost[0]),
            "final_cost": float(run.cost[-1]),
            "final_gradient_norm": float(run.gradient_norm[-1]),
            "baseline_cost": problem.baseline,
            "outcome": str(run.outcome),
            "diverged_at": run.diverged_at,
            "interrupted": run.interrupted,
            "num_steps": run.num_steps,
            "seconds": dict(run.seconds),
        }


def _save_params(file, params):
    import numpy as np

    from gdjax.sweeps.dataset import named_leaves, storable

    arrays: Any = {name: storable(leaf) for name, leaf in named_leaves("params", params).items()}
    with results.explain_os_errors(file):
        np.savez(file, **arrays)


def _figures(problem, start, run, epoch):
    import jax
    import jax.numpy as jnp
    import xarray as xr

    from gdjax.plots import training

    images, labels = problem.metrics["test_accuracy"].data
    predict = jax.jit(problem.predict)
    variables = {
        "epoch": ("record", run.recorded_steps / epoch),
        "cost": ("record", run.cost),
        "test_accuracy": ("record", run.metrics["test_accuracy"]),
        "label": ("sample", labels),
        "image": (("sample", "pixel"), images),
        "before": (("sample", "class"), predict(start, jnp.asarray(images))),
        "after": (("sample", "class"), predict(run.params, jnp.asarray(images))),
        "weight": (("neuron", "pixel"), run.params[0].weights),
    }
    return training.training_figures(xr.Dataset(variables, attrs={"baseline": problem.baseline}))


def _report(problem, run, epoch):
    """Return a table of at most eight records, and a sentence on the outcome."""
    import numpy as np

    shown = np.unique(np.round(np.geomspace(1, len(run.recorded_steps), 8)).astype(int) - 1)
    steps, accuracy = run.recorded_steps[shown], run.metrics["test_accuracy"][shown]
    columns = {
        "epoch": [f"{step / epoch:.1f}" for step in steps],
        "step": [str(step) for step in steps],
        "training cost": [format_cost(cost) for cost in run.cost[shown]],
        "test accuracy": [f"{share:.1%}" for share in accuracy],
    }
    outcome = run.outcome.label
    if run.diverged_at is not None:
        outcome += f" at step {run.diverged_at}"
    return [
        table(columns),
        f"{problem.network.parameter_count:,} parameters, {outcome}; compiled in "
        f"{run.seconds['compile']:.1f} s, ran in {run.seconds['run']:.1f} s",
    ]


def _cadence(steps: int, epoch: int, batch_size: int | None) -> int:
    """Return the number of steps between records.

    With mini-batches, it is the number of steps of one epoch, or of several epochs in long
    descents; with full batches, it is 1/200 of all steps. A record evaluates the full training set,
    as many samples as an epoch of mini-batches.
    """
    if batch_size is None:
        return max(1, steps // 200)
    return epoch * max(1, -(-steps // (30 * epoch)))
