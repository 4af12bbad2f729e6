"""Which power decay of the learning rate is best on a power-law quadratic?

    rate = peak (1 - t / N)^p,   eigenvalues i^-beta:   best p -> 2 beta - 1 for N -> infinity

    python -m experiments.decay_exponents           (about 10 s on two cores)

Expected: the best exponent rises with N toward 2 beta - 1. This is refuted if it falls with N, or
exceeds this limit.
"""

from collections.abc import Mapping

import xarray as xr

from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import expected_costs
from .summary import best_exponents, numbers


def run(config: Config) -> xr.Dataset:
    """Return expected final costs for all capacities, noises, numbers of steps and decays."""
    return expected_costs(config)


def plot(dataset: xr.Dataset) -> Mapping:
    """Draw the best exponent against the number of steps."""
    best = best_exponents(dataset).transpose("capacity", "noise", "horizon")
    return {
        "exponents": plots.against_steps(
            dataset.horizon.values, dataset.capacity.values, dataset.noise.values, best.values
        )
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
