"""Figures of slopes by direction, and of the minimum to which each start leads."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from gdjax.minima.basins import NoMinimum
from gdjax.plots import surfaces
from gdjax.plots.style import BLACK, BLUE, GREY, VERMILLION, Figure, style
from gdjax.plots.surfaces import MINIMUM_COLORS, Surface


def basins(
    panels: Sequence[Surface],
    maps: Sequence[Int[np.ndarray, "rates rows columns"]],
    learning_rates: Sequence[Float[np.ndarray, " rates"]],
) -> Figure:
    """Draw the minimum to which each start leads, by surface and learning rate.

    Args:
        panels: surfaces with their costs and critical points.
        maps: for each surface and rate, the index of the minimum in which the descent from each
            point of the grid ends, or a code of `NoMinimum`.
        learning_rates: learning rates of each surface.
    """
    columns = len(maps[0])
    codes = {"not_arrived": NoMinimum.NOT_ARRIVED, "diverged": NoMinimum.DIVERGED}
    palette = np.array([to_rgb(color) for color in MINIMUM_COLORS])
    with style():
        heights = [surfaces.height(surface, 1.0) for surface in panels]
        figure = Figure(figsize=(5 * columns, 4.4 * sum(heights) + 1.0 * len(panels) + 0.8))
        ratios = {"height_ratios": heights}
        grid = figure.subplots(len(panels), columns, squeeze=False, gridspec_kw=ratios)
        for row, surface, ends, rates in zip(grid, panels, maps, learning_rates, strict=True):
            for axes, end, rate in zip(row, ends, rates, strict=True):
                surfaces.contours(surface, color="#00000055", ax=axes)
                axes.imshow(
                    surfaces.basin_image(end, palette, **codes),
                    origin="lower",
                    extent=(*surface.x[[0, -1]], *surface.y[[0, -1]]),
                    interpolation="nearest",
                    zorder=0,
                )
                surfaces.critical_points(surface, ax=axes)
                axes.set_title(f"learning rate {rate:.3g}")
            row[0].set_title(f"{surface.title}\nlearning rate {rates[0]:.3g}")
            for axes in row[1:]:
                axes.set_ylabel("")
        others = [
            Patch(facecolor=color, edgecolor=GREY, label=name.replace("_", " "))
            for name, color in (("diverged", BLACK), ("not_arrived", "white"))
            if any((ends == codes[name]).any() for ends in maps)
        ]
        handles = [*surfaces.critical_point_handles(), *others]
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        figure.suptitle("Starts, colored by the minimum to which they lead")
    return figure


def directions(
    surface: Surface,
    point: Float[np.ndarray, "2"],
    shown: int,
    angle: Float[np.ndarray, " directions"],
    *,
    downhill: Float[np.ndarray, " points"],
    slopes: Float[np.ndarray, "points directions"],
) -> Figure:
    """Draw slopes along some directions at one point, and all slopes at all points.

    Args:
        surface: surface on which the arrows are drawn.
        point: point at which the arrows start.
        shown: index of this point among all points.
        angle: angle of each direction, in radians.
        downhill: direction of the negative gradient at each point, in radians.
        slopes: slope along each direction at each point, divided by the gradient's norm.
    """
    with style():
        figure = Figure(figsize=(11, 5.4))
        arrows, curve = figure.subplots(1, 2)
        draw_slopes(arrows, surface, point, angle, slopes[shown], downhill[shown])
        from_downhill = np.degrees((angle - downhill[:, None] + np.pi) % (2 * np.pi) - np.pi)
        look: dict = {"color": BLUE, "markersize": 4, "rasterized": True}
        label = f"measured: {slopes.size:,} slopes"
        curve.plot(from_downhill.ravel(), slopes.ravel(), ".", label=label, **look)
        theory = np.linspace(-180, 180, 361)
        curve.plot(theory, -np.cos(np.radians(theory)), color=BLACK, linewidth=1.2, label="-cos")
        look: dict = {"color": VERMILLION, "markeredgecolor": BLACK, "markersize": 19}
        curve.plot(0, -1, "*", linestyle="none", label="negative gradient", **look)
        curve.set(xticks=[-180, -90, 0, 90, 180], ylim=(-1.15, 1.6))
        curve.set_xlabel("angle from the negative gradient (degrees)")
        curve.set_ylabel("slope / norm of the gradient")
        curve.set_title(f"At {len(slopes)} points: no direction is steeper")
        curve.legend(loc="upper center")
    return figure


def draw_slopes(axes, surface, point, angle, slope, downhill):
    """Draw about 24 arrows, whose lengths are proportional to the |slopes|."""
    x, y = surface.x, surface.y
    reach = 0.14 * min(np.ptp(x), np.ptp(y))
    radius = 1.25 * reach
    nearby = surface.cost[np.ix_(np.abs(y - point[1]) < radius, np.abs(x - point[0]) < radius)]
    levels = np.linspace(nearby.min(), nearby.max(), 14)[1:-1]
    axes.contour(x, y, surface.cost, levels, colors=GREY, linewidths=0.8)
    axes.set_aspect("equal")
    few = slice(None, None, max(1, len(angle) // 24))
    length = reach * np.abs(slope[few]) / np.max(np.abs(slope))
    arrows = length * np.array([np.cos(angle[few]), np.sin(angle[few])])
    look: dict = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.007, "zorder": 3}
    for color, side, text in (
        (BLUE, slope[few] < 0, "cost falls"),
        (VERMILLION, slope[few] >= 0, "cost rises"),
    ):
        tails = np.repeat(point[:, None], side.sum(), 1)
        axes.quiver(*tails, *arrows[:, side], color=color, label=text, **look)
    tip = point + reach * np.array([np.cos(downhill), np.sin(downhill)])
    look: dict = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 2.5, "shrinkA": 0}
    axes.annotate("", tip, point, arrowprops=look, zorder=4)
    axes.plot([], [], color=BLACK, linewidth=2.5, label="negative gradient")
    axes.set(xlim=point[0] + radius * np.array([-1, 1]), xlabel="parameter x")
    axes.set(ylim=point[1] + radius * np.array([-1, 1]), ylabel="parameter y")
    axes.set_title("At one point: arrow length = |slope|")
    axes.legend(loc="lower left", frameon=True, framealpha=0.9)
