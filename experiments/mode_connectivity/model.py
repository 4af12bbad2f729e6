"""Pairs of networks, and the cost along paths between them."""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import minima
from gdjax.minima import matching, symmetry

KINDS = ("straight", "matched by weights", "matched by activations", "curved")


@dataclass(frozen=True)
class Config:
    """Networks, and the paths between them."""

    data: str = "mnist5k"  # name of the data set
    # number of training images, taken from the start of the set; by default all
    samples: int | None = None
    widths: tuple[int, ...] = (16, 64, 256)  # number of neurons in each of the two hidden layers
    networks: tuple[int, ...] = (12, 12, 6)  # number of networks of each width
    epochs: int = 15  # number of passes over the training set for the networks
    curve_epochs: int = 15  # number of passes over the training set for the curves
    learning_rate: float = 0.003  # learning rate of Adam, for networks and curves
    batch_size: int = 32  # number of images per step
    points: int = 25  # number of points along each path, including its end points
    nodes: int = 5  # number of quadrature nodes of the mean cost along a curve
    images: int = 1000  # number of training images for the matching by activations


def paths_of_width(config: Config, width: int, count: int) -> xr.Dataset:
    """Return costs, accuracies, barriers and distances of networks of one width."""
    problem = gd.problems.digits(config.data, widths=(width, width), samples=config.samples)
    pairs = gd.zip_axes(seed=range(count), data_seed=range(count))
    runs, ends = train(config, problem, gd.axes(run=pairs), config.epochs)
    between = minima.pairwise_barriers(problem, ends, key=jax.random.key(1), points=config.points)
    first, second = np.arange(0, count - 1, 2), np.arange(1, count, 2)
    cost, accuracy = along_paths(config, problem, ends, first, second)
    matrices = ("barrier", "matched_barrier", "distance", "matched_distance")
    return xr.Dataset(
        {
            "cost": ("run", runs.cost.values[:, -1]),
            "test_accuracy": ("run", runs.test_accuracy.values[:, -1]),
            **{name: (("run", "other"), getattr(between, name)) for name in matrices},
            "cost_along": (("pair", "kind", "t"), cost),
            "accuracy_along": (("pair", "kind", "t"), accuracy),
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


def train(config: Config, problem: gd.Problem, axes, epochs: int):
    """Return runs of Adam and their final parameters."""
    steps = gd.descent.steps_for(epochs, problem.samples, config.batch_size)
    runs = gd.sweep(
        problem,
        axes,
        steps,
        make_optimizer=lambda: optax.adam(config.learning_rate),
        batch_size=config.batch_size,
        record_every=steps,
    )
    return runs, gd.params_of(runs, problem.init(jax.random.key(0)), {})


def along_paths(config: Config, problem, ends, first, second):
    """Return cost and accuracy along four paths for each given pair, [pair, kind, t]."""
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], ends) for k in (first, second))
    network, inputs = problem.network, problem.data[0][: config.images]
    matched = matching.match_pairs(network, ends, first, second, key=jax.random.key(1))
    by_weights = jax.vmap(partial(symmetry.apply_symmetry, network))(a, matched.symmetry)
    by_activations = []
    for pair in range(len(first)):
        one, other = (jax.tree.map(lambda leaf, k=pair: leaf[k], end) for end in (a, b))
        by_activations.append(matching.match_activations(network, one, other, inputs).params)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *by_activations)
    straight = [jax.vmap(minima.linear_path)(start, b) for start in (a, by_weights, stacked)]
    # The control polygons of quadratic Bezier curves are trained in one sweep.
    path = minima.curve(problem, a, b, nodes=config.nodes)
    _, curved = train(config, path, gd.axes(pair=range(len(first))), config.curve_epochs)
    test = problem.metrics["test_accuracy"]

    @jax.jit
    def evaluated(control, problem, test_data):
        def one(control):
            return (
                minima.path_cost(problem, control, points=config.points),
                minima.path_cost(test.function, control, data=test_data, points=config.points),
            )

        return jax.lax.map(one, control)

    paths = [evaluated(control, problem, test.data) for control in (*straight, curved)]
    return (np.stack([np.asarray(one[k]) for one in paths], 1) for k in (0, 1))
