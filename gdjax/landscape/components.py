"""Principal components of points, and projections of points onto slices.

X = U diag(s) V^T,   the rows of V^T are the directions of largest spread
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.arguments import check_whole
from gdjax.base.reprs import fields
from gdjax.landscape.directions import by_name, check_named
from gdjax.problems.checks import check_points


class Components(NamedTuple):
    """Principal components of points, the directions of largest spread.

    Args:
        center: point from which distances are measured.
        directions: orthonormal directions, a pytree like `center` whose leading axis indexes the
            components, largest spread first.
        explained: share of the sum of squared distances from the center along each direction.
        coordinates: coordinates of each point along each direction.
    """

    center: PyTree
    directions: PyTree
    explained: Float[Array, " components"]
    coordinates: Float[Array, "points components"]

    __repr__, _repr_html_ = fields

    def named_directions(self, count: int) -> dict[str, PyTree]:
        """Return the first directions by name; names include explained shares."""
        explained = np.asarray(self.explained)
        remedy = ", the number of components"
        check_whole("named_directions: count", count, 1, len(explained), remedy=remedy)
        names = [
            f"principal component {i} ({share:.1%})"
            for i, share in enumerate(explained[:count], start=1)
        ]
        return by_name(names, self.directions)


class Projection(NamedTuple):
    """Projections of points onto a line or a plane.

    Args:
        coordinates: coordinates of the nearest point in the slice, in multiples of its directions.
        distance: Euclidean distance of each point from the slice.
    """

    coordinates: Float[Array, "points directions"]
    distance: Float[Array, " points"]

    __repr__, _repr_html_ = fields


def principal_components(
    snapshots: PyTree, count: int = 2, *, center: PyTree | None = None
) -> Components:
    """Return the principal components of points, such as snapshots of a descent.

        X = U diag(s) V^T,   X_t = w_t - center
        directions = rows of V^T,   explained = s^2 / sum s^2

    If the center is the mean, these are principal components in the usual sense. If the center is a
    point of the trajectory, such as its end, this point lies exactly in the plane. Signs are chosen
    so that the first snapshot has no negative coordinate, and do not depend on the machine.

    Args:
        snapshots: a pytree of arrays whose leading axis indexes the points.
        count: number of components, at most the number of points and of parameters.
        center: a pytree like one point; None means the mean.

    Examples:
        >>> snapshots = jnp.array([[4.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> components = principal_components(snapshots, center=jnp.zeros(2))
        >>> components.explained.round(3).tolist()
        [0.889, 0.111]
        >>> list(components.named_directions(2))
        ['principal component 1 (88.9%)', 'principal component 2 (11.1%)']

    References: Li et al. 2018, arXiv 1712.09913, section 7.
    """
    check_points("principal_components: snapshots", snapshots, center)
    points = jax.tree.map(jnp.asarray, snapshots)
    if center is None:
        center = jax.tree.map(lambda a: jnp.mean(a, axis=0), points)
    number, size = len(jax.tree.leaves(points)[0]), optax.tree.size(center)
    remedy = f", for {number} points of {size} parameters"
    check_whole("principal_components: count", count, 1, min(number, size), remedy=remedy)
    return _components(points, jax.tree.map(jnp.asarray, center), count)


@partial(jax.jit, static_argnums=2)
def _components(points, center, count):
    offsets = _offsets(points, center)
    u, s, v = jnp.linalg.svd(offsets, full_matrices=False)
    coordinates = u * s[None]
    sign = jnp.where(coordinates[0] < 0, -1, 1).astype(v.dtype)
    total = jnp.sum(s**2)
    unravel = ravel_pytree(center)[1]
    return Components(
        center=center,
        directions=jax.vmap(unravel)((v * sign[:, None])[:count]),
        explained=jnp.where(total > 0, s**2 / jnp.where(total > 0, total, 1), 0)[:count],
        coordinates=(coordinates * sign[None])[:, :count],
    )


def project(points: PyTree, params: PyTree, directions: Mapping[str, PyTree]) -> Projection:
    """Project points onto a slice; return coordinates and distances from it.

        coordinates = argmin_c |w - w_0 - sum_i c_i d_i|,   distance = the minimum

    Args:
        points: a pytree of arrays whose leading axis indexes the points.
        params: origin w_0 of the slice.
        directions: directions d_i by name, linearly independent but not necessarily orthogonal.

    Examples:
        >>> nearest = project(jnp.array([[3.0, 4.0]]), jnp.zeros(2), {"up": jnp.array([0.0, 2.0])})
        >>> nearest.coordinates.tolist(), nearest.distance.tolist()
        ([[2.0]], [3.0])
    """
    check_points("project: points", points, params)
    check_named("project", params, directions)
    return _projected(*jax.tree.map(jnp.asarray, (points, params, tuple(directions.values()))))


@jax.jit
def _projected(points, params, directions):
    offsets = _offsets(points, params)
    spanning = jnp.stack([ravel_pytree(direction)[0] for direction in directions])
    with jax.default_matmul_precision("highest"):
        q, r = jnp.linalg.qr(spanning.astype(offsets.dtype).T)
        along = offsets @ q
        coordinates = jax.scipy.linalg.solve_triangular(r, along.T).T
        # The projection is repeated, since rounding of the first pass can dominate small distances.
        across = offsets - along @ q.T
        across = across - (across @ q) @ q.T
    return Projection(coordinates, jnp.linalg.norm(across, axis=1))


def _offsets(points, center):
    """Return points as rows, relative to the center."""
    offsets = jax.tree.map(lambda a, c: a - c[None], points, center)
    return jax.vmap(lambda offset: ravel_pytree(offset)[0])(offsets)
