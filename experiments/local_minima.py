"""How many different minima do random starts find, and is any of them the lowest?

    minimize C(w) + decay * (sum of squared weights);   end points -> census of classified minima

Networks of 9 to 2,058 parameters are trained by full-batch descent. Their end points are polished
in float64, classified, brought to a canonical form and counted. Without weight decay a network that
can fit its data has no isolated minima: the set of zero error is a manifold, or lies at infinity.
Weight decay does not apply to biases, so networks related by a symmetry of their neurons have equal
cost. Initial biases are random, since descents from zero biases reach only some of the minima. End
points that are connected by a path of equal cost are counted as one manifold. Since such a path may
be missed, the count of manifolds is an upper bound on their number.

The digit network 784-16-16-10 is trained on 100 images. With weight decay, the weights of the first
layer at a minimum lie in the span of these images, so the images are given in coordinates of their
span (`few_digits`). This does not change the minima, and reduces the number of parameters to a
sixth.

    python experiments/local_minima.py           (about 100 s of processor time)

Expected: the XOR network 2-2-1 with weight decay has six strict minima, two at cost 0.0138 and four
at 0.0929, and manifolds near 0.116. Nearly all end points of the digit network differ, so the
number of its minima cannot be estimated; if 19 end points are different, the birthday bound states
with 95 % confidence that there are at least 64 minima. This is refuted by another strict minimum of
the XOR network, or by a minimum of the digit network that is reached from at least 20 % of the
starts.
"""

from dataclasses import dataclass

import common
import xarray as xr
from drawings.minima import accuracies, counts_by_tolerance
from methods.local_minima import cases, one
from summaries.local_minima import by_case, numbers

from gdjax.minima import count_kinds
from gdjax.plots import minima
from gdjax.plots.barriers import barrier_matrix


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training.

    Args:
        seeds: number of starting points of each digit network.
        hidden: numbers of hidden neurons of the XOR networks.
        xor_decay: weight decays of the XOR networks; each has a separate census.
        xor_steps: number of descent steps of the XOR networks.
        xor_rate: learning rate of the XOR networks.
        xor_scale: standard deviation of the starting weights and biases.
        xor_seeds: number of starting points of each XOR network.
        data: name of the data set of the digits.
        pooled_images: number of training images of 10x10 digits; 0 omits this case.
        pooled_hidden: number of neurons in each hidden layer for the 10x10 digits.
        images: number of training images of 28x28 digits; 0 omits this case.
        widths: number of neurons in each hidden layer for the 28x28 digits.
        decay: weight decay of the digit networks.
        steps: number of descent steps of the digit networks.
        learning_rate: learning rate of the digit networks, with momentum.
        momentum: coefficient of heavy-ball momentum.
        polishing: maximum number of Newton steps in polishing an end point.
        key: seed of the random probes and of the matching of neurons.
    """

    seeds: int = 32
    hidden: tuple[int, ...] = (2,)
    xor_decay: tuple[float, ...] = (0.0, 1e-4)
    xor_steps: int = 5_000
    xor_rate: float = 2.0
    xor_scale: float = 3.0
    xor_seeds: int = 150
    data: str = "mnist5k"
    pooled_images: int = 0
    pooled_hidden: tuple[int, ...] = (8,)
    images: int = 100
    widths: tuple[int, ...] = (16, 16)
    decay: float = 1e-3
    steps: int = 5000
    learning_rate: float = 3.0
    momentum: float = 0.9
    polishing: int = 100
    key: int = 0


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
    common.main("local_minima", Config, run, plot, numbers)
