"""Time of sweeps of other libraries' models, relative to programs written by hand.

    ratio = seconds of gd.sweep / seconds of jit(vmap(scan)),   without compilation

Each model is trained at 8 rates from 8 seeds by full-batch gradient descent, and the cost is
recorded at every step. The two programs are timed alternately in one process; the ratio is the
median over repetitions.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd
from gdjax import statistics

from .other_models import MODELS, Model
from .timing import seconds

COMPARED_STEPS = 100


def ours(model: Model, rates: np.ndarray, seeds: int, steps: int) -> Callable[[], Any]:
    """Return a function, to be timed, that runs a sweep without metrics."""
    axes = gd.axes(learning_rate=rates, seed=range(seeds))
    problem = dataclasses.replace(model.problem, metrics={})
    return lambda: gd.sweep(problem, axes, steps, make_optimizer=optax.sgd).cost.values


def by_hand(model: Model, rates: np.ndarray, seeds: int, steps: int) -> Callable[[], Any]:
    """Return a function, to be timed, that computes the runs with `jit(vmap(scan))`."""
    problem, data = model.problem, jax.tree.map(jnp.asarray, model.problem.data)

    def one(rate, init, noise, data):
        params, state = problem.begin(init)

        def step(carry, t):
            params, state = carry
            key = jax.random.fold_in(noise, t)
            (value, ahead), g = jax.value_and_grad(model.by_hand, has_aux=True)(
                params, state, data, key
            )
            if model.recorded is not None:
                value = model.recorded(params, state)
            return (jax.tree.map(lambda w, d: w - rate * d, params, g), ahead), value

        return jax.lax.scan(step, (params, state), jnp.arange(steps + 1))[1]

    runs = jax.jit(jax.vmap(one, (0, 0, 0, None)))
    rate, seed = (a.ravel() for a in np.meshgrid(rates, np.arange(seeds), indexing="ij"))
    rate = rate.astype(np.float32)

    def call():
        streams = gd.run_keys(0, seed, 0)
        return np.asarray(runs(rate, streams.init, streams.noise, data))

    return call


def difference(model: Model, rates: np.ndarray, seeds: int) -> float:
    """Return the largest difference of costs in the first 100 steps.

    The difference is relative to the largest cost. Later steps are not compared, since some runs
    are chaotic: after about 150 steps, changing one starting parameter by one unit in the last
    place causes comparable differences.
    """
    ours_costs, expected = (kind(model, rates, seeds, COMPARED_STEPS)() for kind in (ours, by_hand))
    largest = np.abs(ours_costs.reshape(expected.shape) - expected).max()
    return float(largest / np.abs(expected).max())


def ratios(turns: int, seeds: int = 8, steps: int = 5000) -> dict[str, Any]:
    """Return the median ratio of times and the largest difference of costs, by model.

    Each program is timed `turns` times, at `seeds` rates from `seeds` starting points.
    """
    by_model = {}
    for name, make in MODELS.items():
        model = make()
        rates = model.rate * np.geomspace(0.1, 1, seeds)
        pair = [kind(model, rates, seeds, steps) for kind in (ours, by_hand)]
        times = np.array([[seconds(call) for call in pair] for _ in range(turns + 1)])[1:]
        by_model[name] = {
            "difference": difference(model, rates, seeds),
            "ratio": statistics.median(times[:, 0] / times[:, 1]).value,
        }
    return {"second_call": {"model": by_model}}
