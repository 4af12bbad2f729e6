"""How high are the barriers between two networks trained from different starts?

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1)))

    python -m experiments.mode_connectivity           (about 3 min)

Expected: the barrier on the straight line is 0.65 to 0.70 at every width, not far below the cost of
the best constant prediction (0.9). Matching lowers it by three quarters at width 16 and by 99 % at
width 256 (published for 784-512-512-512-10: 0.742 before, 0.088 after). The barrier on the curve is
almost zero: 0.02 at width 16, 0.0005 at width 64 and zero at width 256.
"""

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax import minima
from gdjax.plots.barriers import barrier_matrix

from .figures import barrier_distributions, profiles
from .model import KINDS, Config, paths_of_width


def run(config: Config) -> xr.Dataset:
    """Return the paths of all widths, padded with NaN for widths with fewer networks."""
    pairs = zip(config.widths, config.networks, strict=True)
    joined = xr.concat([paths_of_width(config, *pair) for pair in pairs], "width", join="outer")
    return joined.assign_coords(width=list(config.widths))


def of_pairs(matrix):
    """Return the entries of a matrix above its diagonal, without NaN padding."""
    values = matrix.values[np.triu_indices(matrix.shape[0], 1)]
    return values[np.isfinite(values)]


def kinds_of(dataset, name):
    """Return cost or accuracy along paths, by kind of path, without NaN padding.

    The paths connect networks of one width.
    """
    return {
        str(kind): dataset[name].sel(kind=kind).dropna("pair", how="all").values
        for kind in dataset.kind.values
    }


def barriers_of(dataset):
    """Return the barriers between networks of one width, by kind of path."""
    along = kinds_of(dataset, "cost_along")
    every = {KINDS[0]: of_pairs(dataset.barrier), KINDS[1]: of_pairs(dataset.matched_barrier)}
    return {
        kind: every[kind] if kind in every else np.asarray(minima.path_barrier(along[kind]))
        for kind in KINDS
    }


def medians(dataset) -> str:
    """Format median barriers for one width: straight, matched by weights, and curved."""
    barriers = barriers_of(dataset)
    straight, matched, curved = (np.median(barriers[KINDS[kind]]) for kind in (0, 1, 3))
    return f"{straight:.2g} straight, {matched:.2g} matched, {curved:.2g} curved"


def numbers(dataset: xr.Dataset) -> dict:
    """Return barriers with their range, distances, and accuracies."""
    summary = {}
    for width in dataset.width.values:
        one = dataset.sel(width=width)
        plain, matched = of_pairs(one.distance), of_pairs(one.matched_distance)
        lowered = of_pairs(one.matched_barrier) <= of_pairs(one.barrier)
        entries = {
            "cost": float(one.cost.median()),
            "test_accuracy": float(one.test_accuracy.median()),
            "pairs": len(plain),
            "distance": np.median(plain),
            "distance_matched": np.median(matched),
            "matching_lowered_the_barrier_of": np.mean(lowered),
        }
        for kind, values in barriers_of(one).items():
            key = f"barrier_{kind.replace(' ', '_')}"
            low, half, high = np.quantile(values, (0, 0.5, 1))
            entries |= {key: half, f"{key}_least": low, f"{key}_most": high}
        for kind, values in kinds_of(one, "accuracy_along").items():
            lowest = np.median(values.min(axis=1))
            entries[f"lowest_accuracy_{kind.replace(' ', '_')}"] = lowest
        summary |= {f"width_{width}_{name}": value for name, value in entries.items()}
    return summary


def plot(dataset: xr.Dataset) -> dict:
    """Draw costs along paths, barriers of all pairs, and matrices of the first width."""
    by_name = {f"784-{w}-{w}-10": dataset.sel(width=w) for w in dataset.width.values}
    name, narrow = next(iter(by_name.items()))
    runs = narrow.run.values[narrow.cost.notnull()]
    finite = narrow.sel(run=runs, other=runs)
    matrices = {"before": finite.barrier.values, "after": finite.matched_barrier.values}
    return {
        "along": profiles(
            dataset.t.values,
            {name: kinds_of(one, "cost_along") for name, one in by_name.items()},
            {name: kinds_of(one, "accuracy_along") for name, one in by_name.items()},
            baseline=dataset.attrs["baseline"],
            title=f"Between networks {name}: median barriers {medians(narrow)}",
        ),
        "barriers": barrier_distributions(
            {name: barriers_of(one) for name, one in by_name.items()},
            title=f"Median barriers of {name}: {medians(narrow)}",
        ),
        "matrix": barrier_matrix(
            {f"{when} matching": matrix for when, matrix in matrices.items()},
            title=f"Barriers between {len(runs)} networks {name}",
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
