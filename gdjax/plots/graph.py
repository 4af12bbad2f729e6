"""Tree of the lowest known passes between minima (disconnectivity graph)."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gdjax.plots.axes import styled_axes
from gdjax.plots.style import BLACK, BLUE, GREY

SADDLE = 0  # code of a height that is the cost of a classified saddle
MAX_LABELS = 12  # maximum number of minima that are numbered
MAX_COUNTS = 16  # maximum number of heights at which numbers of components are written


def merge_tree(graph: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw the tree of minima, which merge at the heights of the lowest known passes.

    The width of a line shows the share of descents that end in its minimum or part, if it is known.
    Numbers beside a line, such as 8 to 4, are those of components with images of a minimum below
    and above a height. A dashed line is a merge at the maximum of a path, above which no saddle is
    known.

    Args:
        graph: Dataset of `gd.minima.graph`.
        title: axes title; by default, the numbers of minima and saddles.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> import jax, numpy as np
        >>> from gdjax import minima
        >>> well = lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2
        >>> tree = minima.graph(well, np.array([[-1.0, 0.0], [1.0, 0.0]]), key=jax.random.key(0))
        >>> merge_tree(tree).get_title("left")
        '2 minima and 1 saddle found, up to symmetry'
    """
    cost = graph.minimum_cost.values
    share = graph.share.values if "share" in graph else np.zeros(len(cost))
    heights = graph.merge_height.values
    pairs = list(zip(graph.merge_first.values, graph.merge_second.values, strict=True))
    leaves = {k: [k] for k in range(len(cost))}
    for first, second in pairs:
        if first != second:
            leaves[first] = leaves[first] + leaves.pop(second)
    position = np.empty(len(cost))
    position[[k for part in leaves.values() for k in part]] = np.arange(len(cost))
    ends = {k: (position[k], cost[k], share[k]) for k in range(len(cost))}
    counts = np.vstack([graph.images.values[None], graph.components.values])
    values = np.append(cost, heights)
    labels: list[tuple] = []  # position, height, numbers below and above
    top = values.max() + 0.08 * (np.ptp(values) or 1)
    with styled_axes(ax, (max(6.0, min(13.0, 2 + 0.5 * len(cost))), 6)) as axes:

        def line(x, y, width, style="-"):
            axes.plot(x, y, color=BLUE, linewidth=1 + 9 * width, linestyle=style, zorder=2)

        for number, (first, second) in enumerate(pairs):
            height = heights[number]
            style = "-" if graph.merge_kind.values[number] == SADDLE else "--"
            if first != second:
                (x_a, y_a, a), (x_b, y_b, b) = ends[first], ends.pop(second)
                line([x_a, x_a], [y_a, height], a)
                line([x_b, x_b], [y_b, height], b)
                line([x_a, x_b], [height, height], 0, style)
                ends[first] = (x_a + x_b) / 2, height, a + b
            below, above = (int(counts[number + k, first]) for k in (0, 1))
            if below != above:
                x = ends[first][0]
                near = [
                    label
                    for label in labels
                    if label[0] == x and height - label[1] < 0.03 * np.ptp(values)
                ]
                for label in near[-1:]:  # one label for heights that are drawn as one
                    labels.remove(label)
                    below = label[2]
                labels.append((x, height, below, above))
        for x, height, below, above in labels if len(labels) <= MAX_COUNTS else []:
            axes.plot(x, height, "o", color=BLACK, markersize=5, zorder=3)
            axes.annotate(
                f"{below} → {above}",
                (x, height),
                xytext=(9, 4),
                textcoords="offset points",
                fontsize=11,
            )
        for x, y, width in ends.values():
            line([x, x], [y, top], width)
        if len(cost) <= MAX_LABELS:
            for k, (x, y) in enumerate(zip(position, cost, strict=True)):
                text = f"{k}" + (f": {share[k]:.0%}" if "share" in graph else "")
                axes.annotate(
                    text, (x, y), xytext=(0, -16), textcoords="offset points", ha="center"
                )
        axes.set_ylabel("cost; every merge is an upper bound")
        axes.set_xlabel("minima" + ("; width: share of descents" if "share" in graph else ""))
        axes.set_xticks([])
        axes.margins(0.1)
        solid, dashed = Line2D([], [], color=BLUE), Line2D([], [], color=BLUE, linestyle="--")
        axes.legend(
            [solid, dashed],
            ["at a classified saddle", "on a path only"],
            title="minima merge",
            labelcolor=BLACK,
            edgecolor=GREY,
            loc="best",
        )
        saddles = int(np.sum(graph["index"].values == 1))
        minima = f"{len(cost)} minim{'um' if len(cost) == 1 else 'a'}"
        known = f"{saddles} saddle{'' if saddles == 1 else 's'} found"
        axes.set_title(title or f"{minima} and {known}, up to symmetry")
    return axes
