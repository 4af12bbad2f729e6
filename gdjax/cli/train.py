"""`gdjax train`: train one network to classify digits."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gdjax import interrupts
from gdjax.cli import checks
from gdjax.errors import InputError


@dataclass(frozen=True)
class Train:
    """Train one neural network to classify handwritten digits."""

    data: str = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or another data set prepared with
    `gdjax data prepare`."""
    widths: tuple[int, ...] = (16, 16)
    """Number of neurons in each hidden layer."""
    activation: Literal["sigmoid", "tanh", "relu", "softplus", "identity", "step"] = "sigmoid"
    """Activation of the neurons."""
    initializer: Literal["normal", "fan_in", "glorot", "he", "uniform"] = "fan_in"
    """Initializer of the weights."""
    recipe: Literal["quick", "best", "plain"] = "quick"
    """Learning rate, batch size, weight decay, augmentation and number of epochs. quick is intended
    for a few thousand images; best, which is slower, for tens of thousands; plain has a constant
    learning rate, no weight decay and no augmentation."""
    learning_rate: float | None = None
    """Learning rate, or its maximum if the recipe has a schedule; by default that of the recipe."""
    optimizer: Literal["sgd", "momentum", "adam"] = "sgd"
    """Update rule; momentum is SGD with a momentum of 0.9. The learning rates of recipes are chosen
    for sgd."""
    batch_size: int | Literal["full"] | None = None
    """Number of samples per step, or full for the whole training set; by default that of the
    recipe."""
    epochs: int | None = None
    """Number of passes over the training set; by default that of the recipe."""
    num_steps: int | None = None
    """Number of steps; overrides --epochs."""
    seed: int = 0
    """Seed of the initial parameters."""
    out: Path | None = None
    """Folder for results; by default results/train/<hash of these settings>."""

    def run(self) -> None:
        """Train, write summary, parameters and figures, then print the table."""
        self._check()
        from gdjax._runtime import process, results
        from gdjax.cli import optimizers

        process.configure()
        import jax

        from gdjax import data, keys, problems, slabs
        from gdjax.descent import descend, steps_for
        from gdjax.sweeps import check

        recipe = self._recipe()
        # An epoch has the same number of images with and without augmented copies.
        copies = recipe.copies
        images = data.load(self.data)
        samples = len(images.train_labels)
        batch_size = recipe.batch_size
        if batch_size is not None and batch_size > samples * copies:
            raise InputError(
                f"--batch-size {batch_size}: expected at most {samples * copies}, the training "
                f"images of {images.name}"
                + (f" in {copies} copies" if copies > 1 else "")
                + "; full uses all of them at every step"
            )
        problem = problems.digits(
            images,
            widths=self.widths,
            activation=self.activation,
            initializer=self.initializer,
            distortion=recipe.distortion,
        )
        epoch = steps_for(1, samples, batch_size)
        steps = self.num_steps or recipe.epochs * epoch
        folder = results.folder("train", self, self.out)
        streams = keys.run_keys(0, seed=self.seed)
        like = jax.eval_shape(problem.init, streams.init)
        check.check_params(like, slabs.memory_limit(jax.local_devices()[0]))
        start = problem.init(streams.init)
        with interrupts.interruptible() as stop:  # after an interruption, results are written, too
            run = descend(
                problem,
                recipe.optimizer(steps, optimizers.factory(self.optimizer)),
                start,
                steps,
                key=streams,
                batch_size=batch_size,
                record_every=_cadence(steps, epoch, batch_size),
            )
            trained = {
                "data": self.data,
                "optimizer": self.optimizer,
                "learning_rate": recipe.learning_rate,
                "held": recipe.warmup_steps is None,
                "batch_size": batch_size,
            }
            self._write(folder, problem, start, run, epoch, trained, recipe)
        if stop.is_set():
            progress = (
                f"after {run.num_steps} of {steps} steps; the parameters so far are in "
                f"{folder / 'params.npz'}. To take all steps, run the same command again"
                if run.num_steps < steps
                else f"when all {steps} steps were done; all results are in {folder}"
            )
            print(f"interrupted {progress}", file=sys.stderr)
            raise SystemExit(interrupts.STATUS)

    def _check(self):
        """Check the flags before JAX is imported."""
        checks.at_least(1, self, "epochs", "num_steps", "batch_size", "widths")
        checks.positive(self, "learning_rate")
        checks.seed("--seed", self.seed)

    def _recipe(self) -> Any:
        """Return the recipe, with its settings replaced by the given flags."""
        import dataclasses

        from gdjax.descent import RECIPES

        names = ("learning_rate", "batch_size", "epochs")
        overrides = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if overrides.get("batch_size") == "full":
            overrides["batch_size"] = None
        return dataclasses.replace(RECIPES[self.recipe], **overrides)

    def _write(
        self,
        folder: Path,
        problem: Any,
        start: Any,
        run: Any,
        epoch: int,
        trained: dict[str, Any],
        recipe: Any,
    ) -> None:
        import jax
        import jax.numpy as jnp
        import numpy as np

        from gdjax._runtime import results
        from gdjax.plots import training
        from gdjax.sweeps.dataset import named_leaves, storable

        accuracy = run.metrics["test_accuracy"]
        leaves = named_leaves("params", run.params)
        file = folder / "params.npz"
        with results.writing(file):
            np.savez(file, **{n: storable(a) for n, a in leaves.items()})  # ty: ignore[invalid-argument-type]
        results.write_summary(
            folder,
            "train",
            self,
            {
                "problem": problem.provenance,
                "trained": trained,
                "parameter_count": problem.network.parameter_count,
                "final_test_accuracy": float(accuracy[-1]),
                "initial_cost": float(run.cost[0]),
                "final_cost": float(run.cost[-1]),
                "final_gradient_norm": float(run.gradient_norm[-1]),
                "baseline_cost": problem.baseline,
                "outcome": str(run.outcome),
                "diverged_at": run.diverged_at,
                "interrupted": run.interrupted,
                "num_steps": run.num_steps,
                "seconds": dict(run.seconds),
            },
        )
        images, labels = problem.metrics["test_accuracy"].data
        predict = jax.jit(problem.predict)
        figures = training.training_figures(
            epoch=run.recorded_steps / epoch,
            cost=run.cost,
            accuracy=accuracy,
            baseline=problem.baseline,
            inputs=images,
            labels=labels,
            before=np.asarray(predict(start, jnp.asarray(images))),
            after=np.asarray(predict(run.params, jnp.asarray(images))),
            weights=np.asarray(run.params[0].weights),
        )
        for name, figure in figures.items():
            results.save_figure(figure, folder / f"{name}.png")
        shown = np.unique(np.round(np.geomspace(1, len(run.recorded_steps), 8)).astype(int) - 1)
        print(f"{recipe}, seed {self.seed}")
        print("    epoch      step  training cost  test accuracy")
        for i in shown:
            step = run.recorded_steps[i]
            print(f"{step / epoch:>9.1f}  {step:>8}  {run.cost[i]:>13.4f}  {accuracy[i]:>13.1%}")
        print(
            f"{problem.network.parameter_count:,} parameters, {str(run.outcome).replace('_', ' ')}"
            + (f" at step {run.diverged_at}" if run.diverged_at is not None else "")
            + f"; compiled in {run.seconds['compile']:.1f} s, ran in {run.seconds['run']:.1f} s"
        )
        print(f"written to {folder}")
        print(results.next_command("spectrum", "--params", file))


def _cadence(steps: int, epoch: int, batch_size: int | None) -> int:
    """Return the number of steps between records.

    With mini-batches, it is the number of steps of one epoch, or of several epochs in long
    descents; with full batches, it is 1/200 of all steps. A record evaluates the full training set,
    as many samples as an epoch of mini-batches.
    """
    if batch_size is None:
        return max(1, steps // 200)
    return epoch * max(1, -(-steps // (30 * epoch)))
