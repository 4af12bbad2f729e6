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

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared import command
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, style
from gdjax.statistics import Interval

from .model import Config, measured, recipes
from .summary import KINDS, MEASURES, PUBLISHED, by_recipe, correlations, fisher, numbers

COLORS = (BLUE, GREEN, VERMILLION, GREY)  # colors of the kinds of correlations


def run(config: Config) -> xr.Dataset:
    """Return sharpness, costs and correctly classified images of all networks, by recipe."""
    every = recipes(config)
    parts = [measured(config, recipe) for recipe in every.values()]
    return xr.concat(parts, "recipe").assign_attrs(recipes=[*every], resamples=config.resamples)


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
                axes.set_title(
                    f"{recipe}\nrank correlation {_text(correlations[f'{name}_and_accuracy'])}\n"
                    f"given cost {_text(correlations[f'{name}_and_accuracy_given_cost'])}",
                    fontsize="small",
                )
            row[0].set_ylabel("test accuracy, %")
        rows[0, 0].legend(fontsize="x-small")
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
        axes.legend(fontsize="x-small")
    return figure


def _text(one):
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


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
