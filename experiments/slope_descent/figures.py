"""Figures of descents on costs of one parameter, and of their valleys.

Each valley has one color, on the curve and in the paths below it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, style


class Curve(NamedTuple):
    """A cost of one parameter, its critical points, and descents on it.

    Args:
        title: title of the panel, the formula of the cost.
        x: parameter values at which the curve is drawn.
        cost: cost at each of these values.
        paths: parameter value of each descent at each step.
        valley: index of the minimum to which each start leads.
        minima: positions of the minima, from left to right.
        minima_cost: cost at the minima.
        maxima: positions of the maxima, the boundaries of the valleys.
        shares: share of all starts that lead to each minimum.
    """

    title: str
    x: Float[np.ndarray, " grid"]
    cost: Float[np.ndarray, " grid"]
    paths: Float[np.ndarray, "starts steps"]
    valley: Int[np.ndarray, " starts"]
    minima: Float[np.ndarray, " minima"]
    minima_cost: Float[np.ndarray, " minima"]
    maxima: Float[np.ndarray, " maxima"]
    shares: Float[np.ndarray, " minima"]


def valleys(curves: Sequence[Curve]) -> Figure:
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
    axes.plot(curve.x, curve.cost, color=GREY, zorder=1)
    start = curve.paths[:, 0]
    axes.scatter(
        start, np.interp(start, curve.x, curve.cost), c=_colors(curve.valley), s=36, zorder=2
    )
    low, high = np.min(curve.cost), np.max(curve.cost)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))
    lowest = int(np.argmin(curve.minima_cost))
    for number, (x, cost) in enumerate(zip(curve.minima, curve.minima_cost, strict=True)):
        color = CYCLE[number % len(CYCLE)]
        axes.plot(x, cost, "*", color=color, markersize=17, markeredgecolor=BLACK, zorder=3)
        share = f"{curve.shares[number]:.0%}"
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
    axes.set_title(curve.title)


def _paths(axes, curve):
    """Draw positions by step until their changes are invisible, and the maxima."""
    width = curve.x[-1] - curve.x[0]
    far = np.abs(curve.paths - curve.paths[:, -1:]) > 0.004 * width
    steps = min(curve.paths.shape[1] - 1, int(np.max(np.nonzero(far.any(axis=0))[0], initial=0)))
    time = np.arange(steps + 2)
    for path, color in zip(curve.paths, _colors(curve.valley), strict=True):
        axes.plot(path[: len(time)], time[: len(path)], color=color, linewidth=1.3)
    axes.set_ylim(steps + 1, 0)
    for x in curve.maxima:
        axes.axvline(x, color=BLACK, linestyle=":")
    for x in curve.maxima[:1]:
        axes.text(x, steps, "maximum ", rotation=90, ha="right", va="bottom")
    axes.set_xlabel("parameter x")


def _colors(valley):
    return [CYCLE[int(number) % len(CYCLE)] for number in valley]


def steps(
    curve: Curve,
    *,
    slopes: Float[np.ndarray, "starts steps"],
    learning_rate: float,
    contractions: Float[np.ndarray, " minima"],
) -> Figure:
    """Draw the first steps, all steps against the slope, and the lengths of steps.

    Args:
        curve: curve with the paths to draw.
        slopes: slope at the position of each descent, at each step.
        learning_rate: learning rate of the descents.
        contractions: predicted ratio of the lengths of successive steps, at each minimum.
    """
    with style():
        figure = Figure(figsize=(9, 8))
        panels = figure.subplot_mosaic([["first", "first"], ["slope", "length"]])
        _first_steps(panels["first"], curve, slopes[:, 0])
        _against_slope(panels["slope"], curve, slopes, learning_rate)
        _lengths(panels["length"], curve, contractions)
    return figure


def _first_steps(axes, curve, slope):
    """Draw the first step of every start as an arrow, colored by direction."""
    axes.plot(curve.x, curve.cost, color=GREY, zorder=1)
    start, step = curve.paths[:, 0], curve.paths[:, 1] - curve.paths[:, 0]
    height = np.interp(start, curve.x, curve.cost)
    longer = max(1, round(0.2 * (curve.x[-1] - curve.x[0]) / np.max(np.abs(step))))
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
    axes.set_title(f"First steps on {curve.title} (arrows magnified {longer} times)")
    axes.set(xlabel="parameter x", ylabel="cost")


def _against_slope(axes, curve, slopes, learning_rate):
    """Draw all steps against the slopes before them, and the predicted line."""
    step = np.diff(curve.paths, axis=1)
    before = slopes[:, : step.shape[1]]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    ends = np.array([np.min(before), np.max(before)])
    axes.plot(ends, -learning_rate * ends, color=BLACK, linewidth=1.2, label="-rate · slope")
    axes.scatter(before, step, s=22, c=np.where(before > 0, VERMILLION, BLUE).ravel(), zorder=2)
    axes.set(title="Step against slope", xlabel="slope f'(x)", ylabel="step in x")
    axes.legend(loc="upper right")


def _lengths(axes, curve, contractions):
    """Draw the lengths of the steps of each descent, and the predicted contraction."""
    length = np.abs(np.diff(curve.paths, axis=1))
    length[length < 1e-14] = np.nan  # below rounding error
    for row, color in zip(length, _colors(curve.valley), strict=True):
        axes.plot(np.arange(len(row)), row, color=color, linewidth=1.2, alpha=0.8)
    for number, ratio in enumerate(contractions):
        own = length[curve.valley == number]
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
    for number, x in enumerate(curve.minima):
        axes.plot([], [], color=CYCLE[number % len(CYCLE)], label=f"ends at {x:.2f}")
    axes.plot([], [], "--", color=BLACK, label="theory:\n1 - rate · f''")
    axes.legend(loc="lower left", handlelength=1.2)
    axes.set(yscale="log", ylim=(1e-17, None), title="Length of each step", xlabel="step")
    axes.set_ylabel("length of the step in x")
