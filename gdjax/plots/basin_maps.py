"""Pictures of basins: who ends in which minimum, and how that changes with the learning rate.

A minimum has one colour in all pictures of its function, the one of its number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gdjax.plots.style import BLACK, CYCLE, GREY, Figure, style
from gdjax.plots.surfaces import Surface

PALETTE = CYCLE[:-1]  # black marks divergence
MANY = 12  # minima beyond which marks become small and colours come again


class Maps(NamedTuple):
    """Who ends where, for several settings.

    Args:
        end: for each setting, the number of the minimum in which the start of each cell ends, or a
            negative code.
        arrived_at: the step at which it arrived, -1 where it did not.
        titles: of each setting.
        diverged: the code that means "diverged".
        not_arrived: the code that means "still moving".
    """

    end: Int[np.ndarray, "settings rows columns"]
    arrived_at: Int[np.ndarray, "settings rows columns"]
    titles: Sequence[str]
    diverged: int
    not_arrived: int


def from_dataset(found: Any, drawn: Sequence[tuple[int, int]]) -> tuple[Surface, Maps]:
    """What a picture needs of a Dataset of basins.

    Args:
        found: over learning_rate, momentum, y and x, as `gdjax.minima.basins` gives it.
        drawn: positions of learning rate and momentum, one pair a map.
    """
    kind, kinds = found.other_kind.values, found.other_kind.attrs["flag_meanings"].split()
    code = dict(
        zip(found.end.attrs["flag_meanings"].split(), found.end.attrs["flag_values"], strict=True)
    )
    rate, momentum = found.learning_rate.values, found.momentum.values
    surface = Surface(
        title=found.attrs["formula"],
        x=found.x.values,
        y=found.y.values,
        cost=found.cost.values,
        minima=found.position.values,
        saddles=found.other.values[kind == kinds.index("saddle")],
        maxima=found.other.values[kind == kinds.index("maximum")],
    )
    return surface, Maps(
        end=np.stack([found.end.values[at] for at in drawn]),
        arrived_at=np.stack([found.arrived_at.values[at] for at in drawn]),
        titles=[
            f"rate {rate[r]:.2g}" + (f", momentum {momentum[m]:g}" if momentum[m] else "")
            for r, m in drawn
        ],
        diverged=code["diverged"],
        not_arrived=code["not_arrived"],
    )


def maps_of(surface: Surface, maps: Maps, *, columns: int = 3, title: str = "") -> Figure:
    """One map a setting: colour says in which minimum a start ends, darkness how late.

    Args:
        surface: the cost on the grid of starts, with its critical points.
        maps: who ends where.
        columns: maps side by side.
        title: of the whole.
    """
    columns = min(columns, len(maps.titles))
    rows = -(-len(maps.titles) // columns)
    with style():
        width = 3.6 if columns > 1 else 6.6  # room for title and legend
        height = (width - 0.3) * np.ptp(surface.y) / np.ptp(surface.x)
        figure = Figure(figsize=(width * columns + 0.6, rows * (height + 0.55) + 1.6))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        palette = _colors(maps.end, len(surface.minima))
        for axes, end, arrived_at, name in zip(
            panels.ravel(), maps.end, maps.arrived_at, maps.titles, strict=False
        ):
            axes.imshow(
                _image(end, _late(arrived_at), palette, maps),
                origin="lower",
                extent=_extent(surface),
                zorder=0,
            )
            _marks(axes, surface, palette)
            axes.set_aspect("equal")
            axes.set_title(name, fontsize=12)
            axes.set_xlabel("parameter x")
            axes.set_ylabel("parameter y")
            axes.label_outer()
        for axes in panels.ravel()[len(maps.titles) :]:
            axes.set_visible(False)
        figure.legend(
            handles=_legend(surface, maps),
            loc="outside lower center",
            ncols=min(columns + 1, 3) if columns < 4 else 6,
        )
        figure.suptitle(title)
    return figure


def _extent(surface):
    """Edges of the outermost cells: starts stand in the middle of theirs."""
    half = [np.ptp(a) / (len(a) - 1) / 2 if len(a) > 1 else 0.5 for a in (surface.x, surface.y)]
    (x, y) = half
    return (surface.x[0] - x, surface.x[-1] + x, surface.y[0] - y, surface.y[-1] + y)


def _colors(end, minima):
    """A colour a minimum; where there are many, neighbours on the first map differ."""
    palette = np.array([to_rgb(color) for color in PALETTE])
    if minima <= len(palette):
        return palette[: max(minima, 1)]
    beside: dict[int, set[int]] = {number: set() for number in range(minima)}
    first = end[0]
    for a, b in ((first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        for one, other in np.unique(np.stack([a.ravel(), b.ravel()]), axis=1).T.tolist():
            if one != other and min(one, other) >= 0:
                beside[one].add(other)
                beside[other].add(one)
    chosen: dict[int, int] = {}
    for number, neighbours in beside.items():
        taken = {chosen[other] for other in neighbours if other in chosen}
        free = [c for c in range(len(palette)) if c not in taken]
        # Spread the colours: start the search at another one for each.
        free = sorted(free, key=lambda c: (c - number) % len(palette))
        chosen[number] = free[0] if free else number % len(palette)
    return palette[[chosen[number] for number in range(minima)]]


def _late(arrived_at):
    """Rank of each arrival among those of its map, in [0, 1]; equal steps have equal ranks."""
    steps, inverse = np.unique(arrived_at[arrived_at >= 0], return_inverse=True)
    late = np.zeros(arrived_at.shape)
    if len(steps) > 1:
        counts = np.bincount(inverse)
        rank = np.concatenate([[0], np.cumsum(counts)[:-1]]) / max(1, counts[:-1].sum())
        late[arrived_at >= 0] = rank[inverse]
    return late


def _image(end, dark, palette, maps):
    light = 0.35 + 0.65 * palette[end % len(palette)]
    image = light * (1 - 0.45 * dark[..., None])
    image[end < 0] = 0.62  # at a point that is no minimum
    image[end == maps.not_arrived] = 1.0
    image[end == maps.diverged] = to_rgb(BLACK)
    return image


def _marks(axes, surface, palette):
    few = len(surface.minima) <= MANY
    for point, color in zip(surface.minima, palette, strict=False):
        axes.plot(
            *point,
            "*" if few else ".",
            color=color if few else "white",
            markersize=17 if few else 4,
            markeredgecolor=BLACK,
            markeredgewidth=1.0 if few else 0.6,
            zorder=5,
        )
    if few:
        for points, marker in ((surface.saddles, "X"), (surface.maxima, "^")):
            axes.plot(
                *np.reshape(points, (-1, 2)).T,
                marker,
                color="white",
                markeredgecolor=BLACK,
                markersize=9,
                zorder=5,
            )


def _legend(surface, maps):
    few = len(surface.minima) <= MANY
    mark: dict[str, Any] = {"linestyle": "none", "markeredgecolor": BLACK, "color": "white"}
    found: list[Artist] = [
        Line2D([], [], marker="*" if few else ".", markersize=14, label="minimum", **mark)
    ]
    if few and len(surface.saddles):
        found.append(Line2D([], [], marker="X", markersize=9, label="saddle", **mark))
    if few and len(surface.maxima):
        found.append(Line2D([], [], marker="^", markersize=9, label="maximum", **mark))
    others = (
        (maps.end == maps.diverged, BLACK, "diverged"),
        (maps.end == maps.not_arrived, "white", "still moving"),
        (
            (maps.end < 0) & (maps.end != maps.diverged) & (maps.end != maps.not_arrived),
            (0.62, 0.62, 0.62),
            "at no minimum",
        ),
    )
    found += [
        Patch(facecolor=color, edgecolor=GREY, label=text)
        for where, color, text in others
        if where.any()
    ]
    return [
        *found,
        Patch(facecolor="none", edgecolor="none", label="dark: later than others of its map"),
    ]


def shares_by_rate(
    learning_rate: Float[np.ndarray, " rates"],
    share: Sequence[Float[np.ndarray, "rates minima"]],
    limit: Sequence[Float[np.ndarray, " minima"]],
    names: Sequence[str],
    *,
    colors: Sequence[int],
    others: Sequence[Mapping[str, Float[np.ndarray, " rates"]]],
    titles: Sequence[str],
    title: str = "",
) -> Figure:
    """How much of all starts each minimum takes, against the learning rate, and where it ends.

    Args:
        learning_rate: ascending.
        share: of each minimum, one array a panel.
        limit: the rate at which each minimum stops being stable, for each panel.
        names: of the minima.
        colors: numbers of the minima whose colours they have.
        others: shares of what ended in no minimum, by name, for each panel.
        titles: of the panels.
        title: of the whole.
    """
    with style():
        figure = Figure(figsize=(5.2 * len(share) + 0.6, 5.2))
        panels = figure.subplots(1, len(share), squeeze=False, sharey=True)[0]
        dashes = {
            "diverged": (BLACK, "-"),
            "still moving": (GREY, "-"),
            "at no minimum": (GREY, ":"),
        }
        for axes, shares, ends, rest, name in zip(
            panels, share, limit, others, titles, strict=True
        ):
            for number, label in enumerate(names):
                color = PALETTE[colors[number] % len(PALETTE)]
                axes.plot(learning_rate, shares[:, number], "o-", color=color, label=label, ms=4)
                axes.axvline(ends[number], color=color, linestyle="--", linewidth=1.5)
            for text, values in rest.items():
                color, dash = dashes.get(text, (GREY, "-."))
                if np.any(values > 0):
                    axes.plot(learning_rate, values, dash, color=color, label=text)
            axes.set_xscale("log")
            axes.set_ylim(-0.02, 1.02)
            axes.set_xlim(learning_rate[0] / 1.05, learning_rate[-1] * 1.05)
            axes.set_xlabel("learning rate")
            axes.set_title(name)
        panels[0].set_ylabel("share of starts")
        handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
        limit_line = Line2D(
            [], [], color=GREY, linestyle="--", linewidth=1.5, label="not stable beyond"
        )
        figure.legend(handles=[*handles.values(), limit_line], loc="outside lower center", ncols=5)
        figure.suptitle(title)
    return figure
