"""Contours, critical points, paths and basins of attraction for costs of two parameters.

A minimum has the same color in all figures of a function. Both axes have the same scale, so that
the negative gradient is perpendicular to the contours.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gdjax.plots.axes import figure_of, styled_axes
from gdjax.plots.style import BLACK, CYCLE, GREY, SEQUENTIAL, Figure, style

LEVELS = 18
MINIMUM_COLORS = CYCLE[:-1]  #: colors of minima; black is reserved for divergence
GOLDEN_RATIO = (5**0.5 - 1) / 2  # successive multiples of it are far from each other, modulo 1
MANY = 12  # number of minima above which only minima are marked, by small white dots


class Surface(NamedTuple):
    """Cost of two parameters on a grid, and its critical points.

    Args:
        title: panel title, such as the formula.
        x: values of the first parameter.
        y: values of the second parameter.
        cost: cost at each grid point.
        minima: positions of the minima; their order determines their colors.
        saddles: positions of the saddles.
        maxima: positions of the maxima.
    """

    title: str
    x: Float[np.ndarray, " columns"]
    y: Float[np.ndarray, " rows"]
    cost: Float[np.ndarray, "rows columns"]
    minima: Float[np.ndarray, "minima 2"]
    saddles: Float[np.ndarray, "saddles 2"]
    maxima: Float[np.ndarray, "maxima 2"]


def contours(surface: Surface, *, color: str = GREY, ax: Axes | None = None) -> Axes:
    """Draw contours at equal steps of the cube root of the cost above its minimum."""
    with styled_axes(ax, (9, height(surface, 8.3) + 0.8)) as axes:
        low = np.min(surface.cost)
        levels = low + (np.max(surface.cost) - low) * np.linspace(0, 1, LEVELS + 1)[1:-1] ** 3
        axes.contour(
            surface.x, surface.y, surface.cost, levels, colors=color, linewidths=0.8,
            linestyles="solid",
        )  # fmt: skip
        axes.set_aspect("equal")
        axes.set_xlim(surface.x[0], surface.x[-1])
        axes.set_ylim(surface.y[0], surface.y[-1])
        axes.set(title=surface.title, xlabel="parameter x", ylabel="parameter y")
    return axes


def critical_points(surface: Surface, *, ax: Axes | None = None) -> Axes:
    """Draw minima as colored stars, saddles as crosses and maxima as triangles."""
    with styled_axes(ax, (9, height(surface, 8.3) + 0.8)) as axes:
        colors = [minimum_color(number) for number in range(len(surface.minima))]
        _mark_critical_points(axes, surface, colors, sizes=(19, 10))
    return axes


def _mark_critical_points(axes, surface, colors, *, sizes):
    outline: Any = {"markeredgecolor": BLACK, "zorder": 5}
    for point, color in zip(surface.minima, colors, strict=False):
        axes.plot(*point, "*", color=color, markersize=sizes[0], **outline)
    for points, marker in ((surface.saddles, "X"), (surface.maxima, "^")):
        coordinates = np.reshape(points, (-1, 2)).T
        axes.plot(*coordinates, marker, color="white", markersize=sizes[1], **outline)


def paths(
    surface: Surface,
    positions: Float[np.ndarray, "starts steps 2"],
    ends: Int[np.ndarray, " starts"],
    *,
    field_at: Float[np.ndarray, "arrows 2"],
    field: Float[np.ndarray, "arrows 2"],
    ax: Axes | None = None,
) -> Axes:
    """Draw contours, the direction of the negative gradient, and descent paths.

    Args:
        surface: the cost.
        positions: parameters for each start at each step.
        ends: number of the minimum in which each start ends; negative if there is none.
        field_at: positions of the arrows.
        field: negative gradient at these positions; only its direction is drawn.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> x, minimum = np.linspace(-1, 1, 5), np.zeros((1, 2))
        >>> cost = x**2 + x[:, None] ** 2
        >>> bowl = Surface("a bowl", x, x, cost, minimum, minimum[:0], minimum[:0])
        >>> walk = np.array([[[0.8, 0.4], [0.4, 0.2], [0.2, 0.1]]])
        >>> arrow = {"field_at": walk[0, :1], "field": -2 * walk[0, :1]}
        >>> paths(bowl, walk, np.array([0]), **arrow).get_title("left")
        'a bowl'
    """
    with styled_axes(ax, (9, height(surface, 8.3) + 1.5)) as axes:
        contours(surface, ax=axes)
        length = np.linalg.norm(field, axis=1, keepdims=True)
        unit = field / np.where(length > 0, length, 1)
        axes.quiver(*field_at.T, *unit.T, color=GREY, pivot="mid", scale=38, width=0.0028)
        for path, end in zip(positions, ends.tolist(), strict=True):
            color = minimum_color(end)
            axes.plot(path[:, 0], path[:, 1], color=color, linewidth=2.2, zorder=3)
            axes.plot(*path[0], "o", color=color, markeredgecolor=BLACK, markersize=7, zorder=4)
        critical_points(surface, ax=axes)
        start = Line2D(
            [], [], marker="o", label="start and its path", color=GREY, markeredgecolor=BLACK,
            markersize=7,
        )  # fmt: skip
        arrow = Line2D(
            [], [], marker=r"$\rightarrow$", linestyle="none", color=GREY, markersize=17,
            label="direction of -grad",
        )  # fmt: skip
        handles = [start, arrow, *critical_point_handles()]
        figure_of(axes).legend(handles=handles, loc="outside lower center", ncols=5)
    return axes


def height(surface: Surface, width: int | float) -> float:
    """Return the height of a panel of given width if both axes have the same scale.

    Examples:
        >>> none, wide = np.zeros((0, 2)), np.linspace(0, 4, 5)
        >>> float(height(Surface("", wide, wide[:3], np.zeros((3, 5)), none, none, none), 8))
        4.0
    """
    return width * np.ptp(surface.y) / np.ptp(surface.x)


def minimum_color(number: int) -> str:
    """Return the color of a minimum; black for a negative number.

    Examples:
        >>> minimum_color(0) == minimum_color(len(MINIMUM_COLORS)), minimum_color(-1) == BLACK
        (True, True)
    """
    return MINIMUM_COLORS[number % len(MINIMUM_COLORS)] if number >= 0 else BLACK


def critical_point_handles() -> list[Line2D]:
    """Return legend entries for minima, saddles and maxima."""
    return [
        Line2D(
            [], [], marker=marker, markersize=size, label=label, linestyle="none", color="white",
            markeredgecolor=BLACK,
        )
        for marker, size, label in (("*", 17, "minimum"), ("X", 10, "saddle"), ("^", 10, "maximum"))
    ]  # fmt: skip


def basin_image(
    end: Int[np.ndarray, "rows columns"],
    palette: Float[np.ndarray, "minima rgb"],
    *,
    not_arrived: int,
    diverged: int,
    darkness: Float[np.ndarray, "rows columns"] | float = 0.0,
) -> Float[np.ndarray, "rows columns rgb"]:
    """Return an image in lightened colors of the minima, so that marks are visible.

    Args:
        end: number of the minimum in which the start of each cell ends, or a negative code.
        palette: colors of the minima.
        not_arrived: code drawn in white.
        diverged: code drawn in black; other negative codes are gray.
        darkness: darkness of each cell, in [0, 1].
    """
    light = 0.35 + 0.65 * palette[end % len(palette)]
    image = light * (1 - 0.45 * np.asarray(darkness)[..., None])
    image[end < 0] = 0.62
    image[end == not_arrived] = 1.0
    image[end == diverged] = to_rgb(BLACK)
    return image


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

    Examples:
        >>> from gdjax.minima import basins_of_attraction
        >>> basins = basins_of_attraction("himmelblau", [0.01], side=8, num_steps=50)
        >>> basin_maps(basins).axes[0].get_title("left")
        'rate 0.01'
    """
    if settings is None:
        momenta, rates = (range(dataset.sizes[name]) for name in ("momentum", "learning_rate"))
        settings = [(rate, momentum) for momentum in momenta for rate in rates]
    surface, codes = _surface(dataset), _codes(dataset)
    ends = [dataset.end.values[setting] for setting in settings]
    columns = min(columns, len(settings))
    rows = -(-len(settings) // columns)
    with style():
        width = min(3.6, 9.8 / columns) if columns > 1 else 6.6  # room for title and legend
        row_height = height(surface, width - 0.3) + 0.55
        figure = Figure(figsize=(width * columns + 0.6, rows * row_height + 1.6))
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        palette = _palette(len(surface.minima))
        for axes, end, setting in zip(panels.ravel(), ends, settings, strict=False):
            darkness = _arrival_rank(dataset.arrived_at.values[setting])
            image = basin_image(end, palette, **codes, darkness=darkness)
            axes.imshow(image, origin="lower", extent=_extent(surface), zorder=0)
            if len(surface.minima) > MANY:
                dots = {"color": "white", "markeredgecolor": BLACK, "markeredgewidth": 0.6}
                axes.plot(*surface.minima.T, ".", markersize=4, zorder=5, **dots)
            else:
                _mark_critical_points(axes, surface, palette, sizes=(17, 9))
            axes.set_aspect("equal")
            axes.set_title(_setting_name(dataset, *setting), fontsize=12)
            axes.set(xlabel="parameter x", ylabel="parameter y")
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
        saddles=dataset.other_position.values[kind == kinds.index("saddle")],
        maxima=dataset.other_position.values[kind == kinds.index("maximum")],
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


def _palette(minima: int) -> Float[np.ndarray, "minima rgb"]:
    """Return a color per minimum; those of many minima differ most for successive numbers."""
    palette = np.array([to_rgb(color) for color in MINIMUM_COLORS])
    if minima <= len(palette):
        return palette[: max(minima, 1)]
    return colormaps[SEQUENTIAL](np.arange(minima) * GOLDEN_RATIO % 1)[:, :3]


def _arrival_rank(arrived_at):
    """Return the rank of each arrival step within a map, in [0, 1]; equal steps tie."""
    from scipy.stats import rankdata

    rank, arrived = np.zeros(arrived_at.shape), arrived_at >= 0
    num_earlier = rankdata(arrived_at[arrived], "min") - 1
    rank[arrived] = num_earlier / num_earlier.max(initial=1)
    return rank


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
