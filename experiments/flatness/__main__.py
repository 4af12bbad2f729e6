"""Do sharper networks, trained by the same recipe, classify fewer test images correctly?

    rho = rank correlation of a sharpness of the training cost with test accuracy,
    rho_given_cost = (rho - r_sc r_ac) / sqrt((1 - r_sc^2) (1 - r_ac^2))

    largest eigenvalue of the Hessian H,   trace of H,
    adaptive sharpness sum_i w_i^2 H_ii = lim 2 / r^2 [E C(w + r |w| z) - C(w)],   r -> 0

    python -m experiments.flatness           (about 10 min of processor time)

Expected: a negative rank correlation of each measure with test accuracy, as published, which is
smaller in magnitude if the training cost is held fixed. For each recipe and measure the published
sign is refuted by an interval above 0.

References: Kwon et al. 2021, *ASAM*, arXiv 2102.11600; Andriushchenko et al. 2023, *A modern look
at the relationship between sharpness and generalization*, arXiv 2302.07011; Owen 2007, *The
pigeonhole bootstrap*, The Annals of Applied Statistics 1, 386.
"""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats

from experiments.shared import command
from experiments.shared.statistics import halves, partial_correlation, with_ends
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, style
from gdjax.statistics import Interval

from .model import Config, measured, recipes

COLORS = (BLUE, GREEN, VERMILLION, GREY)  # colors of the kinds of correlations
MEASURES = {"eigenvalue": "largest eigenvalue", "trace": "trace", "adaptive": "adaptive sharpness"}
OUTCOMES = ("accuracy", "test_cost")
VARIABLES = (*MEASURES, *OUTCOMES, "cost")
KINDS = {
    "": "all networks",
    "_given_cost": "all networks, given cost",
    "_of_means": "means over orders",
    "_of_means_given_cost": "means over orders, given cost",
}
HALVES = 20  # number of random divisions of the test images
PUBLISHED = (-0.226, 100)  # rank correlation and number of networks of arXiv 2605.05209


def run(config: Config) -> xr.Dataset:
    """Return sharpness, costs and correctly classified images of all networks, by recipe."""
    every = recipes(config)
    parts = [measured(config, recipe) for recipe in every.values()]
    return xr.concat(parts, "recipe").assign_attrs(recipes=[*every], resamples=config.resamples)


def two_way_bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    values: Float[np.ndarray, "variables starts orders"],
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "resamples *shape"]:
    """Return a statistic of resamples of a crossed design.

    Each resample draws starts and orders independently, both with replacement, and consists of all
    combinations of the drawn starts with the drawn orders. For the mean of values with variance
    components A (starts), B (orders) and E (remainder), the variance over resamples is about
    A / starts + B / orders + 3 E / (starts orders), so intervals are wider than necessary where the
    remainder dominates.

    References: Owen 2007, *The pigeonhole bootstrap*.
    """
    _, starts, orders = values.shape
    drawn = []
    for _ in range(resamples):
        rows, columns = rng.integers(starts, size=starts), rng.integers(orders, size=orders)
        drawn.append(statistic(values[:, rows][:, :, columns]))
    return np.array(drawn)


def rank_matrix(values: Float[np.ndarray, "variables n"]) -> np.ndarray:
    """Return the rank correlations of all pairs of variables."""
    return np.corrcoef(stats.rankdata(values, axis=-1))


def reliability(
    first: Float[np.ndarray, "halves *n"], second: Float[np.ndarray, "halves *n"]
) -> Float[np.ndarray, ""]:
    """Return the reliability of accuracy from its correlation between halves of the images.

        reliability = 2 r / (1 + r),   r the mean correlation of accuracies on both halves

    This is the squared correlation of the accuracy with its expected value on infinitely many
    images of the same kind (Spearman and Brown). If r is negative, 0 is returned. The correlation
    of the accuracy with a property that does not depend on the choice of the test images cannot
    exceed the square root of the reliability.
    """
    a, b = (one.reshape(len(one), -1) for one in (first, second))
    a, b = (one - one.mean(axis=1, keepdims=True) for one in (a, b))
    r = np.mean((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))
    return np.maximum(2 * r / (1 + r), 0)


def by_recipe(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the networks of each recipe, with the dimensions start and order first."""
    return {
        name: dataset.isel(recipe=number).transpose("start", "order", ...)
        for number, name in enumerate(dataset.attrs["recipes"])
    }


def estimates(
    variables: Float[np.ndarray, "variables starts orders"],
    sides: Float[np.ndarray, "sides starts orders"],
) -> dict[str, np.ndarray]:
    """Return the rank correlations of one recipe, and their cap, by name.

    Args:
        variables: values of `VARIABLES`.
        sides: accuracies on both halves of the images, alternating, for each division.
    """
    result = {}
    matrices = {
        "": rank_matrix(variables.reshape(len(VARIABLES), -1)),
        "_of_means": rank_matrix(variables.mean(axis=-1)),
    }
    for kind, matrix in matrices.items():
        r = {(a, b): matrix[i, j] for i, a in enumerate(VARIABLES) for j, b in enumerate(VARIABLES)}
        for a, b in product(MEASURES, OUTCOMES):
            fixed = partial_correlation(r[a, b], r[a, "cost"], r[b, "cost"])
            result |= {f"{a}_and_{b}{kind}": r[a, b], f"{a}_and_{b}{kind}_given_cost": fixed}
        if not kind:
            result |= {f"cost_and_{outcome}": r["cost", outcome] for outcome in OUTCOMES}
    return result | {"cap": np.sqrt(reliability(sides[::2], sides[1::2]))}


def correlations(dataset: xr.Dataset, resamples: int) -> dict[str, Interval]:
    """Return rank correlations of one recipe and their cap, with two-way intervals.

    For each measure and outcome there are the rank correlation over all networks and that of means
    over the orders, and for both also the partial rank correlation given the training cost. There
    are also the rank correlations of the training cost with the outcomes. The cap is the square
    root of the reliability of the accuracy.
    """
    right = dataset.right.values
    rng = np.random.default_rng(0)
    masks = [halves(right.shape[-1], rng) for _ in range(HALVES)]
    sides = [right[..., side].mean(axis=-1) for mask in masks for side in (mask, ~mask)]
    columns = [
        right.mean(axis=-1) if name == "accuracy" else dataset[name].values for name in VARIABLES
    ]
    values = np.array([*columns, *sides], float)

    def split(sample):
        return estimates(sample[: len(VARIABLES)], sample[len(VARIABLES) :])

    # Correlations are NaN in resamples of a single network, which occur if there are few.
    with np.errstate(invalid="ignore"):
        drawn = two_way_bootstrap(lambda v: np.array([*split(v).values()]), values, resamples, rng)
    ends = np.nanquantile(drawn, [0.025, 0.975], axis=0).T
    return {
        name: Interval(float(value), float(low), float(high), 0.95, values[0].size)
        for (name, value), (low, high) in zip(split(values).items(), ends, strict=True)
    }


def fisher(correlation: float, count: int) -> list[float]:
    """Return a correlation with Fisher's approximate 95 % interval for `count` samples."""
    reach = 1.96 / np.sqrt(count - 3)
    return [correlation, *(float(np.tanh(np.arctanh(correlation) + s * reach)) for s in (-1, 1))]


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies, costs, sharpness and rank correlations, by recipe."""
    summary: dict = {
        "networks": dataset.sizes["start"] * dataset.sizes["order"],
        "images": dataset.sizes["image"],
        "recipes": dataset.attrs["recipes"],
        "published": fisher(*PUBLISHED),
        "published_networks": PUBLISHED[1],
    }
    for recipe, part in by_recipe(dataset).items():
        accuracy = part.right.values.mean(axis=-1)
        entries: dict = {
            "accuracy": float(accuracy.mean()),
            "accuracy_deviation": float(accuracy.std(ddof=1)),
            "diverged": int((~np.isfinite(part.cost)).sum()),
            "cost": np.quantile(part.cost, [0.5, 0.025, 0.975]).tolist(),
        }
        for name in MEASURES:
            # Error of measurement, relative to the standard deviation between networks.
            error = np.sqrt((part[f"{name}_error"] ** 2).mean())
            entries[f"{name}_error"] = float(error / part[name].std())
        for name, interval in correlations(part, dataset.attrs["resamples"]).items():
            entries[name] = interval[:3]
        summary |= {f"{recipe}: {name}": value for name, value in entries.items()}
    pairs = [*product(summary["recipes"], MEASURES)]
    summary["intervals"] = len(pairs)
    for outcome, kind in product(OUTCOMES, KINDS):
        triples = [summary[f"{recipe}: {name}_and_{outcome}{kind}"] for recipe, name in pairs]
        below, above = established_signs(triples, dataset.attrs["resamples"])
        summary[f"{outcome}_below_0{kind}"] = below
        summary[f"{outcome}_above_0{kind}"] = above
    return summary


def established_signs(triples: list, resamples: int) -> tuple[int, int]:
    """Return the least numbers of negative and positive estimates, with Holm's correction.

    The p-values follow from the end of each bootstrap 95 % interval on the side of 0 by a normal
    approximation. This end is first moved by two standard errors of a quantile of the resamples.
    """
    values, low, high = np.array(triples, float).T
    z = stats.norm.isf(0.025)
    margin = 2 * np.sqrt(0.025 * 0.975 / resamples) / stats.norm.pdf(z)
    distance = np.where(values < 0, high - values, values - low)
    p = 2 * stats.norm.sf(z**2 / (z + margin) * np.abs(values) / distance)
    order = np.argsort(p)
    rejected = order[np.logical_and.accumulate(p[order] <= 0.05 / np.arange(len(p), 0, -1))]
    return int(np.sum(values[rejected] < 0)), int(np.sum(values[rejected] > 0))


def accuracy_against_sharpness(
    dataset: xr.Dataset, estimates: Mapping[str, Mapping[str, Interval]]
) -> Figure:
    """Draw test accuracy against each measure of sharpness, one row of panels per recipe."""
    with style():
        figure = Figure(figsize=(13, 4.0 * len(estimates)))
        rows = figure.subplots(len(estimates), len(MEASURES), squeeze=False)
        for (recipe, correlations), row in zip(estimates.items(), rows, strict=True):
            part = by_recipe(dataset)[recipe]
            accuracy = 100 * part.right.values.mean(axis=-1)
            for (name, label), axes in zip(MEASURES.items(), row, strict=True):
                sharpness = part[name].values
                axes.plot(sharpness.ravel(), accuracy.ravel(), ".", color=GREY, markersize=2,
                          rasterized=True, label="network")  # fmt: skip
                axes.plot(sharpness.mean(axis=1), accuracy.mean(axis=1), "o", color=BLUE,
                          markersize=3, label="mean over the orders of a start")  # fmt: skip

                axes.set_xlabel(label)
                pair = f"{name}_and_accuracy"
                of_all, fixed = (correlations[pair + kind] for kind in ("", "_given_cost"))
                title = f"rank correlation {with_ends(of_all)}\ngiven cost {with_ends(fixed)}"
                axes.set_title(f"{recipe}\n{title}", fontsize="small")
            row[0].set_ylabel("test accuracy, %")
        rows[0, 0].legend(fontsize="small")
    return figure


def rank_correlations(estimates: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw the rank correlations of sharpness and test accuracy of all recipes."""
    rows = [(recipe, name) for recipe in estimates for name in MEASURES]
    with style():
        figure = Figure(figsize=(9, 0.7 * len(rows) + 1.5))
        axes = figure.subplots()
        axes.axvline(0, color="black", linewidth=0.8)
        _, low, high = fisher(*PUBLISHED)
        axes.axvspan(low, high, color=GREY, alpha=0.2, label="published (arXiv 2605.05209)")
        for shift, (kind, label), color in zip(
            np.linspace(-0.27, 0.27, len(KINDS)), KINDS.items(), COLORS, strict=True
        ):
            every = [estimates[recipe][f"{name}_and_accuracy{kind}"] for recipe, name in rows]
            value, low, high = (np.array([one[i] for one in every]) for i in range(3))
            arms = np.maximum([value - low, high - value], 0)
            axes.errorbar(value, np.arange(len(rows)) + shift, xerr=arms, fmt="o", color=color,
                          markersize=4, capsize=2, label=label)  # fmt: skip
        axes.set_yticks(range(len(rows)), [f"{recipe}\n{MEASURES[name]}" for recipe, name in rows])
        axes.invert_yaxis()
        axes.set_xlim(-1, 1)
        axes.set_xlabel("rank correlation of sharpness and test accuracy, 95 % interval")
        axes.legend(fontsize="small")
    return figure


def plot(dataset: xr.Dataset) -> dict:
    """Draw test accuracy against each measure of sharpness, and all rank correlations."""
    estimates = {
        recipe: correlations(part, dataset.attrs["resamples"])
        for recipe, part in by_recipe(dataset).items()
    }
    return {
        "sharpness": accuracy_against_sharpness(dataset, estimates),
        "correlations": rank_correlations(estimates),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
