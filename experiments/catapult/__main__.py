"""What happens if the learning rate exceeds the stability limit at the start?

    f = v^T s(U x) / sqrt(m),   C = |f - y|^2 / 2n;   for s(z) = z, one x of length 1 and y = 0:
    f <- f (1 - eta k + eta^2 f^2 / m),   k <- k + eta f^2 (eta k - 4) / m,
    k = (|u|^2 + |v|^2) / m

    python -m experiments.catapult           (about a minute on two cores)

Expected: the linear network follows the recursion within 1e-9 in float64; the largest rate at which
descents of linear networks end below their initial cost has a median over starts within 10 % of
4 / k, and that of ReLU networks is larger (published: about 12 / k, for deeper networks and
images); the period doubles at eta = 1 and at sqrt(5) - 1. This is refuted by a confidence interval
for the limit of linear networks that lies outside 3.6 to 4.4.
"""

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.statistics import median

from . import figures as plots
from .config import Config
from .model import ACTIVATIONS, difference_from_two_numbers, flights, single_weights
from .summary import edges, ended_below_start, numbers

DOUBLINGS = {"first_doubling": 1.0, "second_doubling": np.sqrt(5) - 1}


def run(config: Config) -> xr.Dataset:
    """Return the runs of networks and of single weights.

    The attribute `apart` is the largest deviation of the cost of the linear network from the
    recursion for f and k, relative to the highest predicted cost of the same descent.
    """
    flown, single = flights(config), single_weights(config)
    return xr.merge([flown, single], combine_attrs="no_conflicts").assign_attrs(
        apart=difference_from_two_numbers(config, config.widths[0]), **single.attrs
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw descents, limiting rates, and values of the single weight at each rate."""
    edge = edges(dataset)
    lands = ended_below_start(dataset).mean("seed").isel(width=-1)
    shown = dataset.shown_cost.isel(examples=0, width=0).sel(activation="linear")
    panels = [
        plots.SettledShares(
            title="One example" if n == 1 else f"{n} examples",
            share=dataset.share.values,
            lands={
                str(a): lands.sel(examples=n, activation=a).transpose("share").values
                for a in ACTIVATIONS
            },
            edge={
                str(a): median(edge.sel(examples=n, activation=a).isel(width=-1).values)[:3]
                for a in ACTIVATIONS
            },
        )
        for n in dataset.examples.values
    ]
    return {
        "landing": plots.settled_shares(
            dataset.step.values,
            {float(s): shown.sel(shown=s).values for s in dataset.shown.values},
            panels,
        ),
        "chaos": plots.chaos(
            dataset.density.values,
            dataset.attrs["bounds"],
            dataset.rate.values,
            dataset.exponent.values,
            {name.replace("_", " "): rate for name, rate in DOUBLINGS.items()},
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
