"""Summary of the number of outlying eigenvalues."""

import numpy as np
import xarray as xr

from gdjax.curvature.eigenpairs import EigenpairsStatus
from gdjax.statistics import median

MATRICES = ("hessian", "gauss_newton")


def branches(tree) -> dict[str, xr.Dataset]:
    """Return the branch of each cost, the one with densities first."""
    found = {cost: branch.to_dataset() for cost, branch in tree.children.items()}
    return dict(sorted(found.items(), key=lambda item: "density" not in item[1]))


def widest_gap(values: np.ndarray, within: int) -> tuple[int, float]:
    """Return the k <= within with the largest ratio of eigenvalue k to the next.

    The second value is this ratio.

    Examples:
        >>> widest_gap(np.array([8.0, 7.0, 2.0, 1.5, 0.5]), within=3)
        (2, 3.5)
    """
    upper, lower = values[:within], values[1 : within + 1]
    upper = upper[: len(lower)]
    ratios = np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0)
    return int(np.argmax(ratios)) + 1, float(np.max(ratios))


def negative(nodes: np.ndarray, weights: np.ndarray, size: int, below: float) -> dict:
    """Return counts of eigenvalues below -below and above it, and the negative sum.

    All are means over probes, each with its standard error.
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
    """Return numbers rounded to four significant digits."""
    return [float(f"{value:.4g}") for value in np.asarray(values)]


def numbers(tree) -> dict:
    """Return counts by each rule at every point; traces and negative parts at some."""
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
    """Return for each row the number of values above its widest gap, and the ratio."""
    found = [widest_gap(row, within) for row in values]
    return [k for k, _ in found], [ratio for _, ratio in found]


def counts(tree) -> list[dict]:
    """Return one row of counts for each cost, epoch and matrix."""
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
    """Return the smallest share of eigenvalues within a hundredth of the largest."""
    size = np.abs(seen.node).max(("probe", "depth"))
    return float((seen.weight * (np.abs(seen.node) < size / 100)).sum("depth").mean("probe").min())


def above_gap(branch: xr.Dataset) -> str:
    """Return the median count above the widest gap of G, at the first and last epoch."""
    ends = [branch.gauss_newton.isel(epoch=at).values for at in (0, -1)]
    medians = [median(gaps(values, branch.attrs["gap_within"])[0]).value for values in ends]
    return f"{medians[0]:g}, then {medians[1]:g}"
