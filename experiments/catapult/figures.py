"""Figures of descents at large learning rates: the catapult, and chaotic dynamics."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, style


class SettledShares(NamedTuple):
    """Shares of descents that end below their initial cost, for each kind of network.

    Args:
        title: title of the panel.
        share: learning rate times curvature at the start, ascending.
        lands: for each network, by name, the share of descents that end below their initial cost.
        edge: for each network, by name, the largest `share` up to which all descents end below
            their initial cost: the median over starts, with its interval.
    """

    title: str
    share: Float[np.ndarray, " shares"]
    lands: Mapping[str, Float[np.ndarray, " shares"]]
    edge: Mapping[str, tuple[float, float, float]]


def settled_shares(
    step: Float[np.ndarray, " steps"] | np.ndarray,
    cost: Mapping[float, Float[np.ndarray, " steps"]],
    panels: Sequence[SettledShares],
) -> Figure:
    """Draw single descents, and shares of descents that end below their initial cost.

    Args:
        step: step of each record.
        cost: cost along single descents of a linear network, by learning rate times curvature at
            the start.
        panels: shares of descents, one element per panel.
    """
    with style():
        figure = Figure(figsize=(5.4 + 4.6 * len(panels), 4.8))
        left, *others = figure.subplots(1, 1 + len(panels))
        early = step <= 60
        for number, (share, values) in enumerate(cost.items()):
            values_shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)[early]
            left.plot(step[early], values_shown, color=CYCLE[number], label=f"{share:.3g}")
        left.set_yscale("log")
        left.set_ylim(bottom=1e-9)
        left.set(xlabel="step", ylabel="cost", title="Cost of a linear network")
        left.legend(title="rate · curvature\nat the start", title_fontsize=12)
        for axes, panel in zip(others, panels, strict=True):
            for number, (name, lands) in enumerate(panel.lands.items()):
                middle, low, high = panel.edge[name]
                label = f"{name}: {middle:.3g} ({low:.3g} to {high:.3g})"
                axes.plot(panel.share, lands, color=CYCLE[number], label=label)
            for limit in (2, 4):
                axes.axvline(limit, color=GREY, linestyle=":")
            axes.set(ylim=(0, 1.6), yticks=[0, 0.5, 1])
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_xlabel("rate · curvature at the start")
            axes.set_ylabel("share of descents that end\nbelow their initial cost")
            axes.set_title(panel.title)
            axes.legend(title="largest rate · curvature", title_fontsize=12, loc="upper right")
    return figure


def chaos(
    density: Float[np.ndarray, "columns rows"],
    bounds: Sequence[float],
    rate: Float[np.ndarray, " rates"],
    exponent: Float[np.ndarray, " rates"],
    doublings: Mapping[str, float],
) -> Figure:
    """Draw the values of one weight by learning rate, and the Lyapunov exponent.

    Args:
        density: number of records in each bin of learning rate and value.
        bounds: smallest and largest rate, smallest and largest value.
        rate: learning rate of each exponent.
        exponent: Lyapunov exponents; if positive, neighboring trajectories separate.
        doublings: learning rates to mark, by label.
    """
    with style():
        figure = Figure(figsize=(14, 9))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
        positive = np.where(density > 0, density, np.nan).T
        top.set_facecolor("#0b0724")
        top.imshow(
            positive,
            origin="lower",
            aspect="auto",
            extent=tuple(bounds),
            cmap="inferno",
            norm=LogNorm(1, np.nanquantile(positive, 0.995)),
        )
        for name, at in doublings.items():
            top.axvline(at, color="white", linewidth=0.8, linestyle=":")
            text_position = (at - 0.006, bounds[2] + 0.03)
            top.text(*text_position, f"{name}: {at:.4g}", color="white", rotation=90, ha="right")
        top.set_ylabel("weight x, after hundreds of steps")
        top.set_title(f"x ← x + η x (1 - x²): {len(rate):,} learning rates, one sweep")
        width = len(rate) // len(density)
        few = slice(0, len(rate) // width * width)
        mean = exponent[few].reshape(-1, width).mean(axis=1)
        bottom.fill_between(
            rate[few].reshape(-1, width).mean(axis=1),
            mean,
            0,
            where=mean > 0,
            color=CYCLE[3],
            linewidth=0,
            label="chaos",
        )
        bottom.plot(rate[few].reshape(-1, width).mean(axis=1), mean, color=BLACK, linewidth=0.6)
        bottom.axhline(0, color=GREY, linewidth=1)
        bottom.set(ylim=(-1.2, 0.9), ylabel="Lyapunov\nexponent", xlabel="learning rate η")
        bottom.legend(loc="upper left")
    return figure
