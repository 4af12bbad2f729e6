"""The lowest pass is the certified saddle, found without following anything downhill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.errors import InputError
from gdjax.minima import lowest_pass, passes
from gdjax.problems import find


def through_saddles(name):
    """Lowest passes from the certified saddles alone: down both sides of each, then the best way.

    An independent reference: two minima are neighbours over a saddle if the two ways down from it
    end in them (float64, small steps), and the best way is that of least highest saddle.
    """
    known = find(name)
    minima = np.array([m.x for m in known.minima])
    best = np.full((len(minima), len(minima)), np.inf)
    with jax.enable_x64(True):
        gradient, hessian = jax.jit(jax.grad(known.f)), jax.jit(jax.hessian(known.f))
        for saddle in (p for p in known.critical_points if p.kind == "saddle"):
            x = np.array(saddle.x, float)
            _, vectors = np.linalg.eigh(hessian(jnp.asarray(x)))
            ends = []
            for side in (1, -1):
                w = x + side * 1e-3 * vectors[:, 0]
                for _ in range(4000):
                    g = np.asarray(gradient(jnp.asarray(w)))
                    w = w - g * min(0.002, 0.02 / (np.linalg.norm(g) + 1e-12))
                near = np.linalg.norm(minima - w, axis=1)
                ends.append(int(np.argmin(near)) if near.min() < 0.1 else None)
            if None not in ends and ends[0] != ends[1]:
                i, j = ends
                best[i, j] = best[j, i] = min(best[i, j], saddle.value)
    for k in range(len(minima)):
        best = np.minimum(best, np.maximum(best[:, k : k + 1], best[k : k + 1]))
    return best


@pytest.mark.parametrize("name", ["himmelblau", "six_hump_camel"])
def test_lowest_passes_are_the_certified_saddles(name):
    known = find(name)
    minima = np.array([m.x for m in known.minima])
    found = passes(known.f, minima, known.domain)
    wanted = through_saddles(name)
    off = ~np.eye(len(minima), dtype=bool)
    assert np.all(np.isfinite(wanted[off]))
    np.testing.assert_allclose(found.value[off], wanted[off], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.diag(found.value), [m.value for m in known.minima], atol=1e-4)
    saddles = np.array([p.x for p in known.critical_points if p.kind == "saddle"])
    apart = np.linalg.norm(found.point[off][:, None] - saddles[None], axis=-1).min(axis=1)
    assert apart.max() < 1e-4
    assert found.gradient_norm.max() < 1e-3
    assert np.array_equal(found.value, found.value.T)


def test_goldstein_price_has_its_rational_saddles():
    """Values 30 to 3 over 35, 84 to 3 over 99, 840 to the others over 980."""
    known = find("goldstein_price")
    found = passes(known.f, [m.x for m in known.minima], known.domain).value
    assert [m.value for m in known.minima] == [3, 30, 84, 840]
    np.testing.assert_allclose(found[0], [3, 35, 99, 980], rtol=1e-5)


def test_one_dimension_has_the_highest_maximum_between():
    for name in ("two_sines", "quartic", "sine_bowl"):
        known = find(name)
        minima = np.sort([np.asarray(m.x).item() for m in known.minima])
        maxima = [
            (np.asarray(p.x).item(), p.value) for p in known.critical_points if p.kind == "maximum"
        ]
        found = passes(known.f, minima, known.domain)
        for i, a in enumerate(minima):
            for j, b in enumerate(minima[i + 1 :], i + 1):
                highest = max(y for x, y in maxima if a < x < b)
                np.testing.assert_allclose(found.value[i, j], highest, rtol=1e-5)
        assert found.point.shape == (len(minima), len(minima))


def test_the_way_stays_below_the_pass():
    known = find("himmelblau")
    a, b = (known.minima[k].x for k in (0, 3))
    found = lowest_pass(known.f, a, b, known.domain)
    np.testing.assert_allclose(found.value, 104.01516291755811, rtol=1e-5)
    along = np.array([known.f(jnp.asarray(x)) for x in found.path])
    assert along.max() < found.value + 0.5  # the grid is 0.04 wide
    assert np.linalg.norm(found.path[0] - np.array(a)) < 0.04
    assert np.linalg.norm(found.path[-1] - np.array(b)) < 0.04
    steps = np.linalg.norm(np.diff(found.path, axis=0), axis=1)
    assert steps.max() < 0.06  # from grid point to grid point, along sides or diagonals
    # The straight line crosses the hill in the middle.
    line = np.linspace(a, b, 101)
    assert max(known.f(jnp.asarray(x)) for x in line) > 150


def test_a_pass_on_the_edge_of_the_domain_shows_in_its_gradient():
    """Between (-1, 0) and (1, 0) a ridge falls for ever: the lowest way leads along the edge."""

    def ridge(w):
        return (w[0] ** 2 - 1) ** 2 * jnp.exp(w[1])

    found = lowest_pass(ridge, (-1.0, 0.0), (1.0, 0.0), ((-2.0, 2.0), (-1.0, 1.0)))
    np.testing.assert_allclose(found.value, np.exp(-1), rtol=1e-3)
    np.testing.assert_allclose(found.point, [0, -1], atol=0.02)
    assert found.gradient_norm > 0.3


def test_what_has_no_grid_is_refused():
    with pytest.raises(InputError, match=r"expected \(\(lo, hi\),\)"):
        passes(jnp.sum, np.zeros((2, 3)), ((0, 1), (0, 1), (0, 1)))
    with pytest.raises(InputError, match="not all in the domain"):
        lowest_pass(jnp.sum, (0.0, 0.0), (2.0, 0.0), ((-1, 1), (-1, 1)))
    with pytest.raises(InputError, match="resolution = 2"):
        lowest_pass(lambda x: x, 0.0, 1.0, ((-1, 1),), resolution=2)
