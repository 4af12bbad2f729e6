"""Pictures of what lies between networks: along single paths, and between every two of many."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, Figure, style

Profiles = Mapping[str, Float[np.ndarray, "pairs points"]]


NUMBERED = 16  # rows of a matrix that are told by their own numbers, not by their place


def along_paths(
    t: Float[np.ndarray, " points"],
    cost: Mapping[str, Profiles],
    accuracy: Mapping[str, Profiles],
    *,
    baseline: float | None = None,
    title: str = "",
) -> Figure:
    """Cost and accuracy along paths, a column a network, a colour a kind of path.

    The line is the median over pairs, the band holds all of them.

    Args:
        t: from one network (0) to the other (1).
        cost: by network, then by kind of path: along the path of each pair.
        accuracy: the same for the test accuracy, in [0, 1].
        baseline: cost of the best answer that ignores the input.
        title: of the whole.
    """
    with style():
        figure = Figure(figsize=(4.2 * len(cost) + 0.8, 7.8))
        panels = figure.subplots(2, len(cost), squeeze=False, sharex=True, sharey="row")
        for column, name in enumerate(cost):
            for axes, kinds in (
                (panels[0, column], cost[name]),
                (panels[1, column], accuracy[name]),
            ):
                for color, (kind, values) in zip(CYCLE, kinds.items(), strict=False):
                    axes.fill_between(
                        t, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0
                    )
                    axes.plot(t, np.median(values, axis=0), color=color, label=kind)
            pairs = len(next(iter(cost[name].values())))
            panels[0, column].set_title(f"{name} ({pairs} pair{'s' * (pairs != 1)})")
            panels[1, column].set_xlabel("place on the path")
            panels[1, column].set_xticks([0, 0.5, 1], ["one\nnetwork", "half-way", "the\nother"])
            if baseline is not None:
                panels[0, column].axhline(baseline, color=BLACK, linestyle=":", linewidth=1.5)
        if baseline is not None:
            panels[0, 0].text(
                0.5, baseline, "ignores the input", ha="center", va="bottom", fontsize=11
            )
            panels[0, 0].set_ylim(top=max(panels[0, 0].get_ylim()[1], 1.12 * baseline))
        panels[0, 0].set_ylabel("training cost")
        panels[0, 0].set_ylim(bottom=0)
        panels[1, 0].set_ylabel("test accuracy")
        panels[1, 0].yaxis.set_major_formatter(PercentFormatter(1.0))
        panels[1, 0].set_ylim(0, 1)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        if title:
            figure.suptitle(title, x=0.02, ha="left")
    return figure


def spread(
    barriers: Mapping[str, Mapping[str, Float[np.ndarray, " pairs"]]],
    *,
    label: str = "barrier in training cost",
    title: str = "",
) -> Figure:
    """Every pair's barrier, a group a network, a colour a kind of path; a bar marks the median.

    Args:
        barriers: by network, then by kind of path: of each pair, >= 0.
        label: what a barrier is measured in.
        title: of the picture.
    """
    with style():
        figure = Figure(figsize=(9.6, 5))
        axes = figure.subplots()
        kinds = list(dict.fromkeys(kind for found in barriers.values() for kind in found))
        rng = np.random.default_rng(0)  # scatters points sideways, so that all can be seen
        width = 0.8 / len(kinds)
        for group, found in enumerate(barriers.values()):
            for number, kind in enumerate(kinds):
                if kind not in found:
                    continue
                place = group + (number - (len(kinds) - 1) / 2) * width
                values = found[kind]
                color = CYCLE[number % len(CYCLE)]
                x = place + rng.uniform(-0.3, 0.3, len(values)) * width
                axes.plot(x, values, "o", color=color, alpha=0.45, markersize=5, markeredgewidth=0)
                half = float(np.median(values))
                axes.plot(
                    place + np.array([-0.42, 0.42]) * width,
                    [half, half],
                    color=color,
                    linewidth=3.5,
                    solid_capstyle="butt",
                    label=kind if group == 0 else None,
                )
                axes.annotate(
                    f"{half:.2g}",
                    (place, max(float(values.max()), half)),
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                    fontsize=11,
                )
        axes.set_xticks(range(len(barriers)), list(barriers))
        axes.set_ylabel(label)
        axes.set_ylim(bottom=-0.01 * axes.get_ylim()[1])
        axes.axhline(0, color=GREY, linewidth=1, zorder=0)
        axes.legend(title="path (bar and number: median)", loc="best")
        axes.set_title(title)
    return figure


def barrier_matrix(
    matrices: Mapping[str, Float[np.ndarray, "runs runs"]],
    *,
    order: Int[np.ndarray, " runs"] | None = None,
    groups: Int[np.ndarray, " runs"] | None = None,
    unit: str = "network",
    label: str = "barrier in training cost",
    title: str = "",
) -> Figure:
    """Barriers between every two of some networks, as squares side by side in one colour scale.

    Networks stand in one order in all of them: neighbours are those with low barriers in the last.

    Args:
        matrices: by name, such as before and after matching; symmetric, 0 on the diagonal. NaN
            where there is none.
        order: of the networks; by clustering of the last matrix if None.
        groups: number of the group of each network; lines are drawn where it changes.
        unit: what stands in a row and in a column.
        label: what a barrier is measured in.
        title: of the whole.
    """
    last = list(matrices.values())[-1]
    order = by_cluster(last) if order is None else order
    most = max((float(m[np.isfinite(m)].max(initial=0)) for m in matrices.values()), default=0)
    with style():
        figure = Figure(figsize=(4.6 * len(matrices) + 1.4, 5.9))
        panels = figure.subplots(1, len(matrices), squeeze=False, sharey=True)[0]
        for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
            image = axes.imshow(matrix[np.ix_(order, order)], vmin=0, vmax=most or 1)
            off = matrix[~_same(len(matrix))]
            half = np.median(off[np.isfinite(off)]) if np.isfinite(off).any() else np.nan
            axes.set_title(f"{name}\nmedian {half:.3g}")
            axes.set_xlabel(f"{unit}, ordered by cluster")
            for side in (axes.xaxis, axes.yaxis):
                if len(matrix) <= NUMBERED:
                    side.set_ticks(range(len(matrix)), [str(k) for k in order])
                else:
                    side.set_major_locator(MaxNLocator(6, integer=True))
            if groups is not None:
                for edge in np.flatnonzero(np.diff(groups[order])) + 0.5:
                    axes.axhline(edge, color="white", linewidth=1)
                    axes.axvline(edge, color="white", linewidth=1)
        panels[0].set_ylabel(f"{unit}, ordered by cluster")
        bar = figure.colorbar(image, ax=list(panels), shrink=0.85)
        bar.set_label(label)
        if title:
            figure.suptitle(title, x=0.02, ha="left")
    return figure


def by_cluster(distances: Float[np.ndarray, "runs runs"]) -> Int[np.ndarray, " runs"]:
    """An order in which neighbours are near: leaves of average-linkage clustering.

    What has no distance (NaN) counts as further than everything else.

    Examples:
        >>> x = np.array([0.0, 9.0, 1.0, 10.0])
        >>> by_cluster(np.abs(x[:, None] - x)).tolist()
        [0, 2, 1, 3]
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(distances) < 3:
        return np.arange(len(distances))
    far = 2 * np.max(distances, initial=1, where=np.isfinite(distances))
    filled = np.where(_same(len(distances)), 0, np.where(np.isfinite(distances), distances, far))
    pairs = squareform(filled, checks=False)
    tree = hierarchy.linkage(pairs, "average")
    return hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, pairs))


def _same(runs: int) -> Bool[np.ndarray, "runs runs"]:
    return np.eye(runs, dtype=bool)
