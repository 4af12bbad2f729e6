"""Saddles of known functions, and the descents from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.integrate import solve_ivp
from some_networks import two_neurons

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


def assert_ends_by_another_integrator(cost, search, canonical=np.asarray):
    """Check each flow from a saddle of index 1 with the implicit method of scipy.

    Ends agree modulo symmetries, which `canonical` removes.
    """
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(cost))
        run = lambda _, w: -np.asarray(gradient(jnp.asarray(w)))  # noqa: E731
        for k, side in np.argwhere(search.end_saddle < 0):
            saddle = search.saddles.row(k)
            span = (0, 100 / -saddle.lowest)
            start = saddle.point + (1 - 2 * side) * 1e-4 * saddle.direction
            end = solve_ivp(run, span, start, method="BDF", rtol=1e-8, atol=1e-10).y[:, -1]
            expected = search.minima.point[search.ends[k, side]]
            np.testing.assert_allclose(canonical(end), canonical(expected), atol=1e-3)


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
    problem = gd.problems.from_function(name)
    search = find_saddles(problem, start, key=KEY)
    assert_ends_by_another_integrator(problem.cost, search)
    assert_points(search.minima.point, search.minima.cost, by_kind["minimum"])
    assert_points(search.saddles.point, search.saddles.cost, by_kind["saddle"])
    # The sum over all critical points of a coercive cost of (-1)^index is 1.
    assert len(search.minima.cost) - len(search.saddles.cost) + len(by_kind["maximum"]) == 1


@pytest.mark.long
def test_passes_of_himmelblau_are_not_below_a_bound_from_intervals():
    """Below a height, cells of a grid whose cost may be lower separate the minima.

    Bounds of the cost on each cell by interval arithmetic make this a proof, within the error of
    the bounds: on a fine grid, the tree's heights are exact to 0.5.
    """
    edges = np.linspace(-6, 6, 4001)
    low, high = edges[:-1], edges[1:]
    square_low = np.where(low * high <= 0, 0, np.minimum(low**2, high**2))
    square_high = np.maximum(low**2, high**2)

    def square(lower, upper):
        return np.where(lower * upper <= 0, 0, np.minimum(lower**2, upper**2))

    first = square(square_low[:, None] + low - 11, square_high[:, None] + high - 11)
    second = square(low[:, None] + square_low - 7, high[:, None] + square_high - 7)
    bound = first + second
    on_boundary = [bound[0], bound[-1], bound[:, 0], bound[:, -1]]
    minima = np.array([p.x for p in gd.problems.FUNCTIONS["himmelblau"].minima])
    cells = np.searchsorted(edges, minima) - 1
    tree = gd.minima.graph(gd.problems.from_function("himmelblau"), minima, key=KEY)
    for number, height in enumerate(tree.merge_height.values):
        labels, _ = ndimage.label(bound < height - 0.5, np.ones((3, 3)))
        assert np.min(on_boundary) > height
        assert len(set(labels[tuple(cells.T)])) == 4 - number
    np.testing.assert_allclose(tree.merge_height, [13.311926, 67.719150, 104.015163], atol=1e-6)


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
        (lambda w: w**2, np.array(1.0), "one axis of at least 1"),
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


@pytest.mark.long
def test_flows_from_saddles_of_two_neurons_end_where_the_edges_say():
    """Images under the eight symmetries are compared by their sorted neurons, signs removed."""

    def canonical(w):
        neurons = np.stack([np.abs(w[:2]), np.sign(w[:2]) * w[2:]], axis=1)
        return neurons[np.argsort(neurons[:, 0])]

    def flat_cost(w):
        return two_neurons((w[:2], w[2:]))

    def swap(w):
        return w[jnp.array([1, 0, 3, 2])]

    def flip(w):
        return w * jnp.array([-1.0, 1.0, -1.0, 1.0])

    with jax.enable_x64(True):
        start = gd.curvature.polish(flat_cost, jnp.array([0.98, 1.2, 0.79, -0.32])).params
        search = find_saddles(flat_cost, start[None], key=KEY, symmetries=(swap, flip))
        origin = flat_cost(jnp.zeros(4)), jnp.linalg.eigvalsh(jax.hessian(flat_cost)(jnp.zeros(4)))
    np.testing.assert_allclose(search.minima.cost, [0.12139699], atol=1e-8)
    np.testing.assert_allclose(search.saddles.cost[:2], [0.13362625, 0.14542870], atol=1e-8)
    assert_ends_by_another_integrator(flat_cost, search, canonical)
    np.testing.assert_allclose(origin[0], 0.37666667, atol=1e-8)
    assert np.sum(np.asarray(origin[1]) < 0) == 2
