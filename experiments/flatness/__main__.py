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
from experiments.shared.comparisons import p_values
from experiments.shared.statistics import halves, partial_correlation, with_ends
from experiments.shared.trees import datasets, tree_of
from gdjax.base.statistics import Interval, holm
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION

from .model import Config, measured, recipes

COLORS = (BLUE, GREEN, VERMILLION, GREY)  # colors of the kinds of correlations
MEASURES = {"eigenvalue": "largest eigenvalue", "trace": "trace", "adaptive": "adaptive sharpness"}
OUTCOMES = ("accuracy", "test_cost")
VARIABLES = (*MEASURES, *OUTCOMES, "cost")
KINDS = {
    "all": "all networks",
    "all_given_cost": "all networks, given cost",
    "means": "means over orders",
    "means_given_cost": "means over orders, given cost",
}
HALVES = 20  # number of random divisions of the test images
PUBLISHED = (-0.226, 100)  # rank correlation and number of networks of arXiv 2605.05209


def run(config: Config) -> xr.DataTree:
    """Return sharpness, costs and correctly classified images of all networks, by recipe."""
    parts = {name: measured(config, recipe) for name, recipe in recipes(config).items()}
    return tree_of(parts, resamples=config.resamples)


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


def estimates(
    variables: Float[np.ndarray, "variables starts orders"],
    sides: Float[np.ndarray, "sides starts orders"],
) -> dict[tuple[str, ...], np.ndarray]:
    """Return the rank correlations of one recipe by measure, outcome and kind, and their cap.

    For each measure and outcome there are the rank correlation over all networks and that of means
    over the orders, and for both also the partial rank correlation given the training cost. There
    are also the rank correlations of the training cost with the outcomes. The cap is the square
    root of the reliability of the accuracy.

    Args:
        variables: values of `VARIABLES`.
        sides: accuracies on both halves of the images, alternating, for each division.
    """
    result = {}
    networks = {"all": variables.reshape(len(VARIABLES), -1), "means": variables.mean(axis=-1)}
    for kind, values in networks.items():
        r = dict(zip(product(VARIABLES, VARIABLES), rank_matrix(values).ravel(), strict=True))
        for a, b in product(MEASURES, OUTCOMES):
            fixed = partial_correlation(r[a, b], r[a, "cost"], r[b, "cost"])
            result |= {(a, b, kind): r[a, b], (a, b, f"{kind}_given_cost"): fixed}
        result |= {("cost", b, kind): r["cost", b] for b in OUTCOMES}
    return result | {("cap",): np.sqrt(reliability(sides[::2], sides[1::2]))}


def correlations(dataset: xr.Dataset, resamples: int) -> dict[tuple[str, ...], Interval]:
    """Return the estimates of one recipe with two-way intervals."""
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
        key: Interval(float(value), float(low), float(high), 0.95, values[0].size)
        for (key, value), (low, high) in zip(split(values).items(), ends, strict=True)
    }


def fisher(correlation: float, count: int) -> list[float]:
    """Return a correlation with Fisher's approximate 95 % interval for `count` samples."""
    reach = 1.96 / np.sqrt(count - 3)
    return [correlation, *(float(np.tanh(np.arctanh(correlation) + s * reach)) for s in (-1, 1))]


def numbers(tree: xr.DataTree) -> dict:
    """Return accuracies, costs, sharpness and rank correlations, by recipe."""
    parts, resamples = datasets(tree), tree.attrs["resamples"]
    every: dict = {}
    for recipe, part in parts.items():
        accuracy = part.right.values.mean(axis=-1)
        r = {key: interval[:3] for key, interval in correlations(part, resamples).items()}
        # Errors of measurement, relative to the standard deviation between networks.
        errors = {m: np.sqrt((part[f"{m}_error"] ** 2).mean()) / part[m].std() for m in MEASURES}
        every[recipe] = {
            "accuracy": float(accuracy.mean()),
            "accuracy_deviation": float(accuracy.std(ddof=1)),
            "diverged": int((~np.isfinite(part.cost)).sum()),
            "cost": np.quantile(part.cost, [0.5, 0.025, 0.975]).tolist(),
            "measure": {
                m: {
                    "error": float(errors[m]),
                    "outcome": {o: {kind: r[m, o, kind] for kind in KINDS} for o in OUTCOMES},
                }
                for m in MEASURES
            },
            "cost_and_accuracy": r["cost", "accuracy", "all"],
            "cost_and_test_cost": r["cost", "test_cost", "all"],
            "cap": r["cap",],
        }
    measures = [measure for recipe in every.values() for measure in recipe["measure"].values()]
    return {
        "networks": accuracy.size,
        "images": part.sizes["image"],
        "published": fisher(*PUBLISHED),
        "published_networks": PUBLISHED[1],
        "recipe": every,
        "intervals": len(measures),
        "outcome": {
            outcome: {
                kind: established_signs([m["outcome"][outcome][kind] for m in measures], resamples)
                for kind in KINDS
            }
            for outcome in OUTCOMES
        },
    }


def established_signs(triples: list, resamples: int) -> dict[str, int]:
    """Return the least numbers of negative and positive estimates, with Holm's correction.

    The p-values follow from the end of each bootstrap 95 % interval on the side of 0 by a normal
    approximation. This end is first moved by two standard errors of a quantile of the resamples.
    """
    margin = 2 * np.sqrt(0.025 * 0.975 / resamples) / stats.norm.pdf(stats.norm.isf(0.025))
    values = np.array(triples)[:, 0][holm(p_values(triples, margin=margin)) <= 0.05]
    return {"below_0": int(np.sum(values < 0)), "above_0": int(np.sum(values > 0))}


def accuracy_against_sharpness(
    parts: Mapping[str, xr.Dataset], estimates: Mapping[str, Mapping]
) -> Figure:
    """Draw test accuracy against each measure of sharpness, one row of panels per recipe."""
    figure = Figure(figsize=(13, 4.0 * len(parts)))
    rows = figure.subplots(len(parts), len(MEASURES), squeeze=False)
    for (recipe, part), row in zip(parts.items(), rows, strict=True):
        accuracy = 100 * part.right.values.mean(axis=-1)
        for (name, label), axes in zip(MEASURES.items(), row, strict=True):
            sharpness = part[name].values
            axes.plot(sharpness.ravel(), accuracy.ravel(), ".", color=GREY, markersize=2,
                      rasterized=True, label="network")  # fmt: skip
            axes.plot(sharpness.mean(axis=1), accuracy.mean(axis=1), "o", color=BLUE,
                      markersize=3, label="mean over the orders of a start")  # fmt: skip

            axes.set_xlabel(label)
            of_all, fixed = (
                estimates[recipe][name, "accuracy", kind] for kind in ("all", "all_given_cost")
            )
            title = f"rank correlation {with_ends(of_all)}\ngiven cost {with_ends(fixed)}"
            axes.set_title(f"{recipe}\n{title}", fontsize="small")
        row[0].set_ylabel("test accuracy, %")
    rows[0, 0].legend(fontsize="small")
    return figure


def rank_correlations(estimates: Mapping[str, Mapping]) -> Figure:
    """Draw the rank correlations of sharpness and test accuracy of all recipes."""
    rows = [*product(estimates, MEASURES)]
    figure = Figure(figsize=(9, 0.7 * len(rows) + 1.5))
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=0.8)
    _, low, high = fisher(*PUBLISHED)
    axes.axvspan(low, high, color=GREY, alpha=0.2, label="published (arXiv 2605.05209)")
    for shift, (kind, label), color in zip(
        np.linspace(-0.27, 0.27, len(KINDS)), KINDS.items(), COLORS, strict=True
    ):
        every = [estimates[recipe][name, "accuracy", kind][:3] for recipe, name in rows]
        value, low, high = np.array(every).T
        arms = np.maximum([value - low, high - value], 0)
        axes.errorbar(value, np.arange(len(rows)) + shift, xerr=arms, fmt="o", color=color,
                      markersize=4, capsize=2, label=label)  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{recipe}\n{MEASURES[name]}" for recipe, name in rows])
    axes.invert_yaxis()
    axes.set_xlim(-1, 1)
    axes.set_xlabel("rank correlation of sharpness and test accuracy, 95 % interval")
    axes.legend(fontsize="small")
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw test accuracy against each measure of sharpness, and all rank correlations."""
    parts = datasets(tree)
    estimates = {name: correlations(part, tree.attrs["resamples"]) for name, part in parts.items()}
    return {
        "sharpness": accuracy_against_sharpness(parts, estimates),
        "correlations": rank_correlations(estimates),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
