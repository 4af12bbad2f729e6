"""Summary of barriers and distances between networks."""

import numpy as np
import xarray as xr

from gdjax import minima

KINDS = ("straight", "matched by weights", "matched by activations", "curved")


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
        name = f"width_{width}"
        summary[f"{name}_cost"] = float(one.cost.median())
        summary[f"{name}_test_accuracy"] = float(one.test_accuracy.median())
        for kind, values in barriers_of(one).items():
            low, half, high = np.quantile(values, (0, 0.5, 1))
            short = kind.replace(" ", "_")
            summary[f"{name}_barrier_{short}"] = float(half)
            summary[f"{name}_barrier_{short}_least"] = float(low)
            summary[f"{name}_barrier_{short}_most"] = float(high)
        plain, matched = of_pairs(one.distance), of_pairs(one.matched_distance)
        summary[f"{name}_pairs"] = len(plain)
        summary[f"{name}_distance"] = float(np.median(plain))
        summary[f"{name}_distance_matched"] = float(np.median(matched))
        lower = of_pairs(one.matched_barrier) <= of_pairs(one.barrier)
        summary[f"{name}_matching_lowered_the_barrier_of"] = float(np.mean(lower))
        for kind, values in kinds_of(one, "accuracy_along").items():
            lowest = np.median(values.min(axis=1))
            summary[f"{name}_lowest_accuracy_{kind.replace(' ', '_')}"] = float(lowest)
    return summary
