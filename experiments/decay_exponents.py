"""Which power decay of the learning rate is best on a power-law quadratic?

    rate = peak (1 - t / N)^p,   eigenvalues i^-beta:   best p -> 2 beta - 1 for N -> infinity

The exponent of the best decay over N steps is known for N -> infinity if the source exponent s is
at least 1 - 1 / beta (Li et al. 2026, arXiv 2602.06797). Here it is computed for finite N, from the
expected final cost of descent with the noise of one pass over data, with the peak rate tuned for
each exponent.

    python experiments/decay_exponents.py           (about 10 s on two cores)

Expected: the best exponent rises with N toward 2 beta - 1. This is refuted if it falls with N, or
exceeds this limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import common
import numpy as np
import xarray as xr
from drawings import decay_exponents as plots
from methods.decay_exponents import expected_costs
from summaries.decay_exponents import best_exponents, numbers


@dataclass(frozen=True)
class Config:
    """Power decays on power-law quadratics.

    Args:
        capacities: exponents beta of the eigenvalues.
        source: exponent s of the distribution of the starting cost over the eigenvalues; the theory
            requires s >= 1 - 1 / beta.
        modes: number of eigenvalues.
        noises: ratios of the variance of the gradient noise to the eigenvalue.
        exponents: exponents p of the decays.
        peaks: smallest and largest peak rate, in units of the power of N with which the best one
            falls, and number of rates.
        steps: numbers of steps N.
    """

    capacities: tuple[float, ...] = (1.5, 2.0)
    source: float = 1.0
    modes: int = 20_000
    noises: tuple[float, ...] = (1.0, 0.1)
    exponents: tuple[float, ...] = tuple(float(p) for p in np.arange(0.5, 4.75, 0.25))
    peaks: tuple[float, float, int] = (0.05, 40.0, 25)
    steps: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)


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
    common.main("decay_exponents", Config, run, plot, numbers)
