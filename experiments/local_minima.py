"""How many different minima do random starts find, and is any of them the lowest?

    minimise C(w) + decay sum of squared weights,   all starts;   ends -> census of certified minima

"Depending on where you start you may land in many different valleys, and nothing guarantees that it
is the lowest one." Networks of 9 to 2,058 parameters are trained by whole-set descent, their ends
polished in float64, certified, brought to one form and counted. Without weight decay a network that
can fit its data has no isolated minima: zero error is a manifold, or lies at infinity. With it
minima are isolated, and counting them makes sense. Biases do not decay, so that all arrangements of
the neurons cost the same; they start at random, too, since from zero a part of the minima is never
reached. Floors are counted by the paths that join them, and beside the minima, never among them:
at most so many, since a path may have been missed. How many functions they compute stands beside.

The digit network 784-16-16-10 learns 100 images. With weight decay a minimum's first layer has no
part outside what these images span, so the images are given in coordinates of their span
(`few_digits`): 100 numbers instead of 784, the same minima, a sixth of the parameters.

    python experiments/local_minima.py           (about 100 s of processor time)

Expected: XOR 2-2-1 with decay: six strict minima, two at cost 0.0138 and four at 0.0929, and
manifolds near 0.116. Nearly all end points of the digit network differ: then the number of minima
cannot be estimated, and the 95 % birthday bound remains, 64 or more for 19 that all differ.
Refuted by another strict minimum of XOR, or by a digit minimum that two starts in ten reach.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import common
import jax
import numpy as np
import optax
import xarray as xr
from variants.images import pooled

import gdjax as gd
from gdjax.minima import census, count_end_points
from gdjax.plots import minima, paths
from gdjax.statistics import median, share

XOR = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True)
class Config:
    """Which networks, trained how.

    Args:
        seeds: starting points of each.
        hidden: neurons of the XOR networks.
        xor_decay: weight decay of the XOR networks, one census for each.
        xor_steps: of descent.
        xor_rate: learning rate.
        xor_scale: standard deviation of the starting weights and biases.
        xor_seeds: starting points of each XOR network.
        data: name of the data set of the digits.
        pooled_images: training images of the 10x10 digits; 0 leaves the case out.
        pooled_hidden: its hidden neurons.
        images: training images of the whole digits; 0 leaves the case out.
        widths: its hidden neurons.
        decay: weight decay of the digit networks.
        steps: of descent.
        learning_rate: of descent, with momentum.
        momentum: heavy-ball momentum.
        polishing: steps of Newton's method at most.
        key: of probes and matchings.
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


@dataclass(frozen=True)
class Case:
    """A problem and how it is descended."""

    problem: gd.Problem
    steps: int
    optimizer: Callable
    polishing: int
    seeds: int


def xor(hidden: int, decay: float, scale: float) -> gd.Problem:
    """Exclusive or, with targets 0.1 and 0.9: zero error is then at finite weights."""
    network = gd.problems.Network((2, hidden, 1), initializer="normal")
    data = (np.array(XOR, np.float32), np.array([[0.1], [0.9], [0.9], [0.1]], np.float32))

    def init(key):
        key_weights, *keys = jax.random.split(key, 3)
        layers = network.init(key_weights, init_scale=scale)
        return tuple(
            layer._replace(bias=scale * jax.random.normal(k, layer.bias.shape))
            for layer, k in zip(layers, keys, strict=True)
        )

    return gd.problems.decayed(network, data, decay, init=init)


def small_digits(config: Config) -> gd.Problem:
    """10x10 digits and one hidden layer."""
    data, n = gd.data.load(config.data), config.pooled_images
    network = gd.problems.Network((100, *config.pooled_hidden, 10))
    train = (pooled(data.train_images[:n]), data.train_labels[:n])
    test = (pooled(data.test_images), data.test_labels)
    return gd.problems.decayed(network, train, config.decay, test=test)


def cases(config: Config) -> dict[str, Case]:
    """What is looked at, smallest first."""
    found = {}
    plain = partial(optax.sgd, learning_rate=config.xor_rate)
    for hidden in config.hidden:
        for decay in config.xor_decay:
            name = f"XOR 2-{hidden}-1" + (f", decay {decay:g}" if decay else "")
            problem = xor(hidden, decay, config.xor_scale)
            found[name] = Case(problem, config.xor_steps, plain, config.polishing, config.xor_seeds)
    heavy = partial(optax.sgd, learning_rate=config.learning_rate, momentum=config.momentum)
    settings = (config.steps, heavy, config.polishing, config.seeds)
    if config.pooled_images:
        name = "-".join(map(str, (100, *config.pooled_hidden, 10)))
        found[f"digits {name}"] = Case(small_digits(config), *settings)
    if config.images:
        name = "-".join(map(str, (784, *config.widths, 10)))
        few = gd.problems.few_digits(
            config.data, samples=config.images, widths=config.widths, decay=config.decay
        )
        found[f"digits {name}"] = Case(few, *settings)
    return found


def one(config: Config, case: Case) -> xr.Dataset:
    """Train a network from all starts, and count the minima."""
    problem = case.problem
    runs = gd.sweep(
        problem,
        gd.axes(seed=range(case.seeds)),
        case.steps,
        make_optimizer=case.optimizer,
        record_every=case.steps,
        metrics={},
    )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    ends = [gd.params_of(runs, like, {"seed": seed}) for seed in range(case.seeds)]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *ends)
    found = census(problem, together, key=jax.random.key(config.key), max_steps=case.polishing)
    return found.assign_coords(seed=("run", runs.seed.values))


def run(config: Config) -> xr.DataTree:
    """A census for each case; names without blanks, so that they can be paths."""
    tree = xr.DataTree.from_dict(
        {
            name.replace(" ", "_"): one(config, case).assign_attrs(title=name)
            for name, case in cases(config).items()
        }
    )
    tree.attrs = {"seeds": config.seeds}
    return tree


def by_case(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Each census by its title, in an order that storing does not change."""
    found = [node.to_dataset() for node in tree.children.values()]
    return {d.attrs["title"]: d for d in sorted(found, key=lambda d: d.attrs["title"])}


def away(matrix: xr.DataArray) -> np.ndarray:
    """The pairs of a symmetric matrix."""
    return matrix.values[np.triu_indices(len(matrix), 1)]


def numbers(tree: xr.DataTree) -> dict:
    """What each census says."""
    result = {}
    for name, found in by_case(tree).items():
        told: dict[str, Any] = {
            f"runs_{kind.replace(' ', '_')}": count
            for kind, count in count_end_points(found).items()
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
    """For summary.json: what cannot be estimated is no number."""
    return None if np.isnan(value) else float(value)


def plot(tree: xr.DataTree) -> dict:
    """Frequencies, tolerances, and for the digits a map, barriers, and what a low cost is worth."""
    found = by_case(tree)
    figures = {
        "tolerances": minima.counts_by_tolerance(
            next(iter(found.values())).tolerance.values,
            {name: dataset.clusters.values for name, dataset in found.items()},
            next(iter(found.values())).attrs["distance_tolerance"],
            title="How many minima, by the distance within which ends are one",
        )
    }
    for name, dataset in found.items():
        if dataset.sizes["minimum"] < 2:
            continue
        file = name.replace(" ", "_").replace(",", "")
        share = dataset.share.values
        if dataset.sizes["minimum"] <= 30 and "decay" in name:
            rest = {k: n / dataset.sizes["run"] for k, n in count_end_points(dataset).items()}
            for point in ("strict minimum", "degenerate minimum"):
                rest.pop(point, None)
            figures[f"frequencies_{file}"] = minima.frequencies(
                share,
                dataset.share_low.values,
                dataset.share_high.values,
                dataset.minimum_cost.values,
                rest=rest,
                title=f"{name}: {dataset.sizes['minimum']} minima of {dataset.sizes['run']} runs",
            )
        if "test_accuracy" not in dataset:
            continue
        compared = dataset.sizes["compared"]
        figures[f"map_{file}"] = minima.located(
            dataset.position.values,
            float(dataset.position_share),
            share[:compared],
            dataset.minimum_cost.values[:compared],
            title=f"{name}: minima of {dataset.sizes['run']} runs",
        )
        figures[f"barriers_{file}"] = paths.barrier_matrix(
            {"straight": dataset.barrier.values, "after matching": dataset.matched_barrier.values},
            unit="minimum",
            title=f"{name}: between any two minima",
        )
    worth = {
        name: d for name, d in found.items() if "test_accuracy" in d and d.sizes["minimum"] > 1
    }
    if worth:
        figures["worth"] = minima.worth(
            {
                name: (d.minimum_cost.values, d.test_accuracy.values, d["count"].values)
                for name, d in worth.items()
            }
        )
    return figures


if __name__ == "__main__":
    common.main("local_minima", Config, run, plot, numbers)
