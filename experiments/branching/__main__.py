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

from itertools import product

import xarray as xr

from experiments.shared import command
from gdjax.statistics import share

from . import figures
from .config import Config
from .model import barriers_of_starts

OTHER_VALLEY = 0.5  # threshold, in units of the barrier between independent starts
THRESHOLDS = (0.01, 0.1, 0.25, OTHER_VALLEY, 1.0)  # thresholds of the counts, in these units


def relative(dataset: xr.Dataset) -> xr.DataArray:
    """Return the barriers divided by the median barrier between independent starts."""
    return dataset.barrier / dataset.independent.median("pair")


def in_another_valley(dataset: xr.Dataset) -> xr.DataArray:
    """Return whether each branch ends in another valley."""
    return (relative(dataset) >= OTHER_VALLEY) & (dataset.barrier > dataset.floor.max("trunk"))


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts of branches in another valley, barriers, and reference barriers."""
    summary: dict = {
        "steps": dataset.attrs["steps"],
        "starts_of_each_kind": dataset.sizes["trunk"],
        "changes_per_layer_step_and_size": dataset.sizes["trunk"] * dataset.sizes["change"],
        "lit_share_of_pixels": float(dataset.lit_share[0]),
    }
    for kind in dataset.initializer.values:
        one = dataset.sel(initializer=kind)
        summary |= {
            f"{kind}_cost": float(one.trunk_cost.median()),
            f"{kind}_independent": _with_range(one.independent),
            f"{kind}_floor": float(one.floor.max()),
        }
        branches = xr.Dataset({"ratio": relative(one), "another": in_another_valley(one)})
        for size, step in product(dataset.perturbation.values, dataset.branch_step.values):
            at = branches.sel(perturbation=size, branch_step=step)
            starts = int(at.another.any(["layer", "change"]).sum())
            summary[f"{kind}_{size:g}_at_{step}"] = {
                **_distribution(at),
                "share_of_starts_with_another_valley": share(starts, dataset.sizes["trunk"])[:3],
                **{f"layer_{k}": _distribution(at.sel(layer=k)) for k in dataset.layer.values},
            }
    return summary


def _with_range(values):
    return [float(values.quantile(q)) for q in (0.5, 0.0, 1.0)]


def _distribution(branches):
    ratios = branches.ratio
    return {
        "another_valley": int(branches.another.sum()),
        "median_and_range": _with_range(ratios),
        "at_least": {f"{limit:g}": int((ratios >= limit).sum()) for limit in THRESHOLDS},
    }


def run(config: Config) -> xr.Dataset:
    """Return the barriers between branches and their trunks, and both references."""
    parts = [barriers_of_starts(config, name) for name in config.initializers]
    joined = xr.concat(parts, "initializer", combine_attrs="identical")
    return joined.assign_coords(initializer=list(config.initializers))


def plot(dataset: xr.Dataset) -> dict:
    """Draw the distributions of barriers, by layer, step, size and initializer."""
    return {
        "branches": figures.distributions(
            relative(dataset), in_another_valley(dataset), threshold=OTHER_VALLEY
        )
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
