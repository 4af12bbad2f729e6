"""How many different minima do random starts find, and is any of them the lowest?

    minimize C(w) + decay * (sum of squared weights);   end points -> census of classified minima

    python -m experiments.local_minima           (about 100 s of processor time)

Expected: the XOR network 2-2-1 with weight decay has six strict minima, two at cost 0.0138 and four
at 0.0929, and manifolds near 0.116. Nearly all end points of the digit network differ, so the
number of its minima cannot be estimated; if 19 end points are different, the birthday bound states
with 95 % confidence that there are at least 64 minima. This is refuted by another strict minimum of
the XOR network, or by a minimum of the digit network that is reached from at least 20 % of the
starts.
"""

from typing import Any

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.minima import count_kinds
from gdjax.plots import minima
from gdjax.plots.barriers import barrier_matrix
from gdjax.statistics import median, share

from .config import Config
from .figures import accuracies, counts_by_tolerance
from .model import cases, one


def by_case(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return each census by its title, sorted by title."""
    cases = [node.to_dataset() for node in tree.children.values()]
    return {d.attrs["title"]: d for d in sorted(cases, key=lambda d: d.attrs["title"])}


def above_diagonal(matrix: xr.DataArray) -> np.ndarray:
    """Return the entries of a symmetric matrix above the diagonal."""
    return matrix.values[np.triu_indices(len(matrix), 1)]


def numbers(tree: xr.DataTree) -> dict:
    """Return the summary of each census."""
    result = {}
    for name, census in by_case(tree).items():
        summary: dict[str, Any] = {
            f"runs_{kind.replace(' ', '_')}": count for kind, count in count_kinds(census).items()
        }
        summary["minima"], summary["manifolds_at_most"] = (
            census.sizes["minimum"],
            census.sizes["manifold"],
        )
        for prefix in ("unseen", "unseen_manifold"):
            if f"{prefix}_mass" in census:
                names = ("mass", "mass_low", "mass_high", "number", "number_low")
                summary |= {f"{prefix}_{n}": number(census[f"{prefix}_{n}"]) for n in names}
        if census.sizes["minimum"]:
            inside = census.minimum_of >= 0
            lowest = share(int(census["count"][0]), census.sizes["run"])
            summary |= {
                "runs_in_the_lowest": int(census["count"][0]),
                "share_in_the_lowest": lowest[:3],
                "cost_lowest": float(census.minimum_cost[0]),
                "cost_median_of_runs": median(census.cost[inside].values)[:3],
                "cost_highest": float(census.minimum_cost[-1]),
                "sharpness_least": float(census.sharpness.min()),
                "sharpness_most": float(census.sharpness.max()),
                "least_curvature": float(census.least_curvature.min()),
                "same_from": float(census.stable_from),
                "same_to": float(census.stable_to),
                "polishing_moved_median": float(np.median(census.moved[inside])),
                "polishing_moved_beyond_1": int(np.sum(census.moved[inside] > 1)),
                "polishing_moved_most": float(census.moved[inside].max()),
            }
        if census.sizes["manifold"]:
            summary |= {
                "manifold_costs": census.manifold_cost.values.tolist(),
                "manifold_runs": census.manifold_count.values.tolist(),
                "manifold_nullity": census.manifold_nullity.values.tolist(),
            }
            if "manifold_same_outputs" in census:
                summary["manifold_functions"] = len(np.unique(census.manifold_same_outputs))
        if "functions" in census:
            summary["functions"] = int(census.functions)
        if census.sizes["minimum"] <= 6:
            summary["each_found_by"] = census["count"].values.tolist()
            summary["each_costs"] = census.minimum_cost.values.tolist()
        if "test_accuracy" in census and census.sizes["minimum"]:
            accuracy = census.test_accuracy.values
            summary |= {
                "accuracy_of_the_lowest": float(accuracy[0]),
                "accuracy_least": float(accuracy.min()),
                "accuracy_median": median(accuracy)[:3],
                "accuracy_most": float(accuracy.max()),
            }
        for kind in ("barrier", "matched_barrier", "distance", "matched_distance"):
            if kind in census and census[kind].notnull().any():
                summary[f"{kind}_least"] = float(above_diagonal(census[kind]).min())
                summary[f"{kind}_median"] = float(np.median(above_diagonal(census[kind])))
        result |= {f"{name}: {key}": value for key, value in summary.items()}
    return result


def number(value: Any) -> float | None:
    """Return a value for summary.json: a float, or None if the value is NaN."""
    return None if np.isnan(value) else float(value)


def run(config: Config) -> xr.DataTree:
    """Return a tree with a census for each case; underscores replace spaces in names."""
    tree = xr.DataTree.from_dict(
        {
            name.replace(" ", "_"): one(config, case).assign_attrs(title=name)
            for name, case in cases(config).items()
        }
    )
    tree.attrs = {"seeds": config.seeds}
    return tree


def plot(tree: xr.DataTree) -> dict:
    """Draw frequencies, counts by tolerance, and maps and barriers of digit networks."""
    cases = by_case(tree)
    figures = {
        "tolerances": counts_by_tolerance(
            next(iter(cases.values())).tolerance.values,
            {name: dataset.clusters.values for name, dataset in cases.items()},
            next(iter(cases.values())).attrs["distance_tolerance"],
            title="Number of minima, by the tolerance for their distance",
        )
    }
    for name, dataset in cases.items():
        if dataset.sizes["minimum"] < 2:
            continue
        file = name.replace(" ", "_").replace(",", "")
        if dataset.sizes["minimum"] <= 30 and "decay" in name:
            figures[f"frequencies_{file}"] = minima.frequencies(
                dataset,
                title=f"{name}: {dataset.sizes['minimum']} minima of {dataset.sizes['run']} runs",
            ).figure
        if "test_accuracy" not in dataset:
            continue
        figures[f"map_{file}"] = minima.embedding(
            dataset, title=f"{name}: minima of {dataset.sizes['run']} runs"
        ).figure
        figures[f"barriers_{file}"] = barrier_matrix(
            {"straight": dataset.barrier.values, "after matching": dataset.matched_barrier.values},
            unit="minimum",
            title=f"{name}: barriers between pairs of minima",
        )
    worth = {
        name: d for name, d in cases.items() if "test_accuracy" in d and d.sizes["minimum"] > 1
    }
    if worth:
        figures["worth"] = accuracies(
            {
                name: (d.minimum_cost.values, d.test_accuracy.values, d["count"].values)
                for name, d in worth.items()
            }
        )
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
