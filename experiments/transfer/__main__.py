"""Is the best learning rate of a narrow network also good for a wide network?

    standard: one rate for all layers;   ntp: W = w / sqrt(inputs);   mup: Tensor Programs V

    python -m experiments.transfer                (about 6 min of processor time)

Expected: with Adam the best rate decreases by at least a factor of 2 from width 16 to 256 in the
standard parametrization, and changes by less than a factor of 2 in mup. This is refuted if the
interval of one of these two factors lies on the other side of 2. With plain descent the published
change is smaller, and no expectation is stated for 250 steps.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Float

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import strided
from gdjax import statistics

from . import figures as plots
from . import parametrizations


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and starting points."""

    data: str = "mnist5k"  # name of the data set
    pixel_stride: int = 2  # interval between the pixels that are used, along rows and columns
    # number of neurons in each hidden layer; the first is the base width
    widths: tuple[int, ...] = (16, 64, 256)
    hidden_layers: int = 2  # number of hidden layers
    # smallest and largest learning rate of plain descent
    descent_rates: tuple[float, float] = (0.0625, 4.0)
    # smallest and largest learning rate of Adam
    adam_rates: tuple[float, float] = (2.0**-10, 2.0**-4)
    rates: int = 7  # number of learning rates, geometrically spaced
    seeds: int = 8  # number of starting points
    steps: int = 250  # number of steps of each run
    batch_size: int = 32  # number of images per step
    record_samples: int = 1000  # number of images over which a recorded cost is averaged
    checked_widths: tuple[int, ...] = (32, 256)  # widths of the coordinate check
    # numbers of steps after which the change of each layer is measured
    checked_steps: tuple[int, ...] = (1, 10)
    descent_checked: float = 0.05  # learning rate of the coordinate check with plain descent
    adam_checked: float = 0.001  # learning rate of the coordinate check with Adam


GOOD = 1.1  # a rate is good if its median cost is at most this multiple of the lowest median
RESAMPLES = 1000  # number of bootstrap resamples
SLOPES = ("slope", "slope_low", "slope_high")


def problems(config: Config, parametrization: str, optimizer: str, widths) -> dict[str, tuple]:
    """Return the problem and the optimizer factory for each width."""
    images = strided(gd.data.load(config.data), config.pixel_stride)
    base, result = config.widths[0], {}
    for width in widths:
        hidden, layers = (width,) * config.hidden_layers, config.hidden_layers + 1
        digits = gd.problems.digits(images, widths=hidden, activation="tanh", loss="cross_entropy")
        make_optimizer = parametrizations.make_optimizer(
            parametrization, optimizer, width, base_width=base, layers=layers
        )
        problem = parametrizations.parametrized(digits, parametrization, base_width=base)
        result[str(width)] = problem, {"make_optimizer": make_optimizer}
    return result


def recorded(config: Config, optimizer: str) -> xr.Dataset:
    """Return final costs and coordinate checks, with names prefixed by the optimizer."""
    ends, checked = config.descent_rates, config.descent_checked
    if optimizer == "adam":
        ends, checked = config.adam_rates, config.adam_checked
    grid = gd.axes(learning_rate=np.geomspace(*ends, config.rates), seed=range(config.seeds))
    costs, checks = [], []
    for name in parametrizations.PARAMETRIZATIONS:
        print(f"{optimizer}, {name} ...", flush=True)
        sweeps = {
            width: gd.sweep(
                problem,
                grid,
                config.steps,
                batch_size=config.batch_size,
                record_every=config.steps,
                record_samples=config.record_samples,
                metrics={},
                **options,
            )
            for width, (problem, options) in problems(
                config, name, optimizer, config.widths
            ).items()
        }
        costs.append(gd.concat(sweeps, "width").cost.isel(step=-1, drop=True))
        family = problems(config, name, optimizer, config.checked_widths)
        checks.append(
            gd.coordinate_check(
                family,
                parametrizations.preactivations(next(iter(family.values()))[0]),
                learning_rate=checked,
                batch_size=config.batch_size,
                steps=config.checked_steps,
                num_seeds=config.seeds,
            ).rename(width="checked_width")
        )
    both = [xr.concat(parts, "parametrization") for parts in (costs, checks)]
    joined = xr.merge(both, join="exact", compat="no_conflicts").drop_attrs()
    # Zarr has no stable format for text.
    joined = joined.drop_vars("layer").assign_coords(width=list(config.widths))
    names = ("learning_rate", *joined.data_vars)
    return joined.rename({str(name): f"{optimizer}.{name}" for name in names})


def run(config: Config) -> xr.Dataset:
    """Return the results of both optimizers."""
    parts = [recorded(config, optimizer) for optimizer in parametrizations.OPTIMIZERS]
    return xr.merge(parts, join="exact", compat="no_conflicts").assign_attrs(
        parametrizations=list(parametrizations.PARAMETRIZATIONS),
        optimizers=list(parametrizations.OPTIMIZERS),
    )


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
    summary: dict = {"widths_ratio": float(widths[-1] / widths[0]), "good": GOOD}
    names = enumerate(dataset.attrs["parametrizations"])
    for optimizer, (index, name) in product(dataset.attrs["optimizers"], names):
        one = dataset.isel(parametrization=index)
        rates = one[f"{optimizer}.learning_rate"].values
        costs = one[f"{optimizer}.cost"].transpose("width", ..., "seed").values
        half = np.median(costs, axis=-1)
        regret = [statistics.median(regrets(costs[0], wide)) for wide in costs[1:]]
        entries = {
            "best": [best_rate(rates, cost) for cost in half],
            "good": [good_rates(rates, cost) for cost in half],
            "lowest_cost": half.min(axis=-1).tolist(),
            "shift": shift(rates, costs[0], costs[-1]),
            "regret": [list(interval[:3]) for interval in regret],
            "runs_diverged": int(np.sum(np.isinf(costs))),
        }
        for step in dataset.step.values:
            slopes = [one[f"{optimizer}.{n}"].sel(step=step).values for n in SLOPES]
            entries[f"slopes_{step}"] = np.stack(slopes, axis=-1).tolist()
        summary |= {f"{optimizer}_{name}_{key}": value for key, value in entries.items()}
    return summary


def plot(dataset: xr.Dataset) -> dict:
    """Draw the final cost against the rate at each width, and the coordinate checks."""
    return {"transfer": plots.costs(dataset), "coordinates": plots.changes(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
