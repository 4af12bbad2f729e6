"""Descents with learning rates above the stability limit at the starting point."""

from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax.curvature import eigensolvers
from gdjax.problems import Metric

ACTIVATIONS = {"linear": lambda z: z, "tanh": jnp.tanh, "ReLU": jax.nn.relu}
COLUMNS, ROWS = 1800, 1000  # numbers of bins of the histogram of rate and x


@dataclass(frozen=True)
class Config:
    """Networks, including those with one weight per layer, and their learning rates."""

    shares: tuple[float, float, int] = (0.25, 16.0, 64)  # smallest and largest eta k, and number
    widths: tuple[int, ...] = (64, 512)  # numbers of hidden neurons m
    starts: int = 12  # number of starting points of each network
    examples: int = 16  # number of examples and inputs of the second case; the first has one each
    steps: int = 150  # number of steps of each descent of a network
    shown: tuple[float, ...] = (1.0, 2.5, 3.0, 3.5)  # rates times k to draw; the nearest are used
    # smallest and largest learning rate of the single weights, and number of rates
    rates: tuple[float, float, int] = (0.9, 2.0, 131_072)
    weight: float = 0.35  # starting value of the single weights
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
    return eigensolvers.eigh(kernel / (v.size * len(inputs)))[0][-1]


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

    def share(params, x, *, model_state):
        return curvature(activation, params, x) / model_state

    metrics = {"curvature": Metric(share, data=inputs, every=10)}
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


def difference_from_two_numbers(config: Config, width: int, shares=(0.5, 1.9, 2.5, 3.5)) -> float:
    """Return the largest error of the cost predicted by the recursion for f and k.

    The error is relative to the highest predicted cost of a descent.
    """
    with jax.enable_x64(True):
        problem = network(ACTIVATIONS["linear"], width, 1)
        runs = gd.sweep(
            problem, gd.axes(learning_rate=shares, seed=range(config.starts)), config.steps
        )
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

    Each is relative to its initial value. For the first start at the rates `config.shown`, the cost
    at every step is also returned.
    """
    shares = np.linspace(*config.shares)
    shown = [int(np.argmin(np.abs(shares - share))) for share in config.shown]
    parts, grid = [], gd.axes(learning_rate=shares, seed=range(config.starts))
    for examples, name, width in product((1, config.examples), ACTIVATIONS, config.widths):
        runs = gd.sweep(network(ACTIVATIONS[name], width, examples), grid, config.steps)
        cost = runs.cost.transpose("learning_rate", "seed", "step")
        single = cost.isel(learning_rate=shown, seed=0, drop=True).rename(learning_rate="shown")
        flight = {
            "highest": cost.max("step") / cost.isel(step=0),
            "last": cost.isel(step=-1) / cost.isel(step=0),
            "flatness": runs.curvature.isel(step=-1),
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
        init=lambda key: jnp.full(2, config.weight),
        cost=lambda w: (1 - w[0] * w[1]) ** 2 / 2,
        metrics={"x": Metric(lambda w, data: w[0])},
    )
    runs = gd.sweep(
        problem, gd.axes(learning_rate=rates), config.weight_steps, record_every=config.recorded
    )
    x = runs.x.transpose("learning_rate", "step").values[:, -config.kept - 1 : -1]
    bounds = (rates[0], rates[-1]), (-0.1, 1.5)
    where = np.broadcast_to(rates[:, None], x.shape).ravel(), x.ravel()
    density = np.histogram2d(*where, bins=(COLUMNS, ROWS), range=bounds)[0]
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
        {"bounds": [*bounds[0], *bounds[1]]},
    )
