"""What gdjax does with models that it does not know: each model in each operation.

Numbers are compared with a loop that is written out here, and what is said about points with dense
matrices.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from other_models import MODELS, Model

import gdjax as gd
from gdjax.problems import evaluate, frozen

STEPS, SEEDS = 140, 2  # a block records at most 128 steps
KEY = jax.random.key(7)


class Swept(NamedTuple):
    """A model, its sweep, what is looked at, the ends of all runs, and that of the first."""

    model: Model
    runs: Any
    problem: gd.Problem
    ends: Any
    end: Any


def sweep(model):
    return gd.sweep(
        model.problem,
        gd.axes(learning_rate=[model.rate], seed=range(SEEDS)),
        STEPS,
        record_every=1,
        width=SEEDS,
        devices=jax.local_devices()[:1],
    )


@pytest.fixture(scope="module", params=MODELS)
def swept(request):
    model = MODELS[request.param]()
    runs = sweep(model)
    params = jax.eval_shape(model.problem.begin, KEY)[0]
    ends = [gd.params_of(runs, params, {"learning_rate": 0, "seed": k}) for k in range(SEEDS)]
    problem = model.problem
    if problem.stateful:
        problem = frozen(problem, state=problem.begin(KEY)[1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends)
    return Swept(model, runs, problem, stacked, ends[0])


def by_hand(model, seed):
    """Parameters at the end of a loop of one line a step, and the costs that it saw."""
    problem, streams = model.problem, gd.streams(0, seed, 0)
    value_and_grad = jax.jit(jax.value_and_grad(model.by_hand, has_aux=True))
    params, state = problem.begin(streams.init)
    costs = []
    for t in range(STEPS):
        key = jax.random.fold_in(streams.noise, t) if problem.random else None
        (cost, state), g = value_and_grad(params, state, problem.data, key)
        params = jax.tree.map(lambda w, d: w - model.rate * d, params, g)
        costs.append(float(cost))
    return params, costs


def test_numbers_are_those_of_a_loop_by_hand(swept):
    for seed in range(SEEDS):
        params, costs = by_hand(swept.model, seed)
        one = jax.tree.map(lambda a, k=seed: a[k], swept.ends)
        for found, wanted in zip(*map(jax.tree.leaves, (one, params)), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
        if not swept.model.problem.random:
            np.testing.assert_allclose(swept.runs.cost[0, seed, :STEPS], costs, rtol=2e-4)


def cost_of(problem):
    return lambda params: evaluate(problem, params)


def test_a_plane_holds_the_costs_of_its_points(swept):
    directions = {
        name: jax.tree.map(lambda a, s=sign: s * jnp.cos(a), swept.end)
        for name, sign in (("one", 1.0), ("other", -0.5))
    }
    found = gd.geometry.plane(swept.problem, swept.end, directions, [0.0, 0.1], [-0.2, 0.2])
    for i, a in enumerate((0.0, 0.1)):
        for j, b in enumerate((-0.2, 0.2)):
            point = jax.tree.map(
                lambda w, d, e, a=a, b=b: w + a * d + b * e, swept.end, *directions.values()
            )
            wanted = cost_of(swept.problem)(point)
            np.testing.assert_allclose(found.cost.values[i, j], wanted, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def hessian(swept):
    flat, unravel = ravel_pytree(swept.end)
    cost = cost_of(swept.problem)
    H = jax.jit(jax.hessian(lambda w: cost(unravel(w))))(flat)
    return np.linalg.eigvalsh(np.asarray(H, float))


def test_extremes_are_those_of_the_dense_hessian(swept, hessian):
    found = gd.geometry.extremes(swept.problem, swept.end, key=KEY, largest=1, smallest=1)
    size = np.abs(hessian).max()
    np.testing.assert_allclose(np.sort(found.values), [hessian[0], hessian[-1]], atol=2e-3 * size)


def test_barriers_are_those_of_the_line(swept):
    found = gd.minima.barriers(swept.problem, swept.ends, key=KEY, points=5)
    line = [
        float(
            cost_of(swept.problem)(
                jax.tree.map(lambda a, t=t: (1 - t) * a[0] + t * a[1], swept.ends)
            )
        )
        for t in np.linspace(0, 1, 5)
    ]
    rise = np.max(np.array(line) - np.linspace(line[0], line[-1], 5))
    np.testing.assert_allclose(found.barrier[0, 1], max(rise, 0), rtol=1e-3, atol=1e-5)
