"""How many outlying Hessian eigenvalues are there before, during and after training?

    H = G + R,   G = J^T L J,   R = sum_i (dl/da_i) grad grad a_i,   a the outputs

    python -m experiments.hessian_spectrum           (about 100 s of processor time)

Expected: G has 10 outliers with the quadratic cost and 9 with cross entropy (which is invariant to
a common shift of all logits), from every start, before training and after 1, 3 and 10 epochs; for
H, this holds only after 1 epoch. The claim of one outlier per class is refuted if there is a clear
gap and the median number over starts is not 9 or 10.
"""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import with_snapshots
from experiments.shared.trees import datasets
from gdjax import curvature
from gdjax.base.statistics import median
from gdjax.curvature import EigenpairsStatus
from gdjax.plots import spectrum as plots

NAMES = {"quadratic": "quadratic cost", "cross_entropy": "cross entropy"}
LEARNING_RATES = {"quadratic": 1.0, "cross_entropy": 0.3}
MATRICES = ("hessian", "gauss_newton")


@dataclass(frozen=True)
class Config:
    """Points at which the spectrum is computed, and the accuracy of its computation."""

    data: str = "mnist5k"  # name of the data set
    batch_size: int = 32  # number of images per step
    epochs: tuple[int, ...] = (0, 1, 3, 10, 30)  # epochs after which spectra are computed, from 0
    seeds: int = 6  # number of starting points for each cost
    largest: int = 30  # number of largest eigenvalues that are computed, of H and of G
    smallest: int = 3  # number of smallest eigenvalues that are computed, of H only
    gap_within: int = 20  # maximum number of eigenvalues above the widest gap
    shown: tuple[int, ...] = (0, 3, 30)  # epochs of density and trace, of the first quadratic run
    probes: int = 8  # number of random vectors for each density; a trace uses six times as many
    depth: int = 64  # number of Hessian-vector products per random vector of a density
    samples: int | None = 2000  # number of training images, from the start of the set; None: all


def stacked(results: list):
    """Return one result with the arrays of several results, stacked along a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


def measured(config: Config, cost: str) -> xr.Dataset:
    """Return the extreme eigenvalues of H and G for one cost, by start and epoch.

    For the quadratic cost, the result of `spread` is included.
    """
    problem = gd.problems.digits(config.data, loss=cost, samples=config.samples)
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    steps, rule, at = max(config.epochs) * epoch, optax.sgd(LEARNING_RATES[cost]), [*config.epochs]
    runs = [
        with_snapshots(problem, rule, steps, epoch, batch_size=config.batch_size, seed=seed)
        for seed in range(config.seeds)
    ]
    problem = jax.tree.map(jnp.asarray, problem)  # on the device
    points = [
        [jax.tree.map(lambda a, k=k: jnp.asarray(a[k]), run.snapshots) for k in at] for run in runs
    ]
    keys = jax.random.split(jax.random.key(0), config.seeds)
    top = partial(curvature.extreme_eigenpairs, largest=config.largest, rtol=1e-3)

    dims, status = ("seed", "epoch"), []
    accuracies = [np.asarray(run.metrics["test_accuracy"], float)[at] for run in runs]
    columns: dict = {
        "cost": (dims, [np.asarray(run.cost, float)[at] for run in runs]),
        "test_accuracy": (dims, accuracies),
    }
    programs = (
        jax.jit(partial(top, smallest=config.smallest)),
        jax.jit(partial(top, operator=curvature.GaussNewtonOperator)),
    )
    for matrix, program in zip(MATRICES, programs, strict=True):
        rows = [
            stacked([program(problem, w, key=key)._replace(vectors=None) for w in row])
            for row, key in zip(points, keys, strict=True)
        ]
        pairs = stacked(rows)
        status.append(pairs.status)
        columns[matrix] = (*dims, "rank"), pairs.values[..., : config.largest]
        columns[f"{matrix}_residual"] = (*dims, "rank"), pairs.residuals[..., : config.largest]
        if matrix == "hessian":
            columns["smallest"] = (*dims, "low"), pairs.values[..., config.largest :]
            columns["smallest_residual"] = (*dims, "low"), pairs.residuals[..., config.largest :]
    coordinates = {
        "seed": np.arange(config.seeds),
        "epoch": np.array(config.epochs),
        "rank": np.arange(1, config.largest + 1),
    }
    attributes = {"gap_within": config.gap_within, "parameters": problem.network.parameter_count}
    columns["status"] = ("matrix", *dims), status
    records = xr.Dataset(columns, coordinates, attributes)
    if cost != "quadratic":
        return records
    return records.merge(spread(config, problem, [points[0][at.index(n)] for n in config.shown]))


def spread(config: Config, problem: gd.Problem, points: list) -> xr.Dataset:
    """Return the spectral density and the trace of the Hessian at `config.shown`."""
    trace = jax.jit(partial(curvature.hessian_trace, probes=6 * config.probes))
    density = jax.jit(partial(curvature.spectral_density, probes=config.probes, depth=config.depth))
    key_trace, key_density = jax.random.split(jax.random.key(1))
    traces = stacked([trace(problem, w, key=key_trace) for w in points])
    densities = stacked([density(problem, w, key=key_density) for w in points])
    return xr.Dataset(
        {
            "trace": ("shown", traces.value),
            "trace_error": ("shown", traces.error),
            "at": (("shown", "point"), densities.at),
            "density": (("shown", "point"), densities.value),
            "density_error": (("shown", "point"), densities.error),
            "node": (("shown", "probe", "depth"), densities.nodes),
            "weight": (("shown", "probe", "depth"), densities.weights),
            "bandwidth": ("shown", densities.bandwidth),
        },
        {"shown": np.array(config.shown)},
    )


def run(config: Config) -> xr.DataTree:
    """Return a tree with a branch for each cost."""
    return xr.DataTree.from_dict({cost: measured(config, cost) for cost in LEARNING_RATES})


def widest_gap(values: np.ndarray, within: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k <= within with the largest ratio of eigenvalues k and k + 1, and this ratio.

    The last axis contains descending eigenvalues; ratios to values that are not positive are 0.

    Examples:
        >>> k, ratio = widest_gap(np.array([8.0, 7.0, 2.0, 1.5, 0.5]), within=3)
        >>> int(k), float(ratio)
        (2, 3.5)
    """
    lower = values[..., 1 : within + 1]
    upper = values[..., : lower.shape[-1]]
    ratios = np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0)
    return ratios.argmax(axis=-1) + 1, ratios.max(axis=-1)


def negative_sum(nodes: np.ndarray, weights: np.ndarray, size: int) -> tuple[float, float]:
    """Estimate the sum of negative eigenvalues, as a mean over probes, and its standard error."""
    row = size * np.sum(weights * np.minimum(nodes, 0), axis=1)
    return float(row.mean()), float(row.std(ddof=1) / len(row) ** 0.5)


def digits(values) -> list[float]:
    """Return numbers rounded to four significant digits."""
    return [float(f"{value:.4g}") for value in np.asarray(values)]


def numbers(tree: xr.DataTree) -> dict:
    """Return numbers of outliers by cost, epoch and matrix, and spectral estimates."""
    costs: dict = {}
    for cost, records in datasets(tree, NAMES).items():
        residuals = [
            (records[f"{matrix}_residual"].max("rank") / records[matrix].isel(rank=0)).max()
            for matrix in MATRICES
        ]
        epochs: dict = {}
        for epoch in records.epoch.values:
            at, matrices = records.sel(epoch=epoch), {}
            for matrix in MATRICES:
                above, ratio = widest_gap(at[matrix].values, records.attrs["gap_within"])
                matrices[matrix] = {
                    "above_gap": above,
                    "above_gap_median": digits(median(above)[:3]),
                    "gap": digits(ratio),
                }
            epochs[str(epoch)] = {
                "test_accuracy_median": digits(median(at.test_accuracy.values)[:3]),
                "smallest_over_largest": digits(at.smallest.isel(low=-1) / at.hessian.isel(rank=0)),
                "matrix": matrices,
            }
        costs[cost] = {
            "all_converged": bool((records.status == EigenpairsStatus.CONVERGED).all()),
            "largest_residual": float(max(residuals)),
            "epoch": epochs,
        }
    records = tree["quadratic"].to_dataset()
    names = ("trace", "trace_standard_error", "negative_sum", "negative_sum_error")
    for epoch in records.shown.values:
        at = records.sel(shown=epoch)
        total = negative_sum(at.node.values, at.weight.values, records.attrs["parameters"])
        values = digits([at.trace, at.trace_error, *total])
        costs["quadratic"]["epoch"][str(epoch)] |= dict(zip(names, values, strict=True))
    return {"cost": costs}


def after(epoch: int) -> str:
    """Return the label of the point of a descent after a number of epochs."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'' if epoch == 1 else 's'}"


def plot(tree: xr.DataTree) -> dict:
    """Draw spectral densities with extreme eigenvalues, and eigenvalues by rank."""
    by_cost = datasets(tree, NAMES)
    records = by_cost["quadratic"]
    top, size = slice(records.attrs["gap_within"]), records.attrs["parameters"]
    magnitude = np.abs(records.node)
    is_small = magnitude < magnitude.max(("probe", "depth")) / 100
    near_zero = float((records.weight * is_small).sum("depth").mean("probe").min())
    spreads, pairs, panels = {}, {}, {}
    for at in records.shown.values:
        here, ends = records.sel(shown=at), records.sel(seed=0, epoch=at)
        name = f"{after(at)}, cost {float(ends.cost):.2g}"
        spreads[name] = here.rename(density="value", density_error="error")
        pairs[name] = SimpleNamespace(
            values=np.append(ends.hessian.values[top], ends.smallest),
            residuals=np.append(ends.hessian_residual.values[top], ends.smallest_residual),
        )
    outliers = []
    for cost, branch in by_cost.items():
        above, _ = widest_gap(branch.gauss_newton.values, branch.attrs["gap_within"])
        first, last = (median(above[:, k]).value for k in (0, -1))
        outliers.append(f"{NAMES[cost]} {first:g}, then {last:g}")
        for matrix, name in zip(MATRICES, ("Hessian", "Gauss-Newton part"), strict=True):
            pair = branch.sel(seed=0)[[matrix, f"{matrix}_residual"]]
            panels[f"{NAMES[cost]}: {name}"] = {
                after(epoch): tuple(one.values for one in pair.sel(epoch=epoch).values())
                for epoch in branch.epoch.values
            }
    return {
        "density": plots.densities(
            spreads,
            pairs=pairs,
            size=size,
            title=f"{size:,} eigenvalues: at least {near_zero:.1%} have magnitudes below "
            "1 % of the largest",
        ),
        "ranks": plots.eigenvalues_by_rank(
            panels,
            after=10,
            after_label="number of classes",
            title="Median number of outliers of the Gauss-Newton part, first and last epoch:\n"
            + "; ".join(outliers),
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
