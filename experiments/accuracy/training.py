"""Training of digit networks with variants of a recipe: cumulative changes, and single changes.

    ladder: base | change 1 | changes 1 and 2 | ...      single changes: one variant and one change

Networks are either trained on all but the held-out images and evaluated on the held-out images, or
trained on all training images and evaluated on the test images.

>>> list(ladder(12))[-2:]
['distorted copies', 'longer']
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import gdjax as gd
from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.problems import Distortion, freshly_distorted
from gdjax.problems.losses import targets_for

STORED_PARAMETERS = 12  # approximate number of records, and of snapshots, of a run
RECORDED = 1000  # number of samples over which the recorded cost is averaged


class Variant(NamedTuple):
    """A training variant: a recipe, an optimizer, and targets of the outputs."""

    recipe: Recipe
    rule: Callable[..., optax.GradientTransformation] = optax.sgd
    targets: tuple[float, float] = (0.0, 1.0)  # of incorrect classes, and of the correct class
    fresh: bool = False  # whether images are distorted at every step instead of once
    against: str = "distorted copies"  # the variant of the ladder with which it is compared
    long: bool = False  # whether fewer starts are used, since a run takes a long time


def ladder(epochs: int) -> dict[str, Variant]:
    """Return training variants, each of which adds one change to the previous one."""
    best = RECIPES["best"]
    distorted = dataclasses.replace(best, epochs=epochs)
    by_layer = dataclasses.replace(distorted, distortion=None)
    plain = dataclasses.replace(RECIPES["plain"], epochs=epochs)
    rungs = {
        "batches of 128": dataclasses.replace(plain, batch_size=128, learning_rate=4.0),
        "plain": plain,
        "annealed": Recipe(learning_rate=2.0, epochs=epochs, warmup_steps=best.warmup_steps),
        "decayed": dataclasses.replace(by_layer, decay=5e-5, decay_behind=5e-5),
        "pixels decayed more": by_layer,
        "distorted copies": distorted,
        "longer": best,
    }
    return {name: Variant(recipe) for name, recipe in rungs.items()}


def single_changes(epochs: int) -> dict[str, Variant]:
    """Return variants that differ from "distorted copies" or "longer" in one change."""
    best = RECIPES["best"]
    base = dataclasses.replace(best, epochs=epochs)
    change = partial(dataclasses.replace, base)

    def batches(size, rate, warmup_steps):
        return Variant(change(batch_size=size, learning_rate=rate, warmup_steps=warmup_steps))

    adam = change(learning_rate=0.01, decay=0.0, decay_behind=0.0)
    slow = change(learning_rate=base.learning_rate / 10)
    return {
        "batches of 16": batches(16, 4.0, 400),
        "batches of 64": batches(64, 12.0, 400),
        "batches of 128, rate 24": batches(128, 24.0, 50),
        "targets 0.05 and 0.95": Variant(base, targets=(0.05, 0.95)),
        "targets -0.05 and 1.05": Variant(base, targets=(-0.05, 1.05)),
        "labels smoothed by 0.1": Variant(base, targets=(0.01, 0.91)),
        "momentum 0.9": Variant(slow, partial(optax.sgd, momentum=0.9)),
        "Adam": Variant(adam, optax.adam),
        "twice the distortion": Variant(change(distortion=Distortion(shift=1.0, turn=0.24))),
        "fresh copies": Variant(base, fresh=True, long=True),
        "100 epochs": Variant(dataclasses.replace(best, epochs=100), against="longer", long=True),
    }


def quadratic_with_targets(off: float, on: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the squared-error loss with target `on` for the label, `off` elsewhere."""
    return lambda outputs, labels: jnp.sum(
        (outputs - off - (on - off) * targets_for(outputs, labels)) ** 2, axis=-1
    )


class Problems:
    """Problems of the digit network on parts of a data set, with a cache."""

    def __init__(self, data: str, held_out: int):
        self.set = gd.data.load(data)
        self.num_learned = len(self.set.train_labels) - held_out
        self.problems: dict[Any, gd.Problem] = {}

    def with_held_out_images(self, variant: Variant) -> gd.Problem:
        """Return the problem of training on all but the held-out images.

        Its metric is the accuracy on the held-out images.
        """
        problem, n = self._of(variant, self.num_learned), self.num_learned
        images, labels = self.set.train_images[n:], self.set.train_labels[n:]
        metric = gd.Metric(
            problem.metrics["test_accuracy"].function,
            (images.reshape(len(images), -1), labels),
            long_name="validation accuracy",
        )
        return dataclasses.replace(problem, metrics={"validation_accuracy": metric})

    def with_all_images(self, variant: Variant) -> gd.Problem:
        """Return the problem of training on all training images, with the test accuracy."""
        return self._of(variant, len(self.set.train_labels))

    def _of(self, variant, samples):
        distortion = None if variant.fresh else variant.recipe.distortion
        key = samples, distortion
        if key not in self.problems:
            # To limit memory, only problems with the current number of samples remain cached.
            self.problems = {k: v for k, v in self.problems.items() if k[0] == samples}
            self.problems[key] = gd.problems.digits(
                self.set, samples=samples, distortion=distortion
            )
        problem = self.problems[key]
        if variant.fresh:
            shape = self.set.train_images.shape[1:]
            return freshly_distorted(problem, shape, variant.recipe.distortion)
        if variant.targets == (0.0, 1.0):
            return problem
        other = gd.problems.digits(
            self.set, loss=quadratic_with_targets(*variant.targets), samples=samples
        )
        return dataclasses.replace(other, data=problem.data)


def trained(problem: gd.Problem, variant: Variant, seeds: range, samples: int, store: Path):
    """Return a stored sweep over starting points, with about 12 snapshots per run.

    `samples` is the number of training images, without copies.
    """
    recipe = variant.recipe
    epoch = gd.descent.steps_for(1, samples, recipe.batch_size)
    steps, every = recipe.epochs * epoch, epoch * max(1, recipe.epochs // STORED_PARAMETERS)
    options: dict = {"record_every": every, "snapshot_every": every, "store": store}
    # Evaluating the cost on all distorted copies would take as long as many epochs.
    options |= {"batch_size": recipe.batch_size, "record_samples": min(RECORDED, samples)}
    rule, grid = recipe.optimizer(steps, variant.rule), gd.axes(seed=seeds)
    return gd.sweep(problem, grid, steps, make_optimizer=lambda: rule, **options)
