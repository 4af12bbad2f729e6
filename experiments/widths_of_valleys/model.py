"""Minima for disjoint sets of training images, and their widths."""

from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared.runs import ends_of
from gdjax.errors import InputError
from gdjax.minima import count_minima
from gdjax.problems.problem import NOTHING
from gdjax.volumes.basin_volume import basin_volume
from gdjax.volumes.learning_coefficient import finite_temperature_coefficient
from gdjax.volumes.mcmc import hessian_whitening

MIN_MINIMA = 5  # smallest number of minima in a set or in its narrow group
MINIMA_PER_CALL = 8  # number of minima measured per call of the compiled program
INVERSE_TEMPERATURE = 10_000.0  # inverse temperature of the Markov chains
LOCALIZATION = 100.0  # precision of the prior that keeps the chains near their minimum


@dataclass(frozen=True)
class Config:
    """Network, sets of images, and measures of width."""

    data: str = "mnist5k"  # name of the data set
    sets: int = 8  # number of disjoint sets of training images; sets without some digit are skipped
    images: int = 50  # number of training images in each set
    hidden: int = 3  # number of neurons in the hidden layer
    decay: float = 3e-3  # weight decay, which does not apply to biases
    seeds: int = 32  # number of starting points for each set
    steps: int = 4000  # number of steps of each descent
    level: float = 0.002  # rise of the cost at the boundary of a basin
    directions: int = 200  # number of directions in which the boundary is searched
    num_samples: int = 200  # number of samples of each chain
    resamples: int = 2000  # number of bootstrap resamples


def complete_sets(config: Config) -> list[int]:
    """Return the indices of the first `config.sets` sets of images with every digit.

    If a set does not contain some digit, its cost has no minimum: weight decay does not apply to
    the bias of that digit's output, and the cost decreases as this bias goes to minus infinity.
    """
    data = gd.data.load(config.data)
    labels = data.train_labels
    count = len(labels) // config.images
    complete = [
        index
        for index, block in enumerate(labels[: count * config.images].reshape(count, -1))
        if len(np.unique(block)) == data.classes
    ]
    if len(complete) < config.sets:
        raise InputError(
            f"sets = {config.sets}: {len(complete)} disjoint sets of {config.images} images of "
            f"{config.data} contain every digit; use at most as many sets, or more images per set"
        )
    return complete[: config.sets]


def problem_of(config: Config, index: int) -> gd.Problem:
    """Return the problem of one set of images."""
    settings = {"samples": config.images, "widths": (config.hidden,), "decay": config.decay}
    return gd.problems.few_digits(config.data, first=index * config.images, **settings)


def minima_of_set(config: Config, index: int, first: gd.Problem) -> xr.Dataset:
    """Return the minima for one set of images, with their widths and test accuracies."""
    problem = problem_of(config, index)
    # All sets share one compiled program, since these problems differ only in their data.
    same_static = replace(first, data=problem.data, metrics=NOTHING)
    seeds, steps = gd.axes(seed=range(config.seeds)), config.steps
    rule = partial(optax.sgd, learning_rate=3.0, momentum=0.9)
    runs = gd.sweep(problem, seeds, steps, make_optimizer=rule, record_every=steps, metrics={})
    key_census, key_widths = jax.random.split(jax.random.key(index))
    census = count_minima(same_static, ends_of(problem, runs), key=key_census, max_steps=100)
    count = census.sizes["minimum"]
    if count < MIN_MINIMA:
        raise InputError(
            f"seeds = {config.seeds}: {count} minima found on set {index}, expected at least "
            f"{MIN_MINIMA}, to compare their widths; use more seeds"
        )
    minima = ends_of(problem, census)
    with jax.enable_x64(True):
        columns = measured(config, same_static, minima, key_widths)
    columns |= {name: census[name].values for name in ("count", "minimum_cost")}
    metric = problem.metrics["test_accuracy"]
    accuracy = jax.jit(jax.vmap(metric.function, in_axes=(0, None)))(minima, metric.data)
    columns["test_accuracy"] = np.asarray(accuracy)
    return xr.Dataset(
        {name: ("minimum", value) for name, value in columns.items()},
        coords={"set": ("minimum", np.full(count, index))},
        attrs={"parameters": problem.network.parameter_count},
    )


def measured(config: Config, problem: gd.Problem, minima, key) -> dict[str, np.ndarray]:
    """Return the volume and the learning coefficient of every minimum."""
    count = len(jax.tree.leaves(minima)[0])
    # The inputs of the last call are padded, so that all sets share one compiled program.
    rows = np.minimum(np.arange(-(-count // MINIMA_PER_CALL) * MINIMA_PER_CALL), count - 1)
    minima = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64)[rows], minima)
    inputs = minima, jax.random.split(key, len(rows))

    def part(start):
        inputs_part = jax.tree.map(lambda a: a[start : start + MINIMA_PER_CALL], inputs)
        return _measure(config, problem, *inputs_part)

    parts = [part(start) for start in range(0, len(rows), MINIMA_PER_CALL)]
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


@partial(jax.jit, static_argnums=0)
def _measure(config, problem, minima, keys):
    """Return the volumes and learning coefficients of a few minima."""

    def one(w, key):
        key_volume, key_chains = jax.random.split(key)
        # The damping limits the scale of the flattest directions: for the basin it is the curvature
        # of the weight decay, for the chains that of their prior.
        decay = 2 * config.decay
        basin = hessian_whitening(problem, w, damping=decay)
        floor = LOCALIZATION / INVERSE_TEMPERATURE
        prior = basin._replace(scale=(basin.scale**-2 - decay + floor) ** -0.5)
        search: dict = {"level": config.level, "directions": config.directions}
        volume = basin_volume(problem, w, key=key_volume, whitening=basin, **search)
        chains = finite_temperature_coefficient(
            problem,
            w,
            key=key_chains,
            inverse_temperature=INVERSE_TEMPERATURE,
            localization=LOCALIZATION,
            whitening=prior,
            num_samples=config.num_samples,
            num_warmup=100,
            num_integration_steps=16,
        )
        return {
            "volume_log_volume": volume.log_volume,
            "volume_lower_bound": volume.lower_bound,
            "chains_coefficient": chains.coefficient,
            "chains_status": chains.status,
        }

    return jax.vmap(one)(minima, keys)
