"""Summary of power decays of the learning rate: the best exponents."""

import numpy as np
import xarray as xr
from jaxtyping import Float


def vertex(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Return the position and the value of the minimum of a parabola.

    The parabola passes through the lowest point and its two neighbors. If this point has only one
    neighbor, if a value is not finite, or if the parabola has no minimum, the position and the
    value of the lowest point are returned.
    """
    i = int(np.argmin(y))
    if not 0 < i < len(x) - 1 or not np.isfinite(y[i - 1 : i + 2]).all():
        return float(x[i]), float(y[i])
    a, b, c = np.polyfit(x[i - 1 : i + 2] - x[i], y[i - 1 : i + 2], 2)
    if a <= 0:
        return float(x[i]), float(y[i])
    return float(x[i] - b / (2 * a)), float(c - b**2 / (4 * a))


def tuned(
    peaks: Float[np.ndarray, " peaks"], costs: Float[np.ndarray, "exponents peaks"]
) -> Float[np.ndarray, "exponents 2"]:
    """Return the best peak rate and the cost at this rate, for each exponent."""
    best = [vertex(np.log(peaks), row) for row in costs]
    return np.array([(np.exp(x), y) for x, y in best])


def best_exponent(
    exponents: Float[np.ndarray, " exponents"],
    peaks: Float[np.ndarray, " peaks"],
    costs: Float[np.ndarray, "exponents peaks"],
) -> float:
    """Return the exponent with the lowest cost, with the peak rate tuned for each exponent.

    Costs are interpolated by parabolas in the logarithms of the rate and of the exponent.
    """
    return float(np.exp(vertex(np.log(exponents), tuned(peaks, costs)[:, 1])[0]))


def best_exponents(dataset: xr.Dataset) -> xr.DataArray:
    """Return the best exponent for all capacities, noises and numbers of steps."""
    return xr.apply_ufunc(
        lambda peaks, costs: best_exponent(dataset.exponent.values, peaks, costs),
        dataset.peak,
        dataset.cost,
        input_core_dims=[["scaled_peak"], ["exponent", "scaled_peak"]],
        vectorize=True,
    )


def numbers(dataset: xr.Dataset) -> dict:
    """Return best exponents by number of steps, and their limits."""
    best = best_exponents(dataset)
    lowest = dataset.cost.argmin("scaled_peak")
    flat = dataset.cost.stack(setting=("exponent", "scaled_peak")).argmin("setting")
    at = flat % dataset.sizes["scaled_peak"]
    largest = dataset.peak.isel(scaled_peak=at).max(["capacity", "noise"]).values
    excess = []
    for capacity in dataset.capacity.values:
        one = dataset.sel(capacity=capacity).isel(noise=0, horizon=0)
        costs = tuned(one.peak.values, one.cost.values)[:, 1]
        excess.append(float(np.interp(2 * capacity - 1, one.exponent, costs) / costs.min() - 1))
    return {
        "limits": (2 * dataset.capacity - 1).values.tolist(),
        "noises": dataset.noise.values.tolist(),
        **{
            f"exponents_{capacity:g}_{noise:g}": best.sel(capacity=capacity, noise=noise)
            .transpose("horizon")
            .values.tolist()
            for capacity in dataset.capacity.values
            for noise in dataset.noise.values
        },
        "excess_at_limit": excess,
        "largest_tuned_peaks": [float(peak) for peak in largest],
        "peaks_at_an_end": int(
            ((lowest == 0) | (lowest == dataset.sizes["scaled_peak"] - 1)).sum()
        ),
    }
