"""Summary of censuses of minima."""

from typing import Any

import numpy as np
import xarray as xr

from gdjax.minima import count_kinds
from gdjax.statistics import median, share


def by_case(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return each census by its title, in an order that is independent of the store."""
    found = [node.to_dataset() for node in tree.children.values()]
    return {d.attrs["title"]: d for d in sorted(found, key=lambda d: d.attrs["title"])}


def away(matrix: xr.DataArray) -> np.ndarray:
    """Return the entries of a symmetric matrix above the diagonal."""
    return matrix.values[np.triu_indices(len(matrix), 1)]


def numbers(tree: xr.DataTree) -> dict:
    """Return the summary of each census."""
    result = {}
    for name, found in by_case(tree).items():
        told: dict[str, Any] = {
            f"runs_{kind.replace(' ', '_')}": count for kind, count in count_kinds(found).items()
        }
        told["minima"], told["manifolds_at_most"] = found.sizes["minimum"], found.sizes["manifold"]
        for prefix in ("unseen", "unseen_manifold"):
            if f"{prefix}_mass" in found:
                names = ("mass", "mass_low", "mass_high", "number", "number_low")
                told |= {f"{prefix}_{n}": number(found[f"{prefix}_{n}"]) for n in names}
        if found.sizes["minimum"]:
            inside = found.minimum_of >= 0
            lowest = share(int(found["count"][0]), found.sizes["run"])
            told |= {
                "runs_in_the_lowest": int(found["count"][0]),
                "share_in_the_lowest": lowest[:3],
                "cost_lowest": float(found.minimum_cost[0]),
                "cost_median_of_runs": median(found.cost[inside].values)[:3],
                "cost_highest": float(found.minimum_cost[-1]),
                "sharpness_least": float(found.sharpness.min()),
                "sharpness_most": float(found.sharpness.max()),
                "least_curvature": float(found.least_curvature.min()),
                "same_from": float(found.stable_from),
                "same_to": float(found.stable_to),
                "polishing_moved_median": float(np.median(found.moved[inside])),
                "polishing_moved_beyond_1": int(np.sum(found.moved[inside] > 1)),
                "polishing_moved_most": float(found.moved[inside].max()),
            }
        if found.sizes["manifold"]:
            told |= {
                "manifold_costs": found.manifold_cost.values.tolist(),
                "manifold_runs": found.manifold_count.values.tolist(),
                "manifold_nullity": found.manifold_nullity.values.tolist(),
            }
            if "manifold_same_outputs" in found:
                told["manifold_functions"] = len(np.unique(found.manifold_same_outputs))
        if "functions" in found:
            told["functions"] = int(found.functions)
        if found.sizes["minimum"] <= 6:
            told["each_found_by"] = found["count"].values.tolist()
            told["each_costs"] = found.minimum_cost.values.tolist()
        if "test_accuracy" in found and found.sizes["minimum"]:
            accuracy = found.test_accuracy.values
            told |= {
                "accuracy_of_the_lowest": float(accuracy[0]),
                "accuracy_least": float(accuracy.min()),
                "accuracy_median": median(accuracy)[:3],
                "accuracy_most": float(accuracy.max()),
            }
        for kind in ("barrier", "matched_barrier", "distance", "matched_distance"):
            if kind in found and found[kind].notnull().any():
                told[f"{kind}_least"] = float(away(found[kind]).min())
                told[f"{kind}_median"] = float(np.median(away(found[kind])))
        result |= {f"{name}: {key}": value for key, value in told.items()}
    return result


def number(value: Any) -> float | None:
    """Return a number for summary.json, None if it cannot be estimated."""
    return None if np.isnan(value) else float(value)
