"""Pictures of a cost on lines and planes, with a descent on top and what the plane hides of it.

All take Datasets as `gdjax.landscape` makes them (`line`, `plane`, `trajectory_plane`), whether new
or read from a store, and compute nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib import figure as figures
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, LogNorm, Normalize, PowerNorm

from gdjax.plots.style import BLACK, CYCLE, GREY, VERMILLION, Figure, style

COST = "cost, mean over samples"
GROUND = "GnBu_r"  # dark in the valleys, pale on the hills
OFF = "YlOrRd"  # from near the plane to far off it
NOWHERE = "#BBBBBB"  # where the cost is no number
BANDS = 24  # colours
LEVELS = 12  # contours are drawn between so many steps of height
FLAT = 0.01  # a plane on which costs differ by less, relative to the largest, has no contours
# Where a logarithmic axis of a surface has numbers.
ROUND = tuple(m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5))
LOG_FROM = 8  # largest cost over the smallest, from which colours are logarithmic


def scale(datasets: Sequence[Any]) -> Normalize:
    """One scale of colours for several planes: logarithmic where costs differ much."""
    cost = np.concatenate([seen.cost.values.ravel() for seen in datasets])
    cost = cost[np.isfinite(cost)]
    low, high = (cost.min(), cost.max()) if cost.size else (0.0, 1.0)
    if not low < high:
        # Colours must span something, or all that is equal looks like a hill.
        return Normalize(low - 0.5 * abs(low) - 0.5, low + 0.5 * abs(low) + 0.5)
    return LogNorm(low, high) if low > 0 and high > LOG_FROM * low else PowerNorm(0.5, low, high)


def levels(cost: Float[np.ndarray, "..."], norm: Normalize) -> Float[np.ndarray, " levels"]:
    """Costs at which contours are drawn: equal steps of colour; none on a plane that is flat."""
    finite = cost[np.isfinite(cost)]
    if not finite.size or np.ptp(finite) <= FLAT * np.abs(finite).max():
        return np.zeros(0)
    low, high = (float(norm(value)) for value in (finite.min(), finite.max()))
    return np.asarray(norm.inverse(np.linspace(low, high, LEVELS + 1)[1:-1]))


def label(coordinate: Any) -> str:
    """What an axis of a slice is, and what 1 on it means."""
    name, length = coordinate.attrs["long_name"], coordinate.attrs["length"]
    return name if abs(length - 1) < 1e-3 else f"{name}\n(1 is a distance of {length:.3g})"


def ground(axes: Axes, seen: Any, norm: Normalize) -> Any:
    """A plane as bands of colour with contour lines; grey where the cost is no number."""
    a, b, cost = seen.a.values, seen.b.values, np.ma.masked_invalid(seen.cost.values.T)
    axes.set_facecolor(NOWHERE)
    if min(cost.shape) > 1:
        bands = np.asarray(norm.inverse(np.linspace(0, 1, BANDS + 1)))
        image = axes.contourf(a, b, cost, bands, norm=norm, cmap=GROUND, extend="both")
        lines = levels(seen.cost.values, norm)
        if len(lines):
            axes.contour(a, b, cost, lines, colors=BLACK, linewidths=0.6, alpha=0.45)
    else:
        image = axes.pcolormesh(a, b, cost, norm=norm, cmap=GROUND)
    ratio = seen.b.attrs["length"] / seen.a.attrs["length"]
    axes.set_aspect(ratio if np.isfinite(ratio) and ratio > 0 else "auto")
    if min(cost.shape) > 1:
        axes.set_xlim(seen.a.values.min(), seen.a.values.max())
        axes.set_ylim(seen.b.values.min(), seen.b.values.max())
    axes.set_xlabel(label(seen.a))
    axes.set_ylabel(label(seen.b))
    return image


def track(axes: Axes, seen: Any, farthest: float) -> Any:
    """A descent on its plane, points coloured by their distance off it; a star where it ends."""
    a, b, off = (seen[name].values for name in ("path_a", "path_b", "path_off"))
    axes.plot(a, b, color="white", linewidth=3, zorder=3)
    axes.plot(a, b, color=BLACK, linewidth=1, zorder=3)
    points = axes.scatter(
        a, b, c=off, cmap=OFF, norm=Normalize(0, farthest or 1), s=36, edgecolors=BLACK,
        linewidths=0.5, zorder=4,
    )  # fmt: skip
    axes.plot(a[0], b[0], "o", color="white", markeredgecolor=BLACK, markersize=11, zorder=5)
    axes.plot(a[-1], b[-1], "*", color="white", markeredgecolor=BLACK, markersize=19, zorder=5)
    return points


def costs(axes: Axes, seen: Any) -> None:
    """The descent's own cost and the cost in its plane, step by step."""
    step = seen.snapshot_step.values
    own, inside = seen.path_cost.values, seen.path_cost_in_slice.values
    axes.fill_between(step, own, inside, color=VERMILLION, alpha=0.18, linewidth=0)
    axes.plot(step, own, color=BLACK, label="of the descent itself")
    axes.plot(
        step,
        inside,
        color=VERMILLION,
        linestyle=(0, (4, 1.5)),
        label="of its place in the plane",
    )
    finite = np.concatenate([own, inside])
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() > 0 and finite.max() > LOG_FROM * finite.min():
        axes.set_yscale("log")
        plain(axes)
    axes.set_xlabel("step")
    axes.set_ylabel("cost")


def plain(axes: Axes) -> None:
    """Plain numbers on a logarithmic axis of costs, few enough to be read."""
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")


def planes(rows: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Planes side by side, all on one scale of colours: a row a point, a column a kind of plane.

    Args:
        rows: for each row's title, planes by their titles; they may carry a descent.
        title: of the picture.

    Raises:
        ValueError: rows that are no planes by title.
    """
    _check_rows(rows)
    datasets = [seen for row in rows.values() for seen in row.values()]
    columns = max(len(row) for row in rows.values())
    norm = scale(datasets)
    with style():
        figure = Figure(figsize=(1.6 + 3.35 * columns, 0.9 + 3.25 * len(rows)))
        panels = figure.subplots(len(rows), columns, squeeze=False)
        image, first = None, next(iter(rows.values()))
        for across, (name, row) in zip(panels, rows.items(), strict=True):
            for axes in across[len(row) :]:
                axes.set_visible(False)
            for axes, (kind, seen) in zip(across, row.items(), strict=False):
                image = ground(axes, seen, norm)
                if "path_a" in seen:
                    track(axes, seen, float(np.nanmax(seen.path_off.values)))
                else:
                    axes.plot(0, 0, "*", color="white", markeredgecolor=BLACK, markersize=15)
                if row is first or list(row) != list(first):
                    axes.set_title(kind, fontsize=13)
                axes.text(
                    0.97, 0.03, _extent(seen.cost.values), ha="right", transform=axes.transAxes,
                    fontsize=11, bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0},
                )  # fmt: skip
            above = across[0].get_title(loc="left")
            across[0].set_title("\n".join(t for t in (name, above) if t), fontsize=13)
        bar(figure, image, norm, ax=panels, aspect=35, pad=0.02)
        if title:
            figure.suptitle(title)
    return figure


def _check_rows(rows):
    for name, row in rows.items() if isinstance(rows, Mapping) else [("", rows)]:
        named = isinstance(rows, Mapping) and isinstance(row, Mapping) and len(row)
        if not named or hasattr(row, "data_vars"):
            raise ValueError(
                f"planes: rows[{name!r}] is of type {type(row).__name__}, expected a dict of "
                f"planes by title; for one plane {{'a row': {{'a title': plane}}}}"
            )
        for title, seen in row.items():
            if getattr(getattr(seen, "cost", None), "dims", None) != ("a", "b"):
                raise ValueError(
                    f"planes: rows[{name!r}][{title!r}] is of type {type(seen).__name__}, expected "
                    f"a Dataset with `cost` over a and b, as gdjax.landscape.plane returns it"
                )


def _extent(cost):
    """The lowest and the highest cost in words."""
    cost = cost[np.isfinite(cost)]
    if not cost.size:
        return "no finite cost"
    low, high = f"{cost.min():.3g}", f"{cost.max():.3g}"
    return f"cost {low} everywhere" if low == high else f"cost {low} to {high}"


def bar(
    figure: figures.Figure, image: Any, norm: Normalize, into: Axes | None = None, **beside: Any
) -> None:
    """A colour bar of costs with plain numbers, in its own axes or beside others."""
    shades = ScalarMappable(norm, image.get_cmap())
    found = figure.colorbar(shades, cax=into, label=COST, **beside)
    if isinstance(norm, LogNorm):
        plain(found.ax)
    found.outline.set_visible(False)


def descents(views: Mapping[str, Any], *, title: str = "") -> Figure:
    """Descents on their own planes, each beside the cost that its plane does not show.

    Args:
        views: by title, planes that carry a descent, as `trajectory_plane` makes them.
        title: of the picture.
    """
    norm = scale(list(views.values()))
    farthest = max(float(np.nanmax(seen.path_off.values)) for seen in views.values())
    with style():
        count = len(views)
        figure = Figure(figsize=(12, 1.6 + 4 * count))
        cells = figure.add_gridspec(
            count + 1, 3, width_ratios=(1.5, 0.05, 1), height_ratios=(*(1,) * count, 0.05)
        )
        image: Any = None
        points: Any = None
        for row, (name, seen) in enumerate(views.items()):
            axes, side = (figure.add_subplot(cells[row, column]) for column in (0, 2))
            image = ground(axes, seen, norm)
            points = track(axes, seen, farthest)
            axes.set_title(name)
            costs(side, seen)
            share = float(seen.explained.values[:2].sum())
            side.set_title(f"explained by the plane: {share:.1%}", fontsize=13)
            if row == 0:
                side.legend(loc="upper right")
        bar(figure, image, norm, figure.add_subplot(cells[:count, 1]))
        found = figure.colorbar(
            points, cax=figure.add_subplot(cells[count, 0]), location="bottom",
            label="how far the descent is off the plane (distance)",
        )  # fmt: skip
        found.outline.set_visible(False)
        if title:
            figure.suptitle(title)
    return figure


def surface(seen: Any, *, title: str = "") -> Figure:
    """A plane as a surface in space; a descent floats at its own cost, above or below the surface.

    Args:
        seen: a plane, with a descent or without.
        title: of the picture.
    """
    norm: Any = scale([seen])
    raised = np.log10 if isinstance(norm, LogNorm) else np.asarray
    with style():
        figure = Figure(figsize=(9, 7))
        figure.set_layout_engine("none")
        axes: Any = figure.add_axes((0.0, 0.02, 1.0, 0.9), projection="3d", computed_zorder=False)
        a, b = np.meshgrid(seen.a.values, seen.b.values, indexing="ij")
        cost = np.ma.masked_invalid(seen.cost.values)
        height = np.ma.asarray(raised(cost))
        lit = LightSource(azdeg=-60, altdeg=55).shade_rgb(
            colormaps[GROUND](norm(cost))[..., :3], height.filled(np.nan), blend_mode="soft",
            vert_exag=0.35 * np.ptp(seen.a.values) / (np.ptp(height) or 1), fraction=0.6,
        )  # fmt: skip
        axes.plot_surface(
            a, b, height.filled(np.nan), facecolors=lit, rstride=1, cstride=1, linewidth=0,
            antialiased=False, shade=False, zorder=1,
        )  # fmt: skip
        if "path_a" in seen:
            _floating(axes, seen, raised)
            figure.legend(loc="upper left", bbox_to_anchor=(0.02, 0.94))
        axes.view_init(elev=32, azim=-118)
        axes.set_box_aspect((1.35, 1.0, 0.7), zoom=0.95)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1, 1, 1, 0))
        if isinstance(norm, LogNorm):
            low, high = (10**z for z in axes.get_zlim())
            shown = [t for t in ROUND if low <= t <= high]
            axes.set_zticks(np.log10(shown), [f"{t:g}" for t in shown])
        axes.set_xlabel(label(seen.a), labelpad=10)
        axes.set_ylabel(label(seen.b), labelpad=10)
        axes.set_zlabel("cost", labelpad=6)
        figure.suptitle(title, x=0.03, ha="left")
    return figure


def _floating(axes, seen, raised):
    """A descent at its own cost, its shadow on the surface, and a thread from one to the other."""
    x, y = seen.path_a.values, seen.path_b.values
    own, inside = raised(seen.path_cost.values), raised(seen.path_cost_in_slice.values)
    for place in zip(x, y, own, inside, strict=True):
        axes.plot(place[:1] * 2, place[1:2] * 2, place[2:], color=VERMILLION, linewidth=1, zorder=2)
    axes.plot(x, y, own, color=BLACK, linewidth=2.4, zorder=4, label="the descent, at its own cost")
    axes.plot(
        x, y, inside, ".-", color=VERMILLION, linewidth=1.2, markersize=5, zorder=3,
        label="its place in the plane",
    )  # fmt: skip
    white = {"linestyle": "none", "color": "white", "markeredgecolor": BLACK, "zorder": 5}
    axes.plot(x[:1], y[:1], own[:1], marker="o", markersize=10, label="start", **white)
    axes.plot(x[-1:], y[-1:], own[-1:], marker="*", markersize=18, label="end", **white)


def lines(
    curves: Mapping[str, Any], *, parabolas: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Costs along lines through one point, against the distance from it.

    Args:
        curves: by name, what `line` makes.
        parabolas: curvature of some of them, by name: drawn as the parabola it belongs to.
        title: of the picture.
    """
    curved = parabolas or {}
    with style():
        figure = Figure(figsize=(9, 5.4))
        axes = figure.subplots()
        for number, (name, seen) in enumerate(curves.items()):
            color = CYCLE[number % len(CYCLE)]
            away = seen.a.values * seen.a.attrs["length"]
            cost = seen.cost.values
            axes.plot(away, cost, color=color, label=name)
            if name in curved:
                middle = np.argmin(np.abs(away))
                slope = np.gradient(cost, away)[middle]
                bent = cost[middle] + slope * away + curved[name] / 2 * away**2
                top = np.nanmax(np.where(np.isfinite(cost), cost, np.nan))
                axes.plot(
                    away, np.where(bent <= top, bent, np.nan), color=color, linewidth=1.2,
                    linestyle=(0, (4, 2)), label=f"parabola of curvature {curved[name]:.3g}",
                )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set_xlabel("distance from the point, in the space of all parameters")
        axes.set_ylabel(COST)
        figure.legend(loc="outside lower center", ncols=2)
        axes.set_title(title)
    return figure
