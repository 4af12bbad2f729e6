"""Figures of descents at large learning rates: the catapult, and chaotic dynamics."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, style
from gdjax.statistics import median

from .model import ACTIVATIONS


def settled_shares(dataset: xr.Dataset, lands: xr.DataArray, edge: xr.DataArray) -> Figure:
    """Draw single descents, and shares of descents that end below their initial cost.

    `lands` has these shares, and `edge` has, for each start, the largest learning rate times
    curvature up to which all descents end below their initial cost.
    """
    with style():
        figure = Figure(figsize=(5.4 + 4.6 * edge.sizes["examples"], 4.8))
        left, *others = figure.subplots(1, 1 + edge.sizes["examples"])
        single = dataset.shown_cost.isel(examples=0, width=0).sel(step=slice(60))
        for number, share in enumerate(dataset.shown.values):
            cost = single.sel(activation="linear", shown=share)
            cost = cost.where(np.isfinite(cost) & (cost > 0))
            left.plot(cost.step, cost, color=CYCLE[number], label=f"{share:.3g}")
        left.set_yscale("log")
        left.set_ylim(bottom=1e-9)
        left.set(xlabel="step", ylabel="cost", title="Cost of a linear network")
        left.legend(title="rate · curvature\nat the start", title_fontsize=12)
        for axes, examples in zip(others, edge.examples.values, strict=True):
            for number, name in enumerate(ACTIVATIONS):
                at = {"examples": examples, "activation": name}
                middle, low, high = median(edge.sel(at).values)[:3]
                label = f"{name}: {middle:.3g} ({low:.3g} to {high:.3g})"
                axes.plot(lands.share, lands.sel(at), color=CYCLE[number], label=label)
            for limit in (2, 4):
                axes.axvline(limit, color=GREY, linestyle=":")
            axes.set(ylim=(0, 1.6), yticks=[0, 0.5, 1])
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_xlabel("rate · curvature at the start")
            axes.set_ylabel("share of descents that end\nbelow their initial cost")
            axes.set_title("One example" if examples == 1 else f"{examples} examples")
            axes.legend(title="largest rate · curvature", title_fontsize=12, loc="upper right")
    return figure


def chaos(dataset: xr.Dataset, doublings: Mapping[str, float]) -> Figure:
    """Draw the values of one weight by learning rate, and the Lyapunov exponent.

    If the exponent is positive, neighboring trajectories separate. The learning rates `doublings`
    are marked.
    """
    density, bounds = dataset.density.values, dataset.attrs["bounds"]
    rate, exponent = dataset.rate.values, dataset.exponent.values
    with style():
        figure = Figure(figsize=(14, 9))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
        positive = np.where(density > 0, density, np.nan).T
        top.set_facecolor("#0b0724")
        look: dict = {"origin": "lower", "aspect": "auto", "cmap": "inferno"}
        norm = LogNorm(1, np.nanquantile(positive, 0.995))
        top.imshow(positive, extent=tuple(bounds), norm=norm, **look)
        for name, at in doublings.items():
            top.axvline(at, color="white", linewidth=0.8, linestyle=":")
            text_position = (at - 0.006, bounds[2] + 0.03)
            top.text(*text_position, f"{name}: {at:.4g}", color="white", rotation=90, ha="right")
        top.set_ylabel("weight x, after hundreds of steps")
        top.set_title(f"x ← x + η x (1 - x²): {len(rate):,} learning rates, one sweep")
        width = len(rate) // len(density)
        few = slice(0, len(rate) // width * width)
        middle, mean = (a[few].reshape(-1, width).mean(axis=1) for a in (rate, exponent))
        chaotic = {"where": mean > 0, "color": CYCLE[3], "linewidth": 0, "label": "chaos"}
        bottom.fill_between(middle, mean, 0, **chaotic)
        bottom.plot(middle, mean, color=BLACK, linewidth=0.6)
        bottom.axhline(0, color=GREY, linewidth=1)
        bottom.set(ylim=(-1.2, 0.9), ylabel="Lyapunov\nexponent", xlabel="learning rate η")
        bottom.legend(loc="upper left")
    return figure
