"""Descents at the edge of stability, and the flows that approximate them."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared.regressions import random_targets
from gdjax.flows import FlowStatus, central_flow, gradient_flow

from .config import Config


def followed(config: Config, problem: gd.Problem, rates, starts: int, steps: int) -> xr.Dataset:
    """Return descents, central flows and gradient flows, for all rates and starts."""
    runs = gd.sweep(problem, gd.axes(learning_rate=rates, seed=range(starts)), steps)
    intervals = steps // config.stride
    keys = gd.streams(0, np.arange(starts)).init

    def one(rate, key, problem):
        start = problem.init(key)
        end_time = rate * steps
        central = central_flow(
            problem, start, rate, end_time, eigenvectors=config.eigenvectors, intervals=intervals
        )
        records = (central.cost, central.mean_cost, central.eigenvalues, central.residual)
        return *records, central.status == FlowStatus.COMPLETED

    def plain(rate, key, problem):
        times = rate * steps / intervals * jnp.arange(intervals + 1)
        start = problem.init(key)
        return gradient_flow(problem, start, times=times, rtol=config.tolerance).cost

    every = (jnp.repeat(jnp.asarray(rates), starts), jnp.tile(keys, len(rates)))
    mapped = jax.jit(jax.vmap(one, (0, 0, None))).lower(*every, problem).compile()
    start_time = time.process_time()
    center, mean, values, residual, ended = jax.block_until_ready(mapped(*every, problem))
    seconds = time.process_time() - start_time
    flat = jax.jit(jax.vmap(plain, (0, 0, None)))(*every, problem)

    def shaped(values):
        return np.asarray(values).reshape(len(rates), starts, *np.shape(values)[1:])

    dims, at = ("learning_rate", "seed"), ("learning_rate", "seed", "step")
    cost = runs.cost.transpose(*at).values[..., :: config.stride]
    return xr.Dataset(
        {
            "cost": (at, cost),
            "center": (at, shaped(center)),
            "mean": (at, shaped(mean)),
            "plain": (at, shaped(flat)),
            "product": ((*at, "largest"), shaped(values) * np.reshape(rates, (-1, 1, 1, 1))),
            "residual": (dims, shaped(residual).max(axis=-1)),
            "arrived": (dims, shaped(ended)),
            "seconds": seconds,
        },
        {"learning_rate": list(rates), "step": config.stride * np.arange(intervals + 1)},
    )


def cases(config: Config) -> dict[str, tuple]:
    """Return the problem, rates, number of starts and number of steps of each case."""
    few = (config.width_rates, config.width_starts, config.steps)
    return {
        f"width {config.width}": (
            random_targets(config.width, config.samples),
            config.rates,
            config.starts,
            config.steps,
        ),
        **{f"width {w}": (random_targets(w, config.samples), *few) for w in config.widths},
        "digits": (
            gd.problems.digits("mnist5k", samples=config.digits),
            config.digit_rates,
            config.digit_starts,
            config.digit_steps,
        ),
    }
