"""Problems as arguments: functions use their deterministic cost and their data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax import curvature, dynamics, landscape, minima
from gdjax.base.errors import InputError
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems import Problem, frozen

KEY = jax.random.key(0)


LOOKS = {
    "value_and_gradient": value_and_gradient,
    "hessian_vector_product": lambda cost, w: curvature.HessianOperator(cost, w).mv(w),
    "extreme_eigenpairs": partial(curvature.extreme_eigenpairs, key=KEY),
    "hessian_trace": partial(curvature.hessian_trace, key=KEY),
    "gradient_flow": partial(dynamics.gradient_flow, times=np.array([1.0])),
    "along": lambda p, w: minima.path_cost(p, minima.linear_path(w, w), points=2),
}


@pytest.mark.parametrize("name", LOOKS)
def test_jitted_functions_take_data_as_an_argument(name):
    data = jnp.array(np.random.default_rng(0).normal(size=(40_000, 3)), np.float32)
    problem = Problem(init=jnp.zeros, cost=lambda w, x: jnp.mean((x @ w - 1) ** 2), data=data)
    lowered = jax.jit(LOOKS[name]).lower(problem, jnp.ones(3))
    # Constants would take two characters per byte of data.
    assert len(lowered.as_text()) < data.nbytes


def batch_normalized(w, x):
    """Return a cost that couples samples: it is not a mean over microbatches."""
    z = x @ w
    return jnp.mean((z - jnp.mean(z)) ** 4) / jnp.var(z) ** 2


@pytest.mark.long
def test_a_cost_that_couples_samples_is_evaluated_on_all_samples_at_once():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2100, 2)) * np.where(np.arange(2100) < 1000, 1, 5)[:, None]
    x, w = jnp.array(x, np.float32), jnp.array([1.0, 2.0])
    problem = Problem(init=jnp.zeros, cost=batch_normalized, data=x, couples_samples=True)
    whole, slope = jax.value_and_grad(batch_normalized)(w, x)
    result, gradient = value_and_gradient(problem, w)
    np.testing.assert_allclose(result, whole, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-5)
    dataset = landscape.line(problem, w, w, [0.0])
    np.testing.assert_allclose(dataset.cost.values, [whole], rtol=1e-5)
    np.testing.assert_allclose(
        minima.path_cost(problem, minima.linear_path(w, w), points=2), [whole] * 2, rtol=1e-5
    )


NOISY = Problem(
    init=lambda key: jnp.ones(2),
    cost=lambda w, *, key: jnp.sum(w**2) + jax.random.normal(key),
    evaluation=lambda w: jnp.sum(w**2) + 3,
)


def test_a_random_cost_is_evaluated_by_its_deterministic_cost():
    w = jnp.ones(2)
    assert float(value_and_gradient(NOISY, w)[0]) == 5
    assert landscape.line(NOISY, w, w, [-1.0, 0.0]).cost.values.tolist() == [3, 5]
    assert minima.path_cost(NOISY, minima.linear_path(0 * w, w), points=2).tolist() == [3, 5]
    assert minima.curve(NOISY, w, w).cost(jnp.ones((3, 2))) == pytest.approx(5)


CARRIES = Problem(
    init=lambda key: (jnp.ones(2), jnp.zeros(())),
    cost=lambda w, *, model_state: (
        jnp.sum((w - model_state) ** 2),
        0.9 * model_state + 0.1 * w[0],
    ),
)


@pytest.mark.parametrize(
    "look",
    [
        lambda p, w: curvature.HessianOperator(p, w).as_matrix(),
        lambda p, w: landscape.line(p, w, w, [0.0]),
        lambda p, w: minima.path_cost(p, minima.linear_path(w, w)),
        lambda p, w: minima.curve(p, w, w),
        lambda p, w: minima.pairwise_barriers(p, jnp.stack([w, w]), key=KEY),
    ],
)
def test_a_cost_with_model_state_must_be_frozen(look):
    with pytest.raises(InputError, match="state"):
        look(CARRIES, jnp.ones(2))
    look(frozen(CARRIES, model_state=jnp.ones(())), jnp.ones(2))


def test_a_frozen_cost_uses_one_model_state():
    problem, w = frozen(CARRIES, model_state=jnp.array(3.0)), jnp.ones(2)
    assert float(value_and_gradient(problem, w)[0]) == 8
    assert landscape.line(problem, w, w, [0.0, 2.0]).cost.values.tolist() == [8, 0]


def test_the_cost_of_a_problem_with_data_is_refused_in_favor_of_the_problem():
    problem = Problem(jnp.ones, lambda w, x: jnp.mean((w - x) ** 2), data=np.ones(3))
    with pytest.raises(InputError, match=r"pass `problem`, not `problem\.cost`"):
        curvature.extreme_eigenpairs(problem.cost, jnp.ones(2), key=KEY)
