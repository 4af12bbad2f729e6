"""How the cost bends at a point: eigenpairs of the Hessian, each with how exact it is.

    H v = lambda v;   up: lambda > radius,   down: lambda < -radius,   level: |lambda| <= radius

Which sign an eigenvalue has is known where it is larger than its own residual and rounding; what is
level may bend either way, or not at all. The simplest instance has one of each:

>>> from gdjax.curvature.operators import FunctionOperator
>>> H = jnp.diag(jnp.array([2.0, -1.0, 0.0]))
>>> found = every(FunctionOperator(lambda v: H @ v, jnp.ones(3)), jnp.ones(3), 0.0)
>>> found.values.tolist(), found.up.tolist(), found.level.tolist()
([-1.0, 0.0, 2.0], [False, False, True], [False, True, False])
>>> found.inverse(jnp.ones(3)).tolist()
[0.5, -1.0, 0.0]

Coordinates on which the cost does not depend are masked: they are dead, not level.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, ScalarLike

from gdjax.curvature import block_lanczos, jacobi_eigh
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.operators import SymmetricOperator

ENDS = 3  # eigenvalues looked at from each end where not all are


class Bends(NamedTuple):
    """Eigenpairs on the live coordinates, each with how exact it is, and what they say of H^+.

    Args:
        values: eigenvalues; those that are not `known` mean nothing.
        vectors: one a column.
        radius: the eigenvalue lies within it.
        known: whether the pair is one.
        inverse: `v -> H^+ v` on the directions whose sign is known.
        form_size: `v -> |v|^T |H| |v|`, of which the rounding of v^T H v is a small multiple of
            eps; an upper bound where the entries of H are not known.
        hidden: whether there are eigenvalues, not looked at, that may have another sign.
    """

    values: Float[Array, " m"]
    vectors: Float[Array, "n m"]
    radius: Float[Array, " m"]
    known: Bool[Array, " m"]
    inverse: Callable
    form_size: Callable
    hidden: Bool[Array, ""]

    @property
    def up(self) -> Bool[Array, " m"]:
        """Whether it bends up for certain."""
        return self.known & (self.values > self.radius)

    @property
    def down(self) -> Bool[Array, " m"]:
        """Whether it bends down for certain."""
        return self.known & (self.values < -self.radius)

    @property
    def level(self) -> Bool[Array, " m"]:
        """Whether its sign is not known."""
        return self.known & ~self.up & ~self.down

    @property
    def nullity(self) -> Int[Array, ""]:
        """How many signs are not known."""
        return jnp.sum(self.level)

    @property
    def norm(self) -> Float[Array, ""]:
        """Largest |eigenvalue|."""
        return jnp.max(jnp.where(self.known, jnp.abs(self.values), 0))

    @property
    def least(self) -> Float[Array, ""]:
        """Smallest |eigenvalue| whose sign is known, less what it may be off."""
        return jnp.min(jnp.where(self.up | self.down, jnp.abs(self.values) - self.radius, jnp.inf))

    @property
    def flattest(self) -> Float[Array, " n"]:
        """The direction that bends least."""
        size = jnp.where(self.up | self.down, jnp.abs(self.values), jnp.inf)
        return self.vectors[:, jnp.argmin(size)]

    @property
    def steepest(self) -> Float[Array, " n"]:
        """The direction of the largest |eigenvalue|."""
        return self.vectors[:, jnp.argmax(jnp.where(self.known, jnp.abs(self.values), -1))]

    @property
    def basis(self) -> Float[Array, "n m"]:
        """Level directions as columns; zeros elsewhere."""
        return jnp.where(self.level[None], self.vectors, 0)


def every(operator: SymmetricOperator, mask: Float[Array, " n"], shaken: ScalarLike) -> Bends:
    """All eigenpairs, from the whole matrix; those of dead coordinates left out.

    Args:
        operator: the Hessian, on vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        shaken: how far products are off where parameters have other last digits.
    """
    eps = jnp.finfo(mask.dtype).eps
    matrix = operator.as_matrix() * (mask[:, None] * mask[None])
    finite = jnp.all(jnp.isfinite(matrix))
    safe = jnp.where(finite, matrix, 0)
    # Dead coordinates go above all others, where they are counted off.
    above = 1 + 4 * jnp.linalg.norm(safe)
    with jax.default_matmul_precision("highest"):
        values, vectors = jacobi_eigh.eigh(safe + jnp.diag(above * (1 - mask)))
        known = jnp.arange(mask.size) < jnp.sum(mask)
        rest = jnp.linalg.norm(safe @ vectors - values[None] * vectors, axis=0)
    vectors = jnp.where(known[None], vectors, 0)
    norm = jnp.max(jnp.where(known, jnp.abs(values), 0))
    radius = rest + max(ROUNDING, mask.size**0.5) * eps * norm + shaken
    signed = known & (jnp.abs(values) > radius)
    inverted = jnp.where(signed, 1 / jnp.where(signed, values, 1), 0)

    def inverse(v):
        with jax.default_matmul_precision("highest"):
            return vectors @ (inverted * (vectors.T @ v))

    def form_size(v):
        with jax.default_matmul_precision("highest"):
            return jnp.abs(v) @ (jnp.abs(safe) @ jnp.abs(v))

    values = jnp.where(finite, values, jnp.nan)
    return Bends(values, vectors, radius, known, inverse, form_size, jnp.array(False))


def ends(
    operator: SymmetricOperator,
    mask: Float[Array, " n"],
    shaken: ScalarLike,
    *,
    key: Key[Array, ""],
    rtol: ScalarLike,
    max_steps: int,
) -> Bends:
    """Eigenpairs at both ends, from products alone.

    Args:
        operator: the Hessian, on vectors.
        mask: 1 at live coordinates, 0 at dead ones.
        shaken: how far products are off where parameters have other last digits.
        key: for starts.
        rtol: of residuals, relative to the largest |eigenvalue|.
        max_steps: as for `extreme_eigenpairs`.
    """
    found = block_lanczos.extreme_ritz_pairs(
        operator.flat_mv,
        mask,
        key,
        largest=ENDS,
        smallest=ENDS,
        tolerance=rtol,
        max_steps=max_steps,
    )
    eps = jnp.finfo(mask.dtype).eps
    radius = found.residuals + ROUNDING * eps * found.norm + shaken
    # With fewer live coordinates than basis vectors, some of those are not in their space.
    enough = jnp.sum(mask) >= block_lanczos.sizes(ENDS, ENDS).basis
    radius = jnp.where(enough, radius, jnp.inf)
    signs = jnp.where(jnp.abs(found.values) > radius, jnp.sign(found.values), 0)
    # Values fall: the third is the last looked at from above, the fourth from below.
    same = (signs[ENDS - 1] == signs[ENDS]) & (signs[ENDS] != 0)
    sign = jnp.where(signs[ENDS - 1] == 0, signs[ENDS], signs[ENDS - 1])
    sign = jnp.where(sign == 0, 1, sign)
    level = jnp.where((signs == 0)[None], found.vectors, 0)

    def across(v):
        return mask * (v - level @ (level.T @ v))

    def inverse(v):
        # Twice: a level part, were it but rounding, never leaves the solver's residual. Of a v that
        # is level nothing else is left.
        bent = across(across(v))
        bent = jnp.where(jnp.linalg.norm(bent) > 16 * eps * jnp.linalg.norm(v), bent, 0)
        with jax.default_matmul_precision("highest"):
            solved, _ = jax.scipy.sparse.linalg.cg(
                lambda v: sign * across(operator.flat_mv(across(v))),
                sign * bent,
                tol=1e-6,
                maxiter=300,
            )
        return solved

    def form_size(v):
        return found.norm * (v @ v)

    known = jnp.ones(found.values.shape, bool)
    return Bends(found.values, found.vectors, radius, known, inverse, form_size, ~same)
