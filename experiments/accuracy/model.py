"""Training of digit networks with variants of a recipe.

    ladder: base | change 1 | changes 1 and 2 | ...      single changes: one variant and one change

Networks are either trained on all but the held-out images and evaluated on the held-out images, or
trained on all training images and evaluated on the test images.

>>> list(ladder(12))[-2:]
['longer', '100 epochs']
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax.descent import RECIPES, Recipe
from gdjax.problems import Distortion, warped
from gdjax.sweeps import from_named

STORED_PARAMETERS = 12  # approximate number of records, and of snapshots, of a run
RECORDED = 1000  # number of samples over which the recorded cost is averaged
FIRST_SEED, FIRST_TEST_SEED = 200, 100  # the recipes were chosen on runs with smaller seeds


@dataclass(frozen=True)
class Config:
    """Training recipes to compare, with their starts and data."""

    data: str = "mnist"  # name of the data set
    held_out: int = 10_000  # number of images, the last ones, held out to compare variants
    epochs: int = 12  # number of passes over the training images in the comparison of variants
    seeds: int = 12  # number of starting points of each training variant, except the slow ones
    fewer_seeds: int = 4  # number of starting points of slow variants (200 epochs, fresh copies)
    test_seeds: int = 12  # number of starting points for the test images
    bundled: str = "mnist5k"  # small data set on which the plain and the quick recipe are compared
    store: Path = Path("runs/accuracy")  # folder of the stored sweeps


class Variant(NamedTuple):
    """A training variant: a recipe, an optimizer, and targets of the outputs."""

    recipe: Recipe
    rule: Callable[..., optax.GradientTransformation] = optax.sgd
    targets: tuple[float, float] = (0.0, 1.0)  # of incorrect classes, and of the correct class
    fresh: Distortion | None = None  # distortion of images at every step instead of once
    against: str = "distorted copies"  # the variant of the ladder with which it is compared
    long: bool = False  # whether fewer starts are used, since a run takes a long time


def ladder(epochs: int) -> dict[str, Variant]:
    """Return training variants, each of which adds one change to the previous one."""
    best = RECIPES["best"]
    distorted = replace(best, epochs=epochs)
    by_layer = replace(distorted, distortion=None)
    plain = replace(RECIPES["plain"], epochs=epochs)
    rungs = {
        "batches of 128": replace(plain, batch_size=128, learning_rate=4.0),
        "plain": plain,
        "annealed": Recipe(learning_rate=2.0, epochs=epochs, warmup_steps=best.warmup_steps),
        "decayed": replace(by_layer, decay=5e-5, decay_behind=5e-5),
        "pixels decayed more": by_layer,
        "distorted copies": distorted,
        "longer": best,
        "100 epochs": replace(best, epochs=100),
    }
    return {name: Variant(recipe) for name, recipe in rungs.items()}


def single_changes(epochs: int) -> dict[str, Variant]:
    """Return variants that differ from "distorted copies" or "100 epochs" in one change."""
    best = RECIPES["best"]
    base = replace(best, epochs=epochs)
    change = partial(replace, base)

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
        "twice the distortion": Variant(
            change(distortion=Distortion(shift=1.0, max_rotation=0.24))
        ),
        "fresh copies": Variant(change(distortion=None), fresh=base.distortion, long=True),
        "200 epochs": Variant(replace(best, epochs=200), against="100 epochs", long=True),
    }


def quadratic_with_targets(off: float, on: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the squared-error loss with target `on` for the label, `off` elsewhere."""
    return lambda outputs, labels: jnp.sum(
        (outputs - off - (on - off) * jax.nn.one_hot(labels, outputs.shape[-1])) ** 2, axis=-1
    )


@lru_cache(maxsize=2)  # distorting images takes seconds, and the copies much memory
def _problem_with(data: str, samples: int | None, distortion: Distortion | None) -> gd.Problem:
    return gd.problems.digits(data, samples=samples, distortion=distortion)


def problem_of(data: str, samples: int | None, variant: Variant) -> gd.Problem:
    """Return the problem of training on the first images of a set, or on all, for one variant."""
    problem = _problem_with(data, samples, variant.recipe.distortion)
    if variant.fresh:
        return freshly_distorted(problem, gd.data.load(data).train_images.shape[1:], variant.fresh)
    if variant.targets == (0.0, 1.0):
        return problem
    loss = quadratic_with_targets(*variant.targets)
    return replace(gd.problems.digits(data, loss=loss, samples=samples), data=problem.data)


def freshly_distorted(
    problem: gd.Problem, shape: tuple[int, ...], distortion: Distortion
) -> gd.Problem:
    """Return a problem that draws new distorted copies at every step, except for its records."""

    def cost(params, batch, *, key):
        images, labels = batch
        draws = jax.random.uniform(key, (len(images), 3), minval=-1.0, maxval=1.0)
        shift, turn = draws[:, :2] * distortion.shift, draws[:, 2] * distortion.max_rotation
        copies = warped(images.reshape(-1, *shape), shift, turn).reshape(images.shape)
        return problem.cost(params, (copies, labels))

    return replace(problem, cost=cost, evaluation=problem.cost, provenance=None)


def trained(problem: gd.Problem, variant: Variant, seeds: range, store: Path):
    """Return a stored sweep over starting points, with about 12 snapshots per run."""
    recipe = variant.recipe
    samples = problem.samples // recipe.copies
    epoch = gd.descent.steps_for(1, samples, recipe.batch_size)
    steps, every = recipe.epochs * epoch, epoch * max(1, recipe.epochs // STORED_PARAMETERS)
    options: dict = {"record_every": every, "snapshot_every": every, "store": store}
    # Evaluating the cost on all distorted copies would take as long as many epochs.
    options |= {"batch_size": recipe.batch_size, "record_samples": min(RECORDED, samples)}
    rule, grid = recipe.optimizer(steps, variant.rule), gd.axes(seed=seeds)
    return gd.sweep(problem, grid, steps, make_optimizer=lambda: rule, **options)


def compared(variants: Mapping[str, Variant], config: Config, store: Path) -> xr.Dataset:
    """Return accuracies on held-out images of all runs, and of their averaged parameters.

    Both have the shape [variant, seed], with NaN for variants with fewer seeds. The average is over
    the snapshots in the last quarter of the steps.
    """
    image_set = gd.data.load(config.data)
    n = len(image_set.train_labels) - config.held_out
    images, labels = image_set.train_images[n:], image_set.train_labels[n:]
    held_out = images.reshape(len(images), -1), labels
    parts = []
    for name, variant in variants.items():
        problem = problem_of(config.data, n, variant)
        accuracy_of = problem.metrics["test_accuracy"].measure
        metric = gd.Metric(accuracy_of, data=held_out, long_name="validation accuracy")
        problem = replace(problem, metrics={"validation_accuracy": metric})
        number = config.fewer_seeds if variant.long else config.seeds
        seeds = range(FIRST_SEED, FIRST_SEED + number)
        runs = trained(problem, variant, seeds, store / name.replace(" ", "_"))
        like = jax.eval_shape(problem.init, jax.random.key(0))
        step = runs.snapshot_step.values
        late = np.flatnonzero(step > 0.75 * step[-1])
        mean = jax.tree.map(
            lambda a, late=late: a[:, late].mean(axis=1), from_named("snapshots", like, runs)
        )
        averaged = jax.jit(jax.vmap(accuracy_of, (None, 0)))(replace(problem, data=held_out), mean)
        accuracy = runs[["validation_accuracy"]].isel(step=-1, drop=True)
        parts.append(accuracy.assign(averaged_accuracy=("seed", np.asarray(averaged))).load())
    return xr.concat(parts, xr.Variable("variant", list(variants)), join="outer").assign_coords(
        against=("variant", [variant.against for variant in variants.values()])
    )


def tested(variants: Mapping[str, Variant], data: str, config: Config, store: Path) -> xr.Dataset:
    """Return test accuracies of networks trained on all images of a set, [recipe, seed]."""
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + config.test_seeds)
    accuracy = []
    for name, variant in variants.items():
        problem = problem_of(data, None, variant)
        runs = trained(problem, variant, seeds, store / name.replace(" ", "_"))
        accuracy.append(runs.test_accuracy.isel(step=-1, drop=True).values)
    values = ("recipe", "seed"), np.stack(accuracy)
    return xr.Dataset({"accuracy": values}, {"recipe": list(variants)})
