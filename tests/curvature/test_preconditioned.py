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


def test_preconditioners_with_equal_settings_are_equal_and_have_equal_hashes():
    assert preconditioner(optax.adam) == preconditioner(optax.adamw)
    assert hash(preconditioner(optax.adam)) == hash(preconditioner(partial(optax.adam, b1=0.9)))
    assert preconditioner(partial(optax.adam, b2=0.99)) != preconditioner(optax.adam)


@pytest.mark.long
def test_the_metric_reads_the_preconditioner_from_the_optimizer_state():
    """The metric is half the sharpness for P = 2, and NaN at step 0 with Adam."""
    cost, params, data = regression(20)
    problem = gd.Problem(init=lambda key: params, cost=cost, data=data)
    constant_average = partial(optax.rmsprop, decay=1.0, eps=0.0, initial_scale=4.0)
    adam = partial(optax.adam, b2=0.9)
    result = {}
    for name, rule in {"held": constant_average, "adam": adam}.items():
        metrics = {
            "plain": sharpness_metric(problem),
            "read": sharpness_metric(problem, preconditioner=preconditioner(rule)),
        }
        result[name] = gd.sweep(
            problem,
            gd.axes(learning_rate=[0.01, 0.02]),
            4,
            make_optimizer=rule,
            metrics=metrics,
        )
    np.testing.assert_allclose(result["held"].read, result["held"].plain / 2, rtol=2e-3)
    read = result["adam"].read.transpose("learning_rate", "step").values
    assert np.isnan(read[:, 0]).all()
    # After one step P is (1 - b1) (|g| + eps), where g is the gradient at the start.
    g = ravel_pytree(jax.grad(cost)(params, data))[0]
    ahead = optax.apply_updates(
        params, jax.tree.map(lambda g: -0.01 * jnp.sign(g), jax.grad(cost)(params, data))
    )
    root = 1 / np.sqrt(0.1 * (np.abs(np.asarray(g, float)) + 1e-8))
    H = dense_reference(cost, ahead, data)
    assert read[0, 1] == pytest.approx(np.linalg.eigvalsh(root[:, None] * H * root)[-1], rel=1e-2)
