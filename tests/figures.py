"""Defects of figures that a reader would notice: what is cut, covered, unlabeled or too small."""

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from experiments.shared.figures import LEAST_POINTS, PAGE

SLACK = 2.0  # pixels by which boxes of texts may overlap


def defects(figure):
    """Return one sentence per defect: cut or covered text, small text, log axes without numbers."""
    FigureCanvasAgg(figure).draw()
    found = []
    for axes in figure.findobj(Axes):
        if axes.get_visible():
            found += unlabeled(axes)
    texts = drawn_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    scale = min(1.0, PAGE / figure.get_size_inches()[0])
    for text, box in zip(texts, boxes, strict=True):
        shown = Bbox.intersection(box, figure.bbox.padded(1))
        if shown is None or shown.width < box.width - SLACK or shown.height < box.height - SLACK:
            found.append(f"{text.get_text()!r} leaves the figure")
        if scale * text.get_fontsize() < LEAST_POINTS:
            found.append(f"{text.get_text()!r} is smaller than {LEAST_POINTS} points at 600 pixels")
    upright = [(t, b) for t, b in zip(texts, boxes, strict=True) if t.get_rotation() % 90 == 0]
    for (one, box), (other, second) in combinations(upright, 2):
        common = Bbox.intersection(box, second)
        if common is not None and min(common.width, common.height) > SLACK:
            found.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    for legend in figure.findobj(Legend):
        found += [f"a legend covers {kind}" for kind in sorted(covered(legend))]
    return sorted(set(found))


def ticks_in_view(axis):
    """Return the ticks of an axis within its limits that have a visible text."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    ticks = [tick for tick in ticks if low - room <= tick.get_loc() <= high + room]
    return [tick for tick in ticks if any(is_shown(label) for label in labels_of(tick))]


def labels_of(tick):
    return tick.label1, tick.label2


def is_shown(text):
    return text.get_visible() and bool(text.get_text().strip())


def drawn_texts(figure):
    """Return the texts that are drawn; an axis also keeps labels beyond its limits."""
    hidden, shown = set(), set()
    for axes in figure.findobj(Axes):
        hidden |= set() if axes.get_visible() else set(axes.findobj(Text))
        is_drawn = axes.axison and axes.get_visible() and axes.name != "3d"
        for axis in (axes.xaxis, axes.yaxis, *([axes.zaxis] if axes.name == "3d" else [])):
            hidden |= set(axis.findobj(Text))
            if is_drawn and axis.get_visible():
                shown |= {label for tick in ticks_in_view(axis) for label in labels_of(tick)}
                shown |= {axis.label, axis.offsetText}
    texts = set(figure.findobj(Text))
    return sorted((t for t in (texts - hidden) | shown if is_shown(t)), key=Text.get_text)


def unlabeled(axes):
    """Return the logarithmic axes with fewer than two numbers."""
    for name in ("x", "y"):
        axis = getattr(axes, f"{name}axis")
        sides = ("labelbottom", "labeltop") if name == "x" else ("labelleft", "labelright")
        is_on = any(axis.get_tick_params().get(side) for side in sides) and axis.get_visible()
        if axes.axison and is_on and axis.get_scale() == "log" and len(ticks_in_view(axis)) < 2:
            yield f"the logarithmic {name} axis {axis.get_label().get_text()!r} has no two numbers"


def covered(legend):
    """Return the kinds of artists below a legend."""
    box = legend.get_window_extent().padded(-SLACK)
    figure = legend.get_figure(root=True)
    kinds = set()
    for axes in figure.axes:
        inside = Bbox.intersection(box, axes.bbox)
        if inside is None or not axes.get_visible():
            continue
        for line in axes.lines:
            if line.get_visible() and len(line.get_xdata()) > 2:
                path = line.get_transform().transform_path(line.get_path())
                if np.isfinite(path.vertices).any() and path.intersects_bbox(inside, filled=False):
                    kinds.add("a line")
        for points in axes.collections:
            if isinstance(points, PathCollection):
                places = points.get_offset_transform().transform(points.get_offsets())
                if inside.count_contains(places):
                    kinds.add("points")
        bars = [bar for bar in axes.patches if bar.get_data_transform() is axes.transData]
        if any(Bbox.intersection(inside, bar.get_window_extent()) for bar in bars):
            kinds.add("bars")
    return kinds
