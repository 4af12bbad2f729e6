"""Figures that are legible on a page 600 pixels wide."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from gdjax.plots.axes import legend_above
from gdjax.plots.style import MAX_WIDTH, label_log_axis

PAGE = 6.25  # width of 600 pixels, in inches
LEAST_POINTS = 7.0  # size of the smallest text on such a page
GAP = 8  # pixels between a text and its neighbor
SLACK = 2.0  # pixels by which boxes of texts may overlap


def legible(figure: Any) -> Any:
    """Make a figure at most `MAX_WIDTH` wide, enlarge small texts, and wrap long ones.

    Titles and labels of an axis extend to the next panel, and titles of the figure to its end.
    Logarithmic axes receive at least two numbers, and a legend that covers data is moved.
    """
    if not isinstance(figure, Figure):  # an animation
        return figure
    width, height = figure.get_size_inches()
    figure.set_size_inches(min(width, MAX_WIDTH), height)
    least = LEAST_POINTS * max(1.0, min(width, MAX_WIDTH) / PAGE)
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), least))
    for _ in range(2):  # a legend above its panel makes all panels smaller
        move_legends(figure)
    for _ in range(2):  # as do the lines of a wrapped text
        wrap_texts(figure)
    return figure


def wrap_texts(figure: Figure) -> None:
    """Wrap the texts beside panels, and label logarithmic axes that have one number."""
    figure.draw_without_rendering()
    panels = [axes for axes in figure.findobj(Axes) if axes.get_visible()]
    for axes in panels:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log" and 0 < len(ticks_in_view(axis)) < 2:
                label_log_axis(axis)
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
        is_centered = text.get_horizontalalignment() == "center"
        wrap(text, figure.bbox.width - (0 if is_centered else text.get_window_extent().x0))


def wrap(text: Text, room: float, *, side: str = "width") -> None:
    """Break the lines of a text that is longer than the room, in pixels."""
    lines = text.get_text().splitlines()
    columns = max(map(len, lines), default=0)
    while columns > 12 and getattr(text.get_window_extent(), side) > room - GAP:
        columns -= 1
        text.set_text("\n".join(textwrap.fill(line, columns) for line in lines))


def move_legends(figure: Figure) -> None:
    """Move the legends of axes that cover data to the emptiest corner, or else above the axes."""
    figure.draw_without_rendering()
    legends = [(axes, axes.get_legend()) for axes in figure.findobj(Axes)]
    covering = [(axes, legend) for axes, legend in legends if legend and covered(legend)]
    for _, legend in covering:
        legend.set_bbox_to_anchor(None)
        legend.set_loc("best")
    figure.draw_without_rendering()
    for axes, legend in covering:
        if covered(legend):
            texts = legend.get_texts()
            for text in texts:
                wrap(text, axes.bbox.width - 4 * GAP)
            height = legend.get_window_extent().height / figure.dpi
            widest = max(text.get_window_extent().width for text in texts) + 4 * GAP
            columns = max(1, min(len(texts), int(axes.bbox.width / widest)))
            options: Any = {"title": legend.get_title().get_text() or None}
            options |= {"labels": [text.get_text() for text in texts]}
            options |= {"handles": legend.legend_handles, "fontsize": texts[0].get_fontsize()}
            legend_above(axes, columns, **options)
            figure.set_figheight(figure.get_figheight() + height / columns)


def ticks_in_view(axis: Axis) -> list[Tick]:
    """Return the ticks of an axis within its limits that have a visible text."""
    scaled = axis.get_transform().transform
    low, high = sorted(scaled(np.asarray(axis.get_view_interval(), float)))
    room = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    places = scaled(np.asarray([tick.get_loc() for tick in ticks], float))
    ticks = [t for t, x in zip(ticks, places, strict=True) if low - room <= x <= high + room]
    return [tick for tick in ticks if any(is_shown(label) for label in labels_of(tick))]


def labels_of(tick: Tick) -> tuple[Text, Text]:
    """Return the texts on both sides of an axis."""
    return tick.label1, tick.label2


def is_shown(text: Text) -> bool:
    """Return whether a text is visible and not empty."""
    return text.get_visible() and bool(text.get_text().strip())


def covered(legend: Legend) -> set[str]:
    """Return the kinds of artists below a legend."""
    box = legend.get_window_extent().padded(-SLACK)
    figure = legend.get_figure(root=True)
    kinds = set()
    for axes in figure.axes if figure else ():
        inside = Bbox.intersection(box, axes.bbox)
        if inside is None or not axes.get_visible():
            continue
        for line in axes.lines:
            if line.get_visible() and np.size(line.get_xdata()) > 1:
                path = line.get_transform().transform_path(line.get_path())
                if np.isfinite(path.vertices).any() and path.intersects_bbox(inside, filled=False):
                    kinds.add("a line")
        for points in axes.collections:
            if isinstance(points, PathCollection):
                places = points.get_offset_transform().transform(points.get_offsets())
                if inside.count_contains(places):
                    kinds.add("points")
        notes = [text for text in axes.texts if is_shown(text)]
        if any(Bbox.intersection(inside, text.get_window_extent()) for text in notes):
            kinds.add("a text")
        bars = [bar for bar in axes.patches if bar.get_data_transform() is axes.transData]
        if any(Bbox.intersection(inside, bar.get_window_extent()) for bar in bars):
            kinds.add("bars")
    return kinds
