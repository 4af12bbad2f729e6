"""Maps of the minimum to which each start leads, by learning rate and momentum.

basin(m) = {x_0 : x_t -> m},   m is stable at rates below (2 + 2 momentum) / lambda_max(m)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from gdjax.minima import basins_of_attraction, learning_rate_limits
from gdjax.plots.style import BLACK, GREY, Figure
from gdjax.plots.surfaces import basin_maps, minimum_color

# Color and line style of the share of starts of each outcome that is not a minimum.
LINE_STYLES = {"not_arrived": (GREY, "-"), "diverged": (BLACK, "-"), "at_no_minimum": (GREY, ":")}


def maps(
    name: str, rates: Sequence[float], momenta: Sequence[float], side: int, steps: int
) -> xr.Dataset:
    """Return the end points on one surface; rates are in units of the smallest limit."""
    of_limit = np.array(rates)
    basins = basins_of_attraction(
        name, learning_rate_limits(name).min() * of_limit, momentum=momenta, side=side,
        num_steps=steps,
    )  # fmt: skip
    return basins.assign_coords(of_limit=("learning_rate", of_limit))


def beyond(basins: xr.Dataset) -> np.ndarray:
    """Return whether rates exceed stability limits, [rates, momenta, minima]."""
    return basins.learning_rate.values[:, None, None] > basins.limit.values


def numbers(basins: xr.Dataset) -> dict:
    """Return the numbers of one surface."""
    share = basins.share.transpose("learning_rate", "momentum", "minimum").values
    end, of_limit = basins.end.values, basins.of_limit.values
    elsewhere, by_rate, by_momentum = np.mean(end != end[0, 0], axis=(2, 3)), {}, {}
    for fraction in (0.5, 0.9):
        at = int(np.argmin(np.abs(of_limit - fraction)))
        by_rate[f"{fraction:g}"] = {
            "elsewhere": elsewhere[at, 0],
            "diverged": float(basins.share_diverged[at, 0]),
        }
    for at, momentum in enumerate(basins.momentum.values):
        most = np.max(of_limit, where=share[:, at].sum(axis=-1) > 0.5, initial=0.0)
        by_momentum[f"{momentum:g}"] = {
            "elsewhere": elsewhere[0, at],
            "half_arrives_up_to": float(most),
        }
    return {
        "minima": basins.sizes["minimum"],
        "limit_least": float(basins.limit[0].min()),
        "limit_most": float(basins.limit[0].max()),
        "held_beyond_limit_most": float(np.max(share, where=beyond(basins), initial=0.0)),
        "rate": by_rate,
        "momentum": by_momentum,
    }


def shares_by_rate(basins: xr.Dataset) -> Figure:
    """Draw the share of all starts that lead to each minimum, by learning rate and momentum."""
    learning_rate = basins.learning_rate.values
    names, colors, share, limit = lines(basins)
    figure = Figure(figsize=(5.2 * len(share) + 0.6, 5.2))
    panels = figure.subplots(1, len(share), squeeze=False, sharey=True)[0]
    for at, (axes, momentum) in enumerate(zip(panels, basins.momentum.values, strict=True)):
        for number, label in enumerate(names):
            color = minimum_color(colors[number])
            axes.plot(learning_rate, share[at, :, number], "o-", color=color, label=label, ms=4)
            axes.axvline(limit[at, number], color=color, linestyle="--", linewidth=1.5)
        for outcome, (color, dash) in LINE_STYLES.items():
            values = basins[f"share_{outcome}"].values[:, at]
            if np.any(values > 0):
                label = outcome.replace("_", " ")
                axes.plot(learning_rate, values, dash, color=color, label=label)
        axes.set(xscale="log", ylim=(-0.02, 1.02))
        axes.set_xlim(learning_rate[0] / 1.05, learning_rate[-1] * 1.05)
        title = f"momentum {momentum:g}" if momentum else "no momentum"
        axes.set(xlabel="learning rate", title=title)
    panels[0].set_ylabel("share of starts")
    handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
    limit_line = Line2D([], [], color=GREY, linestyle="--", linewidth=1.5, label="limit")
    figure.legend(handles=[*handles.values(), limit_line], loc="outside lower center", ncols=5)
    figure.suptitle(basins.attrs["formula"])
    return figure


def lines(basins: xr.Dataset) -> tuple[list[str], list[int], np.ndarray, np.ndarray]:
    """Return names, first indices, shares and limits of groups of equivalent minima.

    Minima with equal cost and equal stability limit count as equivalent. If there are more than
    five groups, all after the third are joined into one.
    """
    share = basins.share.transpose("momentum", "learning_rate", "minimum").values
    limit = basins.limit.values
    rounded = np.stack([basins.minimum_cost.values, limit[0]]).round(6)
    _, first, kind = np.unique(rounded, axis=1, return_index=True, return_inverse=True)
    groups = sorted((int(at), np.flatnonzero(kind == k)) for k, at in enumerate(first))
    if len(groups) > 5:
        rest = np.concatenate([members for _, members in groups[3:]])
        groups = [*groups[:3], (groups[3][0], rest)]
    names = []
    for at, members in groups:
        x, y = basins.position.values[at]
        alone = len(members) == 1
        names.append(f"({x:.3g}, {y:.3g})" if alone else f"{len(members)} like ({x:.3g}, {y:.3g})")
    if len(basins.minimum) > 12:
        names[-1] = f"the {len(groups[-1][1])} other minima"
    shares = np.stack([share[..., members].sum(axis=-1) for _, members in groups], axis=-1)
    limits = np.stack([limit[:, members].max(axis=-1) for _, members in groups], axis=-1)
    return names, [at for at, _ in groups], shares, limits


def plot(surfaces: Mapping[str, xr.Dataset], drawn: Sequence[int]) -> dict:
    """Draw maps at the rates with some indices, and shares against the rate, by surface."""
    figures = {}
    for name, basins in surfaces.items():
        figures[f"maps_{name}"] = basin_maps(
            basins,
            settings=[(rate, at) for at in range(basins.sizes["momentum"]) for rate in drawn],
            columns=len(drawn),
            title=basins.attrs["formula"] + ": minimum to which each start leads",
        )
        figures[f"shares_{name}"] = shares_by_rate(basins)
    return figures
