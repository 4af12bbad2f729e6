"""Basins of attraction: shares, stability limits and codes."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.minima.basins import NoMinimum, basins_of_attraction, learning_rate_limits

# Coordinates of the maxima between Rastrigin's minima (classified in problems/critical_points.py).
HILLS = sorted(
    {p.x[0] for p in gd.problems.FUNCTIONS["rastrigin"].critical_points if p.kind == "maximum"}
)


def himmelblau_gradient(_time, w):
    """Return the negative gradient at n points, derived by hand.

    w has shape [2 n]: first all x, then all y.
    """
    x, y = w.reshape(2, -1)
    a, b = x**2 + y - 11, x + y**2 - 7
    return -np.concatenate([4 * x * a + 2 * b, 2 * a + 4 * y * b])


@pytest.fixture(scope="module")
def himmelblau():
    return basins_of_attraction("himmelblau", [0.001, 0.014], side=60, num_steps=3000)


@pytest.mark.long
def test_shares_agree_with_an_independent_integration_of_the_flow(himmelblau):
    """The reference is a Runge-Kutta method of SciPy with a hand-written gradient."""
    x, y = (a.ravel() for a in np.meshgrid(himmelblau.x.values, himmelblau.y.values))
    flow = solve_ivp(himmelblau_gradient, (0, 3), np.concatenate([x, y]), rtol=1e-6, atol=1e-8)
    ends = flow.y[:, -1].reshape(2, -1).T
    minima = np.array([p.x for p in gd.problems.FUNCTIONS["himmelblau"].minima])
    distance = np.linalg.norm(ends[:, None] - minima, axis=-1)
    number = np.argmin(distance, axis=1).reshape(60, 60)
    settled = distance.min(axis=1).reshape(60, 60) < 1e-2
    assert settled.mean() > 0.99
    small = himmelblau.end.sel(learning_rate=0.001).isel(momentum=0).values
    assert np.mean(small[settled] == number[settled]) > 0.99
    shares = np.bincount(number[settled], minlength=4) / settled.sum()
    result = himmelblau.share.sel(learning_rate=0.001).isel(momentum=0).values
    np.testing.assert_allclose(result, shares, atol=0.01)


def test_the_four_minima_of_himmelblau_have_their_known_stability_limits(himmelblau):
    # The largest eigenvalues are in the order of the registered minima.
    np.testing.assert_allclose(himmelblau.sharpness, [82.284, 105.419, 80.550, 133.786], atol=5e-4)
    np.testing.assert_allclose(himmelblau.limit[0], 2 / himmelblau.sharpness.values)
    np.testing.assert_allclose(learning_rate_limits("himmelblau"), himmelblau.limit[0], rtol=1e-12)
    np.testing.assert_allclose(
        learning_rate_limits("himmelblau", momentum=0.9), 1.9 * himmelblau.limit[0]
    )
    assert len(learning_rate_limits("monkey_saddle")) == 0
    # 0.014 is below the limits of all four minima, so each of them has a basin.
    assert np.all(himmelblau.share.sel(learning_rate=0.014) > 0)


@pytest.mark.long
def test_no_start_ends_in_a_minimum_above_its_stability_limit():
    # 2 / 133.786 = 0.01495 and 2 / 105.419 = 0.01897: at 0.016 the sharpest minimum is unstable.
    result = basins_of_attraction(
        "himmelblau", [0.0145, 0.016, 0.02], side=40, num_steps=2000
    ).isel(momentum=0)
    occupied = result.share.values > 0
    assert occupied.tolist() == [
        [True, True, True, True],
        [True, True, True, False],
        [True, False, True, False],
    ]


def test_heavy_ball_momentum_multiplies_the_limit_by_one_plus_momentum():
    result = basins_of_attraction(
        "himmelblau", [0.016], momentum=[0.0, 0.5], side=30, num_steps=2000
    )
    np.testing.assert_allclose(result.limit[1], 1.5 * result.limit[0])
    occupied = result.share.isel(learning_rate=0, minimum=3)
    assert float(occupied.sel(momentum=0.0)) == 0
    assert float(occupied.sel(momentum=0.5)) > 0


@pytest.mark.long
def test_rastrigin_basins_are_the_cells_between_its_maxima():
    """At rates below 1 / (largest curvature) no step crosses a maximum."""
    result = basins_of_attraction("rastrigin", [0.002], side=64, num_steps=400).isel(
        momentum=0, learning_rate=0
    )
    edges = np.array([-5.12, *HILLS, 5.12])
    x = np.clip(np.digitize(result.x, edges) - 1, 0, 10)
    minima = np.sort(np.unique(result.position.values[:, 0]))
    expected = np.stack(
        [np.broadcast_to(minima[x], (64, 64)), np.broadcast_to(minima[x][:, None], (64, 64))], -1
    )
    np.testing.assert_allclose(result.position.values[result.end.values], expected, atol=1e-12)


@pytest.mark.long
def test_starts_that_reach_no_minimum_are_marked_by_codes():
    # On the quartic, runs at rate 1 diverge from distant starts, and 3 steps at rate 0.01 reach no
    # minimum. A descent from the maximum of a parabola does not move.
    far = basins_of_attraction("quartic", [1.0], side=10, num_steps=50)
    assert np.all(far.end.values[0, 0][[0, -1]] == NoMinimum.DIVERGED)
    early = basins_of_attraction("quartic", [0.01], side=10, num_steps=3)
    assert np.all(early.end.values == NoMinimum.NOT_ARRIVED)
    hill = basins_of_attraction(lambda x: -(x**2), [0.1], domain=(-1.0, 1.0), side=1, num_steps=5)
    assert hill.end.values.ravel().tolist() == [NoMinimum.AT_NO_MINIMUM]
    assert hill.sizes["minimum"] == 0
    others = sum(
        far[f"share_{name}"].item() for name in ("not_arrived", "diverged", "at_no_minimum")
    )
    assert others + far.share.sum().item() == pytest.approx(1)


@pytest.mark.long
def test_minima_of_a_user_defined_function_are_classified():
    def wells(w):
        return (w[0] ** 2 - 1) ** 2 + w[1] ** 2 + 0.1 * w[0]

    result = basins_of_attraction(wells, [0.05], domain=((-2, 2), (-1, 1)), side=21, num_steps=1000)
    roots = np.sort(np.roots([4, 0, -4, 0.1]).real)  # roots of the derivative with respect to x
    np.testing.assert_allclose(result.position.values, [[roots[0], 0], [roots[2], 0]], atol=1e-6)
    np.testing.assert_allclose(
        result.sharpness, np.maximum(12 * roots[[0, 2]] ** 2 - 4, 2), rtol=1e-5
    )
    assert result.minimum_cost[0] < result.minimum_cost[1]
    assert int((result.end == NoMinimum.AT_NO_MINIMUM).sum()) == 0


def test_the_arrival_step_is_the_first_with_a_small_gradient():
    """On x^2 / 2 the gradient after t steps is (1 - rate)^t x_0."""
    result = basins_of_attraction(
        lambda x: x**2 / 2, [0.1], domain=(0.5, 1.5), side=3, num_steps=200, gradient_tolerance=1e-3
    )
    expected = np.ceil(np.log(1e-3 / result.x.values) / np.log(0.9))
    arrived = result.arrived_at.values[0, 0]
    assert np.all((arrived >= expected) & (arrived < expected + 2))  # every second step is recorded


@pytest.mark.long
def test_points_of_a_flat_valley_are_not_minima():
    """For the cost x^2 of (x, y), all points with x = 0 are critical."""
    box = {"domain": ((-1, 1), (-1, 1)), "num_steps": 100}
    result = basins_of_attraction(lambda w: jnp.square(w[0]), [0.4], side=10, **box)
    assert result.sizes["minimum"] == 0
    assert np.all(result.end == NoMinimum.AT_NO_MINIMUM)
    with pytest.raises(InputError, match="isolated"):
        basins_of_attraction(lambda w: 0 * w[0], [0.4], side=40, **box)
