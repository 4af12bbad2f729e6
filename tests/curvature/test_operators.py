"""Products with the Hessian against dense matrices in float64."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from curved_problems import dense_reference, pooled_digits, random_params, regression
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature import operators
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.errors import InputError
from gdjax.problems import Network
from gdjax.problems.problem import as_problem


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


# -- Hessian times a vector


@pytest.mark.parametrize("samples", [10, 2_500, 1_511])
def test_product_is_that_of_the_dense_hessian_in_one_block_and_in_many(float64, samples):
    cost, params, data = regression(samples)
    flat, unravel = ravel_pytree(params)
    H = np.asarray(jax.jit(jax.hessian(lambda w: cost(unravel(w), data)))(flat))
    product = jax.jit(lambda v: operators.hessian_vector_product(cost, params, v, data=data))
    for seed in range(3):
        v = np.random.default_rng(seed).normal(size=flat.size)
        found = ravel_pytree(product(unravel(jnp.array(v))))[0]
        np.testing.assert_allclose(found, H @ v, rtol=1e-10, atol=1e-12)


def test_product_with_a_bowl_is_its_matrix_times_the_vector(float64):
    problem = gd.problems.function("rosenbrock")
    found = operators.hessian_vector_product(
        problem.cost, jnp.array([1.0, 1.0]), jnp.array([1.0, 2.0])
    )
    # The Hessian of (1 - x)^2 + 100 (y - x^2)^2 at (1, 1) is [[802, -400], [-400, 200]].
    np.testing.assert_allclose(found, [2.0, 0.0], atol=1e-12)


def test_product_mapped_over_runs_is_that_of_each(float64):
    cost, _, data = regression(30)
    many = [random_params(Network((3, 4, 2)), seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *many)

    @jax.jit
    def product(w):
        return operators.hessian_vector_product(cost, w, w, data=data)

    together = jax.jit(jax.vmap(product))(stacked)
    for i, params in enumerate(many):
        alone = optax.tree.sub(product(params), jax.tree.map(lambda a, i=i: a[i], together))
        assert optax.tree.norm(alone) < 1e-12


@pytest.mark.parametrize("samples", [10, 2_500])
def test_matrix_products_are_in_full_precision_and_only_there(samples):
    cost, params, data = regression(samples)
    problem = regression_problem(data)
    found = jax.make_jaxpr(
        lambda w, data: (
            operators.hessian_vector_product(cost, w, w, data=data),
            operators.gauss_newton_vector_product(problem, w, w, data=data),
            operators.hessian(cost, w, data=data),
        )
    )(params, data)
    matrices = str(found).split("dot_general[")[1:]
    assert len(matrices) > 10
    assert all("precision=(Precision.HIGHEST, Precision.HIGHEST)" in p[:400] for p in matrices)
    assert jax.config.jax_default_matmul_precision is None


def test_a_vector_of_another_tree_is_named():
    cost, params, data = regression(5)
    with pytest.raises(InputError, match="vector has"):
        operators.hessian_vector_product(cost, params, params[0], data=data)
    with pytest.raises(InputError, match=r"\(2,\).*expected .*\(3,\)"):
        operators.hessian_vector_product(jnp.sum, jnp.ones(3), jnp.ones(2))
    with pytest.raises(InputError, match="gauss_newton_vector_product: vector has"):
        operators.gauss_newton_vector_product(regression_problem(data), params, params[0])


def test_gauss_newton_of_a_bare_cost_is_refused():
    cost, params, data = regression(5)
    with pytest.raises(InputError, match=r"no predict, no loss or no data .inputs, targets"):
        operators.gauss_newton_vector_product(gd.problems.as_problem(cost, data), params, params)


# -- the whole matrix


@pytest.mark.parametrize("samples", [7, 1_511])
def test_hessian_is_that_of_nested_differentiation(float64, samples):
    cost, params, data = regression(samples)
    found = jax.jit(lambda w, data: operators.hessian(cost, w, data=data))(params, data)
    np.testing.assert_allclose(found, dense_reference(cost, params, data), rtol=1e-9, atol=1e-12)


@pytest.mark.long
def test_hessian_of_a_network_in_float32_is_that_of_float64_to_rounding():
    cost, params, data = pooled_digits()
    found = jax.jit(lambda w, data: operators.hessian(cost, w, data=data))(params, data)
    exact = dense_reference(cost, params, data)
    assert np.array_equal(found, found.T)
    size = np.abs(np.linalg.eigvalsh(exact)).max()  # a third of what singular values take
    assert np.abs(np.linalg.eigvalsh(found - exact)).max() < 1e-5 * size


def test_hessian_of_two_groups_follows_the_order_of_the_flat_parameters(float64):
    # d2/da2, d2/dadb, d2/db2 of a^2 b at (2, 3): 2b, 2a, 0.
    found = operators.hessian(lambda w: w["a"] ** 2 * w["b"], {"b": 3.0, "a": 2.0})
    np.testing.assert_allclose(found, [[6, 4], [4, 0]])


def test_hessian_of_too_many_parameters_names_the_remedy():
    with pytest.raises(InputError, match=r"5000 parameters, expected at most 4096.*`extreme_eig"):
        operators.hessian(jnp.sum, jnp.ones(5000))


# -- Gauss-Newton


def regression_model():
    """`predict` and `loss` of the regression."""
    network = Network((3, 4, 2), activation="tanh")
    return network.apply, lambda a, y: jnp.mean(jnp.sum(jnp.exp(a - y) + (a - y) ** 2, axis=1))


def regression_problem(data):
    """The regression with what Gauss and Newton need."""
    predict, loss = regression_model()
    return gd.Problem(
        init=Network((3, 4, 2)).init,
        cost=lambda w, batch: loss(predict(w, batch[0]), batch[1]),
        data=data,
        predict=predict,
        loss=loss,
    )


@pytest.mark.parametrize("samples", [10, 1_511])
def test_gauss_newton_is_the_dense_product_of_jacobians(float64, samples):
    predict, _ = regression_model()
    _, params, (x, y) = regression(samples)
    flat, unravel = ravel_pytree(params)
    J = np.asarray(jax.jit(jax.jacobian(lambda w: predict(unravel(w), x)))(flat))
    # Each sample's loss bends by exp(a - y) + 2 in each output, over the number of samples.
    bend = (np.exp(np.asarray(predict(params, x) - y)) + 2) / samples
    G = np.einsum("soi,so,soj->ij", J, bend, J)
    problem = regression_problem((x, y))
    product = jax.jit(lambda v: operators.gauss_newton_vector_product(problem, params, v))
    for seed in range(3):
        v = np.random.default_rng(seed).normal(size=flat.size)
        found = ravel_pytree(product(unravel(jnp.array(v))))[0]
        np.testing.assert_allclose(found, G @ v, rtol=1e-10, atol=1e-12)


def test_gauss_newton_is_the_hessian_where_every_sample_is_fitted(float64):
    network = Network((3, 4, 2), activation="tanh")
    cost, params, (x, _) = regression(30)
    data = (x, network.apply(params, x))
    v = random_params(network, 5)
    both = (
        operators.hessian_vector_product(cost, params, v, data=data),
        operators.gauss_newton_vector_product(
            gd.Problem(
                init=network.init,
                cost=cost,
                data=data,
                predict=network.apply,
                loss=lambda a, y: jnp.mean(jnp.sum((a - y) ** 2, axis=1)),
            ),
            params,
            v,
        ),
    )
    H, G = (ravel_pytree(tree)[0] for tree in both)
    np.testing.assert_allclose(G, H, rtol=1e-10, atol=1e-12)


def reverse_alone():
    """A cost, the sum of fourth powers, whose gradient has no forward mode."""

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
def test_second_derivatives_without_forward_mode_are_taken_in_reverse(wrapped):
    cost, w = reverse_alone(), jnp.array([1.0, 2.0])
    with pytest.raises(TypeError, match="forward-mode"):
        jax.hessian(cost)(w)
    product = wrapped(lambda w, v: operators.hessian_vector_product(cost, w, v))
    np.testing.assert_allclose(product(w, jnp.array([1.0, 10.0])), [12, 480], rtol=1e-6)


def test_third_and_fourth_derivatives_without_forward_mode():
    at = directional_derivatives(as_problem(reverse_alone()), lambda w: w)
    twice, thrice = at.fourth(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(twice, [24, 0], atol=1e-5)
    np.testing.assert_allclose(thrice, 24, rtol=1e-6)


@pytest.mark.long
def test_a_cost_without_second_derivatives_says_what_helps():
    """The default adjoint of diffrax has neither a forward mode nor a reverse mode twice.

    Only a whole solver shows it, and tracing one takes seconds.
    """

    def product(w):
        def cost(w):
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, y, rate: -rate[0] * y),
                diffrax.Heun(), 0.0, 1.0, 0.25, jnp.array(1.0), args=w,
            )  # fmt: skip
            return jnp.sum(solution.ys)

        return operators.hessian_vector_product(cost, w, jnp.ones(1))

    w = jnp.array([0.5])
    with pytest.raises(InputError, match=r"has neither.*diffrax\.DirectAdjoint"):
        jax.jit(product).lower(w)
