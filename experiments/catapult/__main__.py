"""What happens if the learning rate exceeds the stability limit at the start?

    f = v^T s(U x) / sqrt(m),   C = |f - y|^2 / 2n;   for s(z) = z, one x of length 1 and y = 0:
    f <- f (1 - eta k + eta^2 f^2 / m),   k <- k + eta f^2 (eta k - 4) / m,
    k = (|u|^2 + |v|^2) / m

    python -m experiments.catapult           (about a minute on two cores)

Expected: the linear network follows the recursion within 1e-9 in float64; the largest rate at which
descents of linear networks end below their initial cost has a median over starts within 10 % of
4 / k, and that of ReLU networks is larger (published: about 12 / k, for deeper networks and
images); the period doubles at eta = 1 and at sqrt(5) - 1. This is refuted by a confidence interval
for the limit of linear networks that lies outside 3.6 to 4.4.
"""

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

import gdjax as gd
from experiments.shared import command
from gdjax.base.statistics import median
from gdjax.plots.axes import legend_above
from gdjax.plots.style import BLACK, CYCLE, GREY
from gdjax.problems import Metric

ACTIVATIONS = {"linear": lambda z: z, "tanh": jnp.tanh, "ReLU": jax.nn.relu}
COLUMNS, ROWS = 1800, 1000  # numbers of bins of the histogram of rate and x
X_RANGE = (-0.1, 1.5)  # of the histogram
# share of the initial curvature below which the neurons of a run count as inactive
INACTIVE_SHARE = 1e-3


@dataclass(frozen=True)
class Config:
    """Networks, including those with one weight per layer, and their learning rates."""

    shares: tuple[float, float, int] = (0.25, 16.0, 64)  # smallest and largest eta k, and number
    widths: tuple[int, ...] = (64, 512)  # numbers of hidden neurons m
    starts: int = 12  # number of starting points of each network
    examples: int = 16  # number of examples and inputs of the second case; the first has one each
    steps: int = 150  # number of steps of each descent of a network
    # smallest and largest learning rate of the single weights, and number of rates
    rates: tuple[float, float, int] = (0.9, 2.0, 131_072)
    weight_steps: int = 1300  # number of steps of the single weights
    recorded: int = 11  # steps between records of single weights, a prime to avoid their period
    kept: int = 100  # number of final records that are evaluated


def curvature(activation, params, inputs):
    """Return k, the largest eigenvalue of J J^T / n, with the Jacobian J of outputs."""
    U, v = params
    z = U @ inputs.T
    slope = jax.vmap(jax.vmap(jax.grad(activation)))(z)
    kernel = activation(z).T @ activation(z)
    kernel = kernel + (v[:, None] * slope).T @ (v[:, None] * slope) * (inputs @ inputs.T)
    return jnp.linalg.eigvalsh(kernel / (v.size * len(inputs)))[-1]


def network(activation, width: int, examples: int) -> gd.Problem:
    """Return the problem of a network, with the cost divided by k at the start.

    Learning rates are thus values of eta k. Inputs are random vectors of length 1. Targets are
    random; a single example has the target 0.
    """
    key_x, key_y = jax.random.split(gd.run_keys(0).probes)
    inputs = jax.random.normal(key_x, (examples, examples))
    inputs = inputs / jnp.linalg.norm(inputs, axis=1, keepdims=True)
    targets = jax.random.normal(key_y, (examples,)) if examples > 1 else jnp.zeros(1)

    def init(key):
        key_u, key_v = jax.random.split(key)
        params = (
            jax.random.normal(key_u, (width, examples), inputs.dtype),
            jax.random.normal(key_v, (width,), inputs.dtype),
        )
        return params, curvature(activation, params, inputs)

    def cost(params, batch, *, model_state):
        U, v = params
        x, y = batch
        f = v @ activation(U @ x.T) / np.sqrt(width)
        return jnp.mean((f - y) ** 2) / (2 * model_state), model_state

    def share(problem, params, *, model_state):
        return curvature(activation, params, problem.data[0]) / model_state

    metrics = {"curvature": Metric(share, every=10)}
    return gd.Problem(init=init, cost=cost, data=(inputs, targets), metrics=metrics)


def two_numbers(f, k, share, width, steps):
    """Return f and k of the linear network at each step, from the recursion for both.

    The learning rate is `share` divided by the initial curvature k.
    """

    def step(numbers, _):
        f, k = numbers
        ahead = f * (1 - rate * k + rate**2 * f**2 / width)
        return (ahead, k + rate * f**2 * (rate * k - 4) / width), numbers

    rate = share / k
    return jax.lax.scan(step, (f, k), length=steps + 1)[1]


def difference_from_two_numbers(config: Config) -> float:
    """Return the largest error of the cost predicted by the recursion for f and k.

    The error is relative to the highest predicted cost of a descent.
    """
    width, shares = config.widths[0], (0.5, 1.9, 2.5, 3.5)
    with jax.enable_x64(True):
        problem = network(ACTIVATIONS["linear"], width, 1)
        grid = gd.axes(learning_rate=shares, seed=range(config.starts))
        runs = gd.sweep(problem, grid, config.steps)
        keys = gd.run_keys(0, np.arange(config.starts)).init
        (U, v), k = jax.vmap(problem.init)(keys)
        f = jnp.sum(U[..., 0] * v, axis=1) * problem.data[0][0, 0] / np.sqrt(width)
        two_number_descents = jax.vmap(two_numbers, (0, 0, None, None, None))
        expected = jnp.stack([two_number_descents(f, k, s, width, config.steps)[0] for s in shares])
        expected = expected**2 / 2 / k[None, :, None]
        costs = runs.cost.transpose("learning_rate", "seed", "step").values
        scale = np.max(expected, axis=-1, keepdims=True)
        return float(np.max(np.abs(costs - expected) / scale))


def flights(config: Config) -> xr.Dataset:
    """Return the highest cost, final cost and final curvature of each run.

    Each is relative to its initial value. For the first start at some rates, the cost at every step
    is also returned.
    """
    shares = np.linspace(*config.shares)
    shown = [int(np.argmin(np.abs(shares - share))) for share in (1.0, 2.5, 3.0, 3.5)]
    parts, grid = [], gd.axes(learning_rate=shares, seed=range(config.starts))
    for examples, name, width in product((1, config.examples), ACTIVATIONS, config.widths):
        runs = gd.sweep(network(ACTIVATIONS[name], width, examples), grid, config.steps)
        cost = runs.cost.transpose("learning_rate", "seed", "step")
        single = cost.isel(learning_rate=shown, seed=0, drop=True).rename(learning_rate="shown")
        flight = {
            "highest": cost.max("step") / cost.isel(step=0),
            "last": cost.isel(step=-1) / cost.isel(step=0),
            "last_curvature": runs.curvature.isel(step=-1),
            "shown_cost": single,
        }
        coordinates = {"examples": [examples], "activation": [name], "width": [width]}
        parts.append(xr.Dataset(flight).drop_attrs().expand_dims(coordinates))
    return xr.merge(parts, join="outer", compat="no_conflicts").rename(learning_rate="share")


def single_weights(config: Config) -> xr.Dataset:
    """Return a histogram of rate and x, and differences and Lyapunov exponent by rate.

    The differences are the largest among the last records, between values of x one and two records
    apart. The exponent is the mean of log |1 + eta (1 - 3 x^2)|, which is positive for chaotic
    dynamics.
    """
    rates = np.linspace(*config.rates)
    problem = gd.Problem(
        init=lambda key: jnp.full(2, 0.35),
        cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2,
        metrics={"x": Metric(lambda _, w: w[0])},
    )
    grid = gd.axes(learning_rate=rates)
    runs = gd.sweep(problem, grid, config.weight_steps, record_every=config.recorded)
    x = runs.x.transpose("learning_rate", "step").values[:, -config.kept - 1 : -1]
    where, bounds = np.broadcast_to(rates[:, None], x.shape).ravel(), (rates[[0, -1]], X_RANGE)
    density = np.histogram2d(where, x.ravel(), bins=(COLUMNS, ROWS), range=bounds)[0]
    # After a period doubling, values that are one former period apart differ.
    swing = [np.max(np.abs(x[:, -4:] - x[:, -4 - lag : -lag]), axis=1) for lag in (1, 2)]
    slope = np.abs(1 + rates[:, None] * (1 - 3 * x**2))
    return xr.Dataset(
        {
            "density": (("column", "row"), density.astype(np.float32)),
            "swing": (("rate", "lag"), np.stack(swing, axis=1)),
            "exponent": ("rate", np.mean(np.log(np.maximum(slope, 1e-6)), axis=1)),
        },
        {"rate": rates},
    )


def ended_below_start(dataset: xr.Dataset) -> xr.DataArray:
    """Return whether each run ends below its initial cost with active neurons."""
    return (dataset["last"] < 1) & (dataset.last_curvature > INACTIVE_SHARE)


def edges(dataset: xr.Dataset) -> xr.DataArray:
    """Return the limiting rate for each start, [examples, activation, width, seed].

    The limit is the largest `share` up to which all runs from this start satisfy
    `ended_below_start`, or 0 if there is none.
    """
    leading = ended_below_start(dataset).cumprod("share").sum("share")
    return leading.copy(data=np.r_[0.0, dataset.share.values][leading])


def onset(rates, swing, low=0.1, high=0.3) -> float:
    """Return the rate at which an oscillation starts: the zero of a fit to `swing`^2.

    The fit is a straight line, fitted to the rates between which `swing` grows from `low` to
    `high`.
    """
    first = int(np.argmax(swing > low))
    indices = np.arange(first, first + int(np.argmax(swing[first:] > high)))
    slope, at_zero = np.polyfit(rates[indices], swing[indices] ** 2, 1)
    return float(-at_zero / slope)


def numbers(dataset: xr.Dataset) -> dict:
    """Return limits with intervals, period doublings, and the share of chaotic rates."""
    lands = ended_below_start(dataset)
    dead = ((dataset["last"] < 1) & ~lands).sel(activation="ReLU", share=slice(6, None))
    by_examples = {
        str(examples): {
            "activation": {
                name: {"width": limits(dataset.sel(examples=examples, activation=name))}
                for name in dataset.activation.values
            },
            "dead_ReLU_from_6_on": float(dead.sel(examples=examples).mean()),
        }
        for examples in dataset.examples.values
    }
    linear = dataset.isel(examples=0).sel(activation="linear").last_curvature
    products = {rate: rate * linear.sel(share=rate).values for rate in (2.5, 3.5)}
    rates, swing, exponent = (dataset[name].values for name in ("rate", "swing", "exponent"))
    first_chaos = float(rates[np.argmax(exponent > 0.01)])
    return {
        "two_numbers_apart": dataset.attrs["apart"],
        "examples": by_examples,
        "share": {
            f"{rate:g}": {"linear_lands_at": [product.min(), product.max()]}
            for rate, product in products.items()
        },
        "runs_that_flew_and_landed": int(((dataset.highest > 1.05) & lands).sum()),
        "runs": lands.size,
        "rates": len(rates),
        "first_doubling": onset(rates, swing[:, 0]),
        "second_doubling": onset(rates, swing[:, 1], 0.03, 0.1),
        "first_chaos": first_chaos,
        "chaotic_share_beyond_it": float(np.mean(exponent[rates >= first_chaos] > 0)),
    }


def limits(networks: xr.Dataset) -> dict:
    """Return the limiting rates of networks over their starts, by width."""
    by_width = {}
    for width in networks.width.values:
        one = networks.sel(width=width)
        landed, share = ended_below_start(one), one.share.values
        by_width[str(width)] = {
            "edge": median(edges(one).values)[:3],
            "half_land_at": share[landed.mean("seed").values >= 0.5].max(),
            "some_land_at": share[landed.any("seed").values].max(),
        }
    return by_width


def run(config: Config) -> xr.Dataset:
    """Return the runs of networks and of single weights.

    The attribute `apart` is the largest deviation of the cost of the linear network from the
    recursion for f and k, relative to the highest predicted cost of the same descent.
    """
    merged = xr.merge([flights(config), single_weights(config)])
    return merged.assign_attrs(apart=difference_from_two_numbers(config))


def settled_shares(dataset: xr.Dataset) -> Figure:
    """Draw single descents, and shares of descents that end below their initial cost."""
    lands = ended_below_start(dataset).mean("seed").isel(width=-1)
    edge = edges(dataset).isel(width=-1)
    figure = Figure(figsize=(5.4 + 4.6 * edge.sizes["examples"], 4.8))
    left, *others = figure.subplots(1, 1 + edge.sizes["examples"])
    single = dataset.shown_cost.isel(examples=0, width=0).sel(step=slice(60))
    for number, share in enumerate(dataset.shown.values):
        cost = single.sel(activation="linear", shown=share)
        cost = cost.where(np.isfinite(cost) & (cost > 0))
        left.plot(cost.step, cost, color=CYCLE[number], label=f"{share:.3g}")
    left.set_yscale("log")
    left.set_ylim(bottom=1e-9)
    left.set(xlabel="step", ylabel="cost", title="Cost of a linear network")
    above: dict = {"title_fontsize": 12, "handlelength": 1}
    legend_above(left, 2, title="rate · curvature", **above)
    for axes, examples in zip(others, edge.examples.values, strict=True):
        for number, name in enumerate(ACTIVATIONS):
            at = {"examples": examples, "activation": name}
            middle, low, high = median(edge.sel(at).values)[:3]
            label = f"{name}: {middle:.3g} ({low:.3g} to {high:.3g})"
            axes.plot(lands.share, lands.sel(at), color=CYCLE[number], label=label)
        for limit in (2, 4):
            axes.axvline(limit, color=GREY, linestyle=":")
        axes.set(ylim=(0, 1.05), yticks=[0, 0.5, 1])
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("rate · curvature at the start")
        axes.set_title("One example" if examples == 1 else f"{examples} examples")
        legend_above(axes, 1, title="largest rate · curvature", **above)
    others[0].set_ylabel("share of descents that end\nbelow their initial cost")
    return figure


def chaos(dataset: xr.Dataset) -> Figure:
    """Draw the values of one weight by learning rate, and the Lyapunov exponent.

    If the exponent is positive, neighboring trajectories separate.
    """
    density, rate, exponent = (dataset[name].values for name in ("density", "rate", "exponent"))
    figure = Figure(figsize=(14, 9))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    positive = np.where(density > 0, density, np.nan).T
    top.set_facecolor("#0b0724")
    look: dict = {"origin": "lower", "aspect": "auto", "cmap": "inferno"}
    norm = LogNorm(1, np.nanquantile(positive, 0.995))
    top.imshow(positive, extent=(rate[0], rate[-1], *X_RANGE), norm=norm, **look)
    for name, at in {"first doubling": 1.0, "second doubling": np.sqrt(5) - 1}.items():
        top.axvline(at, color="white", linewidth=0.8, linestyle=":")
        text_position = (at - 0.006, X_RANGE[0] + 0.03)
        top.text(*text_position, f"{name}: {at:.4g}", color="white", rotation=90, ha="right")
    top.set_ylabel("weight x, after hundreds of steps")
    top.set_title(f"x ← x + η x (1 - x²): {len(rate):,} learning rates, one sweep")
    width = len(rate) // len(density)
    few = slice(0, len(rate) // width * width)
    middle, mean = (a[few].reshape(-1, width).mean(axis=1) for a in (rate, exponent))
    chaotic = {"where": mean > 0, "color": CYCLE[3], "linewidth": 0, "label": "chaos"}
    bottom.fill_between(middle, mean, 0, **chaotic)
    bottom.plot(middle, mean, color=BLACK, linewidth=0.6)
    bottom.axhline(0, color=GREY, linewidth=1)
    bottom.set(ylim=(-1.2, 0.9), ylabel="Lyapunov\nexponent", xlabel="learning rate η")
    bottom.legend(loc="upper left")
    return figure


def plot(dataset: xr.Dataset) -> dict:
    """Draw descents, limiting rates, and values of the single weight at each rate."""
    return {"landing": settled_shares(dataset), "chaos": chaos(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
