"""What lies between two networks that learned the same task from different starts?

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1)))

Digit networks of three widths (two hidden layers each: 784-16-16-10, 784-64-64-10, 784-256-256-10)
are trained on mnist5k from independent starts and orders, by Adam, which trains all widths at one
learning rate. Between every two of one width lies the straight line, as they are written down, and
after the neurons of the first are rearranged (order and signs) so that its weights fit the second.
For some pairs, no network in two of them, there are two more paths: matched by activations, and a
quadratic Bezier curve whose one bend is found by descent on the mean cost along the curve.

    python experiments/mode_connectivity.py           (about 3 min)

Expected: the straight line crosses a barrier of 0.65 to 0.70 at every width, not far below the cost
of ignoring the input (0.9). Matching takes away three quarters of it at width 16 and 99 % at width
256 (published for 784-512-512-512-10: 0.742 before, 0.088 after). The curve finds a way with hardly
any: 0.02 at width 16, 0.0005 at 64, none at 256.
"""

from dataclasses import dataclass

import common
import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import minima
from gdjax.minima.matching import match_activations
from gdjax.plots import paths

KINDS = ("straight", "matched by weights", "matched by activations", "curved")


@dataclass(frozen=True)
class Config:
    """Which networks, and which paths between them.

    Args:
        data: name of the data set.
        samples: only the first so many training images; None takes all.
        widths: neurons in each of the two hidden layers.
        networks: how many of each width.
        epochs: passes over the training set, of the networks.
        curve_epochs: the same, of the bends.
        learning_rate: of Adam, for networks and bends.
        batch_size: images a step.
        points: along each path, the ends among them.
        nodes: points of a curve at which its cost is taken while it is bent.
        images: training images on which activations are compared.
    """

    data: str = "mnist5k"
    samples: int | None = None
    widths: tuple[int, ...] = (16, 64, 256)
    networks: tuple[int, ...] = (12, 12, 6)
    epochs: int = 15
    curve_epochs: int = 15
    learning_rate: float = 0.003
    batch_size: int = 32
    points: int = 25
    nodes: int = 5
    images: int = 1000


def run(config: Config) -> xr.Dataset:
    """All widths, padded with NaN where one has fewer networks."""
    found = [
        of_width(config, width, count)
        for width, count in zip(config.widths, config.networks, strict=True)
    ]
    joined = xr.concat(found, "width", join="outer")
    return joined.assign_coords(width=list(config.widths))


def of_width(config: Config, width: int, count: int) -> xr.Dataset:
    """Networks of one width and the paths between them."""
    problem = gd.problems.digits(config.data, widths=(width, width), samples=config.samples)
    trained, ends = train(config, problem, count)
    between = minima.barriers(problem, ends, key=jax.random.key(1), points=config.points)
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
            "kind": np.array(KINDS, object),  # strings of any length: Zarr has no others
            "t": between.t,
        },
        {"baseline": problem.baseline},
    )


def train(config: Config, problem, count: int):
    """Networks from independent starts and orders of mini-batches."""
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
    """Cost and accuracy along every kind of path between some pairs: [pair, kind, t]."""
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], ends) for k in (first, second))
    network, key = problem.network, jax.random.key(1)
    inputs = problem.data[0][: config.images]
    matched = minima.match_pairs(network, ends, first, second, key=key)
    by_weights = jax.vmap(lambda one, how: minima.apply_symmetry(network, one, how))(
        a, matched.symmetry
    )
    by_activations = [
        match_activations(
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

    found = [look(control, problem, test.data) for control in controls]
    return (np.stack([np.asarray(one[k]) for one in found], 1) for k in (0, 1))


def bend(config: Config, problem, a, b):
    """Quadratic Bezier curves between pairs, their bends found in one sweep."""
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


def of_pairs(matrix):
    """Entries above the diagonal, without the padding."""
    values = matrix.values[np.triu_indices(matrix.shape[0], 1)]
    return values[np.isfinite(values)]


def kinds_of(dataset, name):
    """Profiles of one width by kind of path, without the padding."""
    return {
        str(kind): dataset[name].sel(kind=kind).dropna("pair", how="all").values
        for kind in dataset.kind.values
    }


def barriers_of(dataset):
    """Barriers of one width by kind of path: of all pairs where they were all looked at."""
    along = kinds_of(dataset, "cost_along")
    every = {KINDS[0]: of_pairs(dataset.barrier), KINDS[1]: of_pairs(dataset.matched_barrier)}
    return {
        kind: every[kind] if kind in every else np.asarray(minima.barrier(along[kind]))
        for kind in KINDS
    }


def medians(dataset) -> str:
    """Median barriers of one width: as written down, matched by weights, curved."""
    found = barriers_of(dataset)
    straight, matched, curved = (np.median(found[KINDS[kind]]) for kind in (0, 1, 3))
    return f"{straight:.2g} straight, {matched:.2g} matched, {curved:.2g} curved"


def numbers(dataset: xr.Dataset) -> dict:
    """Barriers with their spread, distances, and accuracies at the ends and half-way."""
    found = {}
    for width in dataset.width.values:
        one = dataset.sel(width=width)
        name = f"width_{width}"
        found[f"{name}_cost"] = float(one.cost.median())
        found[f"{name}_test_accuracy"] = float(one.test_accuracy.median())
        for kind, values in barriers_of(one).items():
            low, half, high = np.quantile(values, (0, 0.5, 1))
            short = kind.replace(" ", "_")
            found[f"{name}_barrier_{short}"] = float(half)
            found[f"{name}_barrier_{short}_least"] = float(low)
            found[f"{name}_barrier_{short}_most"] = float(high)
        plain, matched = of_pairs(one.distance), of_pairs(one.matched_distance)
        found[f"{name}_pairs"] = len(plain)
        found[f"{name}_distance"] = float(np.median(plain))
        found[f"{name}_distance_matched"] = float(np.median(matched))
        lower = of_pairs(one.matched_barrier) <= of_pairs(one.barrier)
        found[f"{name}_matching_lowered_the_barrier_of"] = float(np.mean(lower))
        for kind, values in kinds_of(one, "accuracy_along").items():
            lowest = np.median(values.min(axis=1))
            found[f"{name}_lowest_accuracy_{kind.replace(' ', '_')}"] = float(lowest)
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Profiles, barriers of every pair, and matrices of the narrowest network."""
    each = {f"784-{w}-{w}-10": dataset.sel(width=w) for w in dataset.width.values}
    name, narrow = next(iter(each.items()))
    finite = narrow.dropna("run", how="all", subset=["cost"])
    finite = finite.sel(other=finite.run.values)
    return {
        "along": paths.along_paths(
            dataset.t.values,
            {name: kinds_of(one, "cost_along") for name, one in each.items()},
            {name: kinds_of(one, "accuracy_along") for name, one in each.items()},
            baseline=dataset.attrs["baseline"],
            title=f"Between networks {name}: median barriers {medians(narrow)}",
        ),
        "barriers": paths.spread(
            {name: barriers_of(one) for name, one in each.items()},
            title=f"Median barriers of {name}: {medians(narrow)}",
        ),
        "matrix": paths.barrier_matrix(
            {
                "as they are written down": finite.barrier.values,
                "after matching": finite.matched_barrier.values,
            },
            title=f"Barriers between {len(finite.run)} networks {name}",
        ),
    }


if __name__ == "__main__":
    common.main("mode_connectivity", Config, run, plot, numbers)
