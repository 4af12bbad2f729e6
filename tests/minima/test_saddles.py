"""Saddles of known functions, and the descents from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.minima.saddle_results import SearchFailure, SearchStatus
from gdjax.minima.saddles import find_saddles

KEY = jax.random.key(0)


def mueller_brown(w):
    """Return the potential of Müller and Brown 1979."""
    x, y = w
    terms = (
        (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
        (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
        (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
        (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
    )
    return sum(
        A * jnp.exp(a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2)
        for A, a, b, c, x0, y0 in terms
    )


def trapped(w):
    return (w[0] ** 2 - 1) ** 2 + w[1] ** 2 * (0.5 - w[0] ** 2) + w[1] ** 4


def assert_points(points, cost, expected):
    """Check that points and costs agree with a table of known ones, in any order."""
    points, cost = np.asarray(points), np.asarray(cost)
    assert len(points) == len(expected)
    for *position, value in expected:
        nearest = np.argmin(np.linalg.norm(points - position, axis=1))
        np.testing.assert_allclose(points[nearest], position, atol=1e-6)
        np.testing.assert_allclose(cost[nearest], value, rtol=1e-8, atol=1e-6)


def assert_ends_by_another_integrator(cost, search):
    """Check each flow from a saddle with the implicit method of scipy."""
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(cost))
        flows = zip(search.saddles.point, search.saddles.direction, strict=True)
        for k, (w, v) in enumerate(flows):
            for side, sign in enumerate((1, -1)):
                span = (0, 100 / -search.saddles.lowest[k])
                start = w + sign * 1e-4 * v
                run = lambda _, w: -np.asarray(gradient(jnp.asarray(w)))  # noqa: E731
                end = solve_ivp(run, span, start, method="BDF", rtol=1e-8, atol=1e-10).y[:, -1]
                expected = search.minima.point[search.ends[k, side]]
                np.testing.assert_allclose(end, expected, atol=1e-3)


@pytest.mark.long
def test_the_saddles_of_mueller_and_brown_are_found_from_one_minimum():
    search = find_saddles(mueller_brown, np.array([[-0.5, 1.4]]), key=KEY)
    minima = [
        (-0.55822363, 1.44172584, -146.6995172),
        (0.62349940, 0.02803776, -108.1667241),
        (-0.05001082, 0.46669410, -80.7678181),
    ]
    saddles = [
        (-0.82200156, 0.62431280, -40.6648435),
        (0.21248658, 0.29298833, -72.2489401),
    ]
    assert_points(search.minima.point, search.minima.cost, minima)
    assert_points(search.saddles.point, search.saddles.cost, saddles)
    assert np.sort(search.ends, axis=1).tolist() == [[1, 2], [0, 2]]
    assert search.status == SearchStatus.COMPLETED
    assert search.minimum_origin[0] == 0
    assert np.all(search.minimum_origin[1:] > 0)
    assert_ends_by_another_integrator(mueller_brown, search)


@pytest.mark.long
@pytest.mark.parametrize("name", ["himmelblau", "six_hump_camel"])
def test_all_critical_points_of_a_test_function_are_found(name):
    known = gd.problems.FUNCTIONS[name]
    by_kind = {
        kind: [(*p.x, p.value) for p in known.critical_points if p.kind == kind]
        for kind in ("minimum", "saddle", "maximum")
    }
    start = np.array([known.minima[0].x])
    search = find_saddles(gd.problems.from_function(name), start, key=KEY)
    assert_points(search.minima.point, search.minima.cost, by_kind["minimum"])
    assert_points(search.saddles.point, search.saddles.cost, by_kind["saddle"])
    # The sum over all critical points of a coercive cost of (-1)^index is 1.
    assert len(search.minima.cost) - len(search.saddles.cost) + len(by_kind["maximum"]) == 1


@pytest.mark.long
def test_a_flow_that_ends_in_a_saddle_is_left_along_its_own_unstable_direction():
    search = find_saddles(trapped, np.array([[1.08, 0.577], [-1.08, 0.577]]), key=KEY)
    x, y = np.sqrt(7 / 6), np.sqrt(1 / 3)
    minima = [(sx * x, sy * y, -1 / 12) for sx in (-1, 1) for sy in (-1, 1)]
    saddles = [(1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
    assert_points(search.minima.point, search.minima.cost, minima)
    assert_points(search.saddles.point, search.saddles.cost, saddles)
    assert search.end_saddle.tolist()[:2] == [[-1, -1], [-1, -1]]
    assert sorted(search.end_saddle.tolist()[2]) == [0, 1]


@pytest.mark.long
def test_a_convex_problem_has_one_minimum_and_no_saddle():
    search = find_saddles(lambda w: w @ w + w[0] ** 4, np.ones((3, 2)), key=KEY)
    assert len(search.minima.cost) == 1
    assert len(search.saddles.cost) == 0
    assert search.minimum_of.tolist() == [0, 0, 0]
    assert search.status == SearchStatus.COMPLETED


@pytest.mark.long
def test_a_search_that_connects_nothing_says_so():
    points = np.array([p.x for p in gd.problems.FUNCTIONS["himmelblau"].minima])
    problem = gd.problems.from_function("himmelblau")
    search = find_saddles(problem, points, key=KEY, max_searches=0)
    assert search.status == SearchStatus.NOT_CONNECTED
    assert search.num_searches == 0
    # The soft directions of a double well with slope lead out of it, to no saddle.
    search = find_saddles(lambda w: w**2, np.zeros(1), key=KEY)
    assert search.failures[SearchFailure.NOT_CONVERGED] == search.num_searches == 2


@pytest.mark.parametrize(
    ("cost", "points", "message"),
    [
        (lambda w: (w[0] * w[1] - 1) ** 2, np.array([[1.0, 1.0]]), "manifold of minima"),
        (lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4, np.zeros((1, 2)), "1 negative eigenvalues"),
        (lambda w: w @ w, {}, "contains no arrays"),
        (lambda w: w**2, np.array(1.0), "common leading axis"),
    ],
)
def test_points_that_are_no_strict_minima_are_refused(cost, points, message):
    with pytest.raises(InputError, match=message):
        find_saddles(cost, points, key=KEY)


def test_a_network_without_decay_of_all_parameters_is_refused():
    network = gd.problems.Network((1, 2, 1), activation="tanh", output_activation="identity")
    data = np.linspace(-1, 1, 5)[:, None], np.linspace(-1, 1, 5)[:, None] ** 2
    problem = gd.problems.decayed(network, data, 0.01)  # does not decay biases
    points = jax.tree.map(lambda leaf: leaf[None], network.init(KEY))
    with pytest.raises(InputError, match="does not grow along 2 of its 7 parameters"):
        find_saddles(problem, points, key=KEY)


def test_the_saddle_of_a_hyperbola_of_minima_is_strict():
    from gdjax.minima.eigenvector_following import Landscape, follow

    with jax.enable_x64(True):
        problem = gd.problems.problem.as_problem(lambda w: (w[0] * w[1] - 1) ** 2)
        landscape = Landscape(problem, jnp.zeros(2), np.ones(2))
        starts, up = np.array([[0.3, 0.2]]), np.array([[1.0, 1.0]]) / np.sqrt(2)
        saddle = follow(landscape, starts, up, np.array([0.1]))
    np.testing.assert_allclose(saddle.point, 0, atol=1e-9)
    np.testing.assert_allclose([saddle.cost[0], saddle.lowest[0], saddle.second[0]], [1, -2, 2])
    assert saddle.index[0] == 1
    assert saddle.nullity[0] == 0
