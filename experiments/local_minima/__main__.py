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

import xarray as xr

from experiments.shared import command
from gdjax.minima import count_kinds
from gdjax.plots import minima
from gdjax.plots.barriers import barrier_matrix

from .config import Config
from .figures import accuracies, counts_by_tolerance
from .model import cases, one
from .summary import by_case, numbers


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
        share = dataset.share.values
        if dataset.sizes["minimum"] <= 30 and "decay" in name:
            rest = {k: n / dataset.sizes["run"] for k, n in count_kinds(dataset).items()}
            for point in ("strict minimum", "degenerate minimum"):
                rest.pop(point, None)
            figures[f"frequencies_{file}"] = minima.frequencies(
                share,
                dataset.share_low.values,
                dataset.share_high.values,
                dataset.minimum_cost.values,
                others=rest,
                title=f"{name}: {dataset.sizes['minimum']} minima of {dataset.sizes['run']} runs",
            ).figure
        if "test_accuracy" not in dataset:
            continue
        compared = dataset.sizes["compared"]
        figures[f"map_{file}"] = minima.embedding(
            dataset.position.values,
            float(dataset.position_share),
            share[:compared],
            dataset.minimum_cost.values[:compared],
            title=f"{name}: minima of {dataset.sizes['run']} runs",
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
