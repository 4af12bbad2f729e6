"""Pairs of networks, and the cost along paths between them."""

from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import minima
from gdjax.minima import matching, symmetry

from .config import Config
from .summary import KINDS


def paths_of_width(config: Config, width: int, count: int) -> xr.Dataset:
    """Return costs, accuracies, barriers and distances of networks of one width."""
    problem = gd.problems.digits(config.data, widths=(width, width), samples=config.samples)
    trained, ends = train(config, problem, count)
    between = minima.pairwise_barriers(problem, ends, key=jax.random.key(1), points=config.points)
    first, second = np.arange(0, count - 1, 2), np.arange(1, count, 2)
    cost, accuracy = single(config, problem, ends, first, second)
    pairs = ("run", "other")
    path = ("pair", "kind", "t")
    return xr.Dataset(
        {
            "cost": ("run", trained.cost.values[:, -1]),
            "test_accuracy": ("run", trained.test_accuracy.values[:, -1]),
            "barrier": (pairs, between.barrier),
            "matched_barrier": (pairs, between.matched_barrier),
            "distance": (pairs, between.distance),
            "matched_distance": (pairs, between.matched_distance),
            "cost_along": (path, cost),
            "accuracy_along": (path, accuracy),
        },
        {
            "run": np.arange(count),
            "other": np.arange(count),
            "pair": np.arange(len(first)),
            "kind": np.array(KINDS, object),  # Zarr stores only variable-length strings
            "t": between.t,
        },
        {"baseline": problem.baseline},
    )


def train(config: Config, problem, count: int):
    """Return runs from independent starts and mini-batch orders, with parameters."""
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    runs = gd.sweep(
        problem,
        gd.axes(run=gd.zip_axes(seed=range(count), data_seed=range(count))),
        steps,
        make_optimizer=lambda: optax.adam(config.learning_rate),
        batch_size=config.batch_size,
        record_every=steps,
    )
    return runs, gd.params_of(runs, problem.init(jax.random.key(0)), {})


def single(config: Config, problem, ends, first, second):
    """Return cost and accuracy along four paths for each given pair, [pair, kind, t]."""
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], ends) for k in (first, second))
    network, key = problem.network, jax.random.key(1)
    inputs = problem.data[0][: config.images]
    matched = matching.match_pairs(network, ends, first, second, key=key)
    by_weights = jax.vmap(partial(symmetry.apply_symmetry, network))(a, matched.symmetry)
    by_activations = [
        matching.match_activations(
            network, *(jax.tree.map(lambda leaf, k=k: leaf[k], end) for end in (a, b)), inputs
        ).params
        for k in range(len(first))
    ]
    by_activations = jax.tree.map(lambda *leaves: np.stack(leaves), *by_activations)
    straight = [jax.vmap(minima.linear_path)(start, b) for start in (a, by_weights, by_activations)]
    controls = [*straight, bend(config, problem, a, b)]
    test = problem.metrics["test_accuracy"]

    @jax.jit
    def look(control, problem, test_data):
        def one(control):
            return (
                minima.path_cost(problem, control, points=config.points),
                minima.path_cost(test.function, control, data=test_data, points=config.points),
            )

        return jax.lax.map(one, control)

    paths = [look(control, problem, test.data) for control in controls]
    return (np.stack([np.asarray(one[k]) for one in paths], 1) for k in (0, 1))


def bend(config: Config, problem, a, b):
    """Return the control polygons of quadratic Bezier curves, trained in one sweep."""
    path = minima.curve(problem, a, b, nodes=config.nodes)
    steps = gd.descent.steps_for(config.curve_epochs, problem.samples, config.batch_size)
    count = len(jax.tree.leaves(a)[0])
    runs = gd.sweep(
        path,
        gd.axes(pair=range(count)),
        steps,
        make_optimizer=lambda: optax.adam(config.learning_rate),
        batch_size=config.batch_size,
        record_every=steps,
    )
    return gd.params_of(runs, path.init(jax.random.key(0)), {})
