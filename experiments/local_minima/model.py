"""Problems whose minima are counted, and their censuses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared.images import pooled
from gdjax.minima import count_minima

from .config import Config

XOR = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True)
class Case:
    """A problem, and the settings of its descents."""

    problem: gd.Problem
    steps: int
    optimizer: Callable
    polishing: int
    seeds: int


def xor(hidden: int, decay: float, scale: float) -> gd.Problem:
    """Return the XOR problem with targets 0.1 and 0.9.

    Finite weights can fit these targets exactly.
    """
    network = gd.problems.Network((2, hidden, 1), initializer="normal")
    data = (np.array(XOR, np.float32), np.array([[0.1], [0.9], [0.9], [0.1]], np.float32))

    def init(key):
        key_weights, *keys = jax.random.split(key, 3)
        layers = network.init(key_weights, init_scale=scale)
        return tuple(
            layer._replace(bias=scale * jax.random.normal(k, layer.bias.shape))
            for layer, k in zip(layers, keys, strict=True)
        )

    return gd.problems.decayed(network, data, decay, init=init)


def small_digits(config: Config) -> gd.Problem:
    """Return the problem of a small network on digits of 10x10 pixels."""
    data, n = gd.data.load(config.data), config.pooled_images
    network = gd.problems.Network((100, *config.pooled_hidden, 10))
    train = (pooled(data.train_images[:n]), data.train_labels[:n])
    test = (pooled(data.test_images), data.test_labels)
    return gd.problems.decayed(network, train, config.decay, test=test)


def cases(config: Config) -> dict[str, Case]:
    """Return all cases by name, from the smallest network to the largest."""
    cases_by_name = {}
    plain = partial(optax.sgd, learning_rate=config.xor_rate)
    for hidden in config.hidden:
        for decay in config.xor_decay:
            name = f"XOR 2-{hidden}-1" + (f", decay {decay:g}" if decay else "")
            problem = xor(hidden, decay, config.xor_scale)
            cases_by_name[name] = Case(
                problem, config.xor_steps, plain, config.polishing, config.xor_seeds
            )
    heavy = partial(optax.sgd, learning_rate=config.learning_rate, momentum=config.momentum)
    settings = (config.steps, heavy, config.polishing, config.seeds)
    if config.pooled_images:
        name = "-".join(map(str, (100, *config.pooled_hidden, 10)))
        cases_by_name[f"digits {name}"] = Case(small_digits(config), *settings)
    if config.images:
        name = "-".join(map(str, (784, *config.widths, 10)))
        few = gd.problems.few_digits(
            config.data, samples=config.images, widths=config.widths, decay=config.decay
        )
        cases_by_name[f"digits {name}"] = Case(few, *settings)
    return cases_by_name


def one(config: Config, case: Case) -> xr.Dataset:
    """Return the census of the minima reached by descents from all starts."""
    problem = case.problem
    runs = gd.sweep(
        problem,
        gd.axes(seed=range(case.seeds)),
        case.steps,
        make_optimizer=case.optimizer,
        record_every=case.steps,
        metrics={},
    )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    ends = [gd.params_of(runs, like, {"seed": seed}) for seed in range(case.seeds)]
    end_points = jax.tree.map(lambda *leaves: np.stack(leaves), *ends)
    census = count_minima(
        problem, end_points, key=jax.random.key(config.key), max_steps=case.polishing
    )
    return census.assign_coords(seed=("run", runs.seed.values))
