"""Summary of the cost around the ends of descents."""

import numpy as np
import xarray as xr

from gdjax.statistics import median

VIEWS = {
    "random": "random directions",
    "neuron": "random, neuron-scaled",
    "eigenvectors": "top eigenvectors",
}


BRANCHES = ("too small", "good", "too large")
RISE_AT = 5.0  # distance at which the rise of the cost is reported


def seen(tree, branch, name) -> xr.Dataset:
    """Return one view of one descent's end."""
    return tree[f"{branch}/{name}"].to_dataset()


def curvature(line) -> float:
    """Return the second difference of the cost at the middle of a line."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def told(parts: dict[str, xr.Dataset]) -> dict[str, float]:
    """Return outcome, explained distance, and rises around the end of one descent."""
    way = parts["way"]
    gap = np.abs(way.path_cost.values - way.path_cost_in_slice.values)
    found = {
        "final_cost": float(way.path_cost[-1]),
        "test_accuracy": float(way.attrs["test_accuracy"]),
        "explained_by_1": float(way.explained[0]),
        "explained_by_2": float(way.explained[:2].sum()),
        "off_plane_most": float(way.path_off.max()),
        "start_cost": float(way.path_cost[0]),
        "start_cost_in_plane": float(way.path_cost_in_slice[0]),
        "difference_after_start_most": float(gap[1:].max()),
    }
    for view in VIEWS:
        line = parts[f"line_{view}"]
        rise = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest").mean()
        found[f"rise_along_{view}"] = float(rise - line.cost.sel(a=0, method="nearest"))
        found[f"curvature_along_{view}"] = curvature(line)
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    found["largest_eigenvalue"] = float(tops.split("= ")[1])
    return found


def numbers(tree) -> dict:
    """Return the numbers of the pictures' start, and medians over all starts."""
    found = {}
    seeds = tree["seeds"].to_dataset()
    for number, branch in enumerate(BRANCHES):
        prefix = branch.replace(" ", "_")
        names = ("way", *(f"line_{view}" for view in VIEWS))
        parts = {name: seen(tree, branch, name) for name in names}
        way = parts["way"].attrs
        found |= {f"{prefix}_learning_rate": way["learning_rate"]}
        found |= {f"{prefix}_outcome": way["outcome"]}
        found |= {f"{prefix}_{name}": value for name, value in told(parts).items()}
        for view in VIEWS:
            lowest = float(seen(tree, branch, view).cost.min())
            found[f"{prefix}_plane_{view}_lowest"] = lowest
        for name in map(str, seeds.data_vars):
            values = seeds[name].values[number]
            if np.any(~np.isnan(values)):
                found[f"{prefix}_{name}_over_seeds"] = median(values)[:3]
    return found | {"seeds": seeds.sizes["seed"]}


def title(tree, branch) -> str:
    """Return the title of one descent in pictures."""
    way = seen(tree, branch, "way").attrs
    rate, share = way["learning_rate"], way["test_accuracy"]
    return f"learning rate {rate:g}, {branch}: {share:.1%} right"
