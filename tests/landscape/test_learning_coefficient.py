"""Learning coefficients, compared with quadrature and with known limits."""

import itertools
import math
from functools import lru_cache, reduce
from unittest.mock import MagicMock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from gdjax.base import progress
from gdjax.landscape.learning_coefficient import (
    SamplingStatus,
    _default_temperature,
    extrapolate,
    finite_temperature_coefficient,
    local_learning_coefficient,
)
from gdjax.landscape.mcmc import Whitening, hessian_whitening
from gdjax.problems.problem import as_problem

KEY = jax.random.key(0)
KEYS = 4


def cost(w, kind):
    """Return c0 w0^2k + c1 w1^2m + c2 (w0 w1)^2: a bowl, a flatter valley or a cross."""
    c, k, m = kind
    return jnp.mean(c[:, 0] * (w[0] ** 2) ** k + c[:, 1] * (w[1] ** 2) ** m) + jnp.mean(
        c[:, 2] * (w[0] * w[1]) ** 2
    )


# Coefficients, exponents k and m, inverse temperature, localization, and zero-temperature limit.
KINDS = {
    "bowl": ((0.5, 5.0, 0.0), 1.0, 1.0, 1e4, 1.0, 1.0),
    "warm bowl": ((0.5, 5.0, 0.0), 1.0, 1.0, 1.0, 1.0, None),
    "1/4 + 1/2": ((1.0, 1.0, 0.0), 2.0, 1.0, 1e4, 1.0, 3 / 4),
    "1/6 + 1/4": ((1.0, 1.0, 0.0), 3.0, 2.0, 1e6, 1.0, 1 / 6 + 1 / 4),
    "cross": ((0.0, 0.0, 1.0), 1.0, 1.0, 1e2, 1.0, None),
    "cold cross": ((0.0, 0.0, 1.0), 1.0, 1.0, 1e4, 1.0, None),
}


@lru_cache
def quadrature(name):
    """Return -d log Z / d log b from a logarithmic grid over the plane, in float64."""
    c, k, m, b, localization, _ = KINDS[name]
    a = np.geomspace(1e-7, 12, 600) / np.sqrt(localization)
    x = np.concatenate([-a[::-1], a])
    X, Y = np.meshgrid(x, x)
    C = c[0] * X ** (2 * k) + c[1] * Y ** (2 * m) + c[2] * (X * Y) ** 2
    P = np.exp(-b * C - localization * (X**2 + Y**2) / 2)

    def over(values):
        return integrate.trapezoid(integrate.trapezoid(values, x), x)

    return b * over(C * P) / over(P)


@pytest.fixture(scope="module")
def result():
    """Return estimates for all kinds and keys: 24 runs of 16 chains in one program."""

    def one(kind, b, localization, key):
        return finite_temperature_coefficient(
            as_problem(cost, kind),
            jnp.zeros(2),
            key=key,
            inverse_temperature=b,
            localization=localization,
            num_samples=500,
            num_warmup=200,
            num_integration_steps=48,
        )

    with jax.enable_x64(True):
        rows = [row for row in KINDS.values() for _ in range(KEYS)]
        column = [jnp.array([row[i] for row in rows]) for i in range(5)]
        kinds = (column[0][:, None], column[1][:, None], column[2][:, None])
        keys = jax.random.split(KEY, len(rows))
        runs = jax.jit(jax.vmap(one))(kinds, column[3], column[4], keys)
    return jax.tree.map(lambda a: np.asarray(a).reshape((len(KINDS), KEYS, *a.shape[1:])), runs)


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_the_coefficient_is_the_derivative_of_the_log_partition_function(result, name):
    row = list(KINDS).index(name)
    exact = quadrature(name)
    agreed = result.status[row] == SamplingStatus.AGREED
    assert agreed.sum() >= KEYS - 1  # one run may fail to mix by chance
    z = (result.coefficient[row] - exact)[agreed] / result.standard_error[row][agreed]
    assert np.abs(z).max() < 4
    assert result.standard_error[row][agreed].max() < 0.05
    limit = KINDS[name][5]
    if limit is not None:
        assert np.mean(result.coefficient[row]) == pytest.approx(limit, abs=0.04)


@pytest.mark.long
def test_standard_errors_agree_with_actual_errors(result):
    exact = np.array([quadrature(name) for name in KINDS])
    z = (result.coefficient - exact[:, None]) / result.standard_error
    spread = np.sqrt(np.mean(z[result.status == SamplingStatus.AGREED] ** 2))
    assert 0.6 < spread < 1.5  # expected: 1 +- 0.14


def cross(b):
    """Return the coefficient of a cross under a prior of precision 1, in closed form.

    With u = 1 / (8 b) and the modified Bessel function K0,
    Z = integral of exp(-x^2 / 2) (1 + 2 b x^2)^(-1/2) dx ~ b^(-1/2) e^u K0(u)
    """
    u = 1 / (8 * b)
    return 0.5 + u - u * special.k1(u) / special.k0(u)


def test_coefficients_of_a_cross_converge_slowly():
    """The limit is 1/2, but the coefficient is 0.41 at b = 1e4 and 0.45 at b = 1e8."""
    assert cross(1e4) == pytest.approx(0.412, abs=0.002)
    assert cross(1e8) == pytest.approx(0.452, abs=0.001)
    assert cross(1e20) == pytest.approx(0.479, abs=0.001)
    for name in ("cross", "cold cross"):
        assert quadrature(name) == pytest.approx(cross(KINDS[name][3]), abs=1e-4)


def sampled(cost, w, key=KEY, **options):
    """Return the coefficient at one temperature, for a key or several keys, in float64."""

    def one(key):
        return finite_temperature_coefficient(cost, w, key=key, **options)

    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(one) if key.ndim else one)
        return jax.tree.map(np.asarray, run(key))


def coefficient_on_a_grid(cost, b, count=2, points=1500):
    """Return b E[C] under exp(-b C(w) - |w|^2 / 2), where C depends on |w_i| only."""
    a = np.geomspace(1e-9, 12, points)
    w = np.meshgrid(*[a] * count, indexing="ij")
    C = cost(w)
    density = np.exp(-b * C - sum(x**2 for x in w) / 2) * math.prod(w)  # dw = w d log w
    return b * np.sum(C * density) / np.sum(density)


# llc and the coefficient at inverse temperature b. For the cost x^(2p) y^(2q), llc is
# the smaller of 1/(2p) and 1/(2q), with multiplicity 2 if they are equal (Watanabe 2009, section
# 2.4): Z is the Laplace transform of the density of states, whose Mellin transform, the integral of
# x^(-2pz) y^(-2qz), has poles at z = 1/(2p) and 1/(2q).
CURVES = {
    **{
        f"w^{2 * k}": (1 / (2 * k), lambda b, k=k: coefficient_on_a_grid(
            lambda w: w[0] ** (2 * k), b, 1
        ))
        for k in range(1, 6)
    },
    "x^2 y^4": (1 / 4, lambda b: coefficient_on_a_grid(lambda w: w[0] ** 2 * w[1] ** 4, b)),
    "x^2 y^2": (1 / 2, cross),
    "x^4 y^4": (1 / 4, lambda b: coefficient_on_a_grid(lambda w: w[0] ** 4 * w[1] ** 4, b)),
    "x^2 y^2 z^2": (1 / 2, lambda b: coefficient_on_a_grid(
        lambda w: math.prod(x**2 for x in w), b, 3, 100
    )),
    "regression 3-2-3": (7 / 2, lambda b: 7 / 2 - 1 / (np.log(b) - 0.75)),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("samples", [1_500, 15_000])
def test_more_than_90_percent_of_2000_extrapolation_intervals_cover_the_limit(name, samples):
    """Coefficients at b = 1e1 to 1e4 have the noise of `samples` independent samples."""
    llc, curve = CURVES[name]
    b = np.geomspace(1e1, 1e4, 5)
    exact = np.array([curve(one) for one in b])
    error = np.sqrt(exact / samples)  # the variance of b C is about equal to its mean
    noise = np.random.default_rng(0).normal(size=(2000, 5))
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda y: extrapolate(b, y, error)))
        result = jax.tree.map(np.asarray, run(exact + error * noise))
    covered = (result.low <= llc) & (llc <= result.high)
    assert np.mean(covered) > 0.9
    assert np.median(result.high - result.low) < 1.5 * llc
    if name == "regression 3-2-3" and samples == 15_000:
        assert np.median(exact) < llc - 5 * error.max()  # significantly below the limit


def test_the_interval_of_a_cost_of_multiplicity_3_contains_all_limits_that_fit_within_1_percent():
    """Over two orders of magnitude, x^2 y^2 z^2 is fitted by limits from 0.38 to 0.525.

    The three coefficients are m - 1 = 1, 2 and 3 over log b + a.
    """
    b = np.geomspace(1e2, 1e4, 5)
    exact = np.array([CURVES["x^2 y^2 z^2"][1](one) for one in b])
    fitted = []
    for factor, a in itertools.product((1, 2, 3), np.geomspace(0.5, 16, 400)):
        correction = factor / (np.log(b / b[0]) + a)
        limit = np.mean(exact + correction)
        if np.all(np.abs(limit - correction - exact) < 0.01 * exact):
            fitted.append(limit)
    assert min(fitted) < 0.44 < 0.5 < max(fitted)
    result = jax.jit(extrapolate)(b, exact, np.full(5, 1e-3))
    assert float(result.low) < min(fitted)
    assert max(fitted) < float(result.high)


def test_extrapolation_is_accurate_in_float32_and_with_four_temperatures_and_nan_with_two():
    b = np.geomspace(1e1, 1e5, 5)
    y = 7 / 2 - 1 / (np.log(b) - 0.75)
    error = np.full(5, 0.01)
    run = jax.jit(extrapolate)
    whole = run(*(a.astype(np.float32) for a in (b, y, error)))
    with jax.enable_x64(True):
        exact = run(b, y, error)
    assert float(whole.llc) == pytest.approx(float(exact.llc), abs=0.02)
    assert float(whole.low) < 3.5 < float(whole.high)
    y[4] = np.nan
    fewer = run(*(a.astype(np.float32) for a in (b, y, error)))
    assert float(fewer.low) < 3.5 < float(fewer.high)
    assert fewer.high - fewer.low > whole.high - whole.low
    y[2:] = np.nan
    assert np.isnan(run(*(a.astype(np.float32) for a in (b, y, error))).llc)


def product(layers):
    return reduce(lambda out, layer: layer @ out, layers)


@jax.jit
def coefficient_of_linear_networks(layers):
    """Return the coefficient of the networks with the product of these layers."""
    target = product(layers)
    return local_learning_coefficient(
        lambda layers: jnp.sum((product(layers) - target) ** 2) / 2,
        layers,
        key=KEY,
        inverse_temperatures=np.geomspace(1e1, 1e4, 5),
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("widths", "rank", "llc", "multiplicity"),
    [
        ((3, 2, 3), 1, 3.5, 2),
        ((4, 2, 3), 0, 3.0, 2),
        ((4, 3, 4), 2, 7.0, 2),
        ((2, 2, 2, 2), 0, 1.5, 3),
        ((2, 2, 2, 2), 1, 2.0, 3),
        ((2, 1, 2, 2), 0, 1.0, 3),
    ],
)
def test_linear_networks_have_the_published_coefficient(widths, rank, llc, multiplicity):
    """Test reduced-rank regressions and three-layer networks with default sampling.

    References: Aoyagi and Watanabe 2005 for two layers; Aoyagi 2024, *Consideration on the learning
    efficiency of multiple-layered neural networks with linear units*.
    """

    layers = tuple(
        np.diag(np.arange(max(m, n)) < rank)[:n, :m].astype(float)
        for m, n in itertools.pairwise(widths)
    )
    with jax.enable_x64(True):
        result = jax.tree.map(np.asarray, coefficient_of_linear_networks(layers))
    at = result.at_temperatures
    assert (at.status[:4] == SamplingStatus.AGREED).all()
    assert result.low < llc < result.high
    assert result.high - result.low < 0.5 * llc
    # A coefficient at one temperature is below the limit only if the multiplicity exceeds 1.
    assert (at.coefficient[2] < llc - 5 * at.standard_error[2]) == (multiplicity > 1)


FIRST, SECOND = np.diag([1.0, 0, 0])[:2], np.diag([1.0, 0, 0])[:, :2]


def regression(w):
    return jnp.sum((w[1] @ w[0] - SECOND @ FIRST) ** 2) / 2


@pytest.mark.long
def test_coefficients_at_one_temperature_equal_those_of_gibbs_sampling():
    """The regression has M = N = 3, H = 2 and r = 1; the limit is 3.5."""
    b, gibbs = np.array([1e2, 1e3]), np.array([3.24, 3.34])

    def one(b):
        return finite_temperature_coefficient(
            regression, (FIRST, SECOND), key=KEY, inverse_temperature=b, num_samples=4000
        )

    with jax.enable_x64(True):
        result = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(b))
    np.testing.assert_array_equal(result.status, SamplingStatus.AGREED)
    assert np.all(np.abs(result.coefficient - gibbs) < 4 * result.standard_error + 0.01)
    assert np.all(result.coefficient < 3.5 - 5 * result.standard_error)


@pytest.mark.long
def test_default_coordinates_are_accurate_in_curved_and_narrow_valleys():
    """Whitening fails for a regression, and original coordinates for a narrow valley."""
    h, b = np.geomspace(1, 1e6, 6), 1e3
    options = {"num_samples": 300, "num_warmup": 200, "num_integration_steps": 32}

    def bowl(w):
        return w @ (h * w) / 2

    with jax.enable_x64(True):
        other = hessian_whitening(regression, (FIRST, SECOND), damping=1e-3)
        own = hessian_whitening(bowl, np.zeros(6), damping=1 / b)
    cases = (
        (regression, (FIRST, SECOND), None, None),
        (regression, (FIRST, SECOND), other, SamplingStatus.DISAGREED),
        (bowl, np.zeros(6), Whitening(np.ones(6)), SamplingStatus.DISAGREED),
        (bowl, np.zeros(6), None, None),
        (bowl, np.zeros(6), own, None),
    )
    for cost, w, whitening, failure in cases:
        result = sampled(cost, w, inverse_temperature=b, whitening=whitening, **options)
        assert result.status == (failure or SamplingStatus.AGREED)
        if cost is bowl and failure is None:
            exact = np.sum(b * h / (b * h + 1)) / 2
            assert abs(result.coefficient - exact) < 4 * result.standard_error


def wells(w, tilt):
    """Return a cost with wells near w0 = 0 and -2; the latter is lower by 2 tilt."""
    return ((w[0] + 1) ** 2 - 1) ** 2 + jnp.mean(tilt) * w[0] + 10 * w[1:] @ w[1:]


@pytest.mark.long
def test_chains_in_two_wells_are_rejected_unless_localization_is_stronger():
    """Chains in two wells are also rejected if both wells have equal costs."""

    def one(localization, tilt):
        return finite_temperature_coefficient(
            as_problem(wells, tilt),
            jnp.zeros(4),
            key=KEY,
            inverse_temperature=300.0,
            localization=localization,
            num_samples=200,
            num_warmup=200,
        )

    tilts = jnp.array([0.0, 0.1, 0.0, 0.1])[:, None]
    result = jax.jit(jax.vmap(one))(jnp.array([0.3, 0.3, 30, 30]), tilts)
    assert result.status.tolist() == 2 * [SamplingStatus.DISAGREED] + 2 * [SamplingStatus.AGREED]
    assert np.isnan(result.coefficient[:2]).all()
    assert np.isnan(result.standard_error[:2]).all()
    assert np.isfinite(result.chain_coefficients).all()
    # The limit is d / 2 = 2. The prior reduces it, and with a tilt w* is not the minimum: a
    # Gaussian with mean -30 / 2430 and variance 1 / 2430 for w0, 6000 / 6030 of 1/2 for the others.
    bowl = 1200 / 2430 + 1.5 * 6000 / 6030
    expected = np.array([bowl, bowl + 1200 * (30 / 2430) ** 2 - 30 * 30 / 2430])
    assert np.all(np.abs(result.coefficient[2:] - expected) < 4 * result.standard_error[2:])
    assert result.standard_error[2:].max() < 0.1
    assert float(result.lowest[1]) < -0.15
    assert float(result.lowest[3]) > -0.01


@pytest.mark.long
def test_status_reports_costs_that_are_not_finite_and_too_few_samples():
    def one(scale):
        return finite_temperature_coefficient(
            lambda p: scale * (p["a"] ** 2 + p["b"] @ p["b"]),
            {"a": jnp.zeros(()), "b": jnp.zeros(2)},
            key=KEY,
            inverse_temperature=10.0,
            num_chains=4,
            num_samples=16,
            num_warmup=20,
            num_integration_steps=2,
        )

    result = jax.jit(jax.vmap(one))(jnp.array([jnp.nan, 1.0]))
    assert result.status[0] == SamplingStatus.NOT_FINITE
    assert result.status[1] in (SamplingStatus.DISAGREED, SamplingStatus.TOO_FEW)
    assert np.isnan(result.coefficient).all()


def test_the_default_inverse_temperature_is_n_divided_by_log_n():
    line = as_problem(lambda w, x: jnp.mean(w * x), np.ones(5, np.float32))
    assert _default_temperature(line, "b") == 5 / np.log(5)


@pytest.mark.long
def test_a_progress_bar_counts_trajectories_except_in_traced_calls(monkeypatch):
    bar = MagicMock()
    bar.__enter__.return_value = bar
    monkeypatch.setattr(progress, "bar", MagicMock(return_value=bar))

    def coefficient(key):
        return finite_temperature_coefficient(
            lambda w: w @ w, jnp.zeros(2), key=key, inverse_temperature=10.0,
            num_chains=2, num_samples=8, num_warmup=4, num_integration_steps=2,
            whitening=Whitening(jnp.ones(2)),
        )  # fmt: skip

    bar.disable = False
    with_bar = coefficient(KEY)
    jax.jit(coefficient)(KEY)
    bar.disable = True
    without = coefficient(KEY)
    assert bar.update.call_count == 12
    # Two programs, whose rounding errors differ.
    np.testing.assert_allclose(with_bar.samples, without.samples, rtol=1e-3)
