"""Figures of cost and accuracy along paths between networks, and of barriers."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, Figure, style

Profiles = Mapping[str, Float[np.ndarray, "pairs points"]]


def profiles(
    t: Float[np.ndarray, " points"],
    cost: Mapping[str, Profiles],
    accuracy: Mapping[str, Profiles],
    *,
    baseline: float,
    title: str,
) -> Figure:
    """Draw cost and accuracy along paths, with one column per network architecture.

    Each kind of path has one color. The line is the median over pairs; the band spans all pairs.

    Args:
        t: position on the path, from one network (0) to the other (1).
        cost: for each architecture and kind of path, the cost along the path of each pair.
        accuracy: test accuracy along these paths, in [0, 1].
        baseline: cost of the best constant prediction.
        title: title of the figure.
    """
    with style():
        figure = Figure(figsize=(4.2 * len(cost) + 0.8, 7.8))
        panels = figure.subplots(2, len(cost), squeeze=False, sharex=True, sharey="row")
        for (top, bottom), name in zip(panels.T, cost, strict=True):
            for axes, kinds in ((top, cost[name]), (bottom, accuracy[name])):
                for color, (kind, values) in zip(CYCLE, kinds.items(), strict=False):
                    ends = values.min(0), values.max(0)
                    axes.fill_between(t, *ends, color=color, alpha=0.2, linewidth=0)
                    axes.plot(t, np.median(values, axis=0), color=color, label=kind)
            pairs = len(next(iter(cost[name].values())))
            top.set_title(f"{name} ({pairs} pair{'s' * (pairs != 1)})")
            top.axhline(baseline, color=BLACK, linestyle=":", linewidth=1.5)
            bottom.set_xlabel("position on the path")
            bottom.set_xticks([0, 0.5, 1], ["first\nnetwork", "middle", "second\nnetwork"])
        top, bottom = panels[:, 0]
        look: dict = {"ha": "center", "va": "bottom", "fontsize": 11}
        top.text(0.5, baseline, "best constant prediction", **look)
        top.set_ylim(0, max(top.get_ylim()[1], 1.12 * baseline))
        top.set_ylabel("training cost")
        bottom.set(ylabel="test accuracy", ylim=(0, 1))
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
        handles, labels = top.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.suptitle(title, x=0.02, ha="left")
    return figure


def barrier_distributions(
    barriers: Mapping[str, Mapping[str, Float[np.ndarray, " pairs"]]], *, title: str
) -> Figure:
    """Draw the barrier of every pair by architecture and kind of path, with medians.

    Args:
        barriers: for each architecture and kind of path, the barrier of each pair, >= 0.
        title: title of the figure.
    """
    with style():
        figure = Figure(figsize=(9.6, 5))
        axes = figure.subplots()
        kinds = list(dict.fromkeys(kind for by_kind in barriers.values() for kind in by_kind))
        rng = np.random.default_rng(0)  # for horizontal offsets, so that all points are visible
        width = 0.8 / len(kinds)
        for group, by_kind in enumerate(barriers.values()):
            for number, kind in enumerate(kinds):
                if kind not in by_kind:
                    continue
                position, values = group + (number - (len(kinds) - 1) / 2) * width, by_kind[kind]
                color, half = CYCLE[number % len(CYCLE)], float(np.median(values))
                x = position + rng.uniform(-0.3, 0.3, len(values)) * width
                axes.plot(x, values, "o", color=color, alpha=0.45, markersize=5, markeredgewidth=0)
                look: dict = {"color": color, "linewidth": 3.5, "solid_capstyle": "butt"}
                ends = position + np.array([-0.42, 0.42]) * width
                axes.plot(ends, [half, half], label=kind if group == 0 else None, **look)
                look: dict = {"textcoords": "offset points", "ha": "center", "fontsize": 11}
                top = (position, max(float(values.max()), half))
                axes.annotate(f"{half:.2g}", top, xytext=(0, 5), **look)
        axes.set_xticks(range(len(barriers)), list(barriers))
        axes.set_ylabel("barrier in training cost")
        axes.set_ylim(bottom=-0.01 * axes.get_ylim()[1])
        axes.axhline(0, color=GREY, linewidth=1, zorder=0)
        axes.legend(title="path (bar and number: median)", loc="best")
        axes.set_title(title)
    return figure
