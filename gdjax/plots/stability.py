"""Failures and final costs of descents against the learning rate."""

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    Figure,
    label_log_axis,
    style,
)
from gdjax.plots.sweeps import quantiles


def learning_rates(
    learning_rate: Float[np.ndarray, " rates"],
    *,
    diverged: Float[np.ndarray, " rates"],
    stalled: Float[np.ndarray, " rates"],
    cost: Float[np.ndarray, "rates seeds"],
    recommended: float | None,
    interval: tuple[float, float],
    critical_rate: float,
    title: str,
) -> Figure:
    """Draw failures and final costs against the learning rate.

    Args:
        learning_rate: learning rates, ascending.
        diverged: share of starts that diverged at each rate.
        stalled: share of starts that stalled at each rate.
        cost: final cost for each rate and start.
        recommended: the recommended learning rate; None if there is none.
        interval: smallest and largest good rate, if one is recommended.
        critical_rate: rate above which the first step raises the cost; infinite if there is none.
        title: figure title.
    """
    with style():
        figure = Figure(figsize=(9, 6.6))
        failed, costs = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1.2, 2]})
        _shares(failed, learning_rate, diverged, stalled)
        _dots(costs, learning_rate, cost, "each start")
        costs.set_yscale("log")
        costs.set_ylabel("final cost")
        costs.set_xlabel("learning rate")
        label_log_axis(costs.yaxis)
        for axes in (failed, costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            if np.isfinite(critical_rate):
                axes.axvline(critical_rate, color=GREY, linestyle=":")
            if recommended is not None:
                low, high = interval
                axes.axvspan(low / 1.1, high * 1.1, color=BLUE, alpha=0.15, linewidth=0)
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
            costs.fill_between([], [], color=BLUE, alpha=0.15, linewidth=0, label="good rates")
        if np.isfinite(critical_rate):
            label = f"at rates above {critical_rate:.3g}, the first step raises the cost"
            costs.plot([], [], ":", color=GREY, label=label)
        costs.legend(loc="best")
        failed.set_title(title)
    return figure


def _shares(axes, rates, diverged, stalled):
    """Draw stacked bars of equal width on a logarithmic axis."""
    width = 0.35 * np.min(np.diff(np.log(rates)), initial=1.0)
    left, right = rates * np.exp(-width), rates * np.exp(width)
    for base, share, color, label in (
        (0 * stalled, stalled, BLACK, "stalled"),
        (stalled, diverged, VERMILLION, "diverged"),
    ):
        axes.bar(left, share, right - left, base, align="edge", color=color, label=label)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share of failed starts")
    axes.legend(loc="upper left")


def _dots(axes, rates, values, label):
    """Draw a dot for each start, and a line through the medians."""
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    across = np.broadcast_to(rates[:, None], shown.shape)
    axes.plot(across.ravel(), shown.ravel(), "o", color=BLUE, alpha=0.5, label=label)
    axes.plot(
        rates,
        np.where((half := quantiles(shown, (0.5,))[0]) > 0, half, np.nan),
        color=BLUE,
        label="median",
    )
