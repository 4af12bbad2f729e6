"""Does a change of one weight decide in which valley a descent ends?

    w'_t = w_t + sigma on one weight;   then both go on, with the same mini-batches, to the end

Digit networks are trained on mnist5k from two kinds of random starts. Each descent is taken again
up to a step t, where one weight is changed by sigma, and nothing else differs. As many weights are
changed in each layer, and only those of pixels that are lit in some training image: a draw from all
parameters is a weight of the first layer 96 times in 100, and that of a dark pixel one time in six.

Between the two ends lies a barrier: the rise of the cost on the straight line, or on the line after
the neurons of one end are matched to those of the other, whichever is lower. Both are upper bounds
of what separates the ends. Two references give the scale:

    floor = largest barrier to the same descent with its pixels in reversed order
    other = median barrier between descents from independent starts of the same kind

The first are descents that differ in their rounding errors alone, at every step. A branch ends in
*another valley* if its barrier is at least half of `other`, and above the floor: it is then nearer
to the barrier behind another start than to none. The counts at other thresholds are reported, too.

    python experiments/branching.py           (about 4 min of processor time)

Expected: an early change leads into another valley, a late one does not (published: arXiv
2506.13234, for ResNets on CIFAR, where it is decided within the first few per cent of training).
Refuted by no change at step 0 that does, or by as many at the last step as at the first.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import branches as plots
from jaxtyping import Float, Int

import gdjax as gd
from gdjax import minima
from gdjax.errors import InputError
from gdjax.statistics import share
from gdjax.sweeps.branch_spec import one_weight

ANOTHER = 0.5  # of the barrier between independent starts
THRESHOLDS = (0.01, 0.1, 0.25, ANOTHER, 1.0)  # of the same, at which changes are counted
SEEDS = 4_000  # among which the seeds that change a wanted weight are found
TOGETHER = 256


@dataclass(frozen=True)
class Config:
    """Which descents branch, when, and how.

    Args:
        data: name of the data set.
        samples: only the first so many training images; None takes all.
        width: neurons in each of the two hidden layers.
        initializers: kinds of random starts.
        learning_rate: of plain descent.
        batch_size: images per step.
        epochs: passes over the training set.
        branch_steps: at which steps branches leave; those beyond the end are left out.
        perturbations: sizes of a change.
        trunks: descents that are branched from, of each kind of start.
        changes: weights of each layer that are changed, at each step and size, other weights for
            each trunk.
        slab: runs a device computes at a time: the same for trunks and branches.
        points: along each line, the ends among them.
    """

    data: str = "mnist5k"
    samples: int | None = None
    width: int = 16
    initializers: tuple[str, ...] = ("fan_in", "normal")
    learning_rate: float = 3.0
    batch_size: int = 32
    epochs: int = 15
    branch_steps: tuple[int, ...] = (0, 30, 100, 300)
    perturbations: tuple[float, ...] = (0.03, 0.3, 1.0)
    trunks: int = 8
    changes: int = 2
    slab: int = 18
    points: int = 15


def run(config: Config) -> xr.Dataset:
    """Barriers between the ends of all branches and those of their trunks, and both references."""
    parts = [_of_starts(config, name) for name in config.initializers]
    joined = xr.concat(parts, "initializer", combine_attrs="identical")
    return joined.assign_coords(initializer=list(config.initializers))


def _of_starts(config, initializer):
    widths = (config.width, config.width)
    problem = gd.problems.digits(
        config.data, widths=widths, samples=config.samples, initializer=initializer
    )
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    settings: dict[str, Any] = {
        "batch_size": config.batch_size,
        "record_every": steps,
        "width": config.slab,
        "metrics": {},
    }
    starts = gd.axes(learning_rate=[config.learning_rate], seed=range(config.trunks))
    others = reversed_pixels(gd.sweep(reversed_inputs(problem), starts, steps, **settings), problem)
    seeds = seeds_by_layer(problem, config.trunks * config.changes)
    branch_steps = [step for step in config.branch_steps if step <= steps]
    barriers = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "trunks"
        trunks = gd.sweep(problem, starts, steps, store=store, **settings).load()
        ends = stacked(problem, trunks)
        for trunk in range(config.trunks):
            own = seeds[:, trunk * config.changes : (trunk + 1) * config.changes]
            grid = gd.axes(
                branch_step=branch_steps,
                perturbation=config.perturbations,
                perturbation_seed=own.ravel(),
            )
            at = {"learning_rate": config.learning_rate, "seed": trunk}
            branches = gd.branch(store, at, grid, problem=problem, perturb="one_weight")
            barriers.append(
                _against(config, problem, _one(ends, trunk), stacked(problem, branches)).reshape(
                    len(branch_steps), len(config.perturbations), len(seeds), config.changes
                )
            )
    floor = [
        _against(config, problem, _one(ends, k), _one(others, slice(k, k + 1)))
        for k in range(config.trunks)
    ]
    first, second = np.triu_indices(config.trunks, 1)
    independent = barrier_between(problem, ends, first, second, points=config.points)
    return xr.Dataset(
        {
            "barrier": (("trunk", "branch_step", "perturbation", "layer", "change"), barriers),
            "floor": ("trunk", np.ravel(floor)),
            "independent": ("pair", independent),
            "trunk_cost": ("trunk", trunks.cost.values[0, :, -1]),
            "lit_share": float(lit(problem).mean()),
        },
        {
            "branch_step": branch_steps,
            "perturbation": list(config.perturbations),
            "layer": np.arange(1, len(seeds) + 1),
        },
        {"steps": steps, "epoch": gd.descent.steps_for(1, problem.samples, config.batch_size)},
    )


def stacked(problem, runs):
    """Parameters of all runs of a sweep, with one leading axis."""
    like = problem.init(jax.random.key(0))
    ends = gd.params_of(runs, like, {})
    return jax.tree.map(lambda leaf, one: np.asarray(leaf).reshape(-1, *np.shape(one)), ends, like)


def lit(problem: gd.Problem) -> np.ndarray:
    """Whether each pixel is lit in some training image."""
    return np.any(np.asarray(problem.data[0]), axis=0)


def seeds_by_layer(problem: gd.Problem, count: int) -> Int[np.ndarray, "layers count"]:
    """Perturbation seeds that change a weight of each layer, in turn.

    `one_weight` draws from all parameters alike. Of its seeds these are the first whose weight is
    in a given layer, no bias, and not that of a pixel that is dark in all training images.
    """
    like = problem.init(jax.random.key(0))
    zeros = jax.tree.map(jnp.zeros_like, like)
    keys = gd.streams(0, perturbation_seed=np.arange(SEEDS)).perturbation

    @jax.jit
    def places(keys):
        def place(key):
            moved = one_weight(key, zeros, 1.0)
            return jnp.argmax(jnp.concatenate([jnp.abs(a).ravel() for a in jax.tree.leaves(moved)]))

        return jax.lax.map(place, keys, batch_size=TOGETHER)

    usable = [
        (np.broadcast_to(lit(problem), w.weights.shape) if k == 0 else np.ones(w.weights.shape))
        for k, w in enumerate(like)
    ]
    layer_of = np.concatenate(
        [
            np.concatenate([np.where(mask, k, -1).ravel(), np.full(w.bias.shape, -1)])
            for k, (mask, w) in enumerate(zip(usable, like, strict=True))
        ]
    )[np.asarray(places(keys))]
    chosen = [np.flatnonzero(layer_of == k)[:count] for k in range(len(like))]
    if min(map(len, chosen)) < count:
        raise InputError(
            f"trunks times changes = {count}, expected at most {min(map(len, chosen))}: no more "
            f"weights of a layer are among the first {SEEDS} seeds"
        )
    return np.stack(chosen)


def reversed_inputs(problem: gd.Problem) -> gd.Problem:
    """The same problem with pixels in reversed order: equal costs, other rounding errors."""

    def init(key):
        first, *rest = problem.init(key)
        return (first._replace(weights=first.weights[:, ::-1]), *rest)

    images, labels = problem.data
    return dataclasses.replace(
        problem,
        init=init,
        data=(np.ascontiguousarray(images[:, ::-1]), labels),
        provenance=None,
    )


def reversed_pixels(runs: xr.Dataset, problem: gd.Problem):
    """Ends of a sweep of `reversed_inputs`, with pixels in the order of the problem."""
    first, *rest = stacked(problem, runs)
    return (first._replace(weights=first.weights[:, :, ::-1]), *rest)


def _one(ends, which):
    return jax.tree.map(lambda leaf: leaf[which], ends)


def _against(config, problem, end, others):
    """Barrier between one end and each of others."""
    both = jax.tree.map(lambda one, many: np.concatenate([one[None], many]), end, others)
    count = len(jax.tree.leaves(others)[0])
    pairs = np.arange(1, count + 1), np.zeros(count, int)
    return barrier_between(problem, both, *pairs, points=config.points)


def barrier_between(
    problem: gd.Problem,
    ends: Any,
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    *,
    points: int,
) -> Float[np.ndarray, " pairs"]:
    """The lower of two barriers: on the straight line, and after matching.

    Args:
        problem: of the ends; it has a network.
        ends: parameters with a leading axis.
        first: which of them are the first of each pair.
        second: likewise.
        points: along each line.
    """
    matched = minima.match_pairs(problem.network, ends, first, second, key=jax.random.key(1))
    a, b = _one(ends, first), _one(ends, second)

    @jax.jit
    def lower(a, b, how, problem):
        def one(pair):
            a, b, how = pair
            arranged = minima.apply_symmetry(problem.network, a, how)
            lines = (minima.linear_path(start, b) for start in (a, arranged))
            costs = (minima.path_cost(problem, line, points=points) for line in lines)
            return jnp.minimum(*map(minima.barrier, costs))

        return jax.lax.map(one, (a, b, how))

    return np.asarray(lower(a, b, matched.symmetry, problem))


def relative(dataset: xr.Dataset) -> xr.DataArray:
    """Barriers in units of the median one between independent starts of the same kind."""
    return dataset.barrier / dataset.independent.median("pair")


def in_another_valley(dataset: xr.Dataset) -> xr.DataArray:
    """Whether each change leads into another valley: see above for the definition."""
    return (relative(dataset) >= ANOTHER) & (dataset.barrier > dataset.floor.max("trunk"))


def numbers(dataset: xr.Dataset) -> dict:
    """How many changes lead into another valley, how barriers are distributed, both references."""
    told: dict = {
        "steps": dataset.attrs["steps"],
        "starts_of_each_kind": dataset.sizes["trunk"],
        "changes_per_layer_step_and_size": dataset.sizes["trunk"] * dataset.sizes["change"],
        "lit_share_of_pixels": float(dataset.lit_share[0]),
    }
    for kind in dataset.initializer.values:
        one = dataset.sel(initializer=kind)
        told |= {
            f"{kind}_cost": float(one.trunk_cost.median()),
            f"{kind}_independent": _with_range(one.independent),
            f"{kind}_floor": float(one.floor.max()),
        }
        ratios, another = relative(one), in_another_valley(one)
        for size in dataset.perturbation.values:
            for step in dataset.branch_step.values:
                at = {"perturbation": size, "branch_step": step}
                each = another.sel(at)
                told[f"{kind}_{size:g}_at_{step}"] = {
                    "another_valley": int(each.sum()),
                    "share_of_starts_with_another_valley": share(
                        int(each.any(["layer", "change"]).sum()), dataset.sizes["trunk"]
                    )[:3],
                    **_distribution(ratios.sel(at)),
                    **{
                        f"layer_{layer}": {
                            "another_valley": int(each.sel(layer=layer).sum()),
                            **_distribution(ratios.sel(at).sel(layer=layer)),
                        }
                        for layer in dataset.layer.values
                    },
                }
    return told


def _with_range(values):
    return [float(values.quantile(q)) for q in (0.5, 0.0, 1.0)]


def _distribution(ratios):
    reached = {f"{least:g}": int((ratios >= least).sum()) for least in THRESHOLDS}
    return {"median_and_range": _with_range(ratios), "at_least": reached}


def plot(dataset: xr.Dataset) -> Mapping:
    """How the barriers are distributed, by layer, step, size and start."""
    return {
        "branches": plots.distributions(
            relative(dataset), in_another_valley(dataset), threshold=ANOTHER
        )
    }


if __name__ == "__main__":
    common.main("branching", Config, run, plot, numbers)
