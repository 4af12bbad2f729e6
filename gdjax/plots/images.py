"""Numbers that belong to pixels, shown as small images.

Red is above zero, blue below, white near zero. Grey is exactly zero, or not a number: what a
gradient never touches is told apart from what it hardly touches.

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
NOTHING = "#BDBDBD"  # exactly zero: between no two colours of the map


def shaped(rows: Num[np.ndarray, "rows pixels"]) -> Num[np.ndarray, "rows ..."] | None:
    """Rows of pixels as square images, [rows, side, side] or with three colours behind.

    Returns:
        The images, or None where so many pixels are no square image.

    Examples:
        >>> shaped(np.zeros((2, 784))).shape, shaped(np.zeros((2, 3072))).shape
        ((2, 28, 28), (2, 32, 32, 3))
        >>> shaped(np.zeros((2, 5))) is None
        True
    """
    count, pixels = rows.shape
    for colours in ((), (3,)):
        side = math.isqrt(pixels // math.prod(colours))
        if side > 1 and side * side * math.prod(colours) == pixels:
            return rows.reshape(count, side, side, *colours)
    return None


def signed(
    images: Float[np.ndarray, "images rows columns"],
    *,
    title: str,
    label: str,
    names: Sequence[str] | None = None,
) -> Figure:
    """Images of signed numbers on one colour scale that is centred on 0.

    Args:
        images: one a neuron.
        title: the message.
        label: what the numbers are, with their unit.
        names: of the images; neuron 0, 1, ... if None.
    """
    names = [f"neuron {number}" for number in range(len(images))] if names is None else names
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    sizes = np.abs(images[np.isfinite(images) & (images != 0)])
    # A handful of large weights would leave all others white.
    limit = float(np.quantile(sizes, 0.998)) if sizes.size else 1.0
    colours = colormaps[DIVERGING].with_extremes(bad=NOTHING)
    with style():
        figure = Figure(figsize=(10, 1.45 * rows + 1.25))
        grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axes in grid:
            axes.set_axis_off()
        for axes, image, name in zip(grid, images, names, strict=False):
            shown = np.ma.masked_where(~np.isfinite(image) | (image == 0), image)
            drawn = axes.imshow(shown, cmap=colours, vmin=-limit, vmax=limit)
            axes.set_title(name, fontsize=12, pad=3, loc="center")
        figure.colorbar(
            drawn,
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
