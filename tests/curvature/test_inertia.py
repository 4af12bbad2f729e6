"""Signs of eigenvalues: known beyond their own error, level within, dead coordinates neither."""

import jax
import jax.numpy as jnp
import numpy as np
from curved_problems import quadratic

from gdjax.curvature import FunctionOperator, inertia


def planted(n):
    """A matrix with two eigenvalues below zero, one at it, and two dead coordinates."""
    values = np.r_[-2.0, -0.5, 0.0, np.linspace(0.3, 3, n - 3)]
    H = np.zeros((n + 2, n + 2))
    H[:n, :n] = quadratic(values)[2][0]
    return values, H, np.r_[np.ones(n), 0, 0]


@jax.jit
def looked(H, mask, shaken, v):
    """All that is said of a matrix, and H^+ v."""
    bent = inertia.every(FunctionOperator(lambda v: H @ v, mask), mask, shaken)
    said = {name: getattr(bent, name) for name in ("known", "up", "down", "level", "nullity")}
    return said | {
        "inverse": bent.inverse(v),
        "norm": bent.norm,
        "least": bent.least,
        "flattest": bent.flattest,
    }


def test_signs_and_the_inverse_are_those_of_the_matrix():
    _, H, mask = planted(12)
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, looked(H, mask, 0.0, np.ones(14)))
    assert [found[name].sum() for name in ("known", "up", "down", "level")] == [12, 9, 2, 1]
    assert found["nullity"] == 1
    np.testing.assert_allclose([found["norm"], found["least"]], [3, 0.3], atol=1e-9)
    np.testing.assert_allclose(H @ found["flattest"], 0.3 * found["flattest"], atol=1e-9)
    inverse = np.linalg.pinv(H, rcond=1e-9) @ np.ones(14)
    np.testing.assert_allclose(found["inverse"], inverse, atol=1e-9)


def test_a_shaken_product_takes_signs_away():
    values, H, mask = planted(12)
    with jax.enable_x64(True):
        found = looked(H, mask, 0.6, np.ones(14))
    assert int(found["nullity"]) == np.sum(np.abs(values) <= 0.6) == 3
    assert int(found["down"].sum()) == 1


def test_from_products_both_ends_are_seen_and_what_is_between_is_hidden():
    values, H, mask = planted(60)
    H = jnp.array(H, jnp.float32)
    mask = jnp.array(mask, jnp.float32)
    bent = jax.jit(
        lambda H: inertia.ends(
            FunctionOperator(lambda v: H @ v, mask),
            mask,
            0.0,
            key=jax.random.key(0),
            rtol=1e-6,
            max_steps=100,
        )._replace(inverse=0, form_size=0)
    )(H)
    np.testing.assert_allclose(np.sort(bent.values), np.r_[values[:3], values[-3:]], atol=1e-4)
    assert bool(bent.hidden)  # two below and three above say nothing about those between
    assert int(bent.down.sum()) == 2


def test_nearly_along_a_level_direction_the_inverse_is_of_what_bends():
    """Rounding along it stayed in the solver's residual, which became NaN or infinite at times."""
    _, H, mask = planted(60)
    values, vectors = np.linalg.eigh(H[:60, :60])
    level, steep = (np.r_[vectors[:, k], 0, 0] for k in (2, -1))

    @jax.jit
    def inverse(H, v):
        bent = inertia.ends(
            FunctionOperator(lambda v: H @ v, mask), jnp.asarray(mask), 0.0,
            key=jax.random.key(0), rtol=1e-13, max_steps=100,
        )  # fmt: skip
        return bent.inverse(v)

    with jax.enable_x64(True):
        for share in (0, 1e-12, 1e-11, 1e-6, 1.0):
            found = inverse(H, level + share * steep)
            known = share * steep / values[-1]
            np.testing.assert_allclose(found, known, atol=1e-12 + 1e-5 * share)
