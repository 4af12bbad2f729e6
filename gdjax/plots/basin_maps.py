"""Maps of basins of attraction for several learning rates.

A minimum has the same color in all maps of a function.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from gdjax.plots.style import BLACK, GREY, Figure, style
from gdjax.plots.surfaces import MINIMUM_COLORS, Surface, basin_image, critical_point_handles

MANY = 12  # number of minima above which only minima are marked, by small white dots


def basin_maps(
    dataset: Any,
    *,
    settings: Sequence[tuple[int, int]] | None = None,
    columns: int = 3,
    title: str = "",
) -> Figure:
    """Draw one map per setting: color shows the minimum, darkness the arrival step.

    Args:
        dataset: Dataset over learning_rate, momentum, y and x, from `basins_of_attraction`.
        settings: pairs of indices of learning rate and momentum, one per map; None draws all.
        columns: number of maps side by side.
        title: figure title.
    """
    if settings is None:
        momenta, rates = (range(dataset.sizes[name]) for name in ("momentum", "learning_rate"))
        settings = [(rate, momentum) for momentum in momenta for rate in rates]
    surface, codes = _surface(dataset), _codes(dataset)
    ends = [dataset.end.values[setting] for setting in settings]
    columns = min(columns, len(settings))
    rows = -(-len(settings) // columns)
    with style():
        width = 3.6 if columns > 1 else 6.6  # room for title and legend
        height = (width - 0.3) * np.ptp(surface.y) / np.ptp(surface.x)
        figure = Figure(figsize=(width * columns + 0.6, rows * (height + 0.55) + 1.6))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        palette = _palette(ends[0], len(surface.minima))
        for axes, end, setting in zip(panels.ravel(), ends, settings, strict=False):
            darkness = _arrival_rank(dataset.arrived_at.values[setting])
            image = basin_image(end, palette, **codes, darkness=darkness)
            axes.imshow(image, origin="lower", extent=_extent(surface), zorder=0)
            _mark_critical_points(axes, surface, palette)
            axes.set_aspect("equal")
            axes.set_title(_setting_name(dataset, *setting), fontsize=12)
            axes.set_xlabel("parameter x")
            axes.set_ylabel("parameter y")
            axes.label_outer()
        for axes in panels.ravel()[len(settings) :]:
            axes.set_visible(False)
        figure.legend(
            handles=_handles(surface, np.stack(ends), codes),
            loc="outside lower center",
            ncols=min(columns + 1, 3) if columns < 4 else 6,
        )
        figure.suptitle(title)
    return figure


def _surface(dataset):
    kind, kinds = dataset.other_kind.values, dataset.other_kind.attrs["flag_meanings"].split()
    return Surface(
        title=dataset.attrs["formula"],
        x=dataset.x.values,
        y=dataset.y.values,
        cost=dataset.cost.values,
        minima=dataset.position.values,
        saddles=dataset.other.values[kind == kinds.index("saddle")],
        maxima=dataset.other.values[kind == kinds.index("maximum")],
    )


def _codes(dataset):
    """Return the codes of starts that do not end at a critical point."""
    attrs = dataset.end.attrs
    codes = dict(zip(attrs["flag_meanings"].split(), attrs["flag_values"], strict=True))
    return {name: codes[name] for name in ("not_arrived", "diverged")}


def _setting_name(dataset, rate, momentum):
    value = dataset.momentum.values[momentum]
    name = f"rate {dataset.learning_rate.values[rate]:.2g}"
    return name + (f", momentum {value:g}" if value else "")


def _extent(surface):
    """Return the edges of the outermost cells; starts are the centers of the cells."""
    x, y = (np.ptp(a) / (len(a) - 1) / 2 if len(a) > 1 else 0.5 for a in (surface.x, surface.y))
    return (surface.x[0] - x, surface.x[-1] + x, surface.y[0] - y, surface.y[-1] + y)


def _palette(end: Int[np.ndarray, "rows columns"], minima: int) -> Float[np.ndarray, "minima rgb"]:
    """Return a color per minimum; if colors repeat, neighbors differ where possible."""
    palette = np.array([to_rgb(color) for color in MINIMUM_COLORS])
    if minima <= len(palette):
        return palette[: max(minima, 1)]
    neighbors: dict[int, set[int]] = {number: set() for number in range(minima)}
    for a, b in ((end[1:], end[:-1]), (end[:, 1:], end[:, :-1])):
        for one, other in np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T.tolist():
            if one != other and min(one, other) >= 0:
                neighbors[one].add(other)
                neighbors[other].add(one)
    chosen: dict[int, int] = {}
    for number, others in neighbors.items():
        taken = {chosen[other] for other in others if other in chosen}
        free = [c for c in range(len(palette)) if c not in taken]
        # The search starts at a different color for each minimum, so that all colors are used.
        free = sorted(free, key=lambda c: (c - number) % len(palette))
        chosen[number] = free[0] if free else number % len(palette)
    return palette[[chosen[number] for number in range(minima)]]


def _arrival_rank(arrived_at):
    """Return the rank of each arrival step within a map, in [0, 1]; equal steps tie."""
    steps, inverse = np.unique(arrived_at[arrived_at >= 0], return_inverse=True)
    rank = np.zeros(arrived_at.shape)
    if len(steps) > 1:
        counts = np.bincount(inverse)
        ranks = np.concatenate([[0], np.cumsum(counts)[:-1]]) / max(1, counts[:-1].sum())
        rank[arrived_at >= 0] = ranks[inverse]
    return rank


def _mark_critical_points(axes, surface, palette):
    outline = {"markeredgecolor": BLACK, "zorder": 5}
    if len(surface.minima) > MANY:
        dots = {"color": "white", "markersize": 4, "markeredgewidth": 0.6}
        axes.plot(*surface.minima.T, ".", **dots, **outline)
        return
    for point, color in zip(surface.minima, palette, strict=False):
        axes.plot(*point, "*", color=color, markersize=17, **outline)
    for points, marker in ((surface.saddles, "X"), (surface.maxima, "^")):
        axes.plot(*np.reshape(points, (-1, 2)).T, marker, color="white", markersize=9, **outline)


def _handles(surface, ends, codes):
    minimum, saddle, maximum = critical_point_handles()
    handles: list[Artist] = [minimum]
    if len(surface.minima) > MANY:
        minimum.set(marker=".", markersize=14)
    else:
        others = ((saddle, surface.saddles), (maximum, surface.maxima))
        handles += [handle for handle, points in others if len(points)]
    outcomes = (
        (ends == codes["diverged"], BLACK, "diverged"),
        (ends == codes["not_arrived"], "white", "not arrived"),
        ((ends < 0) & ~np.isin(ends, list(codes.values())), (0.62, 0.62, 0.62), "at no minimum"),
    )
    handles += [
        Patch(facecolor=color, edgecolor=GREY, label=text)
        for where, color, text in outcomes
        if where.any()
    ]
    late = "dark: later than other starts of the map"
    return [*handles, Patch(facecolor="none", edgecolor="none", label=late)]
