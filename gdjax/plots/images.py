"""Arrays of signed numbers as small images.

Red is positive, blue negative, and white near zero. Gray is exactly zero or not finite, so weights
without a gradient are distinguishable from weights with a small gradient.

>>> figure = signed(np.eye(4).reshape(2, 2, 4) - 0.5, title="two neurons", label="weight")
>>> [axes.get_title() for axes in figure.axes]
['neuron 0', 'neuron 1', '']
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
from matplotlib import colormaps
from matplotlib.ticker import MaxNLocator

from gdjax.plots.style import DIVERGING, Figure, style

COLUMNS = 8
ZERO = "#BDBDBD"  # color of zeros and of numbers that are not finite; not in the colormap


def square_images(rows: Num[np.ndarray, "rows pixels"]) -> Num[np.ndarray, "rows ..."] | None:
    """Reshape rows of pixels to square images.

    Returns:
        Images of shape [rows, side, side] or [rows, side, side, 3], or None if the pixels do not
        form a square image.

    Examples:
        >>> square_images(np.zeros((2, 784))).shape, square_images(np.zeros((2, 3072))).shape
        ((2, 28, 28), (2, 32, 32, 3))
        >>> square_images(np.zeros((2, 5))) is None
        True
    """
    count, pixels = rows.shape
    for colors in ((), (3,)):
        side = math.isqrt(pixels // math.prod(colors))
        if side > 1 and side * side * math.prod(colors) == pixels:
            return rows.reshape(count, side, side, *colors)
    return None


def signed(
    images: Float[np.ndarray, "images rows columns"],
    *,
    title: str,
    label: str,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw images of signed numbers on a common color scale centered on 0.

    Args:
        images: one image per neuron.
        title: figure title.
        label: label of the color bar, with the unit.
        names: titles of the images; None means "neuron 0", "neuron 1" and so on.

    Examples:
        >>> signed(np.eye(3)[None] - 0.5, title="One neuron", label="weight").axes[0].get_title()
        'neuron 0'
    """
    names = [f"neuron {number}" for number in range(len(images))] if names is None else names
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    sizes = np.abs(images[np.isfinite(images) & (images != 0)])
    # With the maximum as the limit, a few large weights would leave all others white.
    limit = float(np.quantile(sizes, 0.998)) if sizes.size else 1.0
    colors = colormaps[DIVERGING].with_extremes(bad=ZERO)
    with style():
        figure = Figure(figsize=(10, 1.45 * rows + 1.25))
        grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes in grid:
            axes.set_axis_off()
        for axes, image, name in zip(grid, images, names, strict=False):
            shown = np.ma.masked_where(~np.isfinite(image) | (image == 0), image)
            image_artist = axes.imshow(shown, cmap=colors, vmin=-limit, vmax=limit)
            axes.set_title(name, fontsize=12, pad=3, loc="center")
        figure.colorbar(
            image_artist,
            ax=list(grid),
            location="bottom",
            extend="both",
            ticks=MaxNLocator(6),
            label=label,
            shrink=0.6,
            aspect=40,
            pad=0.03,
        )
        figure.suptitle(title, x=0.02, ha="left")
    return figure
