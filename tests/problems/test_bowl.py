"""Quadratic costs, compared with linear algebra in NumPy and exact descents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.problems.bowl import bowl
from gdjax.problems.facts import check_problem


def rotation(n):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("basis", [None, rotation(4)], ids=["straight", "rotated"])
def test_value_gradient_and_hessian_equal_those_of_numpy(basis):
    spectrum, minimum = np.array([-2.0, 0.0, 0.5, 300.0]), np.array([1.0, -2.0, 3.0, 0.5])
    q = np.eye(4) if basis is None else basis
    hessian = q @ np.diag(spectrum) @ q.T
    problem = bowl(spectrum, minimum, basis=basis)
    w = np.array([0.3, 0.1, -0.7, 2.0])
    d = w - minimum
    np.testing.assert_allclose(problem.cost(jnp.asarray(w)), d @ hessian @ d / 2, rtol=1e-13)
    np.testing.assert_allclose(
        jax.jit(jax.grad(problem.cost))(w), hessian @ d, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        jax.jit(jax.hessian(problem.cost))(w), hessian, rtol=1e-12, atol=1e-12
    )


def test_starts_are_normally_distributed_around_the_minimum():
    problem = bowl([1.0, 2.0], minimum=[10.0, -10.0])
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 4096))
    assert starts.dtype == jnp.float32
    # The tolerances are five standard errors.
    np.testing.assert_allclose(starts.mean(axis=0), [10, -10], atol=5 / np.sqrt(4096))
    np.testing.assert_allclose(starts.std(axis=0), 1, atol=5 / np.sqrt(2 * 4096))
    check_problem(problem, starts[0])


@pytest.mark.usefixtures("float64")
def test_parameters_keep_their_precision():
    problem = bowl([1, 2], basis=rotation(2))
    assert problem.init(jax.random.key(0)).dtype == jnp.float64
    assert problem.cost(jnp.ones(2, jnp.float32)).dtype == jnp.float32
    assert problem.provenance is None  # it would need the basis
