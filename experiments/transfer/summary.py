"""Summary of best learning rates by width, and of regrets of transferred rates."""

import numpy as np
import xarray as xr
from jaxtyping import Float

from gdjax import statistics

GOOD = 1.1
"""A rate is good if its median cost is at most this multiple of the lowest median."""
RESAMPLES = 1000


def best_rate(rates: Float[np.ndarray, " rates"], cost: Float[np.ndarray, " rates"]) -> float:
    """Return the rate with the lowest cost, from an interpolating parabola.

    The parabola is fitted to log cost against log rate, at the lowest point and its neighbors.
    """
    k = int(np.argmin(cost))
    if k in (0, len(rates) - 1) or not np.all(np.isfinite(cost[k - 1 : k + 2])):
        return float(rates[k])
    x, y = np.log(rates[k - 1 : k + 2]), np.log(cost[k - 1 : k + 2])
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(rates[k] * np.exp(-b / (2 * a))) if a > 0 else float(rates[k])


def good_rates(
    rates: Float[np.ndarray, " rates"], cost: Float[np.ndarray, " rates"]
) -> tuple[float, float]:
    """Return the bounds of the interval of good rates around the best rate.

    The bounds are linearly interpolated between rates of the grid, in log cost and log rate.
    """
    level = np.log(GOOD * np.min(cost))
    y, x, k = np.log(np.minimum(cost, 1e30)), np.log(rates), int(np.argmin(cost))
    ends = []
    for step, last in ((-1, 0), (1, len(rates) - 1)):
        i = k
        while i != last and y[i + step] <= level:
            i += step
        end = x[i]
        if i != last:
            end += (level - y[i]) / (y[i + step] - y[i]) * (x[i + step] - x[i])
        ends.append(float(np.exp(end)))
    return ends[0], ends[1]


def shift(
    rates: Float[np.ndarray, " rates"],
    narrow: Float[np.ndarray, "rates seeds"],
    wide: Float[np.ndarray, "rates seeds"],
) -> list[float]:
    """Return the ratio of the best rates of wide and narrow networks, with interval.

    The interval contains 95 % of the ratios over bootstrap resamples of the starts.
    """
    random = np.random.default_rng(0)

    def ratio(seeds):
        half = [np.median(cost[:, seeds], axis=1) for cost in (wide, narrow)]
        return best_rate(rates, half[0]) / best_rate(rates, half[1])

    count = narrow.shape[1]
    drawn = [ratio(random.integers(count, size=count)) for _ in range(RESAMPLES)]
    return [ratio(np.arange(count)), *map(float, np.quantile(drawn, (0.025, 0.975)))]


def regrets(
    narrow: Float[np.ndarray, "rates seeds"], wide: Float[np.ndarray, "rates seeds"]
) -> Float[np.ndarray, " seeds"]:
    """Return the regret of the narrow networks' best rate, for each wide network.

    regret = cost(best rate of narrow networks) / cost(best rate of wide networks)
    """
    transferred, own = (int(np.argmin(np.median(cost, axis=1))) for cost in (narrow, wide))
    return wide[transferred] / wide[own]


def numbers(dataset: xr.Dataset) -> dict:
    """Return best and good rates, shifts, regrets and slopes of the coordinate check."""
    widths = dataset.width.values
    summary: dict = {}
    for optimizer in dataset.attrs["optimizers"]:
        rates = dataset[f"{optimizer}.learning_rate"].values
        costs = dataset[f"{optimizer}.cost"].transpose("parametrization", "width", ..., "seed")
        for name, costs_by_width in zip(
            dataset.attrs["parametrizations"], costs.values, strict=True
        ):
            half = np.median(costs_by_width, axis=-1)
            key = f"{optimizer}_{name}"
            summary |= {
                f"{key}_best": [best_rate(rates, cost) for cost in half],
                f"{key}_good": [good_rates(rates, cost) for cost in half],
                f"{key}_lowest_cost": [float(cost.min()) for cost in half],
                f"{key}_shift": shift(rates, costs_by_width[0], costs_by_width[-1]),
                f"{key}_regret": [
                    list(statistics.median(regrets(costs_by_width[0], wide))[:3])
                    for wide in costs_by_width[1:]
                ],
                f"{key}_runs_diverged": int(np.sum(np.isinf(costs_by_width))),
            }
            checked = dataset.isel(parametrization=dataset.attrs["parametrizations"].index(name))
            for step in dataset.step.values:
                slopes = [checked[f"{optimizer}.{n}"].sel(step=step).values for n in SLOPES]
                summary[f"{key}_slopes_{step}"] = np.stack(slopes, axis=-1).tolist()
    return summary | {"widths_ratio": float(widths[-1] / widths[0]), "good": GOOD}


SLOPES = ("slope", "slope_low", "slope_high")
