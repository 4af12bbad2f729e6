"""Defects of figures that a reader would notice: what is cut, covered, unlabeled or too small."""

from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from experiments.shared.figures import (
    LEAST_POINTS,
    PAGE,
    SLACK,
    covered,
    is_shown,
    labels_of,
    ticks_in_view,
)


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
