"""Volumes of balls, ellipsoids and boxes, compared with closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln

from gdjax.landscape.basin_volume import VolumeStatus, basin_volume, log_mean, pareto_index
from gdjax.landscape.mcmc import Whitening, hessian_whitening
from gdjax.problems import as_problem


def ball(d, radius=1.0):
    return d / 2 * math.log(math.pi) - gammaln(d / 2 + 1) + d * math.log(radius)


def below(level, h):
    """Return the exact log volume of the set w^T H w / 2 < level.

    The volume is (2 level)^(d/2) V_d / sqrt(det H), with the unit ball's volume V_d.
    """
    d = len(h)
    return d / 2 * math.log(2 * level) + ball(d) - np.sum(np.log(h)) / 2


@pytest.mark.parametrize("d", [30, 5000])
def test_volumes_of_balls_are_exact(d):
    result = jax.jit(
        lambda w, key: basin_volume(lambda w: w @ w / 2, w, key=key, level=3.0, directions=16)
    )(np.zeros(d, np.float32), jax.random.key(0))
    assert float(result.log_volume) == pytest.approx(ball(d, 6**0.5), abs=1e-6 * d + 1e-5)
    assert not result.lower_bound
    assert (int(result.status), float(result.hidden)) == (VolumeStatus.ESTIMATE, 0)
    np.testing.assert_allclose(result.radii, 6**0.5, rtol=1e-6)


def rotated(h):
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(len(h), len(h))))[0]
    return (q * h) @ q.T


@pytest.mark.long
def test_volumes_of_ellipsoids_preconditioned_by_their_hessians_are_exact():
    """Without preconditioning, volumes at condition 1e6 are reported as lower bounds."""
    d = 12

    def one(H, key, w):
        def bowl(v):
            return (v - w) @ (H @ (v - w)) / 2

        ask = {"key": key, "level": 0.5, "directions": 100}
        own, plain = hessian_whitening(bowl, w, damping=0.0), Whitening(jnp.ones(d))
        return [basin_volume(bowl, w, whitening=A, **ask) for A in (own, plain, None)]

    measure = jax.jit(jax.vmap(one, in_axes=(None, 0, 0)))
    keys = jax.random.split(jax.random.key(0), 16)
    centers = np.random.default_rng(1).normal(size=(16, d))
    for condition in (1e2, 1e6):
        h = np.geomspace(1 / math.sqrt(condition), math.sqrt(condition), d)
        with jax.enable_x64(True):
            own, plain, default = jax.tree.map(np.asarray, measure(rotated(h), keys, centers))
        for result in (own, default):
            np.testing.assert_allclose(result.log_volume, below(0.5, h), atol=1e-6)
            assert not result.lower_bound.any()
    assert plain.lower_bound.all()  # at condition 1e6
    assert (plain.low <= below(0.5, h)).all()
    assert np.median(plain.log_volume) < below(0.5, h) - 1


def boxes(d, runs, directions=10_000, seed=0):
    """Return estimated and exact log volumes of a box of side 2, relative to a ball."""
    z = np.random.default_rng(seed).normal(size=(runs, directions, d)).astype(np.float32)
    r = np.linalg.norm(z, axis=-1) / np.abs(z).max(axis=-1)
    exact = d * math.log(2) - ball(d)
    result = jax.jit(jax.vmap(log_mean))(d * np.log(r))
    return jax.tree.map(np.asarray, result), exact


@pytest.mark.parametrize("d", [2, 10, 20])
def test_intervals_cover_the_volumes_of_boxes_in_up_to_20_dimensions(d):
    result, exact = boxes(d, 16)
    assert result.lower_bound.sum() <= 2
    assert np.abs(np.mean(result.log_volume) - exact) < 0.1
    covered = (result.low <= exact) & (exact <= result.high)
    assert covered.sum() >= 13  # of 16; at a coverage of 0.95, fewer occur with probability 0.7 %


def test_a_box_in_100_dimensions_is_reported_as_a_lower_bound():
    """The standard error, below 1 nat, does not include the missing volume."""
    result, exact = boxes(100, 16, 4_000)
    assert result.lower_bound.all()
    assert np.isinf(result.high).all()
    assert exact - np.mean(result.log_volume) > 2
    assert np.median(result.standard_error) < 1
    assert (result.low <= exact).all()


def ellipsoid(n, condition):
    """Return n, the function n log r(z) of an ellipsoid, and the exact log E[r^n]."""
    h = np.geomspace(1, condition, n).astype(np.float32)

    def logs(z):
        return -n / 2 * np.log(np.sum(h * z**2, axis=-1) / np.sum(z**2, axis=-1))

    return n, logs, -np.sum(np.log(h)) / 2


def norm_ball(n, p):
    """Return n, the function n log r(z) of a p-norm ball, and the exact log E[r^n]."""
    exact = n * math.log(2 * math.gamma(1 + 1 / p)) - gammaln(1 + n / p) - ball(n)

    def logs(z):
        norm = np.sum(np.abs(z) ** p, axis=-1) ** (1 / p)
        return -n * np.log(norm / np.sqrt(np.sum(z**2, axis=-1)))

    return n, logs, exact


BODIES = {
    "ellipsoid, 50, 3": ellipsoid(50, 3),
    "ellipsoid, 50, 3.5": ellipsoid(50, 3.5),
    "ellipsoid, 500, 1.4": ellipsoid(500, 1.4),
    "ellipsoid, 500, 1.5": ellipsoid(500, 1.5),
    "L4 ball, 50": norm_ball(50, 4),
    "L1 ball, 12": norm_ball(12, 1),
}


@pytest.mark.long
@pytest.mark.parametrize("directions", [200, 1000])
@pytest.mark.parametrize("name", BODIES)
def test_intervals_near_the_thresholds_have_nominal_coverage(name, directions):
    """Of normal intervals that are not lower bounds, 53 to 94 % would be correct."""
    n, logs, exact = BODIES[name]
    rng = np.random.default_rng(0)
    times = 2000 if n * directions < 2e4 else 400
    shape = directions, n
    values = np.stack([logs(rng.standard_normal(shape, np.float32)) for _ in range(times)])
    result = jax.tree.map(np.asarray, jax.jit(jax.vmap(log_mean))(values))
    covered = (result.low <= exact) & (exact <= result.high)
    assert covered.mean() > 0.95
    trusted = ~result.lower_bound
    assert trusted.mean() > 0.1
    assert covered[trusted].mean() > 0.88
    if trusted.mean() > 0.5:
        assert covered[trusted].mean() > 0.95
        assert np.median((result.high - result.low)[trusted]) < 1.2


@pytest.mark.long
def test_the_volume_of_a_box_defined_by_its_cost_is_within_its_error():
    def box(w):
        return jnp.max(jnp.abs(w))

    result = basin_volume(box, jnp.zeros(4), key=jax.random.key(0), level=0.5, directions=500)
    assert abs(float(result.log_volume)) < 4 * float(result.standard_error)
    assert float(result.radii.min()) >= 0.5 - 1e-6
    assert float(result.radii.max()) <= 1 + 1e-6


def test_open_valleys_have_infinite_volume():
    def valley(p, x):
        return jnp.mean(jax.nn.relu(p["a"] * x))

    options = {"level": 1.0, "directions": 40, "whitening": Whitening(jnp.ones(2))}
    result = jax.jit(lambda p, x, key: basin_volume(as_problem(valley, x), p, key=key, **options))(
        {"a": np.zeros((), np.float32), "b": np.zeros((), np.float32)},
        np.ones(3, np.float32),
        jax.random.key(0),
    )
    assert int(result.open_directions) == np.isinf(result.radii).sum() > 5
    assert np.isinf(result.log_volume)
    assert result.lower_bound
    assert result.status == VolumeStatus.OPEN


def test_a_curved_valley_is_reported_as_a_lower_bound():
    """The set 100 (y - x^2)^2 + x^2 / 100 <= 1 has the area pi of an ellipse."""

    def valley(w, bend):
        return 100 * (w[1] - bend[0] * w[0] ** 2) ** 2 + w[0] ** 2 / 100

    measure = jax.jit(
        lambda bend, key: basin_volume(
            as_problem(valley, bend), jnp.zeros(2), key=key, level=1.0, directions=200
        )
    )
    straight, curved = (measure(np.float32([b]), jax.random.key(0)) for b in (0, 1))
    assert min(straight.effective_directions, curved.effective_directions) > 30
    assert (int(straight.status), float(straight.hidden)) == (VolumeStatus.ESTIMATE, 0)
    assert float(straight.log_volume) == pytest.approx(math.log(math.pi), abs=1e-4)
    assert curved.status == VolumeStatus.CURVED
    assert curved.hidden > 0.1
    assert curved.low < math.log(math.pi) < curved.high == math.inf
    assert curved.log_volume < math.log(math.pi) - 1


@pytest.mark.long
def test_the_volume_includes_the_determinant_of_a_diagonal_preconditioner():
    h = jnp.array([1.0, 1e4])
    ask = {"key": jax.random.key(0), "directions": 16, "whitening": Whitening(h**-0.5)}
    result = basin_volume(lambda w: w @ (h * w) / 2, jnp.zeros(2), level=0.5, **ask)
    assert float(result.log_volume) == pytest.approx(below(0.5, np.array(h)), abs=1e-4)


def test_the_tail_index_of_a_pareto_distribution_is_recovered():
    indices = jax.jit(jax.vmap(pareto_index))
    for k in (0.2, 0.5, 1.0):
        u = np.random.default_rng(0).uniform(size=(16, 4000))
        result = indices((u**-k).astype(np.float32))
        assert np.mean(result) == pytest.approx(k, abs=0.1)
        for scale in (1e-3, 1e3):  # the index of a tail does not depend on the unit
            scaled = indices((scale * u**-k).astype(np.float32))
            np.testing.assert_allclose(scaled, result, rtol=1e-2)
    assert float(indices(np.ones((1, 100), np.float32))[0]) == -np.inf


def test_whitening_and_its_inverse_cancel():
    def saddle(w):
        return w[0] ** 2 + 3 * w[0] * w[1] - 5 * w[2] ** 2

    @jax.jit
    def both_ways(w, v, units):
        scale = hessian_whitening(saddle, w, damping=0.1)
        there = jax.vmap(scale.apply)(units), jax.vmap(scale.transposed)(units)
        return scale.apply(scale.solve(v)), *there, scale.log_determinant

    v, units = np.array([1, 2, 3], np.float32), np.eye(3, dtype=np.float32)
    back, columns, rows, log_determinant = both_ways(np.zeros(3, np.float32), v, units)
    np.testing.assert_allclose(back, v, rtol=1e-5)
    A = np.transpose(columns)
    np.testing.assert_allclose(rows, A, atol=1e-6)
    values, axes = np.linalg.eigh([[2.0, 3, 0], [3, 0, 0], [0, 0, -10]])
    bent = (axes * (np.abs(values) + 0.1)) @ axes.T
    np.testing.assert_allclose(A.T @ bent @ A, np.eye(3), atol=1e-5)
    assert float(log_determinant) == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("level", [1, 2**40])
def test_parameters_and_level_may_be_numbers_of_python(level):
    """The length of an interval is 2 sqrt(level)."""
    result = basin_volume(
        lambda w: (w - 1.5) ** 2, 1.5, key=jax.random.key(0), level=level, directions=4
    )
    assert float(result.log_volume) == pytest.approx(math.log(2 * level**0.5), abs=1e-4)


def test_intervals_in_float32_follow_those_in_float64():
    """JAX confuses the types of one array in two programs, so both stay alive."""
    programs, logs = [jax.jit(log_mean) for _ in range(2)], np.linspace(0, 1, 100)
    with jax.enable_x64(True):
        exact = programs[0](logs)
    result = programs[1](np.float32(logs))
    np.testing.assert_allclose([result.low, result.high], [exact.low, exact.high], rtol=1e-4)
