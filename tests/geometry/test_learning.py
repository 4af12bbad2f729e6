"""Learning coefficients against quadrature under the sampler's own prior, and against limits."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from gdjax.errors import InputError
from gdjax.geometry import learning
from gdjax.geometry.learning import Sampling, learning_coefficient
from gdjax.geometry.whitening import Whitening, whitened
from gdjax.problems.problem import as_problem

KEYS = 4


def cost(w, kind):
    """c0 w0^2k + c1 w1^2m + c2 (w0 w1)^2: bowls, flatter valleys, a cross of two floors."""
    c, k, m = kind
    return jnp.mean(c[:, 0] * (w[0] ** 2) ** k + c[:, 1] * (w[1] ** 2) ** m) + jnp.mean(
        c[:, 2] * (w[0] * w[1]) ** 2
    )


# Coefficients, exponents, inverse temperature, localisation, and the limit as the former grows.
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
    """-d log Z / d log b on a logarithmic grid over the plane, in float64."""
    c, k, m, b, localisation, _ = KINDS[name]
    a = np.geomspace(1e-7, 12, 600) / np.sqrt(localisation)
    x = np.concatenate([-a[::-1], a])
    X, Y = np.meshgrid(x, x)
    C = c[0] * X ** (2 * k) + c[1] * Y ** (2 * m) + c[2] * (X * Y) ** 2
    P = np.exp(-b * C - localisation * (X**2 + Y**2) / 2)

    def over(values):
        return integrate.trapezoid(integrate.trapezoid(values, x), x)

    return b * over(C * P) / over(P)


@pytest.fixture(scope="module")
def found():
    """All kinds, each from several keys, as one program of 24 runs with 16 chains each."""

    def one(kind, b, localisation, key):
        return learning_coefficient(
            cost,
            jnp.zeros(2),
            key=key,
            data=kind,
            inverse_temperature=b,
            localisation=localisation,
            draws=500,
            warm_up=200,
            leaps=48,
        )

    with jax.enable_x64(True):
        rows = [row for row in KINDS.values() for _ in range(KEYS)]
        column = [jnp.array([row[i] for row in rows]) for i in range(5)]
        kinds = (column[0][:, None], column[1][:, None], column[2][:, None])
        keys = jax.random.split(jax.random.key(0), len(rows))
        runs = jax.jit(jax.vmap(one))(kinds, column[3], column[4], keys)
    return jax.tree.map(lambda a: np.asarray(a).reshape((len(KINDS), KEYS, *a.shape[1:])), runs)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_derivative_of_log_z(found, name):
    row = list(KINDS).index(name)
    exact = quadrature(name)
    agreed = found.status[row] == Sampling.AGREED
    assert agreed.sum() >= KEYS - 1  # among 24 runs chance may keep one apart
    z = (found.coefficient[row] - exact)[agreed] / found.standard_error[row][agreed]
    assert np.abs(z).max() < 4
    assert found.standard_error[row][agreed].max() < 0.05


def test_standard_errors_are_as_large_as_errors(found):
    exact = np.array([quadrature(name) for name in KINDS])
    z = (found.coefficient - exact[:, None]) / found.standard_error
    assert 0.6 < np.sqrt(np.mean(z[found.status == Sampling.AGREED] ** 2)) < 1.5  # 1 +- 0.14


@pytest.mark.parametrize("name", [name for name, row in KINDS.items() if row[5] is not None])
def test_limits(found, name):
    row = list(KINDS).index(name)
    limit = KINDS[name][5]
    assert np.mean(found.coefficient[row]) == pytest.approx(limit, abs=0.04)


def cross(b):
    """Closed form of a cross under a prior of precision 1, by Bessel's functions; u = 1 / (8 b).

    Z = integral of exp(-x^2 / 2) (1 + 2 b x^2)^(-1/2) dx ~ b^(-1/2) e^u K0(u)
    """
    u = 1 / (8 * b)
    return 0.5 + u - u * special.k1(u) / special.k0(u)


def test_the_limit_of_a_cross_is_far():
    """1/2, but 0.41 at 1e4 and 0.45 at 1e8: the logarithm of a multiplicity dies slowly."""
    assert cross(1e4) == pytest.approx(0.412, abs=0.002)
    assert cross(1e8) == pytest.approx(0.452, abs=0.001)
    assert cross(1e20) == pytest.approx(0.479, abs=0.001)
    for name in ("cross", "cold cross"):
        assert quadrature(name) == pytest.approx(cross(KINDS[name][3]), abs=1e-4)


def power(w, k):
    """w^2k in one dimension."""
    return jnp.mean((w[0] ** 2) ** k)


@pytest.mark.long
@pytest.mark.parametrize("k", range(1, 6))
def test_powers_have_the_inverse_of_their_exponent(k):
    """1 / (2k): by quadrature under the prior, and by the sampler within its own error."""
    b = 1e8
    x = np.linspace(0, 10, 2_000_001) * b ** (-1 / (2 * k))
    weight = np.exp(-b * x ** (2 * k) - x**2 / 2)
    exact = b * np.sum(x ** (2 * k) * weight) / np.sum(weight)
    assert exact == pytest.approx(1 / (2 * k), abs=0.01)
    with jax.enable_x64(True):
        run = jax.jit(
            lambda key: learning_coefficient(
                power, jnp.zeros(1), key=key, data=jnp.array([float(k)]), inverse_temperature=b,
                draws=2000,
            )
        )(jax.random.key(0))  # fmt: skip
    found = jax.tree.map(np.asarray, run)
    assert found.status == Sampling.AGREED
    assert abs(found.coefficient - exact) < 4 * found.standard_error
    assert found.standard_error < 0.01


@pytest.mark.long
@pytest.mark.parametrize(("b", "leaps"), [(1e6, 1000), (1e8, 8000)])
def test_the_sampler_follows_a_cross_towards_its_limit(b, leaps):
    """Its arms are 1e-4 wide and 1 long: at 1e8 some chains do not come round, and are refused."""

    def one(key):
        return learning_coefficient(
            lambda w: (w[0] * w[1]) ** 2,
            jnp.zeros(2),
            key=key,
            inverse_temperature=b,
            draws=1000,
            warm_up=300,
            leaps=leaps,
        )

    with jax.enable_x64(True):
        runs = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0)))
    found = jax.tree.map(np.asarray, runs)
    agreed = found.status == Sampling.AGREED
    assert agreed.all() or b == 1e8
    z = (found.coefficient - cross(b)) / found.standard_error
    assert np.all(np.abs(z[agreed]) < 4)
    # Chains are independent whether or not they agree.
    chains = np.ravel(found.of_chains)
    error = np.std(chains, ddof=1) / np.sqrt(len(chains))
    assert abs(chains.mean() - cross(b)) < 4 * error < 0.5 - cross(b)


def wells(w, tilt):
    """Wells at w0 = 0 and at -2, lower by 2 tilt; three dimensions of bowl beside them."""
    return ((w[0] + 1) ** 2 - 1) ** 2 + jnp.mean(tilt) * w[0] + 10 * w[1:] @ w[1:]


def test_chains_in_two_wells_are_refused_and_a_stronger_localisation_helps():
    """Where both wells cost the same, too, which the cost alone does not show."""

    def one(localisation, tilt):
        return learning_coefficient(
            wells,
            jnp.zeros(4),
            key=jax.random.key(0),
            data=tilt,
            inverse_temperature=300.0,
            localisation=localisation,
            draws=200,
            warm_up=200,
        )

    tilts = jnp.array([0.0, 0.1, 0.0, 0.1])[:, None]
    found = jax.jit(jax.vmap(one))(jnp.array([0.3, 0.3, 30, 30]), tilts)
    assert found.status.tolist() == 2 * [Sampling.DISAGREED] + 2 * [Sampling.AGREED]
    assert np.isnan(found.coefficient[:2]).all()
    assert np.isnan(found.standard_error[:2]).all()
    assert np.isfinite(found.of_chains).all()
    np.testing.assert_allclose(found.coefficient[2:], 2, atol=0.2)  # d / 2
    assert float(found.lowest[1]) < -0.15
    assert float(found.lowest[3]) > -0.01


@pytest.mark.long
def test_a_whitening_changes_how_fast_it_goes_and_nothing_else():
    """Curvatures from 1 to 1e6, of which plain coordinates see the steep ones only."""
    h = jnp.geomspace(1, 1e6, 6)

    def bowl(w):
        return w @ (h * w) / 2

    def one(scale):
        return learning_coefficient(
            bowl,
            jnp.zeros(6),
            key=jax.random.key(0),
            inverse_temperature=10.0,
            whitening=scale,
            draws=200,
            warm_up=100,
            leaps=8,
        )

    exact = float(jnp.sum(10 * h / (10 * h + 1)) / 2)
    both = whitened(bowl, jnp.zeros(6), floor=0.1), Whitening(jnp.ones(6), jnp.eye(6))
    found = jax.jit(jax.vmap(one))(jax.tree.map(lambda *a: jnp.stack(a), *both))
    assert found.status[0] == Sampling.AGREED
    assert abs(found.coefficient[0] - exact) < 4 * found.standard_error[0]
    assert found.status[1] != Sampling.AGREED


def test_what_cannot_be_sampled_is_told():
    def one(scale):
        return learning_coefficient(
            lambda p: scale * (p["a"] ** 2 + p["b"] @ p["b"]),
            {"a": jnp.zeros(()), "b": jnp.zeros(2)},
            key=jax.random.key(0),
            inverse_temperature=10.0,
            chains=4,
            draws=16,
            warm_up=20,
            leaps=2,
        )

    found = jax.jit(jax.vmap(one))(jnp.array([jnp.nan, 1.0]))
    assert found.status[0] == Sampling.NOT_FINITE
    assert found.status[1] in (Sampling.DISAGREED, Sampling.TOO_FEW)
    assert np.isnan(found.coefficient).all()


def test_the_temperature_is_that_of_the_samples():
    line = as_problem(lambda w, x: jnp.mean(w * x), np.ones(5, np.float32))
    assert learning._inverse_temperature(line, None) == 5 / np.log(5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "0 samples; give inverse_temperature"),
        ({"inverse_temperature": 0.0}, "inverse_temperature = 0.0"),
        ({"inverse_temperature": 1.0, "localisation": -1.0}, "localisation = -1.0"),
        ({"inverse_temperature": 1.0, "chains": 1}, "chains = 1, expected at least 2"),
        ({"inverse_temperature": 1.0, "draws": 7}, "draws = 7, expected at least 8"),
        ({"inverse_temperature": 1.0, "leaps": 0}, "leaps = 0"),
    ],
)
def test_the_door(given, message):
    with pytest.raises(InputError, match=message):
        learning_coefficient(lambda w: w @ w, jnp.zeros(2), key=jax.random.key(0), **given)


def test_labels_are_words():
    assert [s.label for s in learning.Sampling] == ["agreed", "disagreed", "too few", "not finite"]
