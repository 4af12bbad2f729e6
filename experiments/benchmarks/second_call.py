"""Time of sweeps of other libraries' models, against programs written by hand.

    ratio = seconds of gd.sweep / seconds of jit(vmap(scan)),   both compiled before

Each of the models is trained with 8 rates x 8 seeds by plain gradient descent on all its samples,
and the cost is recorded at every step. The two programs run in turn in one process; the ratio is
the median over the turns.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd
from benchmarks.other_models import MODELS, Model
from gdjax import statistics


def ours(model: Model, rates: np.ndarray, seeds: int, steps: int) -> Callable[[], Any]:
    """Return a function that runs the sweep, without metrics such as accuracy."""
    axes = gd.axes(learning_rate=rates, seed=range(seeds))
    problem = dataclasses.replace(model.problem, metrics={})
    return lambda: gd.sweep(problem, axes, steps, make_optimizer=optax.sgd).cost.values


def by_hand(model: Model, rates: np.ndarray, seeds: int, steps: int) -> Callable[[], Any]:
    """Return a function that does the same work by `jit(vmap(scan))`."""
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
        streams = gd.streams(0, seed, 0)
        return np.asarray(runs(rate, streams.init, streams.noise, data))

    return call


def ratios(turns: int, seeds: int = 8, steps: int = 5000) -> dict[str, float]:
    """Return for each model the median ratio and the largest difference of costs.

    The difference is relative, over finite costs.

    Args:
        turns: measurements of each program.
        seeds: number of starting points, and of learning rates.
        steps: steps of each run.
    """
    summary = {}
    for name, make in MODELS.items():
        model = make()
        rates = model.rate * np.geomspace(0.1, 1, seeds)
        pair = [kind(model, rates, seeds, steps) for kind in (ours, by_hand)]
        found, expected = (call() for call in pair)
        found = found.reshape(expected.shape)
        finite = np.isfinite(found) & np.isfinite(expected)  # ours: inf for a NaN by hand
        off = np.abs(found - expected)[finite].max() / np.abs(expected[finite]).max()
        times = []
        for _ in range(turns):
            for call in pair:
                began = time.perf_counter()
                call()
                times.append(time.perf_counter() - began)
        both = np.reshape(times, (-1, 2))
        summary[f"second_call_{name}_ratio"] = statistics.median(both[:, 0] / both[:, 1]).value
        summary[f"second_call_{name}_difference"] = float(off)
    return summary
