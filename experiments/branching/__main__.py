"""Does a change of one weight determine in which valley a descent ends?

    w'_t = w_t + sigma e_i for one weight i;   both descents continue with the same mini-batches

    floor = largest barrier between a descent and its repetition with pixels in reversed order
    other = median barrier between descents from independent starts of the same kind

    python -m experiments.branching           (about 4 min of processor time)

Expected: a branch ends in another valley after an early change, and not after a late one
(published: arXiv 2506.13234, for ResNets on CIFAR, where the valley is determined within the first
few percent of training). This is refuted if no branch at step 0 ends in another valley, or if at
least as many branches do so at the last step as at the first.
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import ends_of
from gdjax import minima
from gdjax.base.errors import InputError
from gdjax.base.statistics import share
from gdjax.plots.style import CYCLE

SPREAD = 0.3  # half of the distance between the first and the last column of a layer
OTHER_VALLEY = 0.5  # threshold, in units of the barrier between independent starts
THRESHOLDS = (0.01, 0.1, 0.25, OTHER_VALLEY, 1.0)  # thresholds of the counts, in these units
SEEDS = 4_000  # number of seeds from which those that change a given layer are selected
SEEDS_PER_CALL = 256  # number of seeds for which the changed weight is computed together


@dataclass(frozen=True)
class Config:
    """Descents, the steps at which they branch, and the changes of single weights."""

    data: str = "mnist5k"  # name of the data set
    samples: int | None = None  # number of training images, from the start of the set; default all
    width: int = 16  # number of neurons in each of the two hidden layers
    initializers: tuple[str, ...] = ("fan_in", "normal")  # initializers of the starting weights
    learning_rate: float = 3.0  # learning rate of plain gradient descent
    batch_size: int = 32  # number of images per step
    epochs: int = 15  # number of passes over the training set
    branch_steps: tuple[int, ...] = (0, 30, 100, 300)  # steps at which branches start, if reached
    perturbations: tuple[float, ...] = (0.03, 0.3, 1.0)  # sizes sigma of the changes
    trunks: int = 8  # number of descents (trunks) from which branches start, for each initializer
    changes: int = 2  # number of weights changed in each layer at each step and size, by trunk
    points: int = 15  # number of points along each line, including its end points


def barriers_of_starts(config: Config, initializer: str) -> xr.Dataset:
    """Return the barriers of all branches and both references, for one initializer."""
    widths = (config.width, config.width)
    problem = gd.problems.digits(
        config.data, widths=widths, samples=config.samples, initializer=initializer
    )
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    settings: dict = {"batch_size": config.batch_size, "record_every": steps, "metrics": {}}
    starts = gd.axes(learning_rate=[config.learning_rate], seed=range(config.trunks))
    others = reversed_pixels(gd.sweep(reversed_inputs(problem), starts, steps, **settings), problem)
    seeds = seeds_by_layer(problem, config.trunks * config.changes)
    branch_steps = [step for step in config.branch_steps if step <= steps]
    barriers = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "trunks"
        trunks = gd.sweep(problem, starts, steps, store=store, **settings).load()
        ends = ends_of(problem, trunks)
        for trunk in range(config.trunks):
            own = seeds[:, trunk * config.changes : (trunk + 1) * config.changes].ravel()
            sizes = config.perturbations
            grid = gd.axes(branch_step=branch_steps, perturbation=sizes, perturbation_seed=own)
            at = {"learning_rate": config.learning_rate, "seed": trunk}
            branches = gd.branch(store, at, grid, problem=problem, perturb="one_weight")
            unchanged = _chosen(ends, np.full(grid.runs, trunk))
            barriers.append(
                barrier_between(problem, ends_of(problem, branches), unchanged, config.points)
            )
    shape = len(branch_steps), len(config.perturbations), len(seeds), config.changes
    first, second = (_chosen(ends, index) for index in np.triu_indices(config.trunks, 1))
    return xr.Dataset(
        {
            "barrier": (
                ("trunk", "branch_step", "perturbation", "layer", "change"),
                np.reshape(barriers, (config.trunks, *shape)),
            ),
            "floor": ("trunk", barrier_between(problem, others, ends, config.points)),
            "independent": ("pair", barrier_between(problem, first, second, config.points)),
        },
        {
            "branch_step": branch_steps,
            "perturbation": list(config.perturbations),
            "layer": np.arange(1, len(seeds) + 1),
        },
        {"steps": steps},
    )


def seeds_by_layer(problem: gd.Problem, count: int) -> Int[np.ndarray, "layers count"]:
    """Return, for each layer, perturbation seeds that change one of its weights.

    `one_weight` draws a parameter uniformly from all parameters. For each layer, the first `count`
    seeds are returned whose parameter is in this layer, is not a bias, and is not the weight of a
    pixel that is zero in all training images.
    """
    like = problem.init(jax.random.key(0))
    zeros = jax.tree.map(jnp.zeros_like, like)
    keys = gd.run_keys(0, perturbation_seed=np.arange(SEEDS)).perturbation

    def choose_weight(key):
        moved = gd.sweeps.perturbed(zeros, 1.0, key=key, how="one_weight")
        return jnp.argmax(jnp.abs(ravel_pytree(moved)[0]))

    chosen = jax.lax.map(choose_weight, keys, batch_size=SEEDS_PER_CALL)
    layer_of_parameter, is_lit = [], np.any(np.asarray(problem.data[0]), axis=0)
    for k, w in enumerate(like):
        usable = np.broadcast_to(is_lit if k == 0 else True, w.weights.shape)
        layer_of_parameter += [np.where(usable, k, -1).ravel(), np.full(w.bias.shape, -1)]
    layer_of = np.concatenate(layer_of_parameter)[np.asarray(chosen)]
    seeds = [np.flatnonzero(layer_of == k)[:count] for k in range(len(like))]
    if min(map(len, seeds)) < count:
        raise InputError(
            f"trunks times changes = {count}, expected at most {min(map(len, seeds))}, the number "
            f"of weights that the first {SEEDS} seeds select in some layer; use fewer trunks or "
            "changes"
        )
    return np.stack(seeds)


def reversed_inputs(problem: gd.Problem) -> gd.Problem:
    """Return the problem with the pixels in reversed order.

    Its descents differ from those of the original problem only in rounding errors.
    """

    def init(key):
        first, *rest = problem.init(key)
        return (first._replace(weights=first.weights[:, ::-1]), *rest)

    images, labels = problem.data
    return dataclasses.replace(
        problem, init=init, data=(np.ascontiguousarray(images[:, ::-1]), labels), provenance=None
    )


def reversed_pixels(runs: xr.Dataset, problem: gd.Problem):
    """Return the end points of a sweep of `reversed_inputs`, in original pixel order."""
    first, *rest = ends_of(problem, runs)
    return (first._replace(weights=first.weights[:, :, ::-1]), *rest)


def _chosen(ends, index):
    return jax.tree.map(lambda leaf: leaf[index], ends)


def barrier_between(
    problem: gd.Problem, first: Any, second: Any, points: int
) -> Float[np.ndarray, " pairs"]:
    """Return the lower of the barriers before and after matching, for each pair.

    Both end points of all pairs are stacked along a leading axis. A line has a number of points.
    """
    both = jax.tree.map(lambda *leaves: np.concatenate(leaves), first, second)
    indices = np.arange(len(jax.tree.leaves(both)[0])).reshape(2, -1)
    matched = gd.minima.match_pairs(problem.network, both, *indices, key=jax.random.key(1))

    @jax.jit
    def lower(pairs, problem):
        def one(pair):
            a, b, how = pair
            arranged = gd.minima.apply_symmetry(problem.network, a, how)
            lines = (minima.linear_path(start, b) for start in (a, arranged))
            costs = (minima.path_cost(problem, line, points=points) for line in lines)
            return jnp.minimum(*map(minima.path_barrier, costs))

        return jax.lax.map(one, pairs)

    return np.asarray(lower((first, second, matched.symmetry), problem))


def run(config: Config) -> xr.Dataset:
    """Return the barriers between branches and their trunks, and both references."""
    parts = [barriers_of_starts(config, name) for name in config.initializers]
    kinds = xr.Variable("initializer", list(config.initializers))
    return xr.concat(parts, kinds, combine_attrs="identical")


def relative(dataset: xr.Dataset) -> xr.DataArray:
    """Return the barriers divided by the median barrier between independent starts."""
    return dataset.barrier / dataset.independent.median("pair")


def in_another_valley(dataset: xr.Dataset) -> xr.DataArray:
    """Return whether each branch ends in another valley."""
    return (relative(dataset) >= OTHER_VALLEY) & (dataset.barrier > dataset.floor.max("trunk"))


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts of branches in another valley, barriers, and reference barriers."""
    by_kind: dict = {}
    for kind in dataset.initializer.values:
        one = dataset.sel(initializer=kind)
        branches = xr.Dataset({"ratio": relative(one), "another": in_another_valley(one)})
        by_kind[str(kind)] = {
            "independent": _with_range(one.independent),
            "floor": float(one.floor.max()),
            "perturbation": {
                f"{size:g}": {"branch_step": _by_step(branches.sel(perturbation=size))}
                for size in dataset.perturbation.values
            },
        }
    return {
        "steps": dataset.attrs["steps"],
        "starts_of_each_kind": dataset.sizes["trunk"],
        "changes_per_layer_step_and_size": dataset.sizes["trunk"] * dataset.sizes["change"],
        "initializer": by_kind,
    }


def _by_step(branches):
    by_step = {}
    for step in branches.branch_step.values:
        at = branches.sel(branch_step=step)
        starts = at.another.any(["layer", "change"])
        by_step[str(step)] = {
            **_distribution(at),
            "share_of_starts_with_another_valley": share(int(starts.sum()), starts.size)[:3],
            "layer": {str(k): _distribution(at.sel(layer=k)) for k in at.layer.values},
        }
    return by_step


def _with_range(values):
    return [float(values.quantile(q)) for q in (0.5, 0.0, 1.0)]


def _distribution(branches):
    ratios = branches.ratio
    return {
        "another_valley": int(branches.another.sum()),
        "median_and_range": _with_range(ratios),
        "at_least": {f"{limit:g}": int((ratios >= limit).sum()) for limit in THRESHOLDS},
    }


def plot(dataset: xr.Dataset) -> dict:
    """Draw the barrier of every branch, with one panel per step and initializer.

    Each layer has a column of points for each size of the change.
    """
    ratios, another = relative(dataset), in_another_valley(dataset)
    kinds, steps, layers = (ratios[dim].values for dim in ("initializer", "branch_step", "layer"))
    sizes = ratios.perturbation.values
    offsets = np.linspace(-SPREAD, SPREAD, len(sizes)) if len(sizes) > 1 else [0.0]
    figure = Figure(figsize=(2.6 * len(steps) + 1, 2.8 * len(kinds) + 0.6))
    panels = figure.subplots(len(kinds), len(steps), sharex=True, sharey=True, squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        for axes, step in zip(row, steps, strict=True):
            at = ratios.sel(initializer=kind, branch_step=step)
            for size, offset, color in zip(sizes, offsets, cycle(CYCLE), strict=False):
                for layer in layers:
                    values = np.sort(at.sel(perturbation=size, layer=layer).values.ravel())
                    across = layer + offset + np.linspace(-0.1, 0.1, len(values))
                    label = f"by {size:g}" if layer == layers[0] else None
                    axes.plot(across, values, ".", color=color, label=label)
            axes.axhline(OTHER_VALLEY, color="0.4", linestyle="--", label="another valley")
            axes.axhline(1.0, color="0.7", linestyle=":", label="independent starts")
            axes.set_yscale("symlog", linthresh=0.01)
            axes.set(ylim=(-0.002, 3 * max(1.0, float(ratios.max()))), xticks=layers)
            axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
            leads = another.sel(initializer=kind, branch_step=step)
            axes.set_title(f"step {step:,}: {int(leads.sum())} of {leads.size}", loc="left")
        row[0].set_ylabel(
            f"{str(kind).replace('_', '-')} starts\nbarrier relative to\nindependent starts"
        )
    figure.supxlabel("layer of the changed weight")
    panels[0, -1].legend(fontsize="small", loc="center right")
    figure.suptitle(
        f"{int(another.sum())} of {another.size:,} changes of one weight lead into another valley"
    )
    return {"branches": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
