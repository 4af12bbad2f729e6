"""Summary of the cost around the end points of descents."""

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


def dataset_of(tree, branch, name) -> xr.Dataset:
    """Return one Dataset of a descent, such as its trajectory or the cost on a plane."""
    return tree[f"{branch}/{name}"].to_dataset()


def curvature(line) -> float:
    """Return the curvature at the middle of a line, from second differences."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def statistics_of_end(parts: dict[str, xr.Dataset]) -> dict[str, float]:
    """Return statistics of one descent, and of the cost around its end point."""
    trajectory = parts["way"]
    gap = np.abs(trajectory.path_cost.values - trajectory.path_cost_in_slice.values)
    summary = {
        "final_cost": float(trajectory.path_cost[-1]),
        "test_accuracy": float(trajectory.attrs["test_accuracy"]),
        "explained_by_1": float(trajectory.explained[0]),
        "explained_by_2": float(trajectory.explained[:2].sum()),
        "off_plane_most": float(trajectory.path_off.max()),
        "start_cost": float(trajectory.path_cost[0]),
        "start_cost_in_plane": float(trajectory.path_cost_in_slice[0]),
        "difference_after_start_most": float(gap[1:].max()),
    }
    for view in VIEWS:
        line = parts[f"line_{view}"]
        rise = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest").mean()
        summary[f"rise_along_{view}"] = float(rise - line.cost.sel(a=0, method="nearest"))
        summary[f"curvature_along_{view}"] = curvature(line)
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    summary["largest_eigenvalue"] = float(tops.split("= ")[1])
    return summary


def numbers(tree) -> dict:
    """Return the statistics of the start in the figures, and medians over all starts."""
    summary = {}
    seeds = tree["seeds"].to_dataset()
    for number, branch in enumerate(BRANCHES):
        prefix = branch.replace(" ", "_")
        names = ("way", *(f"line_{view}" for view in VIEWS))
        parts = {name: dataset_of(tree, branch, name) for name in names}
        trajectory = parts["way"].attrs
        summary |= {f"{prefix}_learning_rate": trajectory["learning_rate"]}
        summary |= {f"{prefix}_outcome": trajectory["outcome"]}
        summary |= {f"{prefix}_{name}": value for name, value in statistics_of_end(parts).items()}
        for view in VIEWS:
            lowest = float(dataset_of(tree, branch, view).cost.min())
            summary[f"{prefix}_plane_{view}_lowest"] = lowest
        for name in map(str, seeds.data_vars):
            values = seeds[name].values[number]
            if np.any(~np.isnan(values)):
                summary[f"{prefix}_{name}_over_seeds"] = median(values)[:3]
    return summary | {"seeds": seeds.sizes["seed"]}


def title(tree, branch) -> str:
    """Return the title of one descent in figures."""
    trajectory = dataset_of(tree, branch, "way").attrs
    rate, share = trajectory["learning_rate"], trajectory["test_accuracy"]
    return f"learning rate {rate:g}, {branch}: test accuracy {share:.1%}"
