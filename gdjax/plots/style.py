"""How every picture of gdjax looks: one style sheet, used as a context.

Colours are told apart with any kind of colour vision (Okabe and Ito's set), and letters are large
enough that a picture of 8 inches can be read at half its size. Figures are made directly, never
through pyplot, so no picture leaks and nothing of the user's process is changed:

>>> with style():
...     figure = Figure(figsize=(8, 4))
...     axes = figure.subplots()
>>> axes.title.get_fontsize()
14.0

Source of the colours: Okabe and Ito, *Color Universal Design* (2008).
"""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib import figure as _figure
from matplotlib.rcsetup import cycler

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
BLACK = "#222222"
GREY = "#8C8C8C"

# In the order in which lines of one picture take them: each differs from its neighbours in
# lightness too, so that it survives a grey printer.
CYCLE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, BLACK)

DIVERGING = "RdBu_r"  # red above zero, blue below; centre it on 0
SEQUENTIAL = "viridis"
SHARP = 160  # dots an inch in a notebook, shown at half of it

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
    """The style sheet as a context; afterwards matplotlib's settings are as they were.

    Ticks, labels and layout are decided while artists are made: build the whole figure inside, and
    save it outside if you like.
    """
    return matplotlib.rc_context(dict(SHEET))


class Figure(_figure.Figure):
    """Matplotlib's Figure, which a notebook shows although pyplot never heard of it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """For IPython: twice as many pixels as it is shown with, for letters that are sharp."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SHARP)
        width, height = (round(float(side) * SHARP / 2) for side in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
