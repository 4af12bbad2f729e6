"""The catapult experiment: a recursion for linear networks, and period doubling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.catapult import model as methods
from experiments.catapult.__main__ import onset


@pytest.mark.parametrize(("x64", "error"), [(False, 1e-2), (True, 1e-9)])
def test_descents_of_linear_networks_satisfy_a_recursion_of_two_numbers(x64, error):
    """Hand-written descents run from 16 starts, at rates below and above 2 / k."""
    width, steps, starts = 64, 150, 16
    with jax.enable_x64(x64):
        U, v = jax.random.normal(jax.random.key(1), (2, starts, width))
        f, k = jnp.sum(U * v, 1) / np.sqrt(width), jnp.sum(U**2 + v**2, 1) / width
        shares = jnp.linspace(0.5, 3.5, starts)
        known = jax.vmap(methods.two_numbers, (0, 0, 0, None, None))(f, k, shares, width, steps)

        def step(params, _):
            U, v = params
            f, k = jnp.sum(U * v, 1) / np.sqrt(width), jnp.sum(U**2 + v**2, 1) / width
            move = (shares / k0 * f / np.sqrt(width))[:, None]
            return (U - move * v, v - move * U), (f, k)

        k0 = k
        result = jax.lax.scan(step, (U, v), length=steps + 1)[1]
        for a, b in zip(result, known, strict=True):
            scale = np.max(np.abs(b), axis=1, keepdims=True)
            np.testing.assert_allclose(a.T / scale, b / scale, atol=error)


def test_the_curvature_is_the_largest_eigenvalue_of_the_full_kernel():
    with jax.enable_x64(True):
        problem = methods.network(jnp.tanh, 20, 3)
        (U, v), k = jax.jit(problem.init)(gd.run_keys(0).init)
        x = problem.data[0]
        outputs = lambda U, v: v @ jnp.tanh(U @ x.T) / np.sqrt(20)  # noqa: E731
        slopes = jax.jit(jax.jacobian(outputs, (0, 1)))(U, v)
        J = np.concatenate([np.asarray(s).reshape(3, -1) for s in slopes], axis=1)
        assert float(k) == pytest.approx(np.linalg.eigvalsh(J @ J.T / 3)[-1], rel=1e-10)


def test_the_onset_of_a_square_root_is_recovered():
    rates = np.linspace(0, 1, 2000)
    assert onset(rates, np.sqrt(np.maximum(rates - 0.4, 0))) == pytest.approx(0.4)
