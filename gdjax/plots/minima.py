"""Frequencies of the minima of a census, and an embedding of their distances."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from gdjax.plots.style import BLACK, BLUE, GREY, figure_of, styled_axes


def frequencies(
    share: Float[np.ndarray, " minima"],
    low: Float[np.ndarray, " minima"],
    high: Float[np.ndarray, " minima"],
    cost: Float[np.ndarray, " minima"],
    *,
    others: Mapping[str, float],
    title: str = "",
    max_bars: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of runs per minimum, with confidence intervals.

    Args:
        share: share of all runs that ended in each minimum, in [0, 1], by ascending cost.
        low: lower ends of the confidence intervals.
        high: upper ends of the confidence intervals.
        cost: cost of each minimum.
        others: shares of the runs that did not end in a minimum, by kind of end point.
        title: axes title.
        max_bars: maximum number of minima drawn; the axis label states how many are omitted.
        ax: axes to draw into; None creates a new figure.
    """
    shown = slice(0, max_bars)
    count = len(share[shown])
    upright = count <= 8  # few enough bars for horizontal labels
    each = 0.8 if upright else 0.4
    width = max(7.0, min(13.0, 2.5 + each * (count + len(others))))
    with styled_axes(ax, (width, 5.4)) as axes:
        position = np.arange(count)
        axes.bar(position, share[shown], color=BLUE, width=0.75)
        error = np.stack([(share - low)[shown], (high - share)[shown]])
        axes.errorbar(
            position, share[shown], error, fmt="none", ecolor=BLACK, elinewidth=1.5, capsize=3
        )
        after = count + 1 + np.arange(len(others))
        axes.bar(after, list(others.values()), color=GREY, width=0.75)
        cost = _without_rounding(cost)
        names = [f"{value:.3g}" for value in cost[shown]]
        names += [kind.replace(" ", "\n") for kind in others]
        ticks = [*position, *after]
        axes.set_xticks(ticks, names, rotation=0 if upright else 90, fontsize=11)
        hidden = len(share) - count
        axes.set_xlabel(
            "cost of the minimum" + (f" ({hidden} of higher cost not drawn)" if hidden else "")
        )
        axes.set_ylabel("share of the runs, 95 % intervals")
        axes.set_ylim(0, None)
        axes.set_title(title)
    return axes


def embedding(
    position: Float[np.ndarray, "minima 2"],
    position_share: float,
    share: Float[np.ndarray, " minima"],
    cost: Float[np.ndarray, " minima"],
    *,
    label: str = "cost",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw minima as points of a planar embedding of their distances.

    The size of a point shows the share of the runs that ended there.

    Args:
        position: coordinates of the minima in a planar embedding of their distances.
        position_share: share of the distances that the embedding represents, in [0, 1].
        share: share of the runs that ended in each minimum, in [0, 1].
        cost: cost, or another value, of each minimum; shown by color.
        label: name of this value.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 6.6)) as axes:
        # Rare minima are drawn last, so that larger points do not hide them.
        order = np.argsort(-share, kind="stable")
        cost = _without_rounding(cost)
        points = axes.scatter(
            *position[order].T,
            s=60 + 1500 * share[order],
            c=cost[order],
            edgecolors=BLACK,
            linewidths=0.8,
            alpha=0.85,
        )
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)
        shown = f"represents {position_share:.0%} of them"
        axes.set_xlabel(f"embedding of the distances ({shown}); area: share of runs")
        axes.set_ylabel("embedding, same scale")
        if np.ptp(cost) > 0:
            axes.annotate(
                "lowest",
                position[int(np.argmin(cost))],
                xytext=(16, 16),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": BLACK},
            )
            figure_of(axes).colorbar(points, ax=axes, label=label)
        else:
            axes.set_title(f"{label}: {cost[0]:.3g} everywhere", loc="right", fontsize=12)
        axes.set_title(title)
    return axes


def _without_rounding(cost):
    """Round costs to 1e-9 times the largest (at least 1), to remove rounding errors."""
    scale = 1e-9 * max(1.0, float(np.max(np.abs(cost), initial=0)))
    return np.round(np.asarray(cost, float) / scale) * scale + 0.0  # turns -0.0 into 0.0
