"""Preconditioners, compared with Optax; eigenvalues of preconditioned Hessians."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from curved_problems import dense_reference, in_float64, regression
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature import PreconditionedHessian, extreme_eigenpairs, sharpness_metric
from gdjax.curvature.stability_limits import preconditioner
from gdjax.problems import as_problem

RUNS = 16
RULES = {
    "Adam": optax.adam,
    "Adam with other settings": partial(optax.adam, b1=0.5, b2=0.9, eps=1e-3, eps_root=1e-4),
    "AdamW": partial(optax.adamw, weight_decay=0.0),
    "RMSProp": optax.rmsprop,
    "RMSProp as in PyTorch": partial(optax.rmsprop, eps_in_sqrt=False, eps=1e-3),
    "RMSProp, corrected": partial(optax.rmsprop, bias_correction=True, decay=0.99),
}


@pytest.mark.parametrize("name", RULES)
def test_steps_of_optax_equal_the_momentum_divided_by_the_preconditioner(name):
    """After three updates with random gradients, the last update is -0.1 m / P."""
    rule = RULES[name](learning_rate=0.1)
    gradients = jax.random.normal(jax.random.key(0), (3, RUNS, 5))

    def run(gradients):
        w = jnp.zeros(5)
        memory = rule.init(w)
        for g in gradients:
            updates, memory = rule.update(g, memory, w)
        momentum = getattr(memory[0], "mu", gradients[-1])
        return updates, momentum / preconditioner(RULES[name])(memory)

    updates, ratio = jax.jit(jax.vmap(run, in_axes=1))(gradients)
    np.testing.assert_allclose(updates, -0.1 * ratio, rtol=2e-5)


@pytest.mark.parametrize(
    ("x64", "error"), [pytest.param(False, 1e-3, marks=pytest.mark.long), (True, 1e-5)]
)
def test_preconditioned_sharpness_equals_the_dense_eigenvalue_after_steps_of_adam(x64, error):
    cost, params, data = regression(20)
    with jax.enable_x64(x64):
        params, data = jax.tree.map(jnp.asarray, (in_float64(params), in_float64(data)))
        rule = optax.adam(0.01)

        def run(shift):
            w = jax.tree.map(lambda a: a + shift, params)
            memory = rule.init(w)
            for _ in range(3):
                updates, memory = rule.update(jax.grad(cost)(w, data), memory, w)
                w = optax.apply_updates(w, updates)
            P = preconditioner(optax.adam)(memory)
            operator = PreconditionedHessian(as_problem(cost, data), w, P)
            pairs = extreme_eigenpairs(operator, key=jax.random.key(0), rtol=1e-4)
            return w, P, pairs.values[0]

        w, P, result = jax.tree.map(
            np.asarray, jax.jit(jax.vmap(run))(jnp.linspace(-0.2, 0.2, RUNS))
        )
    for i in range(RUNS):
        point, divisor = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in (w, P))
        H = dense_reference(cost, point, data)
        with jax.enable_x64(True):
            root = 1 / np.sqrt(np.asarray(ravel_pytree(in_float64(divisor))[0]))
        known = np.linalg.eigvalsh(root[:, None] * H * root)[-1]
        assert result[i] == pytest.approx(known, rel=error)


@pytest.mark.long
def test_the_metric_reads_the_preconditioner_from_the_optimizer_state():
    """After one step of Adam, P is (1 - b1) (|g| + eps), where g is the gradient at the start."""
    cost, params, data = regression(20)
    problem, rates = gd.Problem(init=lambda key: params, cost=cost, data=data), [0.01, 0.02]
    adam = partial(optax.adam, b2=0.9)
    metrics = {"read": sharpness_metric(problem, preconditioner=preconditioner(adam))}
    axes = gd.axes(learning_rate=rates)
    runs = gd.sweep(problem, axes, 1, make_optimizer=adam, metrics=metrics)
    assert np.isnan(runs.read.isel(step=0)).all()
    gradient = jax.grad(cost)(params, data)
    root = 1 / np.sqrt(0.1 * (np.abs(np.asarray(ravel_pytree(gradient)[0], float)) + 1e-8))
    for rate, result in zip(rates, runs.read.isel(step=1).values, strict=True):
        ahead = jax.tree.map(lambda w, g, rate=rate: w - rate * jnp.sign(g), params, gradient)
        H = dense_reference(cost, ahead, data)
        known = np.linalg.eigvalsh(root[:, None] * H * root)[-1]
        assert result == pytest.approx(known, rel=1e-2)
