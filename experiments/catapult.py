"""What happens when a step is too long for where it starts?

    f = v^T s(U x) / sqrt(m),   C = |f - y|^2 / 2n;   linear, one x of length 1, y = 0, two numbers:
    f <- f (1 - eta k + eta^2 f^2 / m),   k <- k + eta f^2 (eta k - 4) / m,
    k = (|u|^2 + |v|^2) / m

Below 2 / k at the start the cost falls smoothly. Above it the cost grows, and as it grows it throws
k down, until it falls: a catapult (Lewkowycz et al. 2020, arXiv 2003.02218). For linear networks
that works up to about 4 / k; how far for tanh and ReLU? Rates are swept in units of 1 / k of each
start, over widths and starts, on one example and on several.

The same with one weight a layer, ½(1 - xy)^2 from x = y, is x <- x + eta x (1 - x^2): beyond
eta = 1 it doubles its period again and again, and then it is chaos.

    python experiments/catapult.py           (about a minute on two cores)

Expected: the network follows its two numbers to 1e-9 in float64; half of the linear starts land up
to 4 / k within 10 %, ReLU ones farther (published: about 12 / k, for deeper networks and images);
the period doubles at 1 and at sqrt(5) - 1. Refuted by an interval of the linear edge that lies
outside of 3.6 to 4.4.
"""

from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import catapult as plots

import gdjax as gd
from gdjax.curvature import jacobi_eigh
from gdjax.problems import Metric
from gdjax.statistics import median

ACTIVATIONS = {"linear": lambda z: z, "tanh": jnp.tanh, "ReLU": jax.nn.relu}
DOUBLINGS = {"first_doubling": 1.0, "second_doubling": np.sqrt(5) - 1}
DEAD = 1e-3  # of the curvature at the start: the gradient is gone, whatever the output
COLUMNS, ROWS = 1800, 1000  # of the picture of all rates


@dataclass(frozen=True)
class Config:
    """Which networks descend, how fast, and which single weights.

    Args:
        shares: rates times k at the start: lowest, highest, how many.
        widths: hidden neurons m.
        starts: of each.
        examples: of the case with several, as many as inputs; the other has one.
        steps: of each descent.
        shown: rates whose descents are drawn, the nearest ones.
        rates: of the one weight a layer: lowest, highest, how many.
        weight: where it starts.
        weight_steps: of it.
        recorded: each so many steps, a prime number, so that few periods are seen in part.
        kept: records at the end that are looked at.
    """

    shares: tuple[float, float, int] = (0.25, 16.0, 64)
    widths: tuple[int, ...] = (64, 512)
    starts: int = 12
    examples: int = 16
    steps: int = 150
    shown: tuple[float, ...] = (1.0, 2.5, 3.0, 3.5)
    rates: tuple[float, float, int] = (0.9, 2.0, 131_072)
    weight: float = 0.35
    weight_steps: int = 1300
    recorded: int = 11
    kept: int = 100


def curvature(activation, params, inputs):
    """k, the largest eigenvalue of J J^T / n, J the derivative of the outputs by the parameters."""
    U, v = params
    z = U @ inputs.T
    slope = jax.vmap(jax.vmap(jax.grad(activation)))(z)
    kernel = activation(z).T @ activation(z)
    kernel = kernel + (v[:, None] * slope).T @ (v[:, None] * slope) * (inputs @ inputs.T)
    return jacobi_eigh.eigh(kernel / (v.size * len(inputs)))[0][-1]


def network(activation, width: int, examples: int) -> gd.Problem:
    """A network whose cost is in units of k at the start: a learning rate is one of eta k.

    Several examples have random inputs of length 1 and random targets of size 1; one has target 0.
    """
    key_x, key_y = jax.random.split(gd.streams(0).probes)
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

    def share(params, x, *, model_state):
        return curvature(activation, params, x) / model_state

    return gd.Problem(
        init=init,
        cost=cost,
        data=(inputs, targets),
        metrics={"curvature": Metric(share, data=inputs, every=10)},
    )


def two_numbers(f, k, share, width, steps):
    """f and k of the linear network at each step, from those at the start; eta = share / k."""

    def step(numbers, _):
        f, k = numbers
        ahead = f * (1 - rate * k + rate**2 * f**2 / width)
        return (ahead, k + rate * f**2 * (rate * k - 4) / width), numbers

    rate = share / k
    return jax.lax.scan(step, (f, k), length=steps + 1)[1]


def apart(config: Config, width: int, shares=(0.5, 1.9, 2.5, 3.5)) -> float:
    """Largest distance of the linear network's cost from that of its two numbers, float64."""
    with jax.enable_x64(True):
        problem = network(ACTIVATIONS["linear"], width, 1)
        runs = gd.sweep(
            problem, gd.axes(learning_rate=shares, seed=range(config.starts)), config.steps
        )
        keys = gd.streams(0, np.arange(config.starts)).init
        (U, v), k = jax.vmap(problem.init)(keys)
        f = jnp.sum(U[..., 0] * v, axis=1) * problem.data[0][0, 0] / np.sqrt(width)
        of_starts = jax.vmap(two_numbers, (0, 0, None, None, None))
        known = jnp.stack([of_starts(f, k, s, width, config.steps)[0] for s in shares])
        known = known**2 / 2 / k[None, :, None]
        found = runs.cost.transpose("learning_rate", "seed", "step").values
        scale = np.max(known, axis=-1, keepdims=True)
        return float(np.max(np.abs(found - known) / scale))


def flights(config: Config) -> xr.Dataset:
    """How high each run flies, where it lands, and how flat it is there."""
    shares = np.linspace(*config.shares)
    shown = [int(np.argmin(np.abs(shares - share))) for share in config.shown]
    parts = []
    for examples in (1, config.examples):
        for name, activation in ACTIVATIONS.items():
            for width in config.widths:
                runs = gd.sweep(
                    network(activation, width, examples),
                    gd.axes(learning_rate=shares, seed=range(config.starts)),
                    config.steps,
                )
                cost = runs.cost.transpose("learning_rate", "seed", "step")
                k = runs.curvature.transpose("learning_rate", "seed", "step")
                found = xr.Dataset(
                    {
                        "highest": cost.max("step") / cost.isel(step=0),
                        "last": cost.isel(step=-1) / cost.isel(step=0),
                        "flatness": k.isel(step=-1),
                        "shown_cost": cost.isel(learning_rate=shown, seed=0, drop=True).rename(
                            learning_rate="shown"
                        ),
                    }
                ).drop_attrs()
                place = {"examples": [examples], "activation": [name], "width": [width]}
                parts.append(found.expand_dims(place))
    return xr.merge(parts, join="outer", compat="no_conflicts").rename(learning_rate="share")


def single_weights(config: Config) -> xr.Dataset:
    """Where x goes for every rate: its density, the amplitude of its swing, Lyapunov's exponent.

    The exponent is the mean of log |1 + eta (1 - 3 x^2)|, above 0 for chaos.
    """
    rates = np.linspace(*config.rates)
    problem = gd.Problem(
        init=lambda key: jnp.full(2, config.weight),
        cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2,
        metrics={"x": Metric(lambda w, data: w[0])},
    )
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates),
        config.weight_steps,
        record_every=config.recorded,
    )
    x = runs.x.transpose("learning_rate", "step").values[:, -config.kept - 1 : -1]
    bounds = (rates[0], rates[-1]), (-0.1, 1.5)
    where = np.broadcast_to(rates[:, None], x.shape).ravel(), x.ravel()
    density = np.histogram2d(*where, bins=(COLUMNS, ROWS), range=bounds)[0]
    # The two places of a period swing by different amounts once it has doubled.
    swing = [np.max(np.abs(x[:, -4:] - x[:, -4 - lag : -lag]), axis=1) for lag in (1, 2)]
    slope = np.abs(1 + rates[:, None] * (1 - 3 * x**2))
    return xr.Dataset(
        {
            "density": (("column", "row"), density.astype(np.float32)),
            "swing": (("rate", "lag"), np.stack(swing, axis=1)),
            "exponent": ("rate", np.mean(np.log(np.maximum(slope, 1e-6)), axis=1)),
        },
        {"rate": rates},
        {"bounds": [*bounds[0], *bounds[1]]},
    )


def run(config: Config) -> xr.Dataset:
    """Flights, single weights, and how well two numbers tell a network."""
    flown, single = flights(config), single_weights(config)
    return xr.merge([flown, single], combine_attrs="no_conflicts").assign_attrs(
        apart=apart(config, config.widths[0]), **single.attrs
    )


def landed(dataset: xr.Dataset) -> xr.DataArray:
    """Which runs end below their start, and not because all neurons that mattered have died."""
    return (dataset["last"] < 1) & (dataset.flatness > DEAD)


def edges(dataset: xr.Dataset) -> xr.DataArray:
    """Up to which share a start lands at every one, [examples, activation, width, seed]."""
    lands = landed(dataset).transpose(..., "share")
    until = np.cumprod(lands.values, axis=-1).sum(axis=-1)
    share = np.r_[0.0, dataset.share.values]
    return xr.DataArray(share[until], lands.isel(share=0, drop=True).coords)


def onset(rates, swing, low=0.1, high=0.3) -> float:
    """Where a swing begins: its square grows in proportion to the rate beyond; a line's zero."""
    first = int(np.argmax(swing > low))
    some = np.arange(first, first + int(np.argmax(swing[first:] > high)))
    slope, at_zero = np.polyfit(rates[some], swing[some] ** 2, 1)
    return float(-at_zero / slope)


def numbers(dataset: xr.Dataset) -> dict:
    """Edges with intervals, where periods double, how much of the rates is chaos."""
    found: dict = {"two_numbers_apart": dataset.attrs["apart"]}
    edge = edges(dataset)
    for index in np.ndindex(*edge.shape[:-1]):
        one = edge[index]
        name = f"{one.activation.item()}_{one.width.item()}_examples_{one.examples.item()}"
        found[f"edge_{name}"] = list(median(one.values)[:3])
        some = landed(dataset).sel({d: one[d] for d in ("examples", "activation", "width")})
        half = dataset.share.values[some.mean("seed").values >= 0.5]
        found[f"half_land_at_{name}"] = float(half.max())
        found[f"some_land_at_{name}"] = float(dataset.share.values[some.any("seed").values].max())
    one = dataset.isel(examples=0)
    for share in (2.5, 3.5):
        near = one.sel(share=share, activation="linear", method=None)
        product = share * near.flatness.values
        found[f"linear_from_{share}_lands_at"] = [float(np.min(product)), float(np.max(product))]
    lands = landed(dataset)
    flown = (dataset.highest > 1.05) & lands
    dead = (dataset["last"] < 1) & ~lands
    relu = dead.sel(activation="ReLU", share=slice(6, None)).mean(["share", "width", "seed"])
    found["dead_ReLU_from_6_on"] = [float(v) for v in relu.values]
    smooth = dataset.highest.sel(share=slice(None, 1.9)) <= 1.05
    found["smooth_below_1.9_linear"] = float(
        smooth.isel(examples=0).sel(activation="linear").mean()
    )
    found["runs_that_flew_and_landed"] = int(flown.sum())
    found["runs"] = int(flown.size)
    rates, swing = dataset.rate.values, dataset.swing.values
    found["rates"] = len(rates)
    found["first_doubling"] = onset(rates, swing[:, 0])
    found["second_doubling"] = onset(rates, swing[:, 1], 0.03, 0.1)
    found["first_chaos"] = float(rates[np.argmax(dataset.exponent.values > 0.01)])
    found["chaotic_share_beyond_it"] = float(
        np.mean(dataset.exponent.values[rates >= found["first_chaos"]] > 0)
    )
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Flights and how far they may go; every rate of the single weight."""
    edge = edges(dataset)
    lands = landed(dataset).mean("seed").isel(width=-1)
    shown = dataset.shown_cost.isel(examples=0, width=0).sel(activation="linear")
    panels = [
        plots.Landing(
            title="One example" if n == 1 else f"{n} examples",
            share=dataset.share.values,
            lands={
                str(a): lands.sel(examples=n, activation=a).transpose("share").values
                for a in ACTIVATIONS
            },
            edge={
                str(a): median(edge.sel(examples=n, activation=a).isel(width=-1).values)[:3]
                for a in ACTIVATIONS
            },
        )
        for n in dataset.examples.values
    ]
    return {
        "landing": plots.landing(
            dataset.step.values,
            {float(s): shown.sel(shown=s).values for s in dataset.shown.values},
            panels,
        ),
        "chaos": plots.chaos(
            dataset.density.values,
            dataset.attrs["bounds"],
            dataset.rate.values,
            dataset.exponent.values,
            {name.replace("_", " "): rate for name, rate in DOUBLINGS.items()},
        ),
    }


if __name__ == "__main__":
    common.main("catapult", Config, run, plot, numbers)
