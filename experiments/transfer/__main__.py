"""Is the best learning rate of a narrow network also good for a wide network?

    standard: one rate for all layers;   ntp: W = w / sqrt(inputs);   mup: Tensor Programs V

    python -m experiments.transfer                (about 6 min of processor time)

Expected: with Adam the best rate decreases by at least a factor of 2 from width 16 to 256 in the
standard parametrization, and changes by less than a factor of 2 in mup. This is refuted if the
interval of one of these two factors lies on the other side of 2. With plain descent the published
change is smaller, and no expectation is stated for 250 steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import strided
from gdjax import statistics
from gdjax.plots.style import BLACK, CYCLE, SEQUENTIAL, Figure, label_log_axis, style

from . import parametrizations

GOOD = 1.1  # a rate is good if its median cost is at most this multiple of the lowest median
RESAMPLES = 1000  # number of bootstrap resamples
SLOPES = ("slope", "slope_low", "slope_high")
TITLES = {"standard": "standard", "ntp": "neural tangent", "mup": "maximal update"}
OPTIMIZERS = {"descent": "plain descent", "adam": "Adam"}


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and starting points."""

    data: str = "mnist5k"  # name of the data set
    pixel_stride: int = 2  # interval between the pixels that are used, along rows and columns
    widths: tuple[int, ...] = (16, 64, 256)  # neurons in each hidden layer; first: the base width
    hidden_layers: int = 2  # number of hidden layers
    descent_rates: tuple[float, float] = (0.0625, 4.0)  # smallest and largest rate of plain descent
    adam_rates: tuple[float, float] = (2.0**-10, 2.0**-4)  # smallest and largest rate of Adam
    rates: int = 7  # number of learning rates, geometrically spaced
    seeds: int = 8  # number of starting points
    steps: int = 250  # number of steps of each run
    batch_size: int = 32  # number of images per step
    record_samples: int = 1000  # number of images over which a recorded cost is averaged
    checked_widths: tuple[int, ...] = (32, 256)  # widths of the coordinate check
    checked_steps: tuple[int, ...] = (1, 10)  # steps after which changes of layers are measured
    descent_checked: float = 0.05  # learning rate of the coordinate check with plain descent
    adam_checked: float = 0.001  # learning rate of the coordinate check with Adam


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
    records: dict = {"record_every": config.steps, "record_samples": config.record_samples}
    records["batch_size"] = config.batch_size
    costs, checks = [], []
    for name in parametrizations.PARAMETRIZATIONS:
        print(f"{optimizer}, {name} ...", flush=True)
        sweeps = {
            width: gd.sweep(problem, grid, config.steps, metrics={}, **options, **records)
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
    summary: dict = {"good": GOOD}
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
        }
        for step in dataset.step.values:
            slopes = [one[f"{optimizer}.{n}"].sel(step=step).values for n in SLOPES]
            entries[f"slopes_{step}"] = np.stack(slopes, axis=-1).tolist()
        summary |= {f"{optimizer}_{name}_{key}": value for key, value in entries.items()}
    return summary


def panels(dataset: xr.Dataset, figure: Figure, label: str) -> Iterator[tuple[str, int, Axes]]:
    """Yield optimizer, index of the parametrization, and axes of each panel.

    Each optimizer has one row of panels with a common vertical axis.
    """
    names, optimizers = dataset.attrs["parametrizations"], dataset.attrs["optimizers"]
    grid = figure.subplots(len(optimizers), len(names), sharey="row", squeeze=False)
    for row, optimizer in zip(grid, optimizers, strict=True):
        for index, (axes, name) in enumerate(zip(row, names, strict=True)):
            axes.set_title(f"{TITLES[name]}, {OPTIMIZERS[optimizer]}")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            yield optimizer, index, axes
        row[0].set_ylabel(label)
        label_log_axis(row[0].yaxis)


def costs(dataset: xr.Dataset) -> Figure:
    """Draw the final cost against the learning rate, with one curve per width.

    The lowest cost of each curve is marked. Bands are the 95 % intervals of the medians.
    """
    widths = dataset.width.values
    colors = colormaps[SEQUENTIAL](np.linspace(0.9, 0.0, len(widths)))
    with style():
        figure = Figure(figsize=(14, 4.4 * len(dataset.attrs["optimizers"])))
        for optimizer, index, axes in panels(dataset, figure, "final cost"):
            rates = dataset[f"{optimizer}.learning_rate"].values
            values = dataset[f"{optimizer}.cost"].transpose("parametrization", "width", ..., "seed")
            bands = statistics.medians(values.values)
            for width, color, *band in zip(widths, colors, *(b[index] for b in bands), strict=True):
                middle, low, high = band
                axes.plot(rates, middle, color=color, label=f"{width}")
                axes.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
                best = np.argmin(middle)
                look: dict = {"color": color, "markeredgecolor": BLACK, "zorder": 4}
                axes.plot(rates[best], middle[best], "o", **look)
            axes.set_xlabel("learning rate at the base width")
            finite = bands[0][np.isfinite(bands[0])]
            axes.set_ylim(0.8 * finite.min(), min(1.2 * finite.max(), 12 * finite.min()))
        top = figure.axes[len(dataset.attrs["parametrizations"]) - 1]
        top.legend(title="width", title_fontsize=12)
    return figure


def changes(dataset: xr.Dataset) -> Figure:
    """Draw the change of each layer's preactivations in the first step against the width."""
    widths = dataset.checked_width.values
    with style():
        figure = Figure(figsize=(14, 4.2 * len(dataset.attrs["optimizers"])))
        for optimizer, index, axes in panels(dataset, figure, "rms change in one step"):
            first = dataset.isel(step=0, parametrization=index)
            layers = first[f"{optimizer}.change"].transpose("layer", "checked_width", "seed").values
            slopes = first[f"{optimizer}.slope"].values
            bands = zip(slopes, CYCLE, *statistics.medians(layers), strict=False)
            for number, (slope, color, middle, low, high) in enumerate(bands, start=1):
                label = "outputs" if number == len(layers) else f"layer {number}"
                axes.plot(widths, middle, "o-", color=color, label=f"{label}: {slope:.2f}")
                axes.fill_between(widths, low, high, color=color, alpha=0.2, linewidth=0)
            axes.set_xticks(widths, [f"{n}" for n in widths])
            axes.set_xlabel("width")
            axes.margins(y=0.3)  # space for the legend
            axes.legend(title="slope", title_fontsize=12)
    return figure


def plot(dataset: xr.Dataset) -> dict:
    """Draw the final cost against the rate at each width, and the coordinate checks."""
    return {"transfer": costs(dataset), "coordinates": changes(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
