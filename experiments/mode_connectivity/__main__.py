"""How high are the barriers between two networks trained from different starts?

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1)))

    python -m experiments.mode_connectivity           (about 3 min)

Expected: the barrier on the straight line is 0.65 to 0.70 at every width, not far below the cost of
the best constant prediction (0.9). Matching lowers it by three quarters at width 16 and by 99 % at
width 256 (published for 784-512-512-512-10: 0.742 before, 0.088 after). The barrier on the curve is
almost zero: 0.02 at width 16, 0.0005 at width 64 and zero at width 256.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr
from matplotlib.ticker import PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import ends_of
from gdjax import minima
from gdjax.plots.barriers import barrier_matrix
from gdjax.plots.style import BLACK, CYCLE, Figure

KINDS = ("straight", "matched by weights", "matched by activations", "curved")


@dataclass(frozen=True)
class Config:
    """Networks, and the paths between them."""

    data: str = "mnist5k"  # name of the data set
    samples: int | None = None  # number of training images, from the start of the set; default all
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
    adam = optax.adam(config.learning_rate)
    options: dict = {"batch_size": config.batch_size, "record_every": steps}
    runs = gd.sweep(problem, axes, steps, make_optimizer=lambda: adam, **options)
    return runs, ends_of(problem, runs)


def along_paths(config: Config, problem, ends, first, second):
    """Return cost and accuracy along four paths for each given pair, [pair, kind, t]."""
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], ends) for k in (first, second))
    network, inputs = problem.network, problem.data[0][: config.images]
    matched = gd.minima.match_pairs(network, ends, first, second, key=jax.random.key(1))
    by_weights = jax.vmap(partial(gd.minima.apply_symmetry, network))(a, matched.symmetry)
    by_activations = []
    for pair in range(len(first)):
        one, other = (jax.tree.map(lambda leaf, k=pair: leaf[k], end) for end in (a, b))
        by_activations.append(gd.minima.match_activations(network, one, other, inputs).params)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *by_activations)
    straight = [jax.vmap(minima.linear_path)(start, b) for start in (a, by_weights, stacked)]
    # The control polygons of quadratic Bezier curves are trained in one sweep.
    path = minima.curve(problem, a, b, nodes=config.nodes)
    _, curved = train(config, path, gd.axes(pair=range(len(first))), config.curve_epochs)
    accuracy = problem.metrics["test_accuracy"]

    def right(params, batch):
        return accuracy.measure(dataclasses.replace(problem, data=batch), params)

    @jax.jit
    def evaluate(problem, controls):
        along = partial(minima.path_cost, problem, points=config.points)
        return jax.lax.map(along, controls)

    return [
        np.stack([evaluate(one, controls) for controls in (*straight, curved)], axis=1)
        for one in (problem, gd.problems.as_problem(right, accuracy.data))
    ]


def run(config: Config) -> xr.DataTree:
    """Return a tree with the networks of each width and the paths between them."""
    pairs = zip(config.widths, config.networks, strict=True)
    return xr.DataTree.from_dict(
        {str(width): paths_of_width(config, width, count) for width, count in pairs}
    )


def by_width(tree: xr.DataTree) -> dict[int, xr.Dataset]:
    """Return the Dataset of each width, in increasing order; a store sorts widths as text."""
    return {width: tree[str(width)].to_dataset() for width in sorted(map(int, tree.children))}


def of_pairs(matrix):
    """Return the entries of a matrix above its diagonal."""
    return matrix.values[np.triu_indices(len(matrix), 1)]


def barriers_of(part):
    """Return the barriers between networks of one width, by kind of path."""
    *_, by_activations, curved = np.asarray(minima.path_barrier(part.cost_along.values)).T
    values = of_pairs(part.barrier), of_pairs(part.matched_barrier), by_activations, curved
    return dict(zip(KINDS, values, strict=True))


def numbers(tree: xr.DataTree) -> dict:
    """Return barriers with their range, distances, and accuracies."""
    summary = {}
    for width, part in by_width(tree).items():
        lowest = part.accuracy_along.min("t")
        summary[str(width)] = {
            "test_accuracy": np.median(part.test_accuracy),
            "pairs": len(of_pairs(part.distance)),
            "distance": np.median(of_pairs(part.distance)),
            "distance_matched": np.median(of_pairs(part.matched_distance)),
            "matching_lowered_the_barrier_of": np.mean(
                of_pairs(part.matched_barrier <= part.barrier)
            ),
            "kind": {
                kind: {
                    "barrier": np.quantile(values, (0.5, 0, 1)),
                    "lowest_accuracy": np.median(lowest.sel(kind=kind)),
                }
                for kind, values in barriers_of(part).items()
            },
        }
    return {"width": summary}


def profiles(parts: dict[int, xr.Dataset]) -> Figure:
    """Draw cost and accuracy along paths, with one column per width.

    Each kind of path has one color. The line is the median over pairs; the band spans all pairs.
    """
    figure = Figure(figsize=(max(4.2 * len(parts) + 0.8, 9), 7.8))
    panels = figure.subplots(2, len(parts), squeeze=False, sharex=True, sharey="row")
    for (top, bottom), (width, part) in zip(panels.T, parts.items(), strict=True):
        for axes, along in ((top, part.cost_along), (bottom, part.accuracy_along)):
            for color, kind in zip(CYCLE, KINDS, strict=False):
                values = along.sel(kind=kind)
                ends = values.min("pair"), values.max("pair")
                axes.fill_between(part.t, *ends, color=color, alpha=0.2, linewidth=0)
                axes.plot(part.t, values.median("pair"), color=color, label=kind)
        pairs = part.sizes["pair"]
        top.set_title(f"784-{width}-{width}-10 ({pairs} pair{'s' * (pairs != 1)})")
        baseline = part.attrs["baseline"]
        top.axhline(baseline, color=BLACK, linestyle=":", linewidth=1.5)
        bottom.set_xlabel("position on the path")
        bottom.set_xticks([0, 0.5, 1], ["first\nnetwork", "middle", "second\nnetwork"])
    top, bottom = panels[:, 0]
    look: dict = {"ha": "center", "va": "bottom", "fontsize": 11}
    top.text(0.5, baseline, "best constant prediction", **look)
    top.set_ylim(0, max(top.get_ylim()[1], 1.12 * baseline))
    top.set_ylabel("training cost")
    bottom.set(ylabel="test accuracy", ylim=(0, 1))
    bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
    handles, labels = top.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    width, narrow = next(iter(parts.items()))
    barriers = barriers_of(narrow)
    straight, matched, _, curved = (f"{np.median(barriers[kind]):.2g}" for kind in KINDS)
    figure.suptitle(
        f"Between networks 784-{width}-{width}-10: median barriers {straight} straight, "
        f"{matched} matched, {curved} curved",
        x=0.02,
        ha="left",
    )
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw costs along paths, and matrices of barriers of the smallest width."""
    parts = by_width(tree)
    width, narrow = next(iter(parts.items()))
    before, after = narrow.barrier.values, narrow.matched_barrier.values
    matrix = barrier_matrix(
        {"before matching": before, "after matching": after},
        title=f"Barriers between {narrow.sizes['run']} networks 784-{width}-{width}-10",
    )
    return {"along": profiles(parts), "matrix": matrix}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
