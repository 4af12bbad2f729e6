"""Figures of descents on costs of one parameter, and of their valleys.

Each valley has one color, on the curve and in the paths below it.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, style


def valleys(curves: Sequence[xr.Dataset]) -> Figure:
    """Draw each curve with its starts, and the paths from these starts below it."""
    with style():
        figure = Figure(figsize=(4 * len(curves) + 0.5, 7.2))
        panels = figure.subplots(
            2, len(curves), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [1, 1]}
        )
        for column, curve in enumerate(curves):
            _starts(panels[0, column], curve)
            _paths(panels[1, column], curve)
        panels[0, 0].set_ylabel("cost")
        panels[1, 0].set_ylabel("step")
        panels[0, 0].text(
            0.5,
            0.97,
            "share of starts that\nlead to each minimum",
            transform=panels[0, 0].transAxes,
            ha="center",
            va="top",
        )
        figure.suptitle("Starts and descents, colored by the valley in which they end")
    return figure


def _starts(axes, curve):
    """Draw the curve, each start as a dot in the color of its valley, and the shares."""
    grid, cost = curve.curve_x.values, curve.curve_cost.values
    axes.plot(grid, cost, color=GREY, zorder=1)
    start = curve.position.values[:, 0]
    axes.scatter(start, np.interp(start, grid, cost), c=_colors(curve.valley), s=36, zorder=2)
    low, high = np.min(cost), np.max(cost)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))
    lowest = int(np.argmin(curve.minimum_cost.values))
    for number, (x, cost) in enumerate(
        zip(curve.minimum_x.values, curve.minimum_cost.values, strict=True)
    ):
        color = CYCLE[number % len(CYCLE)]
        axes.plot(x, cost, "*", color=color, markersize=17, markeredgecolor=BLACK, zorder=3)
        share = f"{float(curve.share[number]):.0%}"
        axes.annotate(
            f"lowest\n{share}" if number == lowest else share,
            (x, cost),
            (0, -11),
            textcoords="offset points",
            ha="center",
            va="top",
            color=BLACK,
            weight="bold" if number == lowest else "normal",
        )
    axes.set_title(curve.formula)


def _paths(axes, curve):
    """Draw positions by step until their changes are invisible, and the maxima."""
    paths, width = curve.position.values, np.ptp(curve.curve_x.values)
    far = np.abs(paths - paths[:, -1:]) > 0.004 * width
    steps = min(paths.shape[1] - 1, int(np.max(np.nonzero(far.any(axis=0))[0], initial=0)))
    time = np.arange(steps + 2)
    for path, color in zip(paths, _colors(curve.valley), strict=True):
        axes.plot(path[: len(time)], time[: len(path)], color=color, linewidth=1.3)
    axes.set_ylim(steps + 1, 0)
    for x in curve.maximum_x.values:
        axes.axvline(x, color=BLACK, linestyle=":")
    for x in curve.maximum_x.values[:1]:
        axes.text(x, steps, "maximum ", rotation=90, ha="right", va="bottom")
    axes.set_xlabel("parameter x")


def _colors(valley):
    return [CYCLE[number % len(CYCLE)] for number in valley.values]


def steps(curve: xr.Dataset, contractions: Float[np.ndarray, " minima"]) -> Figure:
    """Draw the first steps, all steps against the slope, and the lengths of steps.

    Args:
        curve: curve with the descents to draw.
        contractions: predicted ratio of the lengths of successive steps, at each minimum.
    """
    with style():
        figure = Figure(figsize=(9, 8))
        panels = figure.subplot_mosaic([["first", "first"], ["slope", "length"]])
        _first_steps(panels["first"], curve)
        _against_slope(panels["slope"], curve)
        _lengths(panels["length"], curve, contractions)
    return figure


def _first_steps(axes, curve):
    """Draw the first step of every start as an arrow, colored by direction."""
    grid, paths, slope = curve.curve_x.values, curve.position.values, curve.slope.values[:, 0]
    axes.plot(grid, curve.curve_cost, color=GREY, zorder=1)
    start, step = paths[:, 0], paths[:, 1] - paths[:, 0]
    height = np.interp(start, grid, curve.curve_cost.values)
    longer = max(1, round(0.2 * np.ptp(grid) / np.max(np.abs(step))))
    for side, color, text in (
        (slope > 0, VERMILLION, "positive slope: step to the left"),
        (slope < 0, BLUE, "negative slope: step to the right"),
    ):
        axes.plot(start[side], height[side], "o", color=color, markersize=5, label=text, zorder=3)
        axes.quiver(
            start[side],
            height[side],
            longer * step[side],
            np.zeros(side.sum()),
            color=color,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.005,
            minlength=0,
            zorder=2,
        )
    axes.legend(loc="upper center")
    axes.set_title(f"First steps on {curve.formula} (arrows magnified {longer} times)")
    axes.set(xlabel="parameter x", ylabel="cost")


def _against_slope(axes, curve):
    """Draw all steps against the slopes before them, and the predicted line."""
    step, before = np.diff(curve.position.values, axis=1), curve.slope.values[:, :-1]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    ends = np.array([np.min(before), np.max(before)])
    axes.plot(
        ends, -float(curve.learning_rate) * ends, color=BLACK, linewidth=1.2, label="-rate · slope"
    )
    axes.scatter(before, step, s=22, c=np.where(before > 0, VERMILLION, BLUE).ravel(), zorder=2)
    axes.set(title="Step against slope", xlabel="slope f'(x)", ylabel="step in x")
    axes.legend(loc="upper right")


def _lengths(axes, curve, contractions):
    """Draw the lengths of the steps of each descent, and the predicted contraction."""
    length = np.abs(np.diff(curve.position.values, axis=1))
    length[length < 1e-14] = np.nan  # below rounding error
    for row, color in zip(length, _colors(curve.valley), strict=True):
        axes.plot(np.arange(len(row)), row, color=color, linewidth=1.2, alpha=0.8)
    for number, ratio in enumerate(contractions):
        own = length[curve.valley.values == number]
        late = np.argmax(own < 1e-5, axis=1)
        if not late.any():
            continue
        # The prediction is drawn for one descent to this minimum, whose steps become short at the
        # median time.
        middle = np.argsort(late)[len(late) // 2]
        time = np.arange(late[middle], own.shape[1])
        theory = own[middle, time[0]] * abs(ratio) ** (time - time[0])
        above_rounding = theory > 1e-14
        axes.plot(time[above_rounding], theory[above_rounding], "--", color=BLACK, zorder=3)
    for number, x in enumerate(curve.minimum_x.values):
        axes.plot([], [], color=CYCLE[number % len(CYCLE)], label=f"ends at {x:.2f}")
    axes.plot([], [], "--", color=BLACK, label="theory:\n1 - rate · f''")
    axes.legend(loc="lower left", handlelength=1.2)
    axes.set(yscale="log", ylim=(1e-17, None), title="Length of each step", xlabel="step")
    axes.set_ylabel("length of the step in x")
