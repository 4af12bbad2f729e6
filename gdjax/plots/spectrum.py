"""Pictures of a Hessian's eigenvalues: how they are spread, and the largest of them in order.

Eigenvalues that were found one by one are marks with their residuals as bars; what is known only on
average over random vectors is a curve with its standard error.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, Figure, style

FAR = 30.0  # a limit so many times above all eigenvalues would press them down: it is left out
SHAPES = ("o", "s", "^", "D", "v", "P", "X")


class Spread(NamedTuple):
    """A spectral density, and the eigenvalues at its ends.

    Args:
        title: of the panel.
        at: eigenvalues at which the density is given.
        density: per unit of an eigenvalue; it integrates to 1.
        error: its standard error.
        width: standard deviation of the Gaussian that every eigenvalue is drawn as.
        size: how many eigenvalues there are; None where that is not known.
        ends: eigenvalues that are known one by one, such as the 20 largest and the 3 smallest.
        residuals: an eigenvalue lies that close to each of these.
    """

    title: str
    at: Float[np.ndarray, " points"]
    density: Float[np.ndarray, " points"]
    error: Float[np.ndarray, " points"]
    width: float
    size: int | None = None
    ends: Float[np.ndarray, " k"] = np.zeros(0)
    residuals: Float[np.ndarray, " k"] = np.zeros(0)


class Ranked(NamedTuple):
    """Largest eigenvalues of one matrix, in order.

    Args:
        name: what they are of.
        value: falling.
        residual: an eigenvalue lies that close to each.
    """

    name: str
    value: Float[np.ndarray, " k"]
    residual: Float[np.ndarray, " k"]


def densities(panels: Sequence[Spread], *, title: str = "") -> Figure:
    """Spectral densities below each other on common axes, the ends marked above each.

    The axis of eigenvalues is linear within the widest Gaussian of 0 and logarithmic beyond, so
    that both the bulk and the outliers have room; the axis says so. Densities are logarithmic. A
    dotted line is how high one eigenvalue alone stands, a dashed one what would be seen if all were
    zero: where the density follows it, no width of the bulk was resolved.
    """
    linear = max(panel.width for panel in panels)
    low, high = min(panel.at[0] for panel in panels), max(panel.at[-1] for panel in panels)
    floor = min(_alone(panel) for panel in panels) / 5
    top = max(np.nanmax(panel.density, initial=_alone(panel)) for panel in panels)
    with style():
        figure = Figure(figsize=(9, 2.6 + 2.3 * len(panels)))
        column = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, panel in zip(column, panels, strict=True):
            _spread(axes, panel, floor)
        axes = column[-1]
        axes.set_xscale("symlog", linthresh=linear, linscale=0.4)
        axes.set_xlim(low, high)
        axes.set_xticks(_decades(linear, low, high))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(f"eigenvalue of the Hessian (axis linear within ±{linear:.2g})")
        axes.set_yscale("log")
        axes.set_ylim(floor, 60 * top)  # room for the marks
        axes.yaxis.set_minor_locator(NullLocator())
        figure.supylabel("share of the eigenvalues per unit", fontsize=13)
        handles, labels = column[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(title)
    return figure


def _alone(panel):
    """How high one eigenvalue stands, or what is too low to be seen if their number is unknown."""
    if panel.size is None:
        return 1e-6 * float(np.nanmax(panel.density, initial=1e-300))
    return 1 / (panel.size * panel.width * np.sqrt(2 * np.pi))


def _decades(linear, low, high):
    """0, and 1 and 3 times the powers of ten well beyond the linear part of an axis."""
    powers = 10.0 ** np.arange(np.floor(np.log10(linear)), np.log10(max(-low, high)) + 1)
    beyond = np.sort(np.concatenate([powers, 3 * powers]))
    beyond = beyond[beyond > 1.5 * linear]
    return [tick for tick in (*-beyond[::-1], 0.0, *beyond) if low <= tick <= high]


def _spread(axes: Axes, panel: Spread, floor: float) -> None:
    density, error = (np.nan_to_num(a) for a in (panel.density, panel.error))
    below, shown, above = (np.maximum(density + k * error, floor) for k in (-1, 0, 1))
    axes.fill_between(panel.at, floor, shown, color=BLUE, alpha=0.2, linewidth=0)
    axes.fill_between(
        panel.at, below, above, color=BLUE, alpha=0.5, linewidth=0, label="± standard error"
    )
    axes.plot(panel.at, shown, color=BLUE, linewidth=1.3, label="density")
    if_zero = np.exp(-((panel.at / panel.width) ** 2) / 2) / (panel.width * np.sqrt(2 * np.pi))
    axes.plot(panel.at, if_zero, "--", color=BLACK, linewidth=1.2, label="if all of them were 0")
    if panel.size is not None:
        axes.axhline(
            _alone(panel), color=GREY, linestyle=":", linewidth=1.5, label="one eigenvalue alone"
        )
    if len(panel.ends):
        axes.errorbar(
            panel.ends,
            np.full(len(panel.ends), 0.9),
            xerr=panel.residuals,
            transform=axes.get_xaxis_transform(),
            fmt="v",
            color=VERMILLION,
            markeredgecolor="white",
            markeredgewidth=0.5,
            markersize=8,
            clip_on=False,
            label="found one by one, with residuals",
        )
    axes.set_title(f"{panel.title} (Gaussians of width {panel.width:.2g})")


def ranks(
    panels: Mapping[str, Sequence[Ranked]],
    *,
    limit: float | None = None,
    limit_label: str = "2 / learning rate",
    after: int | None = None,
    after_label: str = "",
    columns: int = 2,
    title: str = "",
) -> Figure:
    """Eigenvalues against their rank, a colour each matrix: gaps are steps between neighbours.

    Args:
        panels: for each title, at most 7 matrices; eigenvalues at or below 0 are left out.
        limit: eigenvalue above which descent is unstable, dashed.
        limit_label: what it is.
        after: rank behind which a line stands, such as the number of classes.
        after_label: what it is.
        columns: panels beside each other.
        title: of the picture.
    """
    everything = np.concatenate([rank.value for panel in panels.values() for rank in panel])
    positive = everything[np.isfinite(everything) & (everything > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with style():
        figure = Figure(figsize=(1.5 + 5.5 * columns, 0.7 + 4.2 * rows))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
            for ranked, color, shape in zip(panel, CYCLE, SHAPES, strict=False):
                _ranked(axes, ranked, color, shape)
            if limit is not None and limit <= FAR * high:
                axes.axhline(
                    limit, color=BLACK, linestyle="--", label=f"{limit_label} = {limit:.3g}"
                )
            if after is not None:
                axes.axvline(after + 0.5, color=GREY, linestyle=":", label=after_label)
            axes.set_title(name)
        first = grid[0, 0]
        first.set_yscale("log")
        near = limit if limit is not None and limit <= FAR * high else 0.0
        first.set_ylim(low / 1.6, 1.6 * max(high, near))
        first.xaxis.set_major_locator(MaxNLocator(integer=True))
        first.yaxis.set_major_formatter("{x:g}")
        first.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] == "3" else "")
        for axes in grid[-1]:
            axes.set_xlabel("rank, from the largest")
        for axes in grid[:, 0]:
            axes.set_ylabel("eigenvalue")
        handles, labels = first.get_legend_handles_labels()
        # Lines come before what has error bars: put them behind.
        lines = len(labels) - len(next(iter(panels.values())))
        handles, labels = (a[lines:] + a[:lines] for a in (handles, labels))
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
        if title:
            figure.suptitle(title)
    return figure


def _ranked(axes: Axes, ranked: Ranked, color: str, shape: str) -> None:
    rank = np.arange(1, len(ranked.value) + 1)
    shown = np.isfinite(ranked.value) & (ranked.value > 0)
    value, residual = ranked.value[shown], ranked.residual[shown]
    axes.errorbar(
        rank[shown],
        value,
        # A bar down to 0 or below has no end on a logarithmic axis.
        yerr=[np.minimum(residual, 0.999 * value), residual],
        fmt=f"-{shape}",
        color=color,
        linewidth=1.2,
        markersize=6,
        label=ranked.name,
    )


def eigenvalues(
    value: Float[np.ndarray, " k"], residual: Float[np.ndarray, " k"], *, title: str = ""
) -> Figure:
    """Eigenvalues in order, each with how far it is from being exact; no sign is left out.

    Args:
        value: falling.
        residual: an eigenvalue lies that close to each.
        title: of the picture; its own says the largest and the smallest.
    """
    known = np.isfinite(value) & np.isfinite(residual)
    with style():
        figure = Figure(figsize=(8, 4.5))
        axes = figure.subplots()
        place = np.arange(1, len(value) + 1)[known]
        axes.vlines(place, 0, value[known], color=BLUE, alpha=0.4, linewidth=3)
        axes.errorbar(
            place, value[known], residual[known], fmt="o", color=BLUE, ecolor=BLACK, capsize=3
        )
        axes.axhline(0, color=GREY, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("eigenvalues that were asked for, the largest first")
        axes.set_ylabel("eigenvalue of the Hessian")
        ends = f"{value[known].min():.3g} to {value[known].max():.3g}" if known.any() else "none"
        axes.set_title(title or f"Eigenvalues: {ends}")
    return figure
