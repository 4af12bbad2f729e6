"""Pictures of how large a step may be: sharpness at its limit, distance from the flow, advice.

Learning rates have colours, the same ones in every panel; what theory says is dashed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION, Figure, style
from gdjax.plots.sweeps import quantiles


class Edge(NamedTuple):
    """Descents at several learning rates, with their sharpness.

    Args:
        title: of the panel.
        step: of the records.
        learning_rate: of the descents, at most 7 of them.
        sharpness: the Hessian's largest eigenvalue at each record; NaN where not known.
        threshold: sharpness above which a quadratic cost is unstable, for each learning rate.
        cost: at each record; infinite where diverged.
    """

    title: str
    step: Float[np.ndarray, " records"]
    learning_rate: Float[np.ndarray, " rates"]
    sharpness: Float[np.ndarray, "rates records"]
    threshold: Float[np.ndarray, " rates"]
    cost: Float[np.ndarray, "rates records"]


class BesideFlow(NamedTuple):
    """Descents beside the gradient flow, at equal times learning rate * steps.

    Args:
        title: of the row.
        time: since the start.
        learning_rate: of the descents, largest first.
        shown: a number that tells how far each has come, at each time.
        flow: the same of the flow.
        shown_label: what that number is.
        distance: from the flow's parameters, at each time.
        fitted: how many of the smallest learning rates the order is fitted to.
        order: slope of the largest distance against the learning rate, both logarithmic.
    """

    title: str
    time: Float[np.ndarray, " times"]
    learning_rate: Float[np.ndarray, " rates"]
    shown: Float[np.ndarray, "rates times"]
    flow: Float[np.ndarray, " times"]
    shown_label: str
    distance: Float[np.ndarray, "rates times"]
    fitted: int
    order: float


def edge(panels: Sequence[Edge]) -> Figure:
    """Sharpness climbing to its limit above, the cost below; a column for each panel."""
    with style():
        figure = Figure(figsize=(1.0 + 4.6 * len(panels), 7.6))
        grid = figure.subplots(
            2, len(panels), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 2]}
        )
        for (top, bottom), panel in zip(grid.T, panels, strict=True):
            _sharpness(top, panel)
            for rate, limit, cost, color in zip(
                panel.learning_rate, panel.threshold, panel.cost, CYCLE, strict=False
            ):
                label = f"{rate:g}: {limit:.3g}"
                bottom.plot(panel.step, cost, color=color, linewidth=1.2, label=label)
            bottom.set_yscale("log")
            seen = panel.cost[np.isfinite(panel.cost) & (panel.cost > 0)]
            bottom.set_ylim(top=seen.max() * (seen.max() / seen.min()) ** 0.35)  # for the legend
            bottom.yaxis.set_minor_formatter(NullFormatter())
            bottom.xaxis.set_major_locator(MaxNLocator(4))
            bottom.set_xlabel("step")
            bottom.legend(
                title="learning rate: limit",
                ncols=2,
                loc="upper right",
                handlelength=1.2,
                columnspacing=1,
            )
        grid[0, 0].set_ylabel("sharpness, largest\neigenvalue of the Hessian")
        grid[1, 0].set_ylabel("cost")
        figure.legend(
            handles=[
                Line2D([], [], color=BLACK, label="sharpness"),
                Line2D([], [], color=BLACK, linestyle="--", label="limit of stability"),
            ],
            loc="outside upper center",
            ncols=2,
        )
    return figure


def _sharpness(axes: Axes, panel: Edge) -> None:
    """Lines with their limits; limits that nobody comes near are left out of the picture."""
    # Sharper for a moment only, such as at the start, must not press everything else down.
    high = np.nanmax(np.nanquantile(panel.sharpness, 0.97, axis=1))
    top = 1.2 * max(high, np.max(panel.threshold[panel.threshold < 1.25 * high], initial=0))
    for sharpness, limit, color in zip(panel.sharpness, panel.threshold, CYCLE, strict=False):
        axes.plot(panel.step, sharpness, color=color, linewidth=1.5)
        if limit < top:
            axes.axhline(limit, color=color, linestyle="--", linewidth=1.5)
    axes.set_ylim(0, top)
    axes.set_title(panel.title)


def from_flow(rows: Sequence[BesideFlow]) -> Figure:
    """How far descents have come, their distance from the flow, and its order; a row a problem."""
    with style():
        figure = Figure(figsize=(14, 4.5 * len(rows)))
        grid = figure.subplots(len(rows), 3, squeeze=False)
        for (left, middle, right), row in zip(grid, rows, strict=True):
            colors = [CYCLE[i % (len(CYCLE) - 1)] for i in range(len(row.learning_rate))]
            for rate, shown, distance, color in zip(
                row.learning_rate, row.shown, row.distance, colors, strict=True
            ):
                left.plot(row.time, shown, color=color)
                middle.plot(row.time, _positive(distance), color=color, label=f"{rate:g}")
            left.plot(row.time, row.flow, "--", color=BLACK, label="gradient flow")
            left.set_xlabel("time, learning rate · steps")
            left.set_ylabel(row.shown_label)
            left.set_title(row.title)
            left.legend()
            middle.set_yscale("log")
            seen = row.distance[row.distance > 0]
            middle.set_ylim(top=seen.max() * (seen.max() / seen.min()) ** 0.4)  # for the legend
            middle.set_xlabel("time, learning rate · steps")
            middle.set_ylabel("distance from the flow")
            middle.set_title("Distance from the flow")
            middle.legend(
                title="learning rate",
                ncols=3,
                loc="upper right",
                handlelength=1.2,
                columnspacing=1,
            )
            _order(right, row, colors)
    return figure


def _order(axes, row, colors):
    """The largest distance of each rate, and the line of slope 1 through the smallest."""
    largest = np.max(row.distance, axis=1)
    axes.scatter(row.learning_rate, largest, c=colors, s=60, zorder=3)
    small = np.argmin(row.learning_rate)
    ends = np.array([row.learning_rate.min() / 1.3, row.learning_rate.max() * 1.3])
    axes.plot(
        ends,
        largest[small] * ends / row.learning_rate[small],
        "--",
        color=BLACK,
        label="first order: slope 1",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("largest distance from the flow")
    axes.set_title(f"Fitted order {row.order:.3f} ({row.fitted} smallest)")
    axes.legend(loc="upper left")


def _positive(values):
    return np.where(values > 0, values, np.nan)


def advice(
    learning_rate: Float[np.ndarray, " rates"],
    *,
    diverged: Float[np.ndarray, " rates"],
    stalled: Float[np.ndarray, " rates"],
    cost: Float[np.ndarray, "rates seeds"],
    along: Float[np.ndarray, "rates seeds"],
    limit: float,
    bound_at_start: float,
    recommended: float | None,
    title: str,
) -> Figure:
    """Which runs failed, how low the others came, and how sharp it was along their way.

    Args:
        learning_rate: those tried, ascending.
        diverged: share of starts that diverged at each.
        stalled: share of starts that stalled at each.
        cost: at the end, for each start.
        along: largest sharpness after the start, for each start.
        limit: what learning rate times sharpness must stay below on a quadratic cost.
        bound_at_start: limit / sharpness at the start, median over starts; NaN where not known.
        recommended: the learning rate that is recommended; None where there is none.
        title: of the picture.
    """
    with style():
        figure = Figure(figsize=(9, 9.6))
        failed, costs, sharp = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 2, 2]}
        )
        _shares(failed, learning_rate, diverged, stalled)
        _dots(costs, learning_rate, cost, "each start")
        costs.set_yscale("log")
        costs.set_ylabel("cost at the end")
        _dots(sharp, learning_rate, along, "largest along the way")
        line = f"{limit:.3g} / learning rate"
        sharp.plot(learning_rate, limit / learning_rate, "--", color=BLACK, label=line)
        sharp.set_yscale("log")
        seen = along[np.isfinite(along) & (along > 1e-3 * np.nanmax(along))]
        sharp.set_ylim(np.min(seen) / 3, np.max(seen) * 5)
        sharp.set_ylabel("sharpness")
        sharp.set_xlabel("learning rate")
        for axes in (costs, sharp):
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if _round(value) else "")
        for axes in (failed, costs, sharp):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            if np.isfinite(bound_at_start):
                axes.axvline(bound_at_start, color=GREY, linestyle=":")
            if recommended is not None:
                axes.axvspan(
                    recommended / 1.15, recommended * 1.15, color="#0072B2", alpha=0.15, linewidth=0
                )
        if recommended is not None:
            costs.plot(
                recommended,
                quantiles(cost, (0.5,))[0][np.argmin(np.abs(learning_rate - recommended))],
                "*",
                color=ORANGE,
                markeredgecolor=BLACK,
                markersize=19,
                zorder=4,
                label=f"recommended: {recommended:.3g}",
            )
        if not np.isnan(bound_at_start):
            start = f"{limit:.3g} / sharpness at the start: {bound_at_start:.3g}"
            costs.plot([], [], ":", color=GREY, label=start)
        costs.legend(loc="best")
        sharp.legend(loc="best")
        failed.set_title(title)
    return figure


def _round(value):
    """Whether a number begins with 2 or 5."""
    return round(value / 10 ** np.floor(np.log10(value))) in (2, 5)


def _shares(axes, rates, diverged, stalled):
    """Stacked bars of equal width on a logarithmic axis."""
    width = 0.35 * np.min(np.diff(np.log(rates)), initial=1.0)
    left, right = rates * np.exp(-width), rates * np.exp(width)
    for base, share, color, label in (
        (0 * stalled, stalled, BLACK, "stalled"),
        (stalled, diverged, VERMILLION, "diverged"),
    ):
        axes.bar(left, share, right - left, base, align="edge", color=color, label=label)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("starts that fail")
    axes.legend(loc="upper left")


def _dots(axes, rates, values, label):
    """Each start a dot, the median a line."""
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    across = np.broadcast_to(rates[:, None], shown.shape)
    axes.plot(across.ravel(), shown.ravel(), "o", color=BLUE, alpha=0.5, label=label)
    axes.plot(rates, _positive(quantiles(shown, (0.5,))[0]), color=BLUE, label="median")
