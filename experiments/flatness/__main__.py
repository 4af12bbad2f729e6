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

import xarray as xr

from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import measured, recipes
from .summary import by_recipe, correlations, numbers


def run(config: Config) -> xr.Dataset:
    """Return sharpness, costs and correctly classified images of all networks, by recipe."""
    every = recipes(config)
    parts = [measured(config, recipe) for recipe in every.values()]
    return xr.concat(parts, "recipe").assign_attrs(recipes=[*every], resamples=config.resamples)


def plot(dataset: xr.Dataset) -> dict:
    """Draw test accuracy against each measure of sharpness, and all rank correlations."""
    estimates = {
        recipe: correlations(part, dataset.attrs["resamples"])
        for recipe, part in by_recipe(dataset).items()
    }
    return {
        "sharpness": plots.accuracy_against_sharpness(dataset, estimates),
        "correlations": plots.rank_correlations(estimates),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
