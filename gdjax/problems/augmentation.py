"""Data augmentation by shifts and rotations.

    copy(p) = image(R p + s),   R a rotation by at most `max_rotation`, |s_x|, |s_y| at most `shift`

Copies are drawn once, before the descent, so that the cost remains a mean over fixed samples and
all runs of a sweep share their batches. The experiment `accuracy` also draws them at every step,
which takes longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from gdjax.base.arguments import check_limits, check_type, check_whole
from gdjax.base.errors import InputError
from gdjax.base.limits import NotNegative
from gdjax.base.reprs import short

MAX_COPIES = 100  # maximum number of copies per image: 5 GB for 60,000 images
IMAGES_PER_CALL = 4096  # number of images warped at once: about 100 MB of coordinates


@dataclass(frozen=True)
class Distortion:
    """Number of random copies of each image and size of their distortion.

    Args:
        copies: number of copies of each image, which replace the image.
        shift: largest shift along rows and columns, in pixels.
        max_rotation: largest rotation about the center, in radians.
        seed: seed of the random shifts and rotations.
    """

    copies: int = 10
    shift: float = 0.5
    max_rotation: float = 0.1
    seed: int = 0

    def __post_init__(self):
        for name, lowest, highest in (("copies", 1, MAX_COPIES), ("seed", 0, 2**32 - 1)):
            check_whole(f"Distortion: {name}", getattr(self, name), lowest, highest)
        for name in ("shift", "max_rotation"):
            check_limits(f"Distortion: {name}", getattr(self, name), NotNegative)


def as_distortion(name: str, distortion: Any) -> Distortion:
    """Return a `Distortion` unchanged, or make one from a mapping of its fields."""
    if isinstance(distortion, Mapping) and distortion.keys() <= set(Distortion.__match_args__):
        distortion = Distortion(**distortion)
    expected = f"a Distortion or its fields: {', '.join(Distortion.__match_args__)}"
    check_type(f"{name}: distortion", distortion, Distortion, expected)
    return distortion


def distorted(images: UInt8[np.ndarray, "n height width *channels"], distortion: Distortion):
    """Return copies of images, each shifted and rotated at random.

    Args:
        images: images to copy.
        distortion: number of copies and limits of the distortion.

    Returns:
        Copies [copies * n, height, width, ...], uint8, with the first copies of all images before
        the second.

    Examples:
        >>> distorted(np.zeros((2, 5, 5), np.uint8), Distortion(copies=3)).shape
        (6, 5, 5)
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim < 3:
        raise InputError(
            f"distorted: images = {short(images)}, expected a uint8 array [n, height, width, ...]"
        )
    distortion = as_distortion("distorted", distortion)
    key = jax.random.key(distortion.seed)
    made = np.empty((distortion.copies, *images.shape), np.uint8)
    for copy in range(distortion.copies):
        draws = jax.random.uniform(
            jax.random.fold_in(key, copy), (len(images), 3), minval=-1.0, maxval=1.0
        )
        for first in range(0, len(images), IMAGES_PER_CALL):
            part = slice(first, first + IMAGES_PER_CALL)
            shift, turn = (
                draws[part, :2] * distortion.shift,
                draws[part, 2] * distortion.max_rotation,
            )
            made[copy, part] = warped(images[part], shift, turn)
    return made.reshape(-1, *images.shape[1:])


@jax.jit
def warped(
    images: UInt8[Array, "n height width *channels"],
    shift: Float[Array, "n 2"],
    turn: Float[Array, " n"],
) -> UInt8[Array, "n height width *channels"]:
    """Shift and rotate images by bilinear interpolation, with a black background.

    Args:
        images: images of equal size.
        shift: shift of the sampled points along rows and columns, in pixels; what the images show
            moves the other way.
        turn: angle of rotation about the center, in radians.

    Examples:
        >>> dot = jnp.zeros((1, 3, 3), jnp.uint8).at[0, 1, 1].set(200)
        >>> warped(dot, jnp.array([[0.0, 0.5]]), jnp.zeros(1))[0, 1].tolist()
        [100, 100, 0]
    """
    return jax.vmap(_warped)(images, shift, turn)


def _warped(image, shift, turn):
    height, width, *channels = image.shape
    rows = (jnp.arange(height) - (height - 1) / 2)[:, None]
    columns = (jnp.arange(width) - (width - 1) / 2)[None, :]
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    row = cos * rows + sin * columns + shift[0] + (height - 1) / 2
    column = cos * columns - sin * rows + shift[1] + (width - 1) / 2
    # A black border of one line before and two after makes every index valid without bounds checks.
    framed = jnp.pad(image, ((1, 2), (1, 2), *((0, 0) for _ in channels)))
    pixels = framed.reshape(-1, *channels)
    row, column = jnp.clip(row, -1, height), jnp.clip(column, -1, width)
    top, left = jnp.floor(row), jnp.floor(column)
    corner = (top.astype(int) + 1) * (width + 3) + left.astype(int) + 1

    def beside(corner, share):
        here, next_one = (
            pixels.at[i].get(mode="promise_in_bounds").astype(float) for i in (corner, corner + 1)
        )
        return (1 - share) * here + share * next_one

    below, right = (a.reshape(*a.shape, *(1 for _ in channels)) for a in (row - top, column - left))
    upper, lower = beside(corner, right), beside(corner + width + 3, right)
    return jnp.round((1 - below) * upper + below * lower).astype(jnp.uint8)
