"""Style sheet of all figures, as a context, and plain tick labels.

The colors (the Okabe-Ito palette) are distinguishable with the common color vision deficiencies,
and a figure 8 inches wide is legible at half its size. Figures are created directly, never through
pyplot, so pyplot does not keep them in memory and the user's settings do not change:

>>> with style():
...     figure = Figure(figsize=(8, 4))
...     axes = figure.subplots()
>>> axes.title.get_fontsize()
14.0

References:
    Okabe and Ito, *Color Universal Design* (2008).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib import figure as _figure
from matplotlib.axis import Axis
from matplotlib.rcsetup import cycler
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullFormatter

BLUE = "#0072B2"  #: blue of the palette
VERMILLION = "#D55E00"  #: vermillion of the palette
GREEN = "#009E73"  #: green of the palette
ORANGE = "#E69F00"  #: orange of the palette
SKY = "#56B4E9"
PURPLE = "#CC79A7"  #: purple of the palette
BLACK = "#222222"  #: black of text, and of what diverged
GREY = "#8C8C8C"  #: gray of what is secondary

#: The order in which lines take the colors: neighbors also differ in lightness, so that they are
#: distinguishable in gray.
CYCLE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK)

DIVERGING = "RdBu_r"  # red is positive, blue negative; center the norm on 0
SEQUENTIAL = "viridis"  #: colormap of numbers without a center
MAX_WIDTH = 10.4  # inches; text of 12 points is then legible on a page 600 pixels wide
SHARP = 160  # dots per inch of a notebook image, which is shown at half its pixel size

SHEET: Mapping[Any, Any] = MappingProxyType(
    {
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.08,
        "figure.constrained_layout.w_pad": 0.08,
        "figure.facecolor": "white",
        "font.size": 12.0,
        "axes.titlesize": 14.0,
        "axes.titlelocation": "left",
        "axes.labelsize": 13.0,
        "xtick.labelsize": 12.0,
        "ytick.labelsize": 12.0,
        "legend.fontsize": 12.0,
        "figure.titlesize": 15.0,
        "text.color": BLACK,
        "axes.labelcolor": BLACK,
        "axes.edgecolor": GREY,
        "axes.linewidth": 1.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": False,
        "axes.prop_cycle": cycler(color=CYCLE),
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.8,
        "xtick.color": BLACK,
        "ytick.color": BLACK,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "legend.frameon": False,
        "image.cmap": SEQUENTIAL,
        "image.interpolation": "nearest",
    }
)


def style() -> AbstractContextManager[None]:
    """Return a context that applies the style sheet and then restores the settings.

    These settings apply when artists are created, so build the whole figure inside the
    context. The figure can be saved outside the context.

    Examples:
        >>> with style():
        ...     matplotlib.rcParams["image.cmap"]
        'viridis'
    """
    return matplotlib.rc_context(dict(SHEET))


class Figure(_figure.Figure):
    """Matplotlib Figure that a notebook displays without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the image for IPython, at twice the displayed resolution."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SHARP)
        width, height = (round(float(side) * SHARP / 2) for side in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}


class LogTicks(Locator):
    """Positions of the labels of a logarithmic axis.

    They are powers of ten if the axis spans at least three of them, else the digits 1, 2 and 5 of
    each power, and numbers at equal distances if fewer than two of these lie on the axis.
    """

    def __call__(self) -> Sequence[float]:
        """Return the positions for the present limits of the axis."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Return the positions between two positive limits."""
        low, high = sorted((vmin, vmax))
        if not 0 < low < high < np.inf:
            return []
        if high >= 1000 * low:
            return list(LogLocator(numticks=8).tick_values(low, high))
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
        ticks = np.outer(powers, (1.0, 2.0, 5.0)).ravel()
        ticks = ticks[(low <= ticks) & (ticks <= high)]
        if len(ticks) < 2:
            ticks = np.asarray(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
        return ticks[(low <= ticks) & (ticks <= high)].tolist()


def label_log_axis(axis: Axis, form: Callable[[float], str] = "{:g}".format) -> None:
    """Label a logarithmic axis with at least two plain numbers.

    Args:
        axis: x or y axis.
        form: function that formats a number as text.

    Examples:
        >>> axes = Figure().subplots()
        >>> _ = axes.set(xscale="log", xlim=(1, 20))
        >>> label_log_axis(axes.xaxis)
        >>> [text.get_text() for text in axes.get_xticklabels()]
        ['1', '2', '5', '10', '20']
    """
    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(lambda value, _: form(value))
    axis.set_minor_formatter(NullFormatter())
