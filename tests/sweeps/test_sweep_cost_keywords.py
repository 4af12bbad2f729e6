"""Costs with keys, model state or step numbers; `tests/models` has one without data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.descent.batches import Order

X = np.random.default_rng(1).normal(size=12).astype(np.float32)
GRID = gd.axes(learning_rate=[0.05, 0.2, 1e9], seed=[0, 4], noise_seed=[0, 1])


def init(key):
    return jax.random.normal(key, (2,)), {"mean": jnp.zeros(()), "seen": jnp.array(0)}


def cost(w, x, *, key, step, model_state, scale=1.0):
    noise = scale * jax.random.normal(key, x.shape) / (1 + step)
    value = jnp.mean((w[0] * x + w[1] + noise - model_state["mean"]) ** 2)
    mean = 0.8 * model_state["mean"] + 0.2 * jnp.mean(x)
    return value, {"mean": mean, "seen": model_state["seen"] + 1}


def evaluation(w, x, *, model_state):
    return jnp.mean((w[0] * x + w[1] - model_state["mean"]) ** 2)


@pytest.fixture(scope="module")
def runs():
    problem = gd.Problem(init=init, cost=cost, evaluation=evaluation, data=X)
    return gd.sweep(problem, GRID, 30, batch_size=5, record_every=10)


@pytest.mark.long
@pytest.mark.parametrize(("rate", "seed", "noise_seed"), [(0.2, 4, 1), (0.05, 0, 0)])
def test_every_run_equals_a_python_loop(runs, rate, seed, noise_seed):
    result = runs.sel(learning_rate=rate, seed=seed, noise_seed=noise_seed)
    keys = gd.run_keys(0, seed=seed, noise_seed=noise_seed)
    w, model_state = init(keys.init)
    rows = Order([keys.order], 12, 5).rows(0, 30)[0]
    slope = jax.jit(jax.grad(cost, has_aux=True))
    for t in range(30):
        key = jax.random.fold_in(keys.noise, t)
        gradient, model_state = slope(w, X[rows[t]], key=key, step=t, model_state=model_state)
        w = w - rate * gradient
    np.testing.assert_allclose(result.params, w, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result["model_state.mean"], model_state["mean"], rtol=1e-5)
    assert int(result["model_state.seen"]) == 30
    np.testing.assert_allclose(
        result.cost[-1], evaluation(w, X, model_state=model_state), rtol=1e-4
    )


def test_runs_draw_different_random_numbers_and_diverged_runs_keep_their_model_state(runs):
    ends = runs.params.sel(learning_rate=0.2).values.reshape(4, 2)
    assert len(np.unique(ends, axis=0)) == 4
    diverged = runs.sel(learning_rate=1e9)
    assert (diverged.outcome == 3).all()
    assert (diverged["model_state.seen"] == diverged.diverged_at).all()


def test_keywords_may_have_the_names_of_arguments_of_the_library():
    def init(key, *, problem, settings):
        return jnp.full((2,), problem + settings)

    def cost(params, *, function, check, data):
        return jnp.sum(params**2) * function * check * data

    values = {"function": 2.0, "check": 3.0, "data": 5.0, "problem": 7.0, "settings": 11.0}
    axes = gd.axes(learning_rate=[0.1], **{name: [value] for name, value in values.items()})
    runs = gd.sweep(gd.Problem(init=init, cost=cost), axes, 1)
    np.testing.assert_allclose(runs.cost.values.ravel()[0], 2 * 18**2 * 30, rtol=1e-6)
