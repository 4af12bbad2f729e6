"""Axes to draw into, and scales that depend on the values.

A function that draws one panel draws into `ax` if given, else into a new figure (`styled_axes`).
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import figure
from matplotlib.axes import Axes

from gdjax.plots.style import Figure, label_log_axis, style


@contextmanager
def styled_axes(ax: Axes | None, size: tuple[int | float, int | float]) -> Generator[Axes]:
    """Yield axes to draw into, within the style context.

    Args:
        ax: axes of the caller; None creates a new figure.
        size: width and height of a new figure, in inches.

    Examples:
        >>> with styled_axes(None, (4, 3)) as axes:
        ...     _ = axes.plot([0, 1])
        >>> axes.figure.get_size_inches().tolist()
        [4.0, 3.0]
    """
    with style():
        yield Figure(figsize=size).subplots() if ax is None else ax


def figure_of(axes: Axes) -> figure.Figure:
    """Return the root figure of axes."""
    root = axes.get_figure(root=True)
    assert root is not None
    return root


def log_scale(axes: Axes, values: Any, *, ratio: int | float = 0, side: str = "y") -> None:
    """Make an axis logarithmic with plain numbers, unless values are negative or close together.

    Exact zeros, which have no logarithm, are beyond the lower end of the axis. If no value is
    finite, a note says so in place of the ticks.

    Args:
        axes: axes that the values are drawn into.
        values: values to draw; those that are not finite are ignored.
        ratio: the largest value must exceed the smallest positive one by this factor.
        side: "x" or "y", the axis of the values.
    """
    axis = axes.xaxis if side == "x" else axes.yaxis
    finite = np.asarray(values)[np.isfinite(values)]
    positive = finite[finite > 0]
    if not finite.size:
        axis.set_ticks([])
        axes.text(0.5, 0.5, "no finite value", ha="center", transform=axes.transAxes)
    elif positive.size and positive.max() > ratio * positive.min() and not np.any(finite < 0):
        axes.set(**{f"{side}scale": "log"})
        label_log_axis(axis)


def legend_above(axes: Axes, columns: int = 3, **options: Any) -> None:
    """Draw the legend above the axes, where it covers no data, and the title above it.

    Args:
        axes: axes with labeled artists and, if any, their title.
        columns: number of columns of the legend.
        options: further keywords of matplotlib's `Axes.legend`.

    Examples:
        >>> axes = Figure().subplots()
        >>> _ = axes.plot([0, 1], [1, 0], label="cost")
        >>> legend_above(axes)
        >>> bool(axes.get_legend().get_bbox_to_anchor().y0 == axes.bbox.y1)
        True
    """
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(ncols=columns, borderpad=0.2, **place, **options)
    set_title(axes, axes.get_title(loc="left"))


def set_title(axes: Axes, title: str) -> None:
    """Set the title of axes, above a legend that lies above them."""
    legend, pad = axes.get_legend(), 6.0
    if legend is not None and legend.get_bbox_to_anchor().height == 0:
        pad += 72 / figure_of(axes).dpi * legend.get_window_extent().height
    axes.set_title(title, pad=pad, wrap=True)


def limit_to(axes: Axes, values: Any) -> None:
    """Limit the y axis to the finite values that its scale can show, with a margin."""
    values = np.asarray(values)[np.isfinite(values)]
    is_log = axes.get_yscale() == "log"
    shown = values[values > 0] if is_log else values
    if shown.size:
        low, high = shown.min(), shown.max()
        margin = 0.05 * ((high - low) or 1)
        axes.set_ylim((low / 1.2, high * 1.2) if is_log else (low - margin, high + margin))
