"""Figures that are legible on a page 600 pixels wide."""

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gdjax.plots.style import MAX_WIDTH

PAGE = 6.25  # width of 600 pixels, in inches
LEAST_POINTS = 7.0  # size of the smallest text on such a page
GAP = 8  # pixels between a text and its neighbor


def legible(figure: Any) -> Any:
    """Make a figure at most `MAX_WIDTH` wide, enlarge small texts, and wrap long ones.

    Titles and labels of an axis extend to the next panel, and titles of the figure to its end.
    """
    if not isinstance(figure, Figure):  # an animation
        return figure
    width, height = figure.get_size_inches()
    figure.set_size_inches(min(width, MAX_WIDTH), height)
    least = LEAST_POINTS * max(1.0, min(width, MAX_WIDTH) / PAGE)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), least))
    figure.draw_without_rendering()
    panels = [axes for axes in figure.findobj(Axes) if axes.get_visible()]
    for axes in panels:
        box = axes.get_window_extent()
        beside = [other.get_window_extent() for other in panels]
        starts = [b.x0 for b in beside if b.x0 >= box.x1 and b.y0 < box.y1 and box.y0 < b.y1]
        end = min(starts, default=figure.bbox.x1)
        titles = [t for t in axes.get_children() if isinstance(t, Text) and t not in axes.texts]
        for title in titles:
            wrap(title, end - box.x0)
        wrap(axes.xaxis.label, max(end, box.x1) - box.x0)
        wrap(axes.yaxis.label, box.height + GAP, side="height")
    for text in (text for text in figure.texts if not text.get_rotation()):
        wrap(text, figure.bbox.width - text.get_window_extent().x0)
    return figure


def wrap(text: Text, room: float, *, side: str = "width") -> None:
    """Break the lines of a text that is longer than the room, in pixels."""
    length = getattr(text.get_window_extent(), side)
    if text.get_text() and length > room - GAP:
        longest = max(map(len, text.get_text().splitlines()))
        columns = max(12, int(longest * (room - GAP) / length))
        lines = [textwrap.fill(line, columns) for line in text.get_text().splitlines()]
        text.set_text("\n".join(lines))
