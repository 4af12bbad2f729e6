"""Classification of known critical points, compared with dense Hessians."""

from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import dense_reference, pooled_digits, quadratic
from jax.flatten_util import ravel_pytree
from points_of_known_kind import REFUSALS
from scipy import signal

import gdjax as gd
from gdjax.base import progress
from gdjax.curvature import Kind, classify
from gdjax.curvature.critical_points.classification import Classification
from gdjax.problems.test_functions import FUNCTIONS

KEY = jax.random.key(0)


def kinds(classifications):
    return [Kind(code).label for code in np.atleast_1d(classifications.kind).tolist()]


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_only_points_without_a_kind_have_advice(kind):
    ones = Classification(*[np.float32(1) for _ in Classification._fields])
    result = ones._replace(kind=np.int32(kind))
    assert result.kind_name == kind.name.lower().replace("_", " ")
    assert (result.advice == "") == (kind not in REFUSALS)


def test_a_progress_bar_shows_the_time_of_a_classification(monkeypatch):
    bar = MagicMock()
    monkeypatch.setattr(progress, "bar", bar)
    w = jnp.zeros(2)
    classify(lambda w: jnp.sum(w**2), w, key=KEY)
    bar.assert_called_once_with("classifying", total=1, unit="point")
    jax.jit(lambda w: classify(lambda w: jnp.sum(w**2), w, key=KEY))(w)
    assert bar.call_count == 1


# -- test functions


def expected_kinds(function):
    names = {"minimum": "strict minimum", "maximum": "strict maximum", "saddle": "saddle"}
    return [names[point.kind] for point in function.critical_points]


def at_points(function, points):
    """Return classifications at many points, in the default floating-point type."""
    program = jax.jit(jax.vmap(lambda x: classify(function.f, x, key=KEY)))
    return jax.tree.map(np.asarray, program(jnp.array(points, float)))


@pytest.mark.parametrize("name", ["himmelblau", "ackley"])
def test_critical_points_of_test_functions_are_classified(name):
    """Ackley's lowest point is the tip of a cone, where no derivative exists."""
    function = FUNCTIONS[name]
    points = np.array([point.x for point in function.critical_points])
    with jax.enable_x64(True):
        result = at_points(function, points)
        H = np.asarray(jax.jit(jax.vmap(jax.hessian(function.f)))(jnp.array(points)))
    tip = np.array([name == "ackley" and not any(p.x) for p in function.critical_points])
    assert tip.sum() == (name == "ackley")
    assert kinds(result) == np.where(tip, "no derivative", expected_kinds(function)).tolist()
    exact = np.linalg.eigvalsh(H)
    np.testing.assert_allclose(result.smallest[~tip], exact[~tip, 0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.largest[~tip], exact[~tip, -1], rtol=1e-9, atol=1e-9)
    assert np.all(result.nullity[~tip] == 0)


@pytest.mark.long
def test_float32_points_count_as_stationary_within_rounding():
    """The gradient at rounded coordinates is nonzero, and may exceed the tolerance."""
    function = FUNCTIONS["himmelblau"]
    points = np.array([point.x for point in function.critical_points])
    result = at_points(function, np.concatenate([points, points + 0.01]))
    assert result.gradient_norm.dtype == np.float32
    assert kinds(result)[: len(points)] == expected_kinds(function)
    assert set(kinds(result)[len(points) :]) == {"not stationary"}


# -- evidence for a kind


def cubic_valley(w):
    return w[0] ** 2 + w[1] ** 3


@pytest.mark.parametrize("height", [1e-3, 1e-6])
def test_a_small_gradient_and_positive_eigenvalues_do_not_imply_a_minimum(height):
    """x^2 + y^3 has no minimum, and its Kantorovich number is 1/2 if x = 0, y > 0."""
    with jax.enable_x64(True):
        result = classify(cubic_valley, jnp.array([0.0, height]), key=KEY)
    assert result.smallest > 0
    assert result.gradient_norm < 1e-5
    assert float(result.kantorovich) == pytest.approx(0.5, rel=1e-6)
    assert kinds(result) == ["undecided"]
    assert "polish" in result.advice


def test_a_rounded_degenerate_minimum_is_not_said_to_be_far_from_a_critical_point():
    """Rounded coefficients of (a (w - c))^2 + (b (w - c))^4 give Newton steps of any length."""
    rng, count = np.random.default_rng(0), 64
    angles, centers = rng.uniform(0, np.pi, count), rng.uniform(-6, 6, (count, 2)).round(2)
    angles[0], centers[0] = 0.5138950028617462, (-5.11, 0.84)

    def coefficients(angle, center):
        """Return those of x^i y^j at [i, j]."""
        a = np.array([np.cos(angle), np.sin(angle)])
        x, y = np.eye(25)[5].reshape(5, 5), np.eye(25)[1].reshape(5, 5)
        first, second = ([-v @ center, v[0], v[1]] for v in (a, np.array([-a[1], a[0]])))
        linear = [v[0] * np.eye(25)[0].reshape(5, 5) + v[1] * x + v[2] * y for v in (first, second)]

        def times(p, q):
            return signal.convolve2d(p, q)[:5, :5]

        square, other = (times(p, p) for p in linear)
        return square + times(other, other)

    def cost(w, table):
        return (
            jnp.vander(w[:1], 5, increasing=True)[0]
            @ table
            @ jnp.vander(w[1:], 5, increasing=True)[0]
        )

    tables = np.stack([coefficients(*pair) for pair in zip(angles, centers, strict=True)])
    with jax.enable_x64(True):
        result = jax.jit(jax.vmap(lambda w, table: classify(lambda w: cost(w, table), w, key=KEY)))(
            jnp.array(centers), jnp.array(tables)
        )
    assert set(kinds(result)) <= {"undecided", "degenerate minimum"}
    is_far = np.asarray(result.newton_distance > result.distance_tolerance)
    assert np.any(is_far), "the test needs a point with a long Newton step"
    for one in np.flatnonzero(is_far):
        advice = jax.tree.map(lambda a, one=one: np.asarray(a)[one], result).advice
        assert "critical point" not in advice


@pytest.mark.long
def test_the_kind_is_that_of_the_derivative_rule():
    @jax.custom_jvp
    def bowl(w):
        return w @ w

    @bowl.defjvp
    def _(primals, tangents):
        return bowl(*primals), -2 * primals[0] @ tangents[0]

    assert kinds(classify(bowl, np.zeros(2), key=KEY)) == ["strict maximum"]


@pytest.mark.long
def test_the_distance_to_a_nearby_minimum_is_bounded():
    """The minimum of x^2 + y^2 + y^3 at 0 is at distance 1e-6 from (0, 1e-6)."""
    with jax.enable_x64(True):
        result = classify(lambda w: cubic_valley(w) + w[1] ** 2, jnp.array([0.0, 1e-6]), key=KEY)
    assert kinds(result) == ["strict minimum"]
    assert 1e-6 <= float(result.distance) * (1 + 1e-6) <= 1.1e-6


@pytest.mark.long
def test_a_saddle_with_a_small_linear_term_is_undecided():
    with jax.enable_x64(True):
        result = classify(lambda w: w[0] ** 2 - w[1] ** 2 + 1e-6 * w[2], jnp.zeros(3), key=KEY)
    assert kinds(result) == ["undecided"]


@pytest.mark.long
def test_float64_parameters_are_classified_in_float64():
    double, single = (
        classify(lambda w: w[0] ** 2 + 1e-9 * w[1] ** 2, np.zeros(2, dtype), key=KEY)
        for dtype in (np.float64, np.float32)
    )
    assert double.cost.dtype == np.float64
    assert (kinds(double), kinds(single)) == (["strict minimum"], ["undecided"])
    assert "float64 has a higher resolution" in single.advice


def test_quadratics_with_given_spectra_are_classified_independently_of_each_other():
    """Cases include a flat direction, a nonzero gradient and non-finite values."""
    traces = []

    def counted(w, A):
        traces.append(1)
        return w @ jnp.matmul(A, w, precision="highest") / 2

    @jax.jit
    @jax.vmap
    def at_zero(A, w, key):
        return classify(lambda w: counted(w, A), w, key=key)

    n = 40
    bulk = np.random.default_rng(0).uniform(size=n)
    spectra = [0.1 + 0.9 * bulk, np.r_[-1e-5, 1.0, bulk[2:]], -0.1 - 0.9 * bulk]
    spectra += [np.r_[0.0, 0.1 + bulk[1:]], spectra[0], np.zeros(n), spectra[0]]
    A = jnp.stack([jnp.array(quadratic(values)[2][0]) for values in spectra])
    w = jnp.zeros((len(A), n)).at[4, 0].set(1e-3).at[6].set(jnp.nan)
    keys = jax.random.split(KEY, len(A))
    result = jax.tree.map(np.asarray, at_zero(A, w, keys))
    assert kinds(result) == [
        *("strict minimum", "saddle", "strict maximum"),
        *("undecided", "not stationary", "flat", "undecided"),
    ]
    assert result.nullity[:4].tolist() == [0, 0, 0, 1]
    for i, values in enumerate(spectra[:4]):
        np.testing.assert_allclose(result.smallest[i], values.min(), atol=1e-6)
        np.testing.assert_allclose(result.largest[i], values.max(), atol=1e-6)
        assert result.smallest_residual[i] < 1e-5
    assert result.dead[5] == n
    assert np.isnan(result.smallest[5])
    before = len(traces)
    again = at_zero(A[::-1], w[::-1], keys[::-1])
    assert len(traces) == before
    assert kinds(again)[::-1] == kinds(result)


def planted_saddle(cost, params, data):
    """Return the classification of a cost without its linear term, and properties of H.

    The second result is the number of dead coordinates, whose second derivatives are all zero. The
    third result has the float64 eigenvalues of the dense Hessian H without these coordinates.
    """
    params = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    H = dense_reference(cost, params, data)
    dead = np.all(H == 0, axis=0)
    with jax.enable_x64(True):
        params, data = jax.tree.map(jnp.asarray, (params, data))
        flat, _ = ravel_pytree(params)
        slope = ravel_pytree(jax.jit(jax.grad(cost))(params, data))[0]

        def tilted(w, batch):
            return cost(w, batch) - slope @ (ravel_pytree(w)[0] - flat)

        problem = gd.Problem(init=lambda key: params, cost=tilted, data=data)
        result = classify(problem, params, key=KEY)
    return result, dead.sum(), np.linalg.eigvalsh(H[~dead][:, ~dead])


def small_network():
    """Return cost, parameters and data of a 6-4-2 network, two of whose inputs are always 0."""
    rng = np.random.default_rng(0)
    network = gd.problems.Network((6, 4, 2), activation="tanh")
    inputs = np.c_[rng.normal(size=(9, 4)), np.zeros((9, 2))]
    data = (inputs, rng.normal(size=(9, 2)))

    def cost(params, batch):
        return jnp.mean((network.apply(params, batch[0]) - batch[1]) ** 2)

    return cost, jax.jit(network.init)(KEY), data


@pytest.mark.long
@pytest.mark.parametrize("is_dense", [True, False])
def test_dead_coordinates_are_counted_and_other_eigenvalues_are_those_of_the_hessian(is_dense):
    """Above the dense limit, five pixels of a network with 2,058 parameters are always dark."""
    network, num_dead = (small_network(), 2 * 4) if is_dense else (pooled_digits(dark=5), 5 * 16)
    result, dead, exact = planted_saddle(*network)
    assert int(result.dead) == dead == num_dead
    atol = 1e-12 if is_dense else 1e-9
    np.testing.assert_allclose([result.smallest, result.largest], exact[[0, -1]], atol=atol)
    assert kinds(result) == ["saddle"]
    if is_dense:
        assert int(result.negative) == np.sum(exact < 0)
