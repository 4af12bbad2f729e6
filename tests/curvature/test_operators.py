"""Products with the Hessian, compared with dense matrices in float64."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import dense_reference, digit_network, in_float64, random_params, regression
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.curvature import (
    GaussNewtonOperator,
    HessianOperator,
    PreconditionedHessian,
    Sharpness,
    check_gradient,
    extreme_eigenpairs,
    hessian_trace,
    spectral_density,
)
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems import Network
from gdjax.problems.problem import as_problem

matrix_of = jax.jit(lambda operator: operator.as_matrix())

# -- the Hessian


@pytest.mark.parametrize("samples", [7, 2_500, 1_511])
def test_products_in_microbatches_equal_those_with_the_dense_hessian(float64, samples):
    cost, params, data = regression(samples)
    result = matrix_of(HessianOperator(as_problem(cost, data), params))
    np.testing.assert_allclose(result, dense_reference(cost, params, data), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("samples", [10, 2_500])
def test_matrix_products_use_full_precision_without_changing_the_global_setting(samples):
    cost, params, data = regression(samples)
    problem = regression_problem(data)
    result = jax.make_jaxpr(
        lambda w, data: (
            HessianOperator(as_problem(cost, data), w).mv(w),
            GaussNewtonOperator(as_problem(problem, data), w).mv(w),
            HessianOperator(as_problem(cost, data), w).as_matrix(),
            value_and_gradient(as_problem(cost, data), w),
            check_gradient(as_problem(cost, data), w, jnp.array([0])),
        )
    )(params, data)
    matrices = str(result).split("dot_general[")[1:]
    assert len(matrices) > 10
    assert all("precision=(Precision.HIGHEST, Precision.HIGHEST)" in p[:400] for p in matrices)
    assert jax.config.jax_default_matmul_precision is None


@pytest.mark.long
def test_the_float32_hessian_of_a_network_equals_that_in_float64_within_rounding():
    cost, params, data, exact, eigenvalues = digit_network()
    result = matrix_of(HessianOperator(as_problem(cost, data), params))
    assert np.array_equal(result, result.T)
    size = np.abs(eigenvalues).max()  # singular values would take longer
    assert np.abs(np.linalg.eigvalsh(result - exact)).max() < 1e-5 * size


def test_rows_of_the_hessian_of_a_dictionary_are_in_the_order_of_the_flat_parameters(float64):
    # d2/da2, d2/dadb, d2/db2 of a^2 b at (2, 3): 2b, 2a, 0.
    result = HessianOperator(lambda w: w["a"] ** 2 * w["b"], {"b": 3.0, "a": 2.0}).as_matrix()
    np.testing.assert_allclose(result, [[6, 4], [4, 0]])


# -- Gauss-Newton


def regression_problem(data):
    """Return a regression with a loss that is not quadratic, for Gauss-Newton."""
    network = Network((3, 4, 2), activation="tanh")
    return gd.problems.supervised(
        network.init,
        network.apply,
        lambda a, y: jnp.sum(jnp.exp(a - y) + (a - y) ** 2, axis=1),
        data,
    )


def dense_gauss_newton(params, x, y):
    """Return J^T L J.

    The curvature of a sample's loss is exp(a - y) + 2 in each output, divided by the number of
    samples.
    """
    predict = regression_problem((x, y)).predict
    flat, unravel = ravel_pytree(params)
    J = np.asarray(jax.jit(jax.jacobian(lambda w: predict(unravel(w), x)))(flat))
    L = (np.exp(np.asarray(predict(params, x) - y)) + 2) / len(x)
    return np.einsum("soi,so,soj->ij", J, L, J)


@pytest.mark.parametrize("samples", [10, 1_511])
def test_gauss_newton_equals_the_dense_product_of_jacobians(float64, samples):
    _, params, data = regression(samples)
    result = matrix_of(GaussNewtonOperator(regression_problem(data), params))
    np.testing.assert_allclose(result, dense_gauss_newton(params, *data), rtol=1e-10, atol=1e-12)


@pytest.mark.long
def test_gauss_newton_equals_the_hessian_where_every_sample_is_fitted(float64):
    network = Network((3, 4, 2), activation="tanh")
    _, params, (x, _) = regression(30)
    data, v = (x, network.apply(params, x)), random_params(network, 5)
    problem = gd.problems.supervised(
        network.init, network.apply, lambda a, y: jnp.sum((a - y) ** 2, axis=1), data
    )
    both = HessianOperator(problem, params).mv(v), GaussNewtonOperator(problem, params).mv(v)
    H, G = (ravel_pytree(tree)[0] for tree in both)
    np.testing.assert_allclose(G, H, rtol=1e-10, atol=1e-12)


def reverse_alone():
    """Return the sum of fourth powers, with a gradient that forbids forward mode."""

    @jax.custom_vjp
    def again(w):
        return w

    again.defvjp(lambda w: (w, None), lambda _, g: (g,))

    @jax.custom_vjp
    def fourth(w):
        return jnp.sum(w**4)

    fourth.defvjp(lambda w: (jnp.sum(w**4), w), lambda w, g: (4 * g * again(w) ** 3,))
    return fourth


@pytest.mark.parametrize("wrapped", [lambda f: f, jax.jit])
def test_second_derivatives_without_forward_mode_are_computed_in_reverse_mode(wrapped):
    cost, w = reverse_alone(), jnp.array([1.0, 2.0])
    product = wrapped(lambda w, v: HessianOperator(cost, w).mv(v))
    np.testing.assert_allclose(product(w, jnp.array([1.0, 10.0])), [12, 480], rtol=1e-6)


def test_a_gauss_newton_product_without_forward_mode_is_computed_in_reverse_mode():
    @jax.custom_vjp
    def sine(z):
        return jnp.sin(z)

    sine.defvjp(lambda z: (jnp.sin(z), z), lambda z, g: (g * jnp.cos(z),))
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(5, n)).astype(np.float32) for n in (3, 2))
    w, v = (rng.normal(size=(3, 2)).astype(np.float32) for _ in range(2))

    def product(f):
        loss = lambda a, y: jnp.sum((a - y) ** 4, axis=1)  # noqa: E731
        problem = gd.problems.supervised(lambda key: w, lambda w, x: f(x @ w), loss, (x, y))
        return GaussNewtonOperator(problem, w).mv(v)

    np.testing.assert_allclose(product(sine), product(jnp.sin), rtol=1e-5)


def test_third_and_fourth_derivatives_without_forward_mode_use_reverse_mode():
    at = directional_derivatives(as_problem(reverse_alone()), lambda w: w)
    twice, thrice = at.fourth(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(twice, [24, 0], atol=1e-5)
    np.testing.assert_allclose(thrice, 24, rtol=1e-6)


@pytest.mark.long
def test_a_cost_without_second_derivatives_raises_an_error_that_names_the_fix():
    """Diffrax's default adjoint supports neither forward nor nested reverse mode."""

    def product(w):
        def cost(w):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, y, rate: -rate[0] * y),
                diffrax.Heun(), 0.0, 1.0, 0.25, jnp.array(1.0), args=w,
            )  # fmt: skip
            return jnp.sum(solution.ys)

        return HessianOperator(cost, w).mv(jnp.ones(1))

    w = jnp.array([0.5])
    with pytest.raises(InputError, match=r"has neither.*diffrax\.DirectAdjoint"):
        jax.jit(product).lower(w)


# -- functions of operators


OPERATORS = {
    "Hessian": HessianOperator,
    "Gauss-Newton": GaussNewtonOperator,
    "preconditioned": lambda problem, params: PreconditionedHessian(
        problem, params, jax.tree.map(lambda a: 1 + a**2, params)
    ),
}


@pytest.fixture(scope="module")
def fitted():
    """Return a regression, its parameters, and the operators as float64 matrices."""
    _, params, data = regression(40)
    problem = regression_problem(data)
    with jax.enable_x64(True):
        G = dense_gauss_newton(*jax.tree.map(jnp.asarray, in_float64((params, *data))))
    H = dense_reference(problem.cost, params, data)
    root = 1 / np.sqrt(1 + np.asarray(ravel_pytree(params)[0], float) ** 2)
    matrices = {"Hessian": H, "Gauss-Newton": G, "preconditioned": root * H * root[:, None]}
    return problem, params, matrices


@pytest.mark.parametrize("name", OPERATORS)
def test_spectral_functions_accept_every_operator(fitted, name):
    problem, params, matrices = fitted
    A, key = matrices[name], jax.random.key(0)
    size = np.abs(A).max()
    operator = OPERATORS[name](problem, params)
    assert operator.shape == A.shape
    assert operator.dtype == np.float32

    @jax.jit
    def look(operator, problem, params):
        point, options = (problem, params), {"key": key, "operator": OPERATORS[name]}
        pairs = extreme_eigenpairs(*point, largest=2, smallest=1, **options)
        spread, trace = spectral_density(*point, **options), hessian_trace(*point, **options)
        return operator.as_matrix(), pairs, trace, spread.nodes

    matrix, pairs, trace, nodes = look(operator, problem, params)
    values = np.linalg.eigvalsh(A)
    np.testing.assert_allclose(matrix, A, atol=1e-5 * size)
    np.testing.assert_allclose(pairs.values, values[[-1, -2, 0]], atol=1e-4 * size)
    np.testing.assert_allclose(trace.value, np.trace(A), rtol=1e-4)
    np.testing.assert_allclose(np.sort(nodes[0]), values, atol=1e-4 * size)


@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator])
def test_operators_can_be_vmapped_over_points(fitted, kind):
    problem, params, _ = fitted
    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    v = jax.tree.map(jnp.ones_like, params)
    mapped = jax.vmap(lambda w, v: kind(problem, w).mv(v), (0, None))(many, v)
    alone = kind(problem, jax.tree.map(lambda a: a[1], many)).mv(v)
    for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Hessian", "Gauss-Newton"])
def test_the_operator_of_a_layer_is_a_diagonal_block(fitted, name):
    problem, params, matrices = fitted
    layers = OPERATORS[name](problem, params).layers()
    assert list(layers) == ["0", "1"]
    at = 0
    for block in layers.values():
        rows = slice(at, at + block.shape[0])
        result = matrix_of(block)
        np.testing.assert_allclose(result, matrices[name][rows, rows], atol=1e-5)
        at += block.shape[0]
    assert at == len(matrices[name])


@pytest.mark.parametrize("layer", ["0", None])
@pytest.mark.parametrize("kind", [HessianOperator, GaussNewtonOperator])
def test_the_sharpness_metric_accepts_an_operator_and_a_layer(fitted, kind, layer):
    problem, params, _ = fitted
    matrix = np.asarray(kind(problem, params, layer=layer).as_matrix())
    metric = Sharpness(operator=lambda problem, w: kind(problem, w, layer=layer))
    value, _ = jax.jit(partial(metric, problem))(params, metric.init(problem, params))
    assert float(value) == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-3)
