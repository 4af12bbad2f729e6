"""Kinds of critical points against what is known, and certificates against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import dense_reference, pooled_digits, quadratic
from jax.flatten_util import ravel_pytree

from gdjax.geometry import critical
from gdjax.problems.functions import FUNCTIONS

KEY = jax.random.key(0)
TRACES = []  # one entry for each time that the cost of `at_zero` is traced


def kinds(certificates):
    return [critical.KINDS[code] for code in np.atleast_1d(certificates.kind)]


# -- test functions


def at_points(function, points, *tolerances):
    """Certificates at many points, in the type that is on, to a few tolerances."""

    def certificate(x, tolerance):
        return critical.classify(function.f, x, key=KEY, eigenvalue_tolerance=tolerance)

    program = jax.jit(jax.vmap(jax.vmap(certificate, (None, 0)), (0, None), out_axes=1))
    found = program(jnp.asarray(points, float), jnp.asarray(tolerances, float))
    return [jax.tree.map(lambda a, i=i: np.asarray(a[i]), found) for i in range(len(tolerances))]


@pytest.mark.long
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda f: f.name)
def test_critical_points_of_functions_are_told_apart(function):
    points = np.array([point.x for point in function.critical_points])
    with jax.enable_x64(True):
        found, coarse = at_points(function, points, 1e-6, 1e-3)
        H = np.asarray(jax.jit(jax.vmap(jax.hessian(function.f)))(jnp.asarray(points)))
    # A Hessian of zeros is flat; a valley that is level along its floor is a minimum, degenerate.
    degenerate = {"monkey_saddle": ("flat", 0), "two_factors": ("minimum", 1)}.get(function.name)
    for point, kind, nullity in zip(
        function.critical_points, kinds(found), found.nullity, strict=True
    ):
        expected = degenerate if point.kind == "degenerate" else (point.kind, 0)
        assert (kind, nullity) == expected, point
    n = max(1, points[0].size)
    exact = np.linalg.eigvalsh(H.reshape(-1, n, n))
    live = found.dead < n
    np.testing.assert_allclose(found.smallest[live], exact[live, 0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.largest[live], exact[live, -1], rtol=1e-9, atol=1e-9)
    assert np.all(np.isnan(found.smallest[~live]))
    # Where eigenvalues differ by a thousand and more, a coarse tolerance makes a saddle a minimum
    # that is level one way, and says so; never a strict one.
    differ = np.array(kinds(found)) != kinds(coarse)
    assert np.all(coarse.nullity[differ] > 0)


@pytest.mark.parametrize("name", ["himmelblau", "goldstein_price"])
def test_in_float32_points_are_as_stationary_as_they_can_be(name):
    """Their coordinates are rounded, so their gradients are not 0, and may exceed the tolerance."""
    function = FUNCTIONS[name]
    points = np.array([point.x for point in function.critical_points])
    (found,) = at_points(function, points, 1e-3)
    assert found.gradient_norm.dtype == np.float32
    assert kinds(found) == [point.kind for point in function.critical_points]
    assert np.all(found.gradient_norm <= found.gradient_tolerance)
    assert (found.gradient_norm.max() > 1e-5) == (name == "goldstein_price")
    (away,) = at_points(function, points + 0.01, 1e-3)
    assert set(kinds(away)) == {"not stationary"}


# -- planted points


SPECTRA = {
    "minimum": lambda bulk: 0.1 + 0.9 * bulk,
    "degenerate": lambda bulk: np.r_[np.zeros(3), 0.1 + 0.9 * bulk[3:]],
    "within the tolerance": lambda bulk: np.r_[-5e-4, 1.0, bulk[2:]],
    "saddle": lambda bulk: np.r_[-0.01, 1.0, bulk[2:]],
    "half": lambda bulk: bulk - 0.5,
    "maximum": lambda bulk: -0.1 - 0.9 * bulk,
    "one way up": lambda bulk: np.r_[0.01, -1.0, -bulk[2:]],
    "flat": lambda bulk: 1e-6 * (bulk - 0.5),
}
EXPECTED = dict.fromkeys(SPECTRA, "minimum") | {
    "saddle": "saddle",
    "half": "saddle",
    "maximum": "maximum",
    "one way up": "saddle",
    "flat": "flat",
}


def planted(name, n):
    """Eigenvalues of a bulk in [0, 1] and a few that decide."""
    return SPECTRA[name](np.random.default_rng(0).uniform(size=n))


@pytest.fixture(scope="module")
def at_zero():
    """Certificates of w^T A w / 2 at w, for matrices of one size in one program."""
    cost = quadratic(np.ones(2))[0]

    def counted(w, batch):
        TRACES.append(1)
        return cost(w, batch)

    return jax.jit(
        lambda A, w, key, tolerance=1e-3: critical.classify(
            counted, w, A[None], key=key, eigenvalue_tolerance=tolerance, restarts=20
        )
    )


@pytest.mark.long
@pytest.mark.parametrize("n", [40, 520])
@pytest.mark.parametrize("name", SPECTRA)
def test_planted_points_below_and_above_the_dense_limit(at_zero, name, n):
    exact = planted(name, n)
    A = jnp.asarray(quadratic(exact)[2][0])
    found = at_zero(A, jnp.zeros(n), KEY)
    assert critical.kind(found) == EXPECTED[name]
    size = np.abs(exact).max()
    np.testing.assert_allclose(found.smallest, exact.min(), atol=1e-3 * size)
    np.testing.assert_allclose(found.largest, exact.max(), atol=1e-3 * size)
    assert max(found.smallest_residual, found.largest_residual) <= 1e-3 * size
    assert (found.cost, found.gradient_norm, found.dead) == (0, 0, 0)
    # All of them are known below the limit, the three smallest above it.
    known = np.sort(exact)[: n if n == 40 else 3]
    zero = np.abs(known) <= max(1e-3 * size, 1e-5)
    assert int(found.nullity) == zero.sum()


@pytest.mark.parametrize("n", [40, 520])
def test_a_slope_is_not_stationary_whatever_the_hessian_says(at_zero, n):
    exact = planted("minimum", n)
    A = jnp.asarray(quadratic(exact)[2][0])
    w = jnp.zeros(n).at[0].set(1e-3)
    found = at_zero(A, w, KEY)
    assert critical.kind(found) == "not stationary"
    norm = np.linalg.norm(np.asarray(A, float)[0]) * 1e-3
    assert float(found.gradient_norm) == pytest.approx(norm, rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("n", [40, 520])
def test_residuals_too_large_leave_it_undecided(at_zero, n):
    """A tolerance below float32's rounding: whether 0 is -0 cannot be said."""
    bulk = np.random.default_rng(0).uniform(100, 1000, size=n)
    for seed in range(4):
        A = jnp.asarray(quadratic(np.r_[np.zeros(3), bulk[3:]], seed)[2][0])
        found = at_zero(A, jnp.zeros(n), KEY, 1e-8)
        assert found.smallest_residual > found.eigenvalue_tolerance
        assert critical.kind(found) == "undecided"
    # What bends down by more than that was seen all the same.
    saddle = jnp.asarray(quadratic(np.r_[-1, bulk[1:]])[2][0])
    assert critical.kind(at_zero(saddle, jnp.zeros(n), KEY, 1e-8)) == "saddle"


@pytest.mark.parametrize("n", [40, 520])
def test_a_constant_is_flat_and_all_of_it_dead(at_zero, n):
    found = at_zero(jnp.zeros((n, n)), jnp.ones(n), KEY)
    assert critical.kind(found) == "flat"
    assert int(found.dead) == n
    assert int(found.nullity) == 0
    assert np.isnan(found.smallest)


@pytest.mark.long
@pytest.mark.parametrize("n", [40, 520])
def test_what_is_not_finite_is_undecided_and_spoils_no_neighbour(at_zero, n):
    matrices = [jnp.asarray(quadratic(planted(k, n))[2][0]) for k in ("minimum", "saddle", "half")]
    stacked = jnp.stack(matrices)
    w = jnp.zeros((3, n)).at[2].set(jnp.nan)
    keys = jax.random.split(KEY, 3)
    many = jax.jit(jax.vmap(at_zero))
    together = many(stacked, w, keys)
    assert kinds(together) == ["minimum", "saddle", "undecided"]
    before = len(TRACES)
    many(stacked[::-1], w, keys)
    assert len(TRACES) == before
    for i in range(2):
        alone = at_zero(matrices[i], w[i], keys[i])
        for one, of_many in zip(alone, together, strict=True):
            np.testing.assert_allclose(of_many[i], one, atol=1e-5)


# -- networks


@pytest.fixture(scope="module")
def network():
    """The 100-16-16-10 network: a program for certificates, its dead and its live eigenvalues.

    The program's cost is the network's less `tilt` times its slope, plus lift |w - w_0|^2 / 2 in
    the live coordinates. With tilt = 1 it is stationary, and `lift` is added to every eigenvalue.
    """
    cost, params, data = pooled_digits(dark=5)
    flat, unravel = ravel_pytree(params)

    @jax.jit
    def certificate(tilt, lift):
        slope = ravel_pytree(jax.grad(cost)(params, data))[0]

        def of(w, batch):
            w = ravel_pytree(w)[0]
            away = jnp.where(slope != 0, w - flat, 0)
            return cost(unravel(w), batch) - tilt * slope @ away + lift * away @ away / 2

        return critical.classify(of, params, data, key=KEY)

    H = dense_reference(cost, params, data)
    dead = np.all(H == 0, axis=0)
    return certificate, int(dead.sum()), np.linalg.eigvalsh(H[~dead][:, ~dead])


@pytest.mark.long
def test_dead_coordinates_are_counted_exactly_and_the_rest_is_the_dense_hessian(network):
    certificate, dead, exact = network
    found = certificate(0.0, 0.0)
    assert int(found.dead) == dead == 5 * 16
    size = np.abs(exact).max()
    for value, residual, end in (
        (found.smallest, found.smallest_residual, exact[0]),
        (found.largest, found.largest_residual, exact[-1]),
    ):
        assert abs(float(value) - end) <= float(residual) <= 1e-3 * size
    assert critical.kind(found) == "not stationary"


@pytest.mark.long
def test_a_networks_planted_saddle_is_one_until_it_is_lifted(network):
    certificate, dead, exact = network
    tolerance = 1e-3 * np.abs(exact).max()
    assert exact[0] < -5 * tolerance
    for lift, kind in (
        (0.0, "saddle"),
        (-exact[0] - 3 * tolerance, "saddle"),
        (-exact[0] + tolerance, "minimum"),
    ):
        found = certificate(1.0, lift)
        assert critical.kind(found) == kind, lift
        assert int(found.dead) == dead
        np.testing.assert_allclose(found.smallest, exact[0] + lift, atol=tolerance)
