"""Summary of the numbers of outlying eigenvalues, and of spectral densities."""

import numpy as np
import xarray as xr

from gdjax.curvature.eigenpairs import EigenpairsStatus
from gdjax.statistics import median

MATRICES = ("hessian", "gauss_newton")


def branches(tree) -> dict[str, xr.Dataset]:
    """Return the Dataset of each cost, starting with the one with spectral densities."""
    by_cost = {cost: branch.to_dataset() for cost, branch in tree.children.items()}
    return dict(sorted(by_cost.items(), key=lambda item: "density" not in item[1]))


def widest_gap(values: np.ndarray, within: int) -> tuple[int, float]:
    """Return the k <= within with the largest ratio of eigenvalues k and k + 1.

    The second returned value is this ratio.

    Examples:
        >>> widest_gap(np.array([8.0, 7.0, 2.0, 1.5, 0.5]), within=3)
        (2, 3.5)
    """
    upper, lower = values[:within], values[1 : within + 1]
    upper = upper[: len(lower)]
    ratios = np.where(lower > 0, upper / np.where(lower > 0, lower, 1), 0)
    return int(np.argmax(ratios)) + 1, float(np.max(ratios))


def negative(nodes: np.ndarray, weights: np.ndarray, size: int, below: float) -> dict:
    """Estimate counts of eigenvalues outside +-`below`, and the sum of negative ones.

    The number below `-below`, the number above `below`, and the sum of all negative eigenvalues are
    means over probes, each with its standard error.
    """
    rows = {
        "eigenvalues_below": np.sum(weights * (nodes < -below), axis=1),
        "eigenvalues_above": np.sum(weights * (nodes > below), axis=1),
        "negative_sum": np.sum(weights * np.minimum(nodes, 0), axis=1),
    }
    shares = {}
    for name, row in rows.items():
        shares[name] = float(size * row.mean())
        shares[f"{name}_error"] = float(size * row.std(ddof=1) / len(row) ** 0.5)
    return shares


def digits(values) -> list[float]:
    """Return numbers rounded to four significant digits."""
    return [float(f"{value:.4g}") for value in np.asarray(values)]


def numbers(tree) -> dict:
    """Return outlier counts at all epochs, and spectral estimates at some epochs."""
    summary = {}
    for cost, records in branches(tree).items():
        summary[f"{cost}_all_converged"] = bool(
            np.all(records.status == EigenpairsStatus.CONVERGED)
        )
        residuals = [
            (records[f"{matrix}_residual"].max("rank") / records[matrix].isel(rank=0)).max()
            for matrix in MATRICES
        ]
        summary[f"{cost}_largest_residual"] = float(max(residuals))
        for epoch in records.epoch.values:
            at_epoch = records.sel(epoch=epoch)
            summary[f"{cost}_{epoch}"] = {
                "cost": digits(at_epoch.cost),
                "test_accuracy": digits(at_epoch.test_accuracy),
                "test_accuracy_median": digits(median(at_epoch.test_accuracy.values)[:3]),
                "smallest_over_largest": digits(
                    at_epoch.smallest.isel(low=-1) / at_epoch.hessian.isel(rank=0)
                ),
            }
    summary["counts"] = counts(tree)
    records = next(iter(branches(tree).values()))
    first = records.sel(seed=0)
    for at in records.shown.values:
        at_epoch = records.sel(shown=at)
        trace, size = float(at_epoch.trace), records.attrs["parameters"]
        beyond = 0.01 * float(first.hessian.sel(epoch=at)[0])
        spreads = {
            "trace": trace,
            "trace_standard_error": float(at_epoch.trace_error),
            "top_10_over_trace": float(first.hessian.sel(epoch=at)[:10].sum()) / trace,
            "counted_beyond": beyond,
            **negative(at_epoch.node.values, at_epoch.weight.values, size, beyond),
        }
        summary[f"spread_{at}"] = dict(zip(spreads, digits([*spreads.values()]), strict=True))
    return summary


def gaps(values: np.ndarray, within: int) -> tuple[list[int], list[float]]:
    """Return, for each row, the number of values above the widest gap, and its ratio."""
    widest = [widest_gap(row, within) for row in values]
    return [k for k, _ in widest], [ratio for _, ratio in widest]


def counts(tree) -> list[dict]:
    """Return one row of counts for each cost, epoch and matrix."""
    rows = []
    for cost, records in branches(tree).items():
        for epoch in records.epoch.values:
            for matrix in MATRICES:
                values = records.sel(epoch=epoch)[matrix].values
                above, ratio = gaps(values, records.attrs["gap_within"])
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


def near_zero(records: xr.Dataset) -> float:
    """Return the share of eigenvalues with magnitude below 1 % of the largest.

    The share is the smallest over the points of the descent.
    """
    size = np.abs(records.node).max(("probe", "depth"))
    return float(
        (records.weight * (np.abs(records.node) < size / 100)).sum("depth").mean("probe").min()
    )


def above_gap(branch: xr.Dataset) -> str:
    """Format the median number of outliers of G, at the first and the last epoch."""
    ends = [branch.gauss_newton.isel(epoch=at).values for at in (0, -1)]
    medians = [median(gaps(values, branch.attrs["gap_within"])[0]).value for values in ends]
    return f"{medians[0]:g}, then {medians[1]:g}"
