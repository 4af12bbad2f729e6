"""Settings of the experiment decay_exponents."""

from dataclasses import dataclass

import numpy as np


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
