"""How many directions of large curvature are there before, during and after training?

    H = G + R,   G = J^T L J (how outputs move),   R = sum_i (dl/da_i) grad grad a_i (how they bend)

It is published that a trained classifier's Hessian has about as many outlying eigenvalues as there
are classes, and that they come from its Gauss-Newton part G (Papyan 2018, arXiv 1812.04754). The
digit network (784-16-16-10) descends from several starts, with the quadratic cost and with cross
entropy; at each point the largest eigenvalues of H and of G are found, with residuals. G is the
Hessian of the cost with outputs made linear in the parameters, so the same function finds both.

"Outliers" needs a rule: those above the widest gap, the k <= 20 with the largest ratio of lambda_k
to lambda_(k+1), which says how much of a gap it is. Other rules stand beside it: a gap sought up to
rank 29, and eigenvalues above a tenth of the largest.

    python experiments/hessian_spectrum.py           (about 100 s of processor time)

Expected: in G 10 outliers with the quadratic cost and 9 with cross entropy (whose outputs do not
change if all logits move alike), from every start, before training and up to 10 epochs; in H only
after the first. All counts stand in one table (`counts` in summary.json). "As many as classes" is
refuted where the median over starts is not 9 or 10: in G after 30 epochs, in H from 10 on.
"""

from dataclasses import dataclass
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import curvature
from gdjax.curvature.eigenpairs import EigenpairsStatus
from gdjax.plots import spectrum as plots
from gdjax.statistics import median

MATRICES = ("hessian", "gauss_newton")
NAMES = {"quadratic": "quadratic cost", "cross_entropy": "cross entropy"}


@dataclass(frozen=True)
class Config:
    """Which points are looked at, and how exactly.

    Args:
        data: name of the data set.
        costs: of the descents.
        learning_rates: for each cost.
        batch_size: images a step.
        epochs: after which the spectrum is looked at; the first is 0.
        seeds: starting points of each cost.
        largest: eigenvalues from the upper end.
        smallest: from the lower end of H.
        tolerance: of residuals, relative to the largest |eigenvalue|.
        gap_within: the widest gap is sought behind ranks up to this.
        shown: epochs at which density and trace are estimated, first cost and first start alone.
        probes: random vectors for each density, six times as many for each trace.
        depth: products a probe.
        samples: only the first so many training images; None takes all.
    """

    data: str = "mnist5k"
    costs: tuple[str, ...] = ("quadratic", "cross_entropy")
    learning_rates: tuple[float, ...] = (1.0, 0.3)
    batch_size: int = 32
    epochs: tuple[int, ...] = (0, 1, 3, 10, 30)
    seeds: int = 6
    largest: int = 30
    smallest: int = 3
    tolerance: float = 1e-3
    gap_within: int = 20
    shown: tuple[int, ...] = (0, 3, 30)
    probes: int = 8
    depth: int = 64
    samples: int | None = 2000


def descend(
    config: Config, problem: gd.Problem, rule: optax.GradientTransformation, seed: int
) -> list:
    """Parameters after each of the epochs, their cost, and the share of test images right."""
    streams = gd.streams(0, seed=seed)
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    run = gd.descend(
        problem,
        rule,
        problem.init(streams.init),
        max(config.epochs) * epoch,
        key=streams.order,
        batch_size=config.batch_size,
        record_every=epoch,
        snapshot_every=epoch,
    )
    return [
        (
            jax.tree.map(lambda a, at=at: jnp.asarray(a[at]), run.snapshots),
            float(run.cost[at]),
            float(run.metrics["test_accuracy"][at]),
        )
        for at in config.epochs
    ]


def ends_of(config: Config):
    """Eigenvalues of H and of G at a point, one program each."""
    top = partial(curvature.extreme_eigenpairs, largest=config.largest, rtol=config.tolerance)

    @jax.jit
    def hessian(problem, params, key):
        return top(problem, params, key=key, smallest=config.smallest)

    @jax.jit
    def gauss_newton(problem, params, key):
        return top(curvature.GaussNewtonOperator(problem, params), key=key)

    return hessian, gauss_newton


def look(config: Config, cost: str, learning_rate: float) -> xr.Dataset:
    """The ends of both spectra with one cost, for every start and epoch."""
    problem = gd.problems.digits(config.data, cost=cost, samples=config.samples)
    placed = jax.tree.map(jnp.asarray, problem)
    programs = ends_of(config)
    keys = jax.random.split(jax.random.key(0), config.seeds)
    rule = optax.sgd(learning_rate)  # one for all starts: one program
    points = [descend(config, problem, rule, seed) for seed in range(config.seeds)]
    found = [
        [[program(placed, w, key) for program in programs] for w, _, _ in way]
        for way, key in zip(points, keys, strict=True)
    ]

    def gathered(name, matrix, part=...):
        rows = [[np.asarray(getattr(both[matrix], name))[part] for both in way] for way in found]
        return np.array(rows)

    dims = ("seed", "epoch")
    top, bottom = slice(0, config.largest), slice(config.largest, None)
    seen = xr.Dataset(
        {
            "cost": (dims, [[cost for _, cost, _ in way] for way in points]),
            "test_accuracy": (dims, [[share for _, _, share in way] for way in points]),
            "smallest": ((*dims, "low"), gathered("values", 0, bottom)),
            "smallest_residual": ((*dims, "low"), gathered("residuals", 0, bottom)),
        }
        | {
            f"{matrix}{suffix}": ((*dims, "rank"), gathered(name, number, top))
            for number, matrix in enumerate(MATRICES)
            for suffix, name in (("", "values"), ("_residual", "residuals"))
        },
        {
            "seed": np.arange(config.seeds),
            "epoch": np.array(config.epochs),
            "rank": np.arange(1, config.largest + 1),
        },
        {
            "learning_rate": learning_rate,
            "gap_within": config.gap_within,
            "parameters": problem.network.parameter_count,
        },
    )
    seen["status"] = (("matrix", *dims), [gathered("status", number) for number in range(2)])
    if cost != config.costs[0]:
        return seen
    return seen.merge(spread(config, problem, dict(zip(config.epochs, points[0], strict=True))))


def spread(config: Config, problem: gd.Problem, points: dict) -> xr.Dataset:
    """Density and trace at a few points."""
    problem = jax.tree.map(jnp.asarray, problem)
    trace = jax.jit(partial(curvature.hessian_trace, probes=6 * config.probes))
    density = jax.jit(partial(curvature.spectral_density, probes=config.probes, depth=config.depth))
    key_trace, key_density = jax.random.split(jax.random.key(1))
    traces = [trace(problem, points[at][0], key=key_trace) for at in config.shown]
    densities = [density(problem, points[at][0], key=key_density) for at in config.shown]

    def of(rows, name):
        return np.array([getattr(row, name) for row in rows])

    return xr.Dataset(
        {
            "trace": ("shown", of(traces, "value")),
            "trace_error": ("shown", of(traces, "error")),
            "at": (("shown", "point"), of(densities, "at")),
            "density": (("shown", "point"), of(densities, "value")),
            "density_error": (("shown", "point"), of(densities, "error")),
            "node": (("shown", "probe", "depth"), of(densities, "nodes")),
            "weight": (("shown", "probe", "depth"), of(densities, "weights")),
            "width": ("shown", of(densities, "width")),
        },
        {"shown": np.array(config.shown)},
    )


def run(config: Config) -> xr.DataTree:
    """A branch for each cost."""
    costs = zip(config.costs, config.learning_rates, strict=True)
    return xr.DataTree.from_dict({cost: look(config, cost, rate) for cost, rate in costs})


def branches(tree) -> dict[str, xr.Dataset]:
    """Each cost's branch, the one with densities first: a store opens in the order of names."""
    found = {cost: branch.to_dataset() for cost, branch in tree.children.items()}
    return dict(sorted(found.items(), key=lambda item: "density" not in item[1]))


def widest_gap(values: np.ndarray, within: int) -> tuple[int, float]:
    """The k <= within with the largest ratio of eigenvalue k to the next, and that ratio.

    Examples:
        >>> widest_gap(np.array([8.0, 7.0, 2.0, 1.5, 0.5]), within=3)
        (2, 3.5)
    """
    upper, lower = values[:within], values[1 : within + 1]
    upper = upper[: len(lower)]
    ratios = np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0)
    return int(np.argmax(ratios)) + 1, float(np.max(ratios))


def negative(nodes: np.ndarray, weights: np.ndarray, size: int, below: float) -> dict:
    """How many eigenvalues are below -below and above it, and what negative ones sum to.

    Means over probes, each with its standard error.
    """
    rows = {
        "eigenvalues_below": np.sum(weights * (nodes < -below), axis=1),
        "eigenvalues_above": np.sum(weights * (nodes > below), axis=1),
        "negative_sum": np.sum(weights * np.minimum(nodes, 0), axis=1),
    }
    found = {}
    for name, row in rows.items():
        found[name] = float(size * row.mean())
        found[f"{name}_error"] = float(size * row.std(ddof=1) / len(row) ** 0.5)
    return found


def digits(values) -> list[float]:
    """Four digits of each number."""
    return [float(f"{value:.4g}") for value in np.asarray(values)]


def numbers(tree) -> dict:
    """How many stand out by which rule, at every point; traces and negative parts at some."""
    found = {}
    for cost, seen in branches(tree).items():
        found[f"{cost}_all_converged"] = bool(np.all(seen.status == EigenpairsStatus.CONVERGED))
        residuals = [
            (seen[f"{matrix}_residual"].max("rank") / seen[matrix].isel(rank=0)).max()
            for matrix in MATRICES
        ]
        found[f"{cost}_largest_residual"] = float(max(residuals))
        for epoch in seen.epoch.values:
            here = seen.sel(epoch=epoch)
            found[f"{cost}_{epoch}"] = {
                "cost": digits(here.cost),
                "test_accuracy": digits(here.test_accuracy),
                "test_accuracy_median": digits(median(here.test_accuracy.values)[:3]),
                "smallest_over_largest": digits(
                    here.smallest.isel(low=-1) / here.hessian.isel(rank=0)
                ),
            }
    found["counts"] = counts(tree)
    seen = next(iter(branches(tree).values()))
    first = seen.sel(seed=0)
    for at in seen.shown.values:
        here = seen.sel(shown=at)
        trace, size = float(here.trace), seen.attrs["parameters"]
        beyond = 0.01 * float(first.hessian.sel(epoch=at)[0])
        told = {
            "trace": trace,
            "trace_standard_error": float(here.trace_error),
            "top_10_over_trace": float(first.hessian.sel(epoch=at)[:10].sum()) / trace,
            "counted_beyond": beyond,
            **negative(here.node.values, here.weight.values, size, beyond),
        }
        found[f"spread_{at}"] = dict(zip(told, digits([*told.values()]), strict=True))
    return found


def gaps(values: np.ndarray, within: int) -> tuple[list[int], list[float]]:
    """The widest gap of each row: how many are above it, and its ratio."""
    found = [widest_gap(row, within) for row in values]
    return [k for k, _ in found], [ratio for _, ratio in found]


def counts(tree) -> list[dict]:
    """Every count, a row a cost, epoch and matrix: of each start by each rule, and the median."""
    rows = []
    for cost, seen in branches(tree).items():
        for epoch in seen.epoch.values:
            for matrix in MATRICES:
                values = seen.sel(epoch=epoch)[matrix].values
                above, ratio = gaps(values, seen.attrs["gap_within"])
                above_all, ratio_all = gaps(values, values.shape[1] - 1)
                tenth = np.sum(values > values[:, :1] / 10, axis=1)
                rows.append(
                    {
                        "cost": cost,
                        "epoch": int(epoch),
                        "matrix": matrix,
                        "largest": digits(values[:, 0]),
                        "above_gap": above,
                        "above_gap_median": digits(median(above)[:3]),
                        "gap": digits(ratio),
                        "gap_median": digits(median(ratio)[:3]),
                        "above_gap_of_all_ranks": above_all,
                        "gap_of_all_ranks": digits(ratio_all),
                        "above_a_tenth_at_least": tenth.tolist(),
                        "above_a_tenth_median": digits(median(tenth)[:3]),
                    }
                )
    return rows


def near_zero(seen: xr.Dataset) -> float:
    """Smallest share of eigenvalues within a hundredth of the largest, over the points shown."""
    size = np.abs(seen.node).max(("probe", "depth"))
    return float((seen.weight * (np.abs(seen.node) < size / 100)).sum("depth").mean("probe").min())


def above_gap(branch: xr.Dataset) -> str:
    """Median over starts of eigenvalues of G above the widest gap, at the first and last epoch."""
    ends = [branch.gauss_newton.isel(epoch=at).values for at in (0, -1)]
    medians = [median(gaps(values, branch.attrs["gap_within"])[0]).value for values in ends]
    return f"{medians[0]:g}, then {medians[1]:g}"


def after(epoch: int) -> str:
    """A point on the way, in words."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'' if epoch == 1 else 's'}"


def plot(tree) -> dict:
    """Densities with their outliers, and eigenvalues by rank."""
    seen = next(iter(branches(tree).values()))
    first = seen.sel(seed=0)
    top = slice(seen.attrs["gap_within"])
    spreads = []
    for at in seen.shown.values:
        here, ends = seen.sel(shown=at), first.sel(epoch=at)
        spreads.append(
            plots.DensityPanel(
                f"{after(at)}, cost {float(ends.cost):.2g}",
                here["at"].values,
                here.density.values,
                here.density_error.values,
                float(here.width),
                seen.attrs["parameters"],
                np.append(ends.hessian.values[top], ends.smallest),
                np.append(ends.hessian_residual.values[top], ends.smallest_residual),
            )
        )
    panels = {}
    for cost, branch in branches(tree).items():
        start = branch.sel(seed=0)
        for matrix, name in zip(MATRICES, ("Hessian", "Gauss-Newton part"), strict=True):
            panels[f"{NAMES[cost]}: {name}"] = [
                plots.RankedEigenvalues(
                    after(epoch),
                    start[matrix].sel(epoch=epoch).values,
                    start[f"{matrix}_residual"].sel(epoch=epoch).values,
                )
                for epoch in start.epoch.values
            ]
    return {
        "density": plots.densities(
            spreads,
            title=f"{seen.attrs['parameters']:,} eigenvalues: {near_zero(seen):.1%} at least are "
            "within a hundredth of the largest of 0",
        ),
        "ranks": plots.ranks(
            panels,
            after=10,
            after_label="as many as classes",
            title="Above the widest gap of the Gauss-Newton part, first and last (median):\n"
            + "; ".join(
                f"{NAMES[cost]} {above_gap(branch)}" for cost, branch in branches(tree).items()
            ),
        ),
    }


if __name__ == "__main__":
    common.main("hessian_spectrum", Config, run, plot, numbers)
