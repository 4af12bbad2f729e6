"""Is the best learning rate of a narrow network also good for a wide network?

    standard: one rate for all layers;   ntp: W = w / sqrt(inputs);   mup: Tensor Programs V

    python -m experiments.transfer                (about 6 min of processor time)

Expected: with Adam the best rate decreases by at least a factor of 2 from width 16 to 256 in the
standard parametrization, and changes by less than a factor of 2 in mup. This is refuted if the
interval of one of these two factors lies on the other side of 2. With plain descent the published
change is smaller, and no expectation is stated for 250 steps.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optax
import xarray as xr
from jaxtyping import Float
from matplotlib import colormaps

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import strided
from experiments.shared.trees import datasets
from gdjax import statistics
from gdjax.plots.style import BLACK, SEQUENTIAL, Figure, label_log_axis
from gdjax.problems import Layer
from gdjax.search.cross_fitting import exchanged_values

Rates = Float[np.ndarray, " rates"]  # values at each learning rate
Costs = Float[np.ndarray, "rates seeds"]
GOOD = 1.1  # a rate is good if its median cost is at most this multiple of the lowest median
RESAMPLES = 1000  # number of bootstrap resamples
PARAMETRIZATIONS = {"standard": "standard", "ntp": "neural tangent", "mup": "maximal update"}
OPTIMIZERS = {"descent": ("plain descent", optax.sgd), "adam": ("Adam", optax.adam)}


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


def rate_factors(
    parametrization: str, optimizer: str, width: int, *, base_width: int, layers: int
) -> tuple[tuple[float, float], ...]:
    """Return the factors of the learning rates of (weights, biases), for each layer.

        Delta W_l = factor_l * update of the optimizer,   r = n_0 / n

    The table lists the factors in a network whose hidden layers all have width n, relative to those
    at the base width n_0, where all parametrizations coincide:

        |                 | input weights, hidden biases | hidden weights | output weights |
        |-----------------|------------------------------|----------------|----------------|
        | standard, both  | 1                            | 1              | 1              |
        | ntp, descent    | 1                            | r              | r              |
        | ntp, Adam       | 1                            | sqrt(r)        | sqrt(r)        |
        | mup, descent    | 1 / r                        | 1              | r              |
        | mup, Adam       | 1                            | r              | r              |

    Output biases have the factor 1. Starting weights have the variance 1 / (number of inputs of the
    layer). In mup, the standard deviation of the output weights has an additional factor sqrt(r),
    so that their variance is proportional to 1 / n^2. In the neural tangent parametrization (ntp),
    weights are W = w / sqrt(inputs) with w of variance 1; the table lists the equivalent factors
    for W. The rows of mup are those of Table 3 of Tensor Programs V.

    References: Yang et al. 2022, *Tensor Programs V*, arXiv 2203.03466; Jacot et al. 2018, arXiv
    1806.07572.
    """
    r = base_width / width
    table = {
        ("ntp", "descent"): (1.0, r, r),
        ("ntp", "adam"): (1.0, math.sqrt(r), math.sqrt(r)),
        ("mup", "descent"): (1 / r, 1.0, r),
        ("mup", "adam"): (1.0, r, r),
    }
    first, hidden, last = table.get((parametrization, optimizer), (1.0, 1.0, 1.0))
    return ((first, first), *((hidden, first),) * (layers - 2), (last, 1.0))


def make_optimizer(
    parametrization: str, optimizer: str, width: int, *, base_width: int, layers: int
) -> Callable[..., optax.GradientTransformation]:
    """Return an optimizer factory with the rate factors of a parametrization."""
    factors = rate_factors(parametrization, optimizer, width, base_width=base_width, layers=layers)

    def scaled(updates, params):
        return tuple(
            Layer(f_weights * layer.weights, f_bias * layer.bias)
            for (f_weights, f_bias), layer in zip(factors, updates, strict=True)
        )

    def factory(learning_rate):
        return optax.chain(OPTIMIZERS[optimizer][1](learning_rate), optax.stateless(scaled))

    return factory


def parametrized(problem: gd.Problem, parametrization: str, *, base_width: int) -> gd.Problem:
    """Return a problem with the starting weights of a parametrization."""
    if parametrization != "mup":
        return problem
    factor = math.sqrt(base_width / problem.network.widths[-2])

    def init(key):
        *hidden, last = problem.init(key)
        return (*hidden, last._replace(weights=factor * last.weights))

    return dataclasses.replace(problem, init=init, provenance=None)


def problems(config: Config, parametrization: str, optimizer: str) -> dict[str, tuple]:
    """Return the problem and the optimizer factory for each width."""
    images = strided(gd.data.load(config.data), config.pixel_stride)
    base, result = config.widths[0], {}
    for width in config.widths:
        hidden, layers = (width,) * config.hidden_layers, config.hidden_layers + 1
        digits = gd.problems.digits(images, widths=hidden, activation="tanh", loss="cross_entropy")
        factory = make_optimizer(parametrization, optimizer, width, base_width=base, layers=layers)
        problem = parametrized(digits, parametrization, base_width=base)
        result[str(width)] = problem, {"make_optimizer": factory}
    return result


def recorded(config: Config, optimizer: str) -> xr.Dataset:
    """Return final costs with one optimizer, by parametrization and width."""
    rates = np.geomspace(*getattr(config, f"{optimizer}_rates"), config.rates)
    grid = gd.axes(learning_rate=rates, seed=range(config.seeds))
    records: dict = {"record_every": config.steps, "record_samples": config.record_samples}
    records |= {"batch_size": config.batch_size, "metrics": {}}
    costs = []
    for name in PARAMETRIZATIONS:
        print(f"{optimizer}, {name} ...", flush=True)
        sweeps = {
            width: gd.sweep(problem, grid, config.steps, **options, **records)
            for width, (problem, options) in problems(config, name, optimizer).items()
        }
        costs.append(gd.sweeps.concat(sweeps, "width").cost.isel(step=-1, drop=True))
    joined = xr.concat(costs, "parametrization").to_dataset().drop_attrs()
    names = list(PARAMETRIZATIONS)
    return joined.assign_coords(width=list(config.widths), parametrization=names)


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each optimizer."""
    return xr.DataTree.from_dict({name: recorded(config, name) for name in OPTIMIZERS})


def best_rate(rates: Rates, cost: Rates) -> float:
    """Return the rate with the lowest cost, from an interpolating parabola.

    The parabola is fitted to log cost against log rate, at the lowest point and its neighbors.
    """
    k = int(np.argmin(cost))
    if k in (0, len(rates) - 1) or not np.all(np.isfinite(cost[k - 1 : k + 2])):
        return float(rates[k])
    x, y = np.log(rates[k - 1 : k + 2]), np.log(cost[k - 1 : k + 2])
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(rates[k] * np.exp(-b / (2 * a))) if a > 0 else float(rates[k])


def good_rates(rates: Rates, cost: Rates) -> tuple[float, float]:
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


def shift(rates: Rates, narrow: Costs, wide: Costs) -> list[float]:
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


def regrets(narrow: Costs, wide: Costs) -> Float[np.ndarray, " seeds"]:
    """Return the regret of the narrow networks' best rate, for each wide network.

        regret = cost(best rate of narrow networks) / cost(best rate of wide networks)

    Both rates are chosen on the half of the starts without that of the network.
    """
    _, (transferred, own) = exchanged_values([narrow, wide])
    first = np.arange(wide.shape[1]) % 2 == 0
    numerator, denominator = (np.where(first, wide[b], wide[a]) for a, b in (transferred, own))
    return numerator / denominator


def numbers(tree: xr.DataTree) -> dict:
    """Return best and good rates, shifts and regrets."""
    summary: dict = {"good": GOOD, "optimizer": {}}
    for optimizer, results in datasets(tree, OPTIMIZERS).items():
        rates, by_name = results.learning_rate.values, {}
        for name in results.parametrization.values:
            one = results.sel(parametrization=name)
            costs = one.cost.transpose("width", ..., "seed").values
            half = np.median(costs, axis=-1)
            by_name[str(name)] = {
                "best": [best_rate(rates, cost) for cost in half],
                "good": [good_rates(rates, cost) for cost in half],
                "lowest_cost": np.median(exchanged_values(costs)[0], axis=-1),
                "shift": shift(rates, costs[0], costs[-1]),
                "regret": [statistics.median(regrets(costs[0], wide))[:3] for wide in costs[1:]],
            }
        summary["optimizer"][optimizer] = {"parametrization": by_name}
    return summary


def plot(tree: xr.DataTree) -> dict:
    """Draw the final cost against the rate, with one curve per width and one row per optimizer.

    The lowest cost of each curve is marked. Bands are the 95 % intervals of the medians.
    """
    rows = datasets(tree, OPTIMIZERS)
    names = next(iter(rows.values())).parametrization.values
    figure = Figure(figsize=(14, 4.4 * len(rows)))
    grid = figure.subplots(len(rows), len(names), sharey="row", squeeze=False)
    for row, (optimizer, results) in zip(grid, rows.items(), strict=True):
        rates, widths = results.learning_rate.values, results.width.values
        colors = colormaps[SEQUENTIAL](np.linspace(0.9, 0.0, len(widths)))
        values = results.cost.transpose("parametrization", "width", ..., "seed").values
        bands = statistics.medians(values)
        for axes, name, *of_panel in zip(row, names, *bands, strict=True):
            for width, color, middle, low, high in zip(widths, colors, *of_panel, strict=True):
                axes.plot(rates, middle, color=color, label=f"{width}")
                axes.fill_between(rates, low, high, color=color, alpha=0.15, linewidth=0)
                best = np.argmin(middle)
                look: dict = {"color": color, "markeredgecolor": BLACK, "zorder": 4}
                axes.plot(rates[best], middle[best], "o", **look)
            axes.set_title(f"{PARAMETRIZATIONS[name]}, {OPTIMIZERS[optimizer][0]}")
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xlabel("learning rate at the base width")
        finite = bands[0][np.isfinite(bands[0])]
        row[0].set_ylim(0.8 * finite.min(), min(1.2 * finite.max(), 12 * finite.min()))
        row[0].set_ylabel("final cost")
        label_log_axis(row[0].yaxis)
    grid[0, -1].legend(title="width", title_fontsize=12)
    return {"transfer": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
