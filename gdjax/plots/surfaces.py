"""Pictures of costs of two parameters: contours, the way down, and who ends where.

Minima have colours, the same ones in paths and maps. Both axes have one scale, so that the negative
gradient stands at a right angle to the contours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, Figure, style

LEVELS = 18


class Surface(NamedTuple):
    """A cost of two parameters on a grid, and its critical points.

    Args:
        title: of the picture, its formula.
        x: first parameter's values.
        y: second parameter's values.
        cost: the cost at each pair.
        minima: where they are; their order decides their colours.
        saddles: where they are.
        maxima: where they are.
    """

    title: str
    x: Float[np.ndarray, " columns"]
    y: Float[np.ndarray, " rows"]
    cost: Float[np.ndarray, "rows columns"]
    minima: Float[np.ndarray, "minima 2"]
    saddles: Float[np.ndarray, "saddles 2"]
    maxima: Float[np.ndarray, "maxima 2"]


def contours(axes: Axes, surface: Surface, *, color: str = GREY) -> None:
    """Lines of equal cost, dense where it is low: equally spaced in the root of its height."""
    low = np.min(surface.cost)
    levels = low + (np.max(surface.cost) - low) * np.linspace(0, 1, LEVELS + 1)[1:-1] ** 3
    axes.contour(
        surface.x, surface.y, surface.cost, levels, colors=color, linewidths=0.8, linestyles="solid"
    )
    axes.set_aspect("equal")
    axes.set_xlim(surface.x[0], surface.x[-1])
    axes.set_ylim(surface.y[0], surface.y[-1])
    axes.set_title(surface.title)
    axes.set_xlabel("parameter x")
    axes.set_ylabel("parameter y")


def critical_points(axes: Axes, surface: Surface) -> None:
    """Minima as stars in their colours, saddles as crosses, maxima as triangles."""
    for number, point in enumerate(surface.minima):
        axes.plot(*point, "*", color=_color(number), markersize=19, markeredgecolor=BLACK, zorder=5)
    for points, marker, size in ((surface.saddles, "X", 10), (surface.maxima, "^", 10)):
        axes.plot(
            points[:, 0],
            points[:, 1],
            marker,
            color="white",
            markeredgecolor=BLACK,
            markersize=size,
            zorder=5,
        )


def _color(number):
    return CYCLE[int(number) % len(CYCLE)] if number >= 0 else BLACK


def _kinds():
    """Legend entries of critical points."""
    line = {"linestyle": "none", "markeredgecolor": BLACK, "color": "white"}
    return [
        _proxy(marker="*", markersize=17, label="minimum", **line),
        _proxy(marker="X", markersize=10, label="saddle", **line),
        _proxy(marker="^", markersize=10, label="maximum", **line),
    ]


def _proxy(**settings):
    from matplotlib.lines import Line2D

    return Line2D([], [], **settings)


def paths(
    surface: Surface,
    positions: Float[np.ndarray, "starts steps 2"],
    ends: Int[np.ndarray, " starts"],
    *,
    field_at: Float[np.ndarray, "arrows 2"],
    field: Float[np.ndarray, "arrows 2"],
) -> Figure:
    """Contours, the direction of the negative gradient, and paths from many starts.

    Args:
        surface: what is descended.
        positions: of each start at each step.
        ends: number of the minimum in which each start ends, negative if in none.
        field_at: where arrows are drawn.
        field: the negative gradient there; only its direction is drawn.
    """
    with style():
        figure = Figure(figsize=(9, _height(surface, 8.3) + 1.5))
        axes = figure.subplots()
        contours(axes, surface)
        length = np.linalg.norm(field, axis=1, keepdims=True)
        unit = field / np.where(length > 0, length, 1)
        axes.quiver(*field_at.T, *unit.T, color=GREY, pivot="mid", scale=38, width=0.0028)
        for path, end in zip(positions, ends, strict=True):
            color = _color(end)
            axes.plot(path[:, 0], path[:, 1], color=color, linewidth=2.2, zorder=3)
            axes.plot(*path[0], "o", color=color, markeredgecolor=BLACK, markersize=7, zorder=4)
        critical_points(axes, surface)
        start = _proxy(
            marker="o", color=GREY, markeredgecolor=BLACK, markersize=7, label="start and its path"
        )
        arrow = _proxy(
            marker=r"$\rightarrow$",
            linestyle="none",
            color=GREY,
            markersize=17,
            label="direction of -grad",
        )
        figure.legend(handles=[start, arrow, *_kinds()], loc="outside lower center", ncols=5)
    return figure


def _height(surface, width):
    return width * np.ptp(surface.y) / np.ptp(surface.x)


def basins(
    surfaces: Sequence[Surface],
    maps: Sequence[Sequence[Int[np.ndarray, "rows columns"]]],
    learning_rates: Sequence[Sequence[float]],
    *,
    not_arrived: int,
    diverged: int,
) -> Figure:
    """Which start ends in which minimum: a row for each surface, a column for each learning rate.

    Args:
        surfaces: what is descended.
        maps: for each surface and learning rate, the number of the minimum in which the descent
            from each point of the grid ends.
        learning_rates: for each surface.
        not_arrived: the number that means "in none yet".
        diverged: the number that means "diverged".
    """
    columns = len(maps[0])
    with style():
        heights = [_height(surface, 1) for surface in surfaces]
        figure = Figure(figsize=(5 * columns, 4.4 * sum(heights) + 1.0 * len(surfaces) + 0.8))
        panels = figure.subplots(
            len(surfaces), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for row, (surface, ends, rates) in enumerate(
            zip(surfaces, maps, learning_rates, strict=True)
        ):
            for axes, end, rate in zip(panels[row], ends, rates, strict=True):
                contours(axes, surface, color="#00000055")
                axes.imshow(
                    _image(end, diverged),
                    origin="lower",
                    extent=(*surface.x[[0, -1]], *surface.y[[0, -1]]),
                    interpolation="nearest",
                    zorder=0,
                )
                critical_points(axes, surface)
                axes.set_title(f"learning rate {rate:.3g}")
            panels[row, 0].set_title(f"{surface.title}\nlearning rate {rates[0]:.3g}")
            for axes in panels[row, 1:]:
                axes.set_ylabel("")
        others = [
            Patch(color=color, label=text)
            for number, color, text in (
                (diverged, BLACK, "diverged"),
                (not_arrived, "white", "not arrived"),
            )
            if any((end == number).any() for ends in maps for end in ends)
        ]
        figure.legend(handles=[*_kinds(), *others], loc="outside lower center", ncols=5)
        figure.suptitle("Where a start ends: colour of the start = colour of its minimum")
    return figure


def _image(end, diverged):
    """Colours of minima, lightened so that marks stand out; black diverged, white nowhere yet."""
    palette = np.array([to_rgb(color) for color in CYCLE[:-1]])  # black is taken
    image = 0.35 + 0.65 * palette[end % len(palette)]
    image[end < 0] = 1.0  # at no minimum, whatever the reason
    image[end == diverged] = to_rgb(BLACK)
    return image


def directions(
    surface: Surface,
    point: Float[np.ndarray, "2"],
    shown: int,
    angle: Float[np.ndarray, " directions"],
    *,
    downhill: Float[np.ndarray, " points"],
    slopes: Float[np.ndarray, "points directions"],
) -> Figure:
    """How steep the cost is in every direction: at one point as a rose, at many as one curve.

    Args:
        surface: around the one point.
        point: where the rose stands.
        shown: which of the many points that one is.
        angle: of each direction, in radians.
        downhill: direction of the negative gradient at each of many points, in radians.
        slopes: measured there along each direction, over the length of the gradient.
    """
    with style():
        figure = Figure(figsize=(11, 5.4))
        rose, curve = figure.subplots(1, 2)
        _rose(rose, surface, point, angle, slopes[shown], downhill[shown])
        away = np.degrees((angle - downhill[:, None] + np.pi) % (2 * np.pi) - np.pi)
        curve.plot(
            away.ravel(),
            slopes.ravel(),
            ".",
            color=BLUE,
            markersize=4,
            rasterized=True,
            label=f"measured: {slopes.size:,} slopes",
        )
        theory = np.linspace(-180, 180, 361)
        curve.plot(theory, -np.cos(np.radians(theory)), color=BLACK, linewidth=1.2, label="-cos")
        curve.plot(
            0,
            -1,
            "*",
            color=VERMILLION,
            markeredgecolor=BLACK,
            markersize=19,
            linestyle="none",
            label="negative gradient",
        )
        curve.set_xticks([-180, -90, 0, 90, 180])
        curve.set_ylim(-1.15, 1.6)
        curve.set_xlabel("angle from the negative gradient (degrees)")
        curve.set_ylabel("slope / length of gradient")
        curve.set_title(f"At {len(slopes)} points: none is steeper")
        curve.legend(loc="upper center")
    return figure


def _rose(axes, surface, point, angle, slope, downhill):
    """Arrows as long as the cost is steep along them, by colour down or up."""
    reach = 0.14 * min(np.ptp(surface.x), np.ptp(surface.y))
    near = 1.25 * reach
    columns, rows = (
        np.abs(a - p) < near for a, p in zip((surface.x, surface.y), point, strict=True)
    )
    seen = surface.cost[np.ix_(rows, columns)]
    axes.contour(
        surface.x,
        surface.y,
        surface.cost,
        np.linspace(seen.min(), seen.max(), 14)[1:-1],
        colors=GREY,
        linewidths=0.8,
    )
    axes.set_aspect("equal")
    few = slice(None, None, max(1, len(angle) // 24))
    length = reach * np.abs(slope[few]) / np.max(np.abs(slope))
    for color, side, text in (
        (BLUE, slope[few] < 0, "cost falls"),
        (VERMILLION, slope[few] >= 0, "cost rises"),
    ):
        axes.quiver(
            *np.repeat(point[:, None], side.sum(), 1),
            (length * np.cos(angle[few]))[side],
            (length * np.sin(angle[few]))[side],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.007,
            color=color,
            label=text,
            zorder=3,
        )
    axes.annotate(
        "",
        point + reach * np.array([np.cos(downhill), np.sin(downhill)]),
        point,
        arrowprops={"arrowstyle": "-|>", "color": BLACK, "linewidth": 2.5, "shrinkA": 0},
        zorder=4,
    )
    axes.plot([], [], color=BLACK, linewidth=2.5, label="negative gradient")
    axes.set_xlim(point[0] - near, point[0] + near)
    axes.set_ylim(point[1] - near, point[1] + near)
    axes.set_xlabel("parameter x")
    axes.set_ylabel("parameter y")
    axes.set_title("At one point: arrow length = steepness")
    axes.legend(loc="lower left", frameon=True, framealpha=0.9)
