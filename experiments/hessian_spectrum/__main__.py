"""How many outlying Hessian eigenvalues are there before, during and after training?

    H = G + R,   G = J^T L J,   R = sum_i (dl/da_i) grad grad a_i,   a the outputs

    python -m experiments.hessian_spectrum           (about 100 s of processor time)

Expected: G has 10 outliers with the quadratic cost and 9 with cross entropy (which is invariant to
a common shift of all logits), from every start, before training and after 1, 3 and 10 epochs; for
H, this holds only after 1 epoch. All counts are in one table (`counts` in summary.json). The
claim of one outlier per class is refuted if there is a clear gap and the median number over starts
is not 9 or 10.
"""

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.curvature.eigenpairs import EigenpairsStatus
from gdjax.plots import spectrum as plots
from gdjax.statistics import median

from .model import MATRICES, Config, measured

NAMES = {"quadratic": "quadratic cost", "cross_entropy": "cross entropy"}


def run(config: Config) -> xr.DataTree:
    """Return a tree with a branch for each cost."""
    costs = zip(config.costs, config.learning_rates, strict=True)
    return xr.DataTree.from_dict({cost: measured(config, cost, rate) for cost, rate in costs})


def branches(tree) -> dict[str, xr.Dataset]:
    """Return the Dataset of each cost, starting with the one with spectral densities."""
    by_cost = {cost: branch.to_dataset() for cost, branch in tree.children.items()}
    return dict(sorted(by_cost.items(), key=lambda item: "density" not in item[1]))


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
        converged = records.status == EigenpairsStatus.CONVERGED
        summary[f"{cost}_all_converged"] = bool(converged.all())
        residuals = [
            (records[f"{matrix}_residual"].max("rank") / records[matrix].isel(rank=0)).max()
            for matrix in MATRICES
        ]
        summary[f"{cost}_largest_residual"] = float(max(residuals))
        for epoch in records.epoch.values:
            at = records.sel(epoch=epoch)
            summary[f"{cost}_{epoch}"] = {
                "cost": digits(at.cost),
                "test_accuracy": digits(at.test_accuracy),
                "test_accuracy_median": digits(median(at.test_accuracy.values)[:3]),
                "smallest_over_largest": digits(at.smallest.isel(low=-1) / at.hessian.isel(rank=0)),
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


def counts(tree) -> list[dict]:
    """Return one row of counts for each cost, epoch and matrix."""
    rows = []
    for cost, records in branches(tree).items():
        for epoch in records.epoch.values:
            for matrix in MATRICES:
                values = records.sel(epoch=epoch)[matrix].values
                above, ratio = widest_gap(values, records.attrs["gap_within"])
                above_all, ratio_all = widest_gap(values, values.shape[1] - 1)
                tenth = np.sum(values > values[:, :1] / 10, axis=1)
                rows.append(
                    {
                        "cost": cost,
                        "epoch": int(epoch),
                        "matrix": matrix,
                        "largest": digits(values[:, 0]),
                        "above_gap": above.tolist(),
                        "above_gap_median": digits(median(above)[:3]),
                        "gap": digits(ratio),
                        "gap_median": digits(median(ratio)[:3]),
                        "above_gap_of_all_ranks": above_all.tolist(),
                        "gap_of_all_ranks": digits(ratio_all),
                        "above_a_tenth_at_least": tenth.tolist(),
                        "above_a_tenth_median": digits(median(tenth)[:3]),
                    }
                )
    return rows


def near_zero(records: xr.Dataset) -> float:
    """Return the share of eigenvalues below 1 % of the largest, the smallest of all points."""
    size = np.abs(records.node)
    is_small = size < size.max(("probe", "depth")) / 100
    return float((records.weight * is_small).sum("depth").mean("probe").min())


def above_gap(records: xr.Dataset) -> str:
    """Format the median number of outliers of G, at the first and the last epoch."""
    above, _ = widest_gap(records.gauss_newton.values, records.attrs["gap_within"])
    return f"{median(above[:, 0]).value:g}, then {median(above[:, -1]).value:g}"


def after(epoch: int) -> str:
    """Return the label of the point of a descent after a number of epochs."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'' if epoch == 1 else 's'}"


def plot(tree) -> dict:
    """Draw spectral densities with extreme eigenvalues, and eigenvalues by rank."""
    by_cost = branches(tree)
    records = next(iter(by_cost.values()))
    top, size = slice(records.attrs["gap_within"]), records.attrs["parameters"]
    spreads, panels = [], {}
    for at in records.shown.values:
        here, ends = records.sel(shown=at), records.sel(seed=0, epoch=at)
        spreads.append(
            plots.DensityPanel(
                f"{after(at)}, cost {float(ends.cost):.2g}",
                here["at"].values,
                here.density.values,
                here.density_error.values,
                float(here.bandwidth),
                size,
                np.append(ends.hessian.values[top], ends.smallest),
                np.append(ends.hessian_residual.values[top], ends.smallest_residual),
            )
        )
    for cost, branch in by_cost.items():
        for matrix, name in zip(MATRICES, ("Hessian", "Gauss-Newton part"), strict=True):
            pair = branch.sel(seed=0)[[matrix, f"{matrix}_residual"]]
            panels[f"{NAMES[cost]}: {name}"] = {
                after(epoch): tuple(one.values for one in pair.sel(epoch=epoch).values())
                for epoch in branch.epoch.values
            }
    outliers = "; ".join(f"{NAMES[cost]} {above_gap(branch)}" for cost, branch in by_cost.items())
    return {
        "density": plots.densities(
            spreads,
            title=f"{size:,} eigenvalues: at least {near_zero(records):.1%} have magnitudes below "
            "1 % of the largest",
        ),
        "ranks": plots.ranks(
            panels,
            after=10,
            after_label="number of classes",
            title="Median number of outliers of the Gauss-Newton part, first and last epoch:\n"
            + outliers,
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
