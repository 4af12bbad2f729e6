"""Figures of slopes by direction, and of the minimum to which each start leads."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from gdjax.plots import surfaces
from gdjax.plots.style import BLACK, BLUE, GREY, VERMILLION, Figure, style
from gdjax.plots.surfaces import MINIMUM_COLORS, Surface


def basins(
    panels: Sequence[Surface],
    maps: Sequence[Sequence[Int[np.ndarray, "rows columns"]]],
    learning_rates: Sequence[Sequence[float]],
    *,
    not_arrived: int,
    diverged: int,
) -> Figure:
    """Draw the minimum to which each start leads, by surface and learning rate.

    Args:
        panels: surfaces with their costs and critical points.
        maps: for each surface and learning rate, the index of the minimum in which the descent
            from each point of the grid ends, or a negative code.
        learning_rates: learning rates of each surface.
        not_arrived: code of starts whose descent does not converge, drawn in white.
        diverged: code of starts whose descent diverges, drawn in black; other codes are gray.
    """
    columns = len(maps[0])
    palette = np.array([to_rgb(color) for color in MINIMUM_COLORS])
    with style():
        heights = [surfaces.height(surface, 1.0) for surface in panels]
        figure = Figure(figsize=(5 * columns, 4.4 * sum(heights) + 1.0 * len(panels) + 0.8))
        grid = figure.subplots(
            len(panels), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for row, (surface, ends, rates) in enumerate(
            zip(panels, maps, learning_rates, strict=True)
        ):
            for axes, end, rate in zip(grid[row], ends, rates, strict=True):
                surfaces.contours(surface, color="#00000055", ax=axes)
                axes.imshow(
                    surfaces.basin_image(end, palette, not_arrived=not_arrived, diverged=diverged),
                    origin="lower",
                    extent=(*surface.x[[0, -1]], *surface.y[[0, -1]]),
                    interpolation="nearest",
                    zorder=0,
                )
                surfaces.critical_points(surface, ax=axes)
                axes.set_title(f"learning rate {rate:.3g}")
            grid[row, 0].set_title(f"{surface.title}\nlearning rate {rates[0]:.3g}")
            for axes in grid[row, 1:]:
                axes.set_ylabel("")
        others = [
            Patch(facecolor=color, edgecolor=GREY, label=text)
            for code, color, text in (
                (diverged, BLACK, "diverged"),
                (not_arrived, "white", "not arrived"),
            )
            if any((end == code).any() for ends in maps for end in ends)
        ]
        figure.legend(
            handles=[*surfaces.critical_point_handles(), *others],
            loc="outside lower center",
            ncols=5,
        )
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
        _draw_slopes(arrows, surface, point, angle, slopes[shown], downhill[shown])
        from_downhill = np.degrees((angle - downhill[:, None] + np.pi) % (2 * np.pi) - np.pi)
        curve.plot(
            from_downhill.ravel(),
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
        curve.set(xticks=[-180, -90, 0, 90, 180], ylim=(-1.15, 1.6))
        curve.set_xlabel("angle from the negative gradient (degrees)")
        curve.set_ylabel("slope / norm of the gradient")
        curve.set_title(f"At {len(slopes)} points: no direction is steeper")
        curve.legend(loc="upper center")
    return figure


def _draw_slopes(axes, surface, point, angle, slope, downhill):
    """Draw about 24 arrows, whose lengths are proportional to the |slopes|."""
    reach = 0.14 * min(np.ptp(surface.x), np.ptp(surface.y))
    radius = 1.25 * reach
    columns, rows = (
        np.abs(a - p) < radius for a, p in zip((surface.x, surface.y), point, strict=True)
    )
    nearby = surface.cost[np.ix_(rows, columns)]
    axes.contour(
        surface.x,
        surface.y,
        surface.cost,
        np.linspace(nearby.min(), nearby.max(), 14)[1:-1],
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
    axes.set_xlim(point[0] - radius, point[0] + radius)
    axes.set(ylim=(point[1] - radius, point[1] + radius), xlabel="parameter x")
    axes.set(ylabel="parameter y", title="At one point: arrow length = |slope|")
    axes.legend(loc="lower left", frameon=True, framealpha=0.9)
