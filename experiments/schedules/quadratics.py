"""Power decays of the learning rate on power-law quadratics, and the best exponent.

rate = peak (1 - t / N)^p,   eigenvalues i^-beta:   best p -> 2 beta - 1 for N -> infinity
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import CYCLE

CAPACITIES = (1.5, 2.0)  # exponents beta of the eigenvalues
SOURCE = 1.0  # exponent s of the starting cost over the eigenvalues, >= 1 - 1 / beta
NOISES = (1.0, 0.1)  # variances of the gradient noise over the eigenvalue
EXPONENTS = np.arange(0.5, 4.75, 0.25)  # exponents p of the decays
PEAKS = np.geomspace(
    0.05, 40, 25
)  # rates, in units of the power of N with which the best one falls
NODES = 400  # number of points of the Gauss-Legendre rule over the steps
TIMES = 400  # number of points at which sums over eigenvalues are tabulated
MARKERS = ("o-", "s--", "^:")


def power_decay_costs(
    modes: int, capacity: float, noise: float, steps: int, peaks: Float[np.ndarray, " peaks"]
) -> Float[np.ndarray, "exponents peaks"]:
    """Return expected final costs of power decays on a power-law quadratic.

        2 C = sum_i lambda_i w_i^2 e^(-2 lambda_i T)
              + noise sum_i lambda_i^2 sum_t r_t^2 e^(-2 lambda_i u_t)

    with `modes` eigenvalues lambda_i = i^-capacity, and lambda_i w_i^2 = i^-(SOURCE capacity + 1).
    T is the sum of all rates, and u_t that of the rates after step t. As for one pass over data
    with noisy labels, the variance of the gradient noise is proportional to lambda_i. Rates are
    assumed to be small compared with 1 / lambda_1, and sums over steps are replaced by integrals:

        T = peak steps / (p + 1),   u = T y^(p + 1),   r = peak y^p,   y = 1 - t / steps

    `noise` is the ratio of the variance of the gradient noise to the eigenvalue.
    """
    i = np.arange(1.0, modes + 1)
    eigenvalues, signal = i**-capacity, i ** -(SOURCE * capacity + 1)
    times = np.geomspace(1e-3, 1e9, TIMES)
    decayed = np.exp(-2 * np.outer(times, eigenvalues))

    def interpolated(values):
        logs = np.log(np.maximum(values, np.finfo(float).tiny))
        return lambda at: np.exp(np.interp(np.log(np.maximum(at, times[0])), np.log(times), logs))

    forgotten, remaining = interpolated(decayed @ eigenvalues**2), interpolated(decayed @ signal)
    p = EXPONENTS[:, None]
    total = peaks * steps / (p + 1)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    y, weights = (nodes + 1) / 2, weights / 2
    along = total[..., None] * y ** (p[..., None] + 1)
    kept = peaks**2 * steps * ((y ** (2 * p[..., None]) * forgotten(along)) @ weights)
    return (remaining(total) + noise * kept) / 2


def scaled_peaks(capacity: float, steps: int) -> Float[np.ndarray, " peaks"]:
    """Return peak rates around the best one, which falls as a power of the number of steps.

    The exponent of N is -(1 + s b - b) / (1 + s b), with source exponent s and capacity exponent b.
    """
    product = SOURCE * capacity
    power = -(1 + product - capacity) / (1 + product)
    return PEAKS * float(steps) ** power


def costs_of_decays(modes: int, steps: Sequence[int]) -> xr.Dataset:
    """Return expected final costs for all capacities, noises, numbers of steps and decays."""
    peaks = np.array([[scaled_peaks(b, n) for n in steps] for b in CAPACITIES])
    costs = [
        [
            [power_decay_costs(modes, b, noise, *at) for at in zip(steps, row, strict=True)]
            for noise in NOISES
        ]
        for b, row in zip(CAPACITIES, peaks, strict=True)
    ]
    return xr.Dataset(
        {
            "peak": (("capacity", "steps", "scaled_peak"), peaks),
            "cost": (("capacity", "noise", "steps", "exponent", "scaled_peak"), costs),
        },
        {
            "capacity": list(CAPACITIES),
            "noise": list(NOISES),
            "steps": list(steps),
            "exponent": EXPONENTS,
        },
    )


def vertex(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the position and the value of the minimum of a parabola.

    The parabola passes through the lowest point and its two neighbors. If this point has only one
    neighbor, its position and value are returned.
    """
    i = int(np.argmin(y))
    if not 0 < i < len(x) - 1:
        return float(x[i]), float(y[i])
    a, b, c = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    return float(x[i] - b / (2 * a)), float(c - b**2 / (4 * a))


def tuned(
    peaks: Float[np.ndarray, " peaks"], costs: Float[np.ndarray, "exponents peaks"]
) -> Float[np.ndarray, " exponents"]:
    """Return the cost at the best peak rate, for each exponent."""
    return np.array([vertex(np.log(peaks), row)[1] for row in costs])


def best_exponent(exponents: np.ndarray, peaks: np.ndarray, costs: np.ndarray) -> float:
    """Return the exponent with the lowest cost, with the peak rate tuned for each exponent.

    Costs are interpolated by parabolas in the logarithms of the rate and of the exponent.
    """
    return float(np.exp(vertex(np.log(exponents), tuned(peaks, costs))[0]))


def best_exponents(dataset: xr.Dataset) -> xr.DataArray:
    """Return the best exponent for all capacities, noises and numbers of steps."""
    best = partial(best_exponent, dataset.exponent.values)
    dims = [["scaled_peak"], ["exponent", "scaled_peak"]]
    return xr.apply_ufunc(best, dataset.peak, dataset.cost, input_core_dims=dims, vectorize=True)


def numbers(dataset: xr.Dataset) -> dict:
    """Return best exponents by number of steps, and their limits."""
    best = best_exponents(dataset)
    lowest = dataset.cost.argmin("scaled_peak")
    at_end = (lowest == 0) | (lowest == dataset.sizes["scaled_peak"] - 1)
    setting = dataset.cost.argmin(["exponent", "scaled_peak"])
    largest = dataset.peak.isel(scaled_peak=setting["scaled_peak"]).max(["capacity", "noise"])
    capacities = {}
    for b in dataset.capacity.values:
        one = dataset.sel(capacity=b).isel(noise=0, steps=0)
        costs = tuned(one.peak.values, one.cost.values)
        capacities[f"{b:g}"] = {
            "limit": float(2 * b - 1),
            "noise": {
                f"{noise:g}": {"exponents": best.sel(capacity=b, noise=noise).values.tolist()}
                for noise in dataset.noise.values
            },
            "excess_at_limit": float(np.interp(2 * b - 1, one.exponent, costs) / costs.min() - 1),
        }
    return {
        "capacity": capacities,
        "largest_tuned_peaks": largest.values.tolist(),
        "peaks_at_an_end": int(at_end.sum()),
    }


def exponents_by_steps(dataset: xr.Dataset) -> Figure:
    """Draw the best exponent of each quadratic by number of steps, and its limit."""
    best = best_exponents(dataset)
    figure = Figure(figsize=(8, 4.8))
    axes = figure.subplots()
    for b, color in zip(dataset.capacity.values, CYCLE, strict=False):
        for noise, marker in zip(dataset.noise.values, MARKERS, strict=False):
            row, label = best.sel(capacity=b, noise=noise), f"β = {b:g}, noise {noise:g}"
            axes.plot(dataset.steps, row, marker, color=color, label=label)
        axes.axhline(2 * b - 1, color=color, linestyle=":", label=f"limit {2 * b - 1:g}")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set(xlabel="number of steps N", ylabel="best exponent p")
    axes.set_title("Best decay $(1 - t/N)^p$ of the learning rate")
    axes.legend(fontsize="small", ncols=2, loc="lower right")
    return figure
