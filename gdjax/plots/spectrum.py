"""Spectral densities of a Hessian, and its largest eigenvalues by rank.

Computed eigenvalues are drawn as marks with their residuals as error bars, and a stochastic density
as a curve with its standard error.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from gdjax.plots.axes import styled_axes
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, Figure, label_log_axis, style

MAX_LIMIT = 30.0  # largest limit that is drawn, in units of the largest eigenvalue
SHAPES = ("o", "s", "^", "D", "v", "P", "X")


def densities(
    panels: Mapping[str, Any],
    *,
    pairs: Mapping[str, Any] | None = None,
    size: int | None = None,
    title: str = "",
) -> Figure:
    """Draw spectral densities in a column, with extreme eigenvalues above each.

    The axis of eigenvalues is linear up to the largest bandwidth on both sides of 0 and logarithmic
    beyond, so that the bulk and the outliers are visible. The axis of densities is logarithmic. If
    the size of the matrix is known, a dotted line marks the peak height of a single eigenvalue. A
    dashed line shows the density of the zero matrix. Where the density follows the dashed line, the
    width of the bulk is not resolved.

    Args:
        panels: results of `spectral_density` by title, each drawn in a panel, with equal scales.
        pairs: computed eigenvalues by title of their panel, as returned by `extreme_eigenpairs`.
        size: number of eigenvalues of the matrix, if known.
        title: figure title.

    Examples:
        >>> import jax
        >>> from gdjax import curvature
        >>> found = curvature.spectral_density(lambda w: w @ w, np.ones(2), key=jax.random.key(0))
        >>> densities({"start": found}, size=2, title="A bowl").get_suptitle()
        'A bowl'
    """
    results = panels.values()
    linear = max(float(result.bandwidth) for result in results)
    low, high = min(r.at[0] for r in results), max(r.at[-1] for r in results)
    bottom = min(_single_height(result, size) for result in results) / 5
    top = max(np.nanmax(r.value, initial=_single_height(r, size)) for r in results)
    with style():
        figure = Figure(figsize=(9, 2.6 + 2.3 * len(panels)))
        column = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, result) in zip(column, panels.items(), strict=True):
            _draw_density(axes, result, size, bottom)
            if pairs is not None:
                _draw_ends(axes, pairs[name])
            axes.set_title(f"{name} (Gaussians of bandwidth {float(result.bandwidth):.2g})")
        axes = column[-1]
        axes.set_xscale("symlog", linthresh=linear, linscale=0.4)
        axes.set_xlim(low, high)
        axes.set_xticks(_decades(linear, low, high))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel(f"eigenvalue of the Hessian (axis linear within ±{linear:.2g})")
        axes.set_yscale("log")
        axes.set_ylim(bottom, 60 * top)  # room for the marks
        axes.yaxis.set_minor_locator(NullLocator())
        figure.supylabel("density of eigenvalues", fontsize=13)
        handles, labels = column[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        if title:
            figure.suptitle(title)
    return figure


def _single_height(result, size):
    """Return the peak height of one eigenvalue, or almost 0 if the size is unknown."""
    if size is None:
        return 1e-6 * float(np.nanmax(result.value, initial=1e-300))
    return 1 / (size * float(result.bandwidth) * np.sqrt(2 * np.pi))


def _decades(linear, low, high):
    """Return ticks: 0, and 1 and 3 times powers of ten beyond the linear part."""
    powers = 10.0 ** np.arange(np.floor(np.log10(linear)), np.log10(max(-low, high)) + 1)
    beyond = np.sort(np.concatenate([powers, 3 * powers]))
    beyond = beyond[beyond > 1.5 * linear]
    return [tick for tick in (*-beyond[::-1], 0.0, *beyond) if low <= tick <= high]


def _draw_density(axes, result, size, bottom):
    at, bandwidth = np.asarray(result.at), float(result.bandwidth)
    density, error = (np.nan_to_num(np.asarray(a)) for a in (result.value, result.error))
    below, shown, above = (np.maximum(density + k * error, bottom) for k in (-1, 0, 1))
    axes.fill_between(at, bottom, shown, color=BLUE, alpha=0.2, linewidth=0)
    band: Any = {"color": BLUE, "alpha": 0.5, "linewidth": 0, "label": "± standard error"}
    axes.fill_between(at, below, above, **band)
    axes.plot(at, shown, color=BLUE, linewidth=1.3, label="density")
    if_zero = np.exp(-((at / bandwidth) ** 2) / 2) / (bandwidth * np.sqrt(2 * np.pi))
    axes.plot(at, if_zero, "--", color=BLACK, linewidth=1.2, label="if all were 0")
    if size is not None:
        height, label = _single_height(result, size), "a single eigenvalue"
        axes.axhline(height, color=GREY, linestyle=":", linewidth=1.5, label=label)


def _draw_ends(axes, pairs):
    """Mark computed eigenvalues above the density, with their residuals."""
    axes.errorbar(
        pairs.values, np.full(len(pairs.values), 0.9), xerr=pairs.residuals, fmt="v",
        transform=axes.get_xaxis_transform(), color=VERMILLION, markeredgecolor="white",
        markeredgewidth=0.5, markersize=8, clip_on=False, label="computed, with residuals",
    )  # fmt: skip


def eigenvalues_by_rank(
    panels: Mapping[str, Mapping[str, tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]]]],
    *,
    limit: float | None = None,
    limit_label: str = "2 / learning rate",
    after: int | None = None,
    after_label: str = "",
    title: str = "",
) -> Figure:
    """Draw eigenvalues against their rank, with one color per matrix.

    Args:
        panels: by title and name of the matrix, at most 7 for each title, the eigenvalues in
            descending order and their residuals; only positive eigenvalues are drawn.
        limit: eigenvalue above which descent is unstable, drawn as a dashed line if it is at most
            30 times the largest eigenvalue.
        limit_label: label of this line.
        after: rank after which a vertical line is drawn, such as the number of classes.
        after_label: label of this line.
        title: figure title.

    Examples:
        >>> spectrum = np.array([4.0, 1.0]), np.array([0.1, 0.1])
        >>> eigenvalues_by_rank({"Hessian": {"start": spectrum}}).axes[0].get_title("left")
        'Hessian'
    """
    every = np.concatenate([value for panel in panels.values() for value, _ in panel.values()])
    positive = every[np.isfinite(every) & (every > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    limit = limit if limit is not None and limit <= MAX_LIMIT * high else None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with style():
        figure = Figure(figsize=(1.4 + 4.5 * columns, 0.7 + 4.2 * rows))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
            for matrix, color, shape in zip(panel, CYCLE, SHAPES, strict=False):
                _draw_ranked(axes, *panel[matrix], color=color, fmt=f"-{shape}", label=matrix)
            if limit is not None:
                label = f"{limit_label} = {limit:.3g}"
                axes.axhline(limit, color=BLACK, linestyle="--", label=label)
            if after is not None:
                axes.axvline(after + 0.5, color=GREY, linestyle=":", label=after_label)
            axes.set_title(name)
        first = grid[0, 0]
        first.set_yscale("log")
        first.set_ylim(low / 1.6, 1.6 * max(high, limit or 0.0))
        first.xaxis.set_major_locator(MaxNLocator(integer=True))
        label_log_axis(first.yaxis)
        for axes in grid[-1]:
            axes.set_xlabel("rank, from the largest")
        for axes in grid[:, 0]:
            axes.set_ylabel("eigenvalue")
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
        if title:
            figure.suptitle(title)
    return figure


def _draw_ranked(axes, value, residual, **style):
    shown = np.isfinite(value) & (value > 0)
    rank, value, residual = 1 + np.flatnonzero(shown), value[shown], residual[shown]
    # An error bar that reaches 0 has no lower end on a logarithmic axis.
    ends = [np.minimum(residual, 0.999 * value), residual]
    axes.errorbar(rank, value, ends, linewidth=1.2, markersize=6, **style)


def density(result: Any, *, title: str = "") -> Figure:
    """Draw one spectral density.

    Args:
        result: result of `spectral_density`.
        title: figure title.
    """
    return densities({title or "Spectral density of the Hessian": result})


def eigenvalues(pairs: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw eigenvalues in descending order, with their residuals.

    Args:
        pairs: result of `extreme_eigenpairs`.
        title: axes title; by default, it states the smallest and the largest eigenvalue.
        ax: axes to draw into; None creates a new figure.
    """
    value, residual = np.asarray(pairs.values), np.asarray(pairs.residuals)
    known = np.isfinite(value) & np.isfinite(residual)
    ends = [f"{end:.3g}" for end in (value[known].min(), value[known].max())] if known.any() else []
    with styled_axes(ax, (8, 4.5)) as axes:
        rank = np.arange(1, len(value) + 1)[known]
        axes.vlines(rank, 0, value[known], color=BLUE, alpha=0.4, linewidth=3)
        axes.errorbar(
            rank, value[known], residual[known], fmt="o", color=BLUE, ecolor=BLACK, capsize=3
        )
        axes.axhline(0, color=GREY, linewidth=1)
        if len(value) == 1:
            axes.set_xlim(0, 2)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("computed eigenvalues, the largest first")
        axes.set_ylabel("eigenvalue of the Hessian")
        plural = "s" * (len(value) > 1)
        axes.set_title(title or f"Eigenvalue{plural}: {' to '.join(dict.fromkeys(ends)) or 'none'}")
    return axes
