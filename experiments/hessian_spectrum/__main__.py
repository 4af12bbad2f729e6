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
from gdjax.plots import spectrum as plots

from .config import Config
from .model import look
from .summary import MATRICES, above_gap, branches, near_zero, numbers

NAMES = {"quadratic": "quadratic cost", "cross_entropy": "cross entropy"}


def run(config: Config) -> xr.DataTree:
    """Return a tree with a branch for each cost."""
    costs = zip(config.costs, config.learning_rates, strict=True)
    return xr.DataTree.from_dict({cost: look(config, cost, rate) for cost, rate in costs})


def after(epoch: int) -> str:
    """Return the label of the point of a descent after a number of epochs."""
    return "before training" if epoch == 0 else f"after {epoch} epoch{'' if epoch == 1 else 's'}"


def plot(tree) -> dict:
    """Draw spectral densities with extreme eigenvalues, and eigenvalues by rank."""
    records = next(iter(branches(tree).values()))
    first = records.sel(seed=0)
    top = slice(records.attrs["gap_within"])
    spreads = []
    for at in records.shown.values:
        here, ends = records.sel(shown=at), first.sel(epoch=at)
        spreads.append(
            plots.DensityPanel(
                f"{after(at)}, cost {float(ends.cost):.2g}",
                here["at"].values,
                here.density.values,
                here.density_error.values,
                float(here.bandwidth),
                records.attrs["parameters"],
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
            title=f"{records.attrs['parameters']:,} eigenvalues: at least "
            f"{near_zero(records):.1%} have magnitudes below 1 % of the largest",
        ),
        "ranks": plots.ranks(
            panels,
            after=10,
            after_label="number of classes",
            title="Median number of outliers of the Gauss-Newton part, first and last epoch:\n"
            + "; ".join(
                f"{NAMES[cost]} {above_gap(branch)}" for cost, branch in branches(tree).items()
            ),
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
