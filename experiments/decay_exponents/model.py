"""Expected final costs of power decays of the learning rate on power-law quadratics."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from .config import Config

NODES = 400  # number of points of the Gauss-Legendre rule over the steps
TIMES = 400  # number of points at which sums over eigenvalues are tabulated


def power_decay_costs(
    config: Config, capacity: float, noise: float, steps: int, peaks: Float[np.ndarray, " peaks"]
) -> Float[np.ndarray, "exponents peaks"]:
    """Return expected final costs of power decays on a power-law quadratic.

        2 C = sum_i lambda_i w_i^2 e^(-2 lambda_i T)
              + noise sum_i lambda_i^2 sum_t r_t^2 e^(-2 lambda_i u_t)

    with lambda_i = i^-capacity and lambda_i w_i^2 = i^-(source capacity + 1). T is the sum of all
    rates, and u_t that of the rates after step t. As for one pass over data with noisy labels, the
    variance of the gradient noise is proportional to lambda_i. Rates are assumed to be small
    compared with 1 / lambda_1, and sums over steps are replaced by integrals:

        T = peak steps / (p + 1),   u = T y^(p + 1),   r = peak y^p,   y = 1 - t / steps

    Args:
        config: exponents, source exponent and number of eigenvalues.
        capacity: exponent of the eigenvalues.
        noise: ratio of the variance of the gradient noise to the eigenvalue.
        steps: number of steps.
        peaks: peak rates.
    """
    i = np.arange(1.0, config.modes + 1)
    eigenvalues, signal = i**-capacity, i ** -(config.source * capacity + 1)
    times = np.geomspace(1e-3, 1e9, TIMES)
    decayed = np.exp(-2 * np.outer(times, eigenvalues))

    def interpolated(values):
        logs = np.log(np.maximum(values, np.finfo(float).tiny))
        return lambda at: np.exp(np.interp(np.log(np.maximum(at, times[0])), np.log(times), logs))

    forgotten, remaining = interpolated(decayed @ eigenvalues**2), interpolated(decayed @ signal)
    p = np.asarray(config.exponents)[:, None]
    total = peaks * steps / (p + 1)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    y, weights = (nodes + 1) / 2, weights / 2
    along = total[..., None] * y ** (p[..., None] + 1)
    kept = peaks**2 * steps * ((y ** (2 * p[..., None]) * forgotten(along)) @ weights)
    return (remaining(total) + noise * kept) / 2


def scaled_peaks(config: Config, capacity: float, steps: int) -> Float[np.ndarray, " peaks"]:
    """Return peak rates around the best one, which falls as a power of the number of steps.

    The exponent of N is -(1 + s b - b) / (1 + s b), with source exponent s and capacity exponent b.
    """
    product = config.source * capacity
    power = -(1 + product - capacity) / (1 + product)
    return np.geomspace(*config.peaks) * float(steps) ** power


def expected_costs(config: Config) -> xr.Dataset:
    """Return peak rates and expected costs, for all capacities, noises and numbers of steps."""
    peaks = np.array(
        [[scaled_peaks(config, b, n) for n in config.steps] for b in config.capacities]
    )
    costs = [
        [
            [
                power_decay_costs(config, b, noise, n, peaks[i, j])
                for j, n in enumerate(config.steps)
            ]
            for noise in config.noises
        ]
        for i, b in enumerate(config.capacities)
    ]
    return xr.Dataset(
        {
            "peak": (("capacity", "horizon", "scaled_peak"), peaks),
            "cost": (("capacity", "noise", "horizon", "exponent", "scaled_peak"), np.array(costs)),
        },
        {
            "capacity": list(config.capacities),
            "noise": list(config.noises),
            "horizon": list(config.steps),
            "exponent": list(config.exponents),
        },
    )
