"""Training with recipes, and statistics of the trained networks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax import landscape
from gdjax.descent import RECIPES
from gdjax.sweeps.dataset import from_named

from .training import Problems, Variant, trained

BINS = 20  # number of bins of the histograms of slopes


@dataclass(frozen=True)
class Config:
    """Training recipes to compare, with their starts and data."""

    data: str = "mnist"  # name of the data set
    held_out: int = 10_000  # number of images, the last ones, held out to compare variants
    epochs: int = 12  # number of passes over the training images in the comparison of variants
    seeds: int = 12  # number of starting points of each training variant, except the slow ones
    fewer_seeds: int = 4  # number of starting points of slow variants (100 epochs, fresh copies)
    test_seeds: int = 12  # number of starting points for the test images; seeds start at 100
    some_images: int = 5000  # number of training images for the cost on the plane and the sharpness
    points: int = 61  # number of grid points along each side of the plane
    bundled: str = "mnist5k"  # small data set on which the plain and the quick recipe are compared
    store: Path = Path("runs/accuracy")  # folder of the stored sweeps


def compared(
    problems: Problems, variants: Mapping[str, Variant], config: Config, store: Path
) -> xr.Dataset:
    """Return validation accuracies of all runs, and of their averaged parameters.

    Both have the shape [variant, seed], with NaN for variants with fewer seeds. The average is over
    the snapshots in the last quarter of the steps.
    """
    parts = []
    for name, variant in variants.items():
        problem = problems.with_held_out_images(variant)
        seeds = range(config.fewer_seeds if variant.long else config.seeds)
        folder = store / name.replace(" ", "_")
        runs = trained(problem, variant, seeds, problems.num_learned, folder)
        like = jax.eval_shape(problem.init, jax.random.key(0))
        step = runs.snapshot_step.values
        late = np.flatnonzero(step > 0.75 * step[-1])
        mean = jax.tree.map(
            lambda a, late=late: a[:, late].mean(axis=1), from_named("snapshots", like, runs)
        )
        metric = problem.metrics["validation_accuracy"]
        averaged = jax.jit(jax.vmap(metric.function, (0, None)))(mean, metric.data)
        accuracy = runs[["validation_accuracy"]].isel(step=-1, drop=True)
        parts.append(accuracy.assign(averaged_accuracy=("seed", np.asarray(averaged))).load())
    return xr.concat(parts, xr.Variable("variant", list(variants)), join="outer").assign_coords(
        against=("variant", [variant.against for variant in variants.values()])
    )


def tested(problems: Problems, variants: Mapping[str, Variant], config: Config) -> xr.Dataset:
    """Return test results and weights of networks trained on all training images."""
    seeds = range(100, 100 + config.test_seeds)
    labels = problems.set.test_labels
    images = problems.set.test_images.reshape(len(labels), -1)
    few = gd.problems.digits(problems.set, samples=config.some_images)
    like = jax.eval_shape(few.init, jax.random.key(0))
    metric: Any = gd.curvature.sharpness_metric(few)

    @jax.jit
    def sharpness(params):
        return metric.function(params, few.data, metric.init(params, few.data))[0]

    parts, trajectories = [], {}
    for name, variant in variants.items():
        problem, folder = problems.with_all_images(variant), config.store / "test" / name
        runs = trained(problem, variant, seeds, len(problems.set.train_labels), folder)
        params = from_named("params", like, runs)
        trajectories[name] = from_named("snapshots", like, runs.isel(seed=0))
        slopes, answers = jax.jit(jax.vmap(_slopes, (0, None)))(params, images)
        norms = [jnp.sqrt(jnp.sum(layer.weights**2, axis=(1, 2))) for layer in params]
        each = (jax.tree.map(lambda a, i=i: a[i], params) for i in range(len(seeds)))
        parts.append(
            xr.Dataset(
                {
                    "answer": (("seed", "test"), np.asarray(answers, np.uint8)),
                    "slope": (("seed", "layer", "bin"), np.asarray(slopes)),
                    "norm": (("seed", "layer"), np.stack(norms, axis=1)),
                    "sharpness": ("seed", np.array([float(sharpness(w)) for w in each])),
                    "weight": (("neuron", "pixel"), np.asarray(params[0].weights[0])),
                    "test_accuracy": ("seed", runs.test_accuracy.isel(step=-1).values),
                    "cost": ("seed", runs.cost.isel(step=-1).values),
                }
            )
        )
    joined = xr.concat(parts, xr.Variable("recipe", list(variants)))
    joined = joined.assign(label=("test", labels)).assign_coords(test_seed=("seed", list(seeds)))
    return xr.merge([joined, on_plane(few, trajectories, config.points)])


def read_after_few(config: Config) -> xr.Dataset:
    """Return test accuracies of two recipes on the small data set, [recipe, seed]."""
    problems = Problems(config.bundled, config.held_out)
    seeds = range(100, 100 + config.test_seeds)
    accuracy = {}
    for name in ("plain", "quick"):
        variant = Variant(RECIPES[name])
        problem, folder = problems.with_all_images(variant), config.store / "bundled" / name
        runs = trained(problem, variant, seeds, len(problems.set.train_labels), folder)
        accuracy[name] = runs.test_accuracy.isel(step=-1, drop=True).values
    values = ("recipe", "seed"), np.stack(list(accuracy.values()))
    return xr.Dataset({"accuracy": values}, {"recipe": list(accuracy)})


def on_plane(problem: gd.Problem, trajectories: Mapping[str, Any], points: int) -> xr.Dataset:
    """Return the cost on the plane through a start and two end points.

    The result includes the projections of both trajectories onto the plane.
    """
    start = jax.tree.map(lambda a: a[0], next(iter(trajectories.values())))
    ends = {
        f"toward {name}": jax.tree.map(lambda a: a[-1] - a[0], trajectory)
        for name, trajectory in trajectories.items()
    }
    directions = landscape.orthogonalize(ends)
    projections = [
        landscape.descent_on_slice(problem, start, directions, trajectory)
        for trajectory in trajectories.values()
    ]
    sides = []
    for path in ("path_a", "path_b"):
        at = np.concatenate([projection[path].values for projection in projections])
        margin = 0.25 * np.ptp(at)
        sides.append(np.linspace(at.min() - margin, at.max() + margin, points))
    ground = landscape.plane(problem, start, directions, *sides)
    paths = xr.concat(projections, xr.Variable("recipe", list(trajectories)), join="outer")
    return xr.merge([paths, ground.rename(cost="plane_cost")]).assign_attrs({})


def _slopes(params, images):
    """Return histograms of each layer's slopes 4 s (1 - s), and predicted classes."""
    a = images.astype(float) / 255
    shares = []
    for layer in params:
        a = jax.nn.sigmoid(a @ layer.weights.T + layer.bias[None, :])
        shares.append(jnp.histogram(4 * a * (1 - a), BINS, (0, 1))[0] / a.size)
    return jnp.stack(shares), jnp.argmax(a, axis=1)
