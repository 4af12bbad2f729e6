"""More images than anybody has collected: copies that are shifted and turned a little.

    copy(p) = image(R p + s),   R a turn by at most `turn`, |s_x|, |s_y| at most `shift`

A digit that stands a little to the left is the same digit; a network that has only seen it once
cannot know. The copies are drawn once, before the descent, so that the cost stays a mean over
samples that can be looked at again, and all runs of a sweep share their batches. Drawn anew
(`freshly_distorted`), a step of one network takes 1.7 times as long, and a sweep's more: its runs
share no images then (experiment `accuracy`).

>>> import numpy as np
>>> images = np.zeros((2, 5, 5), np.uint8)
>>> distorted(images, Distortion(copies=3)).shape
(6, 5, 5)
"""

import dataclasses
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from gdjax.arguments import check_number, check_whole
from gdjax.errors import InputError
from gdjax.problems.problem import Problem

MOST = 100  # copies: of 60,000 images they take 5 GB
CHUNK = 4096  # images warped at once: some 100 MB of coordinates


@dataclass(frozen=True)
class Distortion:
    """How many copies of each image are made, and how far they differ from it.

    Args:
        copies: of each image; they take the place of the images themselves.
        shift: the largest shift along rows and columns, in pixels.
        turn: the largest turn around the middle, in radians.
        seed: of the random shifts and turns.

    Raises:
        InputError: a number of copies outside 1 to 100, a negative or infinite shift or turn, a
            seed outside 0 to 2^32 - 1.
    """

    copies: int = 10
    shift: float = 0.5
    turn: float = 0.1
    seed: int = 0

    def __post_init__(self):
        for name, lowest, highest in (("copies", 1, MOST), ("seed", 0, 2**32 - 1)):
            check_whole(f"Distortion: {name}", getattr(self, name), lowest, highest)
        for name in ("shift", "turn"):
            check_number(f"Distortion: {name}", getattr(self, name), least=0)


def distorted(images: UInt8[np.ndarray, "n height width *channels"], distortion: Distortion):
    """Copies of images, each shifted and turned by amounts of its own.

    Args:
        images: what is copied.
        distortion: how often, and how far.

    Returns:
        `[copies * n, height, width, ...]`, uint8: the first copy of every image, then the second.
    """
    key = jax.random.key(distortion.seed)
    made = np.empty((distortion.copies, *images.shape), np.uint8)
    for copy in range(distortion.copies):
        draws = jax.random.uniform(
            jax.random.fold_in(key, copy), (len(images), 3), minval=-1.0, maxval=1.0
        )
        for first in range(0, len(images), CHUNK):
            part = slice(first, first + CHUNK)
            shift, turn = draws[part, :2] * distortion.shift, draws[part, 2] * distortion.turn
            made[copy, part] = warped(images[part], shift, turn)
    return made.reshape(-1, *images.shape[1:])


def freshly_distorted(problem: Problem, shape: tuple[int, ...], distortion: Distortion) -> Problem:
    """The problem whose every step draws a copy of each image of its batch, never the same again.

        C(w, key) = mean_i c(w, copy_key(image_i))

    Records, curvature, landscapes and minima see the images themselves. No run shares its images
    with another.

    Args:
        problem: its data `(images as rows of pixels, labels)`.
        shape: of an image: height, width, and channels if there are any.
        distortion: how far a copy differs; how many there are and their seed do not matter.

    Raises:
        InputError: images that have not so many pixels.

    Examples:
        >>> images, labels = np.zeros((3, 25), np.uint8), np.zeros(3)
        >>> dark = Problem(
        ...     init=lambda key: jnp.ones(()),
        ...     cost=lambda w, batch: w * jnp.mean(batch[0] / 255),
        ...     data=(images, labels),
        ... )
        >>> fresh = freshly_distorted(dark, (5, 5), Distortion(shift=2.0))
        >>> float(fresh.cost(1.0, fresh.data, key=jax.random.key(0)))
        0.0
    """
    pixels = np.shape(problem.data[0])[1:]
    if pixels != (math.prod(shape),):
        raise InputError(
            f"freshly_distorted: shape = {shape}, but images have shape {pixels}; expected rows of "
            f"{math.prod(shape)} pixels"
        )

    def cost(params, batch, *, key):
        images, labels = batch
        draws = jax.random.uniform(key, (len(images), 3), minval=-1.0, maxval=1.0)
        shift, turn = draws[:, :2] * distortion.shift, draws[:, 2] * distortion.turn
        copies = warped(images.reshape(-1, *shape), shift, turn).reshape(images.shape)
        return problem.cost(params, (copies, labels))

    return dataclasses.replace(problem, cost=cost, evaluation=problem.cost, provenance=None)


@jax.jit
def warped(
    images: UInt8[Array, "n height width *channels"],
    shift: Float[Array, "n 2"],
    turn: Float[Array, " n"],
) -> UInt8[Array, "n height width *channels"]:
    """Images shifted and turned, by bilinear interpolation; what comes from outside is black.

    Args:
        images: what is warped.
        shift: in pixels along rows and columns, from where a pixel is to where it is taken from.
        turn: around the middle, in radians.
    """
    return jax.vmap(_warped)(images, shift, turn)


def _warped(image, shift, turn):
    height, width, *channels = image.shape
    rows = (jnp.arange(height) - (height - 1) / 2)[:, None]
    columns = (jnp.arange(width) - (width - 1) / 2)[None, :]
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    row = cos * rows + sin * columns + shift[0] + (height - 1) / 2
    column = cos * columns - sin * rows + shift[1] + (width - 1) / 2
    # One dark line before and two behind take whatever lies outside, so that no index is checked.
    framed = jnp.pad(image, ((1, 2), (1, 2), *((0, 0) for _ in channels)))
    pixels = framed.reshape(-1, *channels)
    row, column = jnp.clip(row, -1, height), jnp.clip(column, -1, width)
    top, left = jnp.floor(row), jnp.floor(column)
    corner = (top.astype(int) + 1) * (width + 3) + left.astype(int) + 1

    def beside(corner, share):
        here, next_one = (
            pixels.at[at].get(mode="promise_in_bounds").astype(float) for at in (corner, corner + 1)
        )
        return (1 - share) * here + share * next_one

    below, right = (a.reshape(*a.shape, *(1 for _ in channels)) for a in (row - top, column - left))
    upper, lower = beside(corner, right), beside(corner + width + 3, right)
    return jnp.round((1 - below) * upper + below * lower).astype(jnp.uint8)
