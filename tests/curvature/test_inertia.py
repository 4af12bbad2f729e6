"""Signs of eigenvalues, indeterminate for values within the error bound of 0."""

import jax
import jax.numpy as jnp
import numpy as np
from curved_problems import quadratic

from gdjax.curvature import FunctionOperator
from gdjax.curvature.inertia import dense_inertia, extreme_inertia


def planted(n):
    """Return eigenvalues, a matrix with these and two dead coordinates, and its mask."""
    values = np.r_[-2.0, -0.5, 0.0, np.linspace(0.3, 3, n - 3)]
    H = np.zeros((n + 2, n + 2))
    H[:n, :n] = quadratic(values)[2][0]
    return values, H, np.r_[np.ones(n), 0, 0]


@jax.jit
def inertia_of(H, mask, perturbation, v):
    """Return the inertia of a matrix H, with H^+ v as its pseudoinverse."""
    inertia = dense_inertia(FunctionOperator(lambda v: H @ v, mask), mask, perturbation, 1e-16)
    return inertia._replace(pseudoinverse=inertia.pseudoinverse(v), form_size=0)


def extreme(H, mask, rounding, rtol):
    """Return the inertia of both ends of the spectrum of a matrix H."""
    return extreme_inertia(
        FunctionOperator(lambda v: H @ v, mask), mask, 0.0, rounding,
        key=jax.random.key(0), rtol=rtol, max_restarts=100,
    )  # fmt: skip


def test_signs_and_the_pseudoinverse_equal_those_of_the_matrix():
    """Eigenvalues within the perturbation are indeterminate."""
    values, H, mask = planted(12)
    with jax.enable_x64(True):
        inertia = inertia_of(H, mask, 0.0, np.ones(14))
        signs = inertia.known, inertia.positive, inertia.negative, inertia.indeterminate
        assert [int(sign.sum()) for sign in signs] == [12, 9, 2, 1]
        assert int(inertia.nullity) == 1
        np.testing.assert_allclose([inertia.norm, inertia.smallest_magnitude], [3, 0.3], atol=1e-9)
        np.testing.assert_allclose(H @ inertia.flattest, 0.3 * inertia.flattest, atol=1e-9)
        inverse = np.linalg.pinv(H, rcond=1e-9) @ np.ones(14)
        np.testing.assert_allclose(inertia.pseudoinverse, inverse, atol=1e-9)
        perturbed = inertia_of(H, mask, 0.6, np.ones(14))
        assert int(perturbed.nullity) == np.sum(np.abs(values) <= 0.6) == 3
        assert int(perturbed.negative.sum()) == 1


def test_extreme_inertia_covers_only_both_ends_of_the_spectrum():
    values, H, mask = planted(60)
    H, mask = (jnp.array(array, jnp.float32) for array in (H, mask))
    inertia = jax.jit(
        lambda H: extreme(H, mask, 1e-7, 1e-6)._replace(pseudoinverse=0, form_size=0)
    )(H)
    np.testing.assert_allclose(np.sort(inertia.values), np.r_[values[:3], values[-3:]], atol=1e-4)
    assert bool(inertia.incomplete)  # the eigenvalues between both ends are unknown
    assert int(inertia.negative.sum()) == 2


def test_the_pseudoinverse_omits_flat_directions():
    """A component along the flat direction does not change the result."""
    _, H, mask = planted(60)
    values, vectors = np.linalg.eigh(H[:60, :60])
    level, steep = (np.r_[vectors[:, k], 0, 0] for k in (2, -1))

    @jax.jit
    def inverse(H, v):
        return extreme(H, jnp.asarray(mask), 1e-16, 1e-13).pseudoinverse(v)

    with jax.enable_x64(True):
        for share in (0, 1e-12, 1e-11, 1e-6, 1.0):
            result = inverse(H, level + share * steep)
            known = share * steep / values[-1]
            np.testing.assert_allclose(result, known, atol=1e-12 + 1e-5 * share)
