"""Elastic bands: chains of points that relax to a path of low cost between two minima.

    step of image i = -(1 - t t^T) |H|^-1 g + (|w_{i+1} - w_i| - |w_i - w_{i-1}|) t / 2

The tangent t points to the neighbor of higher cost (improved tangents), so a band has no kinks
where it is steep. Steps across the band are those of Newton's method with the absolute values of
the eigenvalues, which needs no step size and leaves no saddle uphill. In the second half of the
steps, each image that is higher than both of its neighbors climbs along the band instead of being
spaced, and ends near a saddle.

References: Henkelman and Jonsson 2000, *Improved tangent estimate in the nudged elastic band
method*; Henkelman, Uberuaga and Jonsson 2000, for climbing images.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gdjax.curvature import eigensolvers
from gdjax.minima.eigenvector_following import Landscape, in_rows

IMAGES = 13  # number of images between the ends
STEPS = 40
MAX_SHARE = 0.3  # longest step, as a share of the mean distance between images
REFINEMENTS = 14  # number of refinements of the maximum along a path
SAMPLES = 129  # number of points at which the maximum along a segment is searched


class Bands(NamedTuple):
    """Relaxed bands, one per row.

    Args:
        images: points, both ends included.
        cost: cost at each point.
        tangents: unit tangent at each inner point.
        spacing: mean distance between neighbors.
    """

    images: Float[np.ndarray, "rows points n"]
    cost: Float[np.ndarray, "rows points"]
    tangents: Float[np.ndarray, "rows inner n"]
    spacing: Float[np.ndarray, " rows"]

    def maxima(self) -> Bool[np.ndarray, "rows inner"]:
        """Return whether each inner image is higher than both neighbors."""
        inner = self.cost[:, 1:-1]
        return (inner > self.cost[:, :-2]) & (inner >= self.cost[:, 2:])

    def minima(self) -> Bool[np.ndarray, "rows inner"]:
        """Return whether each inner image is lower than both neighbors."""
        inner = self.cost[:, 1:-1]
        return (inner < self.cost[:, :-2]) & (inner <= self.cost[:, 2:])


def relax_bands(
    landscape: Landscape,
    first: Float[np.ndarray, "rows n"],
    second: Float[np.ndarray, "rows n"],
    bulges: Float[np.ndarray, "rows n"],
) -> Bands:
    """Relax a band between each pair of points.

    Args:
        landscape: problem.
        first: points at one end.
        second: points at the other end.
        bulges: displacement of the middle of each band from the straight line. A band on a
            symmetric line would stay on it.
    """
    return in_rows(_relax, (first, second, bulges), landscape, "band")


def _relax(run, landscape):
    first, second, bulge = run
    at = landscape.derivatives()
    t = jnp.linspace(0, 1, IMAGES + 2, dtype=first.dtype)[:, None]
    line = (1 - t) * first[None] + t * second[None] + jnp.sin(jnp.pi * t) * bulge[None]
    ends = jax.vmap(at.gradient)(jnp.stack([first, second]))[0]
    unit_vectors = jnp.eye(first.size, dtype=first.dtype)

    def body_fun(number, images):
        inner = images[1:-1]
        cost, g = jax.vmap(at.gradient)(inner)
        cost = jnp.concatenate([ends[:1], cost, ends[1:]])
        tangents, before, after = _tangents(images, cost)
        H = jax.vmap(lambda w: jax.vmap(at.product, (None, 0))(w, unit_vectors))(inner)
        values, vectors = jax.vmap(eigensolvers.eigh)((H + jnp.swapaxes(H, 1, 2)) / 2)
        size = jnp.abs(values) + 1e-6 * jnp.max(jnp.abs(values), axis=1, keepdims=True) + 1e-300
        newton = -jnp.einsum("ijk,ik,ilk,il->ij", vectors, 1 / size, vectors, g)
        slope = jnp.sum(g * tangents, axis=1)
        across = newton - jnp.sum(newton * tangents, axis=1, keepdims=True) * tangents
        curvature = jnp.sum(jnp.einsum("ijk,ik->ij", H, tangents) * tangents, axis=1)
        climb = slope / jnp.maximum(jnp.abs(curvature), 1e-300)
        is_top = (cost[1:-1] > cost[:-2]) & (cost[1:-1] >= cost[2:]) & (number >= STEPS // 2)
        step = across + jnp.where(is_top, climb, (after - before) / 2)[:, None] * tangents
        longest = MAX_SHARE * (jnp.sum(before) + after[-1]) / (IMAGES + 1)
        length = jnp.linalg.norm(step, axis=1, keepdims=True)
        step = step * jnp.minimum(1, longest / jnp.maximum(length, 1e-300))
        step = jnp.where(jnp.isfinite(step), step, 0)
        return images.at[1:-1].add(step)

    images = jax.lax.fori_loop(0, STEPS, body_fun, line)
    cost = jax.vmap(at.gradient)(images)[0]
    tangents, before, after = _tangents(images, cost)
    return Bands(images, cost, tangents, (jnp.sum(before) + after[-1]) / (IMAGES + 1))


def _tangents(images, cost):
    """Return improved unit tangents, and the distances to the neighbors before and after."""
    forward, backward = images[2:] - images[1:-1], images[1:-1] - images[:-2]
    up, down = cost[2:] - cost[1:-1], cost[1:-1] - cost[:-2]
    larger = jnp.maximum(jnp.abs(up), jnp.abs(down))
    smaller = jnp.minimum(jnp.abs(up), jnp.abs(down))
    rises = cost[2:] > cost[:-2]
    weights = jnp.where(rises, larger, smaller), jnp.where(rises, smaller, larger)
    mixed = weights[0][:, None] * forward + weights[1][:, None] * backward
    ascending, descending = (up > 0) & (down > 0), (up < 0) & (down < 0)
    tangents = jnp.where(
        ascending[:, None], forward, jnp.where(descending[:, None], backward, mixed)
    )
    length = jnp.linalg.norm(tangents, axis=1, keepdims=True)
    fallback = images[2:] - images[:-2]
    tangents = jnp.where(length > 0, tangents, fallback)
    length = jnp.linalg.norm(tangents, axis=1, keepdims=True)
    before, after = (jnp.linalg.norm(part, axis=1) for part in (backward, forward))
    return tangents / jnp.where(length > 0, length, 1), before, after


def path_maxima(
    landscape: Landscape, paths: Float[np.ndarray, "rows points n"]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Return the highest cost on each polyline, and the error of its refinement.

    Each segment is sampled at 129 points, and the highest of them is refined by narrowing the
    interval around it. The error is the last change of the maximum. A peak that is narrower than
    the samples may be missed.
    """
    return in_rows(_maximum, paths, landscape, "path")


def _maximum(path, landscape):
    at = landscape.derivatives()
    segments = len(path) - 1

    def cost_at(t):
        number = jnp.clip(jnp.floor(t).astype(jnp.int32), 0, segments - 1)
        share = t - number
        return at.gradient((1 - share) * path[number] + share * path[number + 1])[0]

    samples = jnp.linspace(0, segments, segments * (SAMPLES - 1) + 1, dtype=path.dtype)
    cost = jax.lax.map(cost_at, samples, batch_size=SAMPLES)
    top = jnp.argmax(cost)

    def narrow(state, _):
        t, half, best, _ = state
        grid = jnp.clip(t + half * jnp.linspace(-1, 1, 9, dtype=path.dtype), 0, segments)
        values = jax.vmap(cost_at)(grid)
        highest = jnp.argmax(values)
        value = jnp.maximum(values[highest], best)
        return (grid[highest], half / 4, value, value - best), None

    half = jnp.asarray(1 / (SAMPLES - 1), path.dtype)
    state = (samples[top], half, cost[top], jnp.zeros_like(half))
    _, _, best, change = jax.lax.scan(narrow, state, length=REFINEMENTS)[0]
    rounding = 4 * jnp.finfo(path.dtype).eps * jnp.abs(best)
    return best, jnp.maximum(change, rounding)
