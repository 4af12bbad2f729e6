"""Which minimum does each start lead to, and how does this depend on learning rate and momentum?

    basin(m) = {x_0 : x_t -> m},   m is stable at rates below (2 + 2 momentum) / lambda_max(m)

    python -m experiments.basins           (about 60 s)

Expected: no descent from the three grids ends in a minimum whose stability limit is exceeded (a
start exactly at the minimum would remain there). The stability limits of all 121 minima of
Rastrigin's function lie within 2 % of 0.0051, so their basins vanish at nearly equal rates; at the
smallest rate, each basin is the cell that is bounded by the neighboring maxima, and the largest
cell has 0.96 % of the total area (1.00 % of the starts on this grid).
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from experiments.shared import command
from experiments.shared.trees import datasets, tree_of
from gdjax.minima import basins_of_attraction, learning_rate_limits
from gdjax.plots.style import BLACK, GREY, Figure
from gdjax.plots.surfaces import basin_maps, minimum_color

# Color and line style of the share of starts of each outcome that is not a minimum.
LINE_STYLES = {"not_arrived": (GREY, "-"), "diverged": (BLACK, "-"), "at_no_minimum": (GREY, ":")}


@dataclass(frozen=True)
class Config:
    """Surfaces, grids of starts, learning rates and momenta."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel", "rastrigin")  # 2-D test functions
    side: int = 100  # number of starts along each side of the grid
    steps: int = 3000  # maximum number of steps of each descent
    # learning rates in units of 2 / (largest eigenvalue at the sharpest minimum)
    rates: tuple[float, ...] = (
        *(0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.97),
        *(1.03, 1.1, 1.2, 1.35, 1.5, 1.63, 1.8, 2.1),
    )
    momenta: tuple[float, ...] = (0.0, 0.9)  # coefficients of heavy-ball momentum
    drawn: tuple[int, ...] = (0, 6, 10)  # indices of the rates for which maps are drawn


def beyond(basins: xr.Dataset) -> np.ndarray:
    """Return whether rates exceed stability limits, [rates, momenta, minima]."""
    return basins.learning_rate.values[:, None, None] > basins.limit.values


def numbers(tree: xr.DataTree) -> dict:
    """Return stability limits, shares of starts, and effects of rate and momentum."""
    return {"case": {name: surface_numbers(basins) for name, basins in datasets(tree).items()}}


def surface_numbers(basins: xr.Dataset) -> dict:
    """Return the numbers of one surface."""
    share = basins.share.transpose("learning_rate", "momentum", "minimum").values
    end, of_limit = basins.end.values, basins.of_limit.values
    elsewhere, by_rate, by_momentum = np.mean(end != end[0, 0], axis=(2, 3)), {}, {}
    for fraction in (0.5, 0.9):
        at = int(np.argmin(np.abs(of_limit - fraction)))
        by_rate[f"{fraction:g}"] = {"elsewhere": elsewhere[at, 0]}
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


def run(config: Config) -> xr.DataTree:
    """Return the maps of end points on each surface, for all rates and momenta."""
    cases, of_limit = {}, np.array(config.rates)
    for name in config.functions:
        rates = learning_rate_limits(name).min() * of_limit
        basins = basins_of_attraction(
            name, rates, momentum=config.momenta, side=config.side, num_steps=config.steps
        )
        cases[name] = basins.assign_coords(of_limit=("learning_rate", of_limit))
    return tree_of(cases, drawn=list(config.drawn))


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


def plot(tree: xr.DataTree) -> dict:
    """Draw basin maps at some rates, and shares against the rate, for each surface."""
    drawn, figures = tree.attrs["drawn"], {}
    for name, basins in datasets(tree).items():
        figures[f"maps_{name}"] = basin_maps(
            basins,
            settings=[(rate, at) for at in range(basins.sizes["momentum"]) for rate in drawn],
            columns=len(drawn),
            title=basins.attrs["formula"] + ": minimum to which each start leads",
        )
        figures[f"shares_{name}"] = shares_by_rate(basins)
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
