"""Contours, critical points and paths of descents for costs of two parameters.

A minimum has the same color in all figures of a function. Both axes have the same scale, so that
the negative gradient is perpendicular to the contours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from gdjax.plots.axes import figure_of, styled_axes
from gdjax.plots.style import BLACK, CYCLE, GREY

LEVELS = 18
MINIMUM_COLORS = CYCLE[:-1]  # black is reserved for divergence


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
        axes.set_title(surface.title)
        axes.set_xlabel("parameter x")
        axes.set_ylabel("parameter y")
    return axes


def critical_points(surface: Surface, *, ax: Axes | None = None) -> Axes:
    """Draw minima as colored stars, saddles as crosses and maxima as triangles."""
    with styled_axes(ax, (9, height(surface, 8.3) + 0.8)) as axes:
        for number, point in enumerate(surface.minima):
            axes.plot(
                *point, "*", color=minimum_color(number), markersize=19, markeredgecolor=BLACK,
                zorder=5,
            )  # fmt: skip
        for points, marker in ((surface.saddles, "X"), (surface.maxima, "^")):
            axes.plot(
                *np.reshape(points, (-1, 2)).T, marker, color="white", markeredgecolor=BLACK,
                markersize=10, zorder=5,
            )  # fmt: skip
    return axes


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
    """Return the height of a panel of given width if both axes have the same scale."""
    return width * np.ptp(surface.y) / np.ptp(surface.x)


def minimum_color(number: int) -> str:
    """Return the color of a minimum; black for a negative number."""
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
