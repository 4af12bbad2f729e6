"""Polishing: accuracy of the critical points, and reports of failures."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import pooled_digits, quadratic, regression

from gdjax.curvature import classify, polish
from gdjax.curvature.critical_points.classify import Kind
from gdjax.curvature.critical_points.polish import PolishStatus
from gdjax.problems import as_problem
from gdjax.problems.test_functions import FUNCTIONS

NAMES = ("quartic", "rosenbrock", "himmelblau", "beale", "goldstein_price")
NEAR = 0.02  # distance from a critical point


def of_vector(name):
    """Return a test function as a function of a vector, also in one dimension."""
    f = FUNCTIONS[name].f
    return f if len(FUNCTIONS[name].domain) > 1 else lambda w: f(w[0])


@cache
def polisher(name):
    """Return the compiled `polish` of a function, vmapped over points."""
    f = of_vector(name)
    return jax.jit(jax.vmap(lambda x, t: polish(f, x, atol=t, max_steps=200), (0, None)))


def polished(name, points, tolerance):
    return jax.tree.map(np.asarray, polisher(name)(jnp.array(points, float), tolerance))


def points_of(name, *kinds):
    points = [p.x for p in FUNCTIONS[name].critical_points if p.kind in kinds]
    return np.array(points, float).reshape(len(points), -1)


def beside(points):
    """Return points displaced slightly in random directions."""
    away = np.random.default_rng(0).normal(size=points.shape)
    return points + NEAR * away / np.linalg.norm(away, axis=1, keepdims=True)


def check_positions(name, result, points, error, atol):
    """Check that results are at points of a function, within a relative error of the gradient."""
    with jax.enable_x64(True):
        H = jax.jit(jax.vmap(jax.hessian(of_vector(name))))(jnp.array(points))
    steep = np.abs(np.linalg.eigvalsh(H)).max(axis=1)
    assert np.all(result.gradient_norm <= error * steep * (1 + np.linalg.norm(points, axis=1)))
    np.testing.assert_allclose(result.params, points, atol=atol)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_minima_of_test_functions_are_reached_within_rounding(name):
    """With tolerance 0, polishing stops at the resolution of the parameters."""
    minima = points_of(name, "minimum")
    with jax.enable_x64(True):
        result = polished(name, beside(minima), 0.0)
    # The rounding error of a polynomial gradient scales with its terms, which exceed their sum.
    check_positions(name, result, minima, 1e-12, 1e-9)
    values = [p.value for p in FUNCTIONS[name].critical_points if p.kind == "minimum"]
    np.testing.assert_allclose(result.cost, values, atol=1e-12 * (1 + np.abs(values).max()))
    assert result.num_steps.max() < 200


@pytest.mark.parametrize("name", ["quartic", "himmelblau"])
def test_in_float32_the_gradient_is_limited_by_the_rounding_of_parameters(name):
    minima = points_of(name, "minimum")
    result = polished(name, beside(minima), 0.0)
    assert result.gradient_norm.dtype == np.float32
    check_positions(name, result, minima, 4 * np.finfo(np.float32).eps, 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("name", ["himmelblau", "goldstein_price"])
def test_polish_started_near_saddles_and_maxima_converges_to_minima(name):
    start, minima = beside(points_of(name, "saddle", "maximum")), points_of(name, "minimum")
    with jax.enable_x64(True):
        before = np.asarray(jax.vmap(FUNCTIONS[name].f)(jnp.array(start)))
        result = polished(name, start, 1e-8)
    assert np.all(result.gradient_norm <= 1e-8)
    assert np.all(result.cost < before)
    apart = np.linalg.norm(result.params[:, None] - minima, axis=2).min(axis=1)
    assert apart.max() < 1e-6


def test_three_steps_decrease_the_cost_without_convergence():
    valley = FUNCTIONS["rosenbrock"].f
    start = jnp.array([-1.2, 1.0])
    result = jax.jit(lambda w: polish(valley, w, max_steps=3))(start)
    assert int(result.num_steps) == 3
    assert result.gradient_norm > 1e-3
    assert result.cost < valley(start)
    # The length of the first step is at most 0.1, and that of each step at most twice the previous.
    assert np.linalg.norm(result.params - start) <= 0.1 + 0.2 + 0.4


def test_polish_terminates_on_a_cost_without_a_minimum():
    """On exp(-w) the end has a gradient below 0.01, and on -w^3 it is finite."""
    result = jax.jit(lambda w: polish(lambda w: jnp.exp(-w), w))(jnp.array(0.0))
    assert result.params > 5
    assert result.cost < 1e-2
    result = jax.jit(lambda w: polish(lambda w: -(w**3), w, max_steps=200))(jnp.array(1.0))
    assert np.isfinite(result.params)
    assert result.gradient_norm > 1


def test_steps_to_costs_that_are_not_finite_are_rejected():
    """The first step on 50 w - log w would end at w < 0, where the cost is NaN."""
    result = jax.jit(lambda w: polish(lambda w: 50 * w - jnp.log(w), w))(jnp.array(0.09))
    assert float(result.params) == pytest.approx(0.02, rel=1e-5)
    assert result.gradient_norm < 1e-3


@pytest.mark.parametrize("start", [[0.0, 0.0], [1.0, np.nan], [1.0, np.inf]])
def test_a_start_that_is_a_saddle_or_not_finite_is_returned_unchanged(start):
    result = polish(lambda w: w[0] ** 2 - w[1] ** 2, jnp.array(start))
    assert int(result.num_steps) == 0
    assert bool(np.isfinite(result.gradient_norm)) == all(np.isfinite(start))
    np.testing.assert_array_equal(result.params, start)


@pytest.mark.long
def test_an_ill_conditioned_quadratic_above_the_dense_limit_takes_few_steps():
    eigenvalues = np.geomspace(1e-2, 1, 600)
    cost, w, data = quadratic(eigenvalues)
    result = jax.jit(partial(polish, atol=1e-5))(as_problem(cost, jnp.array(data)), w)
    assert result.gradient_norm <= 1e-5
    assert np.linalg.norm(result.params) <= 1e-5 / 1e-2
    assert int(result.num_steps) < 40


@pytest.mark.long
def test_a_network_is_polished_to_a_small_gradient():
    """The 100-16-16-10 network with weight decay starts far from a minimum."""
    cost, params, data = pooled_digits(samples=30)

    def decayed(params, batch):
        return cost(params, batch) + 1e-2 * sum(jnp.sum(a**2) for a in jax.tree.leaves(params))

    result = jax.jit(partial(polish, atol=3e-6))(as_problem(decayed, data), params)
    assert result.gradient_norm <= 3e-6
    assert result.cost < jax.jit(decayed)(params, data)
    slope = jax.jit(jax.grad(decayed))(result.params, data)
    norm = np.sqrt(sum(float(jnp.sum(a**2)) for a in jax.tree.leaves(slope)))
    assert norm == pytest.approx(float(result.gradient_norm), abs=2e-6)


@pytest.mark.long
def test_vmapped_polish_equals_separate_calls_if_one_run_has_diverged():
    traces = []

    def one(w, data):
        return polish(as_problem(counted, data), w, atol=1e-10)

    with jax.enable_x64(True):
        cost, _, data = regression(20)

        def counted(w, batch):
            traces.append(1)
            return cost(w, batch) + 1e-2 * sum(jnp.sum(a**2) for a in jax.tree.leaves(w))

        starts = [regression(20, seed)[1] for seed in range(3)]
        starts.insert(1, jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), starts[0]))
        together, alone = jax.jit(jax.vmap(one, (0, None))), jax.jit(one)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *starts)
        result = together(stacked, data)
        before = len(traces)
        together(jax.tree.map(lambda a: 2 * a, stacked), data)
        assert len(traces) == before
        for i in (0, 2, 3):
            expected = alone(starts[i], data)
            assert expected.gradient_norm <= 1e-10
            assert result.gradient_norm[i] <= 1e-10
            np.testing.assert_allclose(result.cost[i], expected.cost, rtol=1e-12)
            for a, b in zip(*map(jax.tree.leaves, (result.params, expected.params)), strict=True):
                np.testing.assert_allclose(a[i], b, atol=1e-7)
        assert np.isnan(result.gradient_norm[1])
        assert int(result.num_steps[1]) == 0


@pytest.mark.long
def test_cross_entropy_converges_in_float64_but_not_in_float32():
    """A regularized softmax regression has float32 data; its end point is a strict minimum."""
    rng = np.random.default_rng(0)
    x, labels = jnp.array(rng.normal(size=(40, 3)), jnp.float32), rng.integers(3, size=40)
    y = jnp.array(np.eye(3)[labels], jnp.float32)

    def cost(w, batch):
        outputs = jax.nn.log_softmax(batch[0] @ w)
        return -jnp.mean(jnp.sum(batch[1] * outputs, axis=1)) + 1e-3 * jnp.sum(w**2)

    problem, w = as_problem(cost, (x, y)), jnp.zeros((3, 3))
    single = jax.jit(partial(polish, atol=1e-10))(problem, w)
    assert single.status in (PolishStatus.LIMITED_BY_ROUNDING, PolishStatus.MAX_STEPS_REACHED)
    result = polish(problem, np.float64(w))
    assert result.cost.dtype == np.float64
    assert result.status == PolishStatus.CONVERGED
    assert result.gradient_norm <= 1e-10
    assert not jax.config.read("jax_enable_x64")
    classification = classify(problem, result.params, key=jax.random.key(0))
    assert classification.kind == Kind.STRICT_MINIMUM


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_types_of_the_parameters_are_preserved(dtype):
    polished = polish(lambda w: jnp.sum((w["a"] - 0.3) ** 2), {"a": np.ones(2, dtype)})
    assert polished.params["a"].dtype == polished.cost.dtype == dtype
    assert polished.status == PolishStatus.CONVERGED
    np.testing.assert_allclose(polished.params["a"], 0.3, rtol=4 * np.finfo(dtype).eps)
