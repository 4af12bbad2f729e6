"""Statistics of runs for summaries, and their texts in figures."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from gdjax.base.statistics import Interval
from gdjax.plots.sweeps import quantiles

ROUNDING = 1e-12  # denominators of partial correlations up to this value are rounding error


def medians(values: xr.DataArray) -> xr.DataArray:
    """Return medians over the dimension `seed`, with +inf as the largest value."""

    def over(array, axis):
        return quantiles(np.moveaxis(array, axis, 0)[None], (0.5,))[0, 0]

    return values.reduce(over, "seed").reset_coords(drop=True)


def halves(images: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random mask of half of the images."""
    return rng.permutation(images) < images // 2


def shares(accuracy: np.ndarray) -> dict[str, Interval]:
    """Return the shares of starts and of orders in the variance of accuracies.

        accuracy = mean + start + order + remainder,   MS_start / MS_remainder ~ (1 + b theta) F

    Here theta is the ratio of the variance of starts to that of the remainder, and b is the number
    of orders. Intervals are exact for theta; for the share, theta of the other factor is fixed.
    The accuracies have the shape [starts, orders].

    Source: Searle, Casella and McCulloch 1992, *Variance components*, 4.5.
    """
    a, b = accuracy.shape
    deviation = accuracy - accuracy.mean()
    rows, columns = deviation.mean(axis=1), deviation.mean(axis=0)
    rest = deviation - rows[:, None] - columns
    square = np.sum(rest**2) / ((a - 1) * (b - 1))
    ratios = {}
    for name, means, across in (("start", rows, b), ("order", columns, a)):
        freedom = len(means) - 1
        F = across * np.sum(means**2) / freedom / square
        ends = [F / stats.f.ppf(q, freedom, (a - 1) * (b - 1)) for q in (0.975, 0.025)]
        ratios[name] = [max((x - 1) / across, 0.0) for x in (F, *ends)]
    shares_by_cause = {}
    for name, other in (("start", "order"), ("order", "start")):
        value, low, high = (float(x / (1 + x + ratios[other][0])) for x in ratios[name])
        shares_by_cause[f"share_of_{name}"] = Interval(value, low, high, 0.95, a * b)
    return shares_by_cause


def partial_correlation(
    xy: Float[np.ndarray, "*batch"],
    xz: Float[np.ndarray, "*batch"],
    yz: Float[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Return the partial correlation of x and y given z, from the three correlations."""
    rest = np.sqrt(np.clip(1 - xz**2, 0, None) * np.clip(1 - yz**2, 0, None))
    return (xy - xz * yz) / np.where(rest > ROUNDING, rest, np.nan)


def first_at(at: np.ndarray, reached: np.ndarray) -> np.ndarray:
    """Return the first entry of `at` whose flag on the last axis is set, or +inf."""
    return np.where(reached.any(axis=-1), at[np.argmax(reached, axis=-1)], np.inf)


def with_ends(interval: Interval) -> str:
    """Return an estimate with the ends of its interval.

    >>> with_ends(Interval(0.5, 0.25, 1.0, 0.95, 8))
    '0.50 (0.25 to 1.00)'
    """
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
