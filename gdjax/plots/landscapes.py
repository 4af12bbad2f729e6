"""Costs on lines and planes, optionally with a descent.

The functions take the Datasets that `line`, `plane` and `trajectory_plane` return.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LightSource, LogNorm, Normalize, PowerNorm

from gdjax.plots.axes import figure_of, legend_above, log_scale, styled_axes
from gdjax.plots.style import (
    BLACK,
    CYCLE,
    GREY,
    MAX_WIDTH,
    VERMILLION,
    Figure,
    label_log_axis,
    style,
)

COST = "cost, mean over samples"
COLORMAP = "GnBu_r"  # low costs are drawn dark
DISTANCE_COLORMAP = "YlOrRd"  # points far from the plane are drawn dark
NOT_FINITE = "#BBBBBB"
BANDS = 24  # number of color bands
LEVELS = 12  # number of intervals between contours over the color range
FLAT = 0.01  # relative range of costs below which no contours are drawn
# Tick values for the logarithmic height axis of a surface.
ROUND = tuple(m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5))
LOG_FROM = 8  # ratio of largest to smallest cost above which the scale is logarithmic


def cost_scale(datasets: Sequence[Any]) -> Normalize:
    """Return a common color scale, logarithmic for a wide range of positive costs."""
    cost = np.concatenate([dataset.cost.values.ravel() for dataset in datasets])
    cost = cost[np.isfinite(cost)]
    low, high = (cost.min(), cost.max()) if cost.size else (0.0, 1.0)
    if not low < high:
        # A scale of width 0 would give equal costs the color of the highest.
        return Normalize(low - 0.5 * abs(low) - 0.5, low + 0.5 * abs(low) + 0.5)
    return LogNorm(low, high) if low > 0 and high > LOG_FROM * low else PowerNorm(0.5, low, high)


def _levels(cost: Float[np.ndarray, "..."], norm: Normalize) -> Float[np.ndarray, " levels"]:
    """Return the costs of contours at equal steps of color; empty on a flat plane."""
    finite = cost[np.isfinite(cost)]
    if not finite.size or np.ptp(finite) <= FLAT * np.abs(finite).max():
        return np.zeros(0)
    low, high = (float(norm(value)) for value in (finite.min(), finite.max()))
    return np.asarray(norm.inverse(np.linspace(low, high, LEVELS + 1)[1:-1]))


def _label(coordinate):
    """Return the name of a direction, with its length unless that is 1."""
    name, length = coordinate.attrs["long_name"], coordinate.attrs["length"]
    return name if abs(length - 1) < 1e-3 else f"{name}\n(unit: a distance of {length:.3g})"


def plane(dataset: Any, *, norm: Normalize | None = None, ax: Axes | None = None) -> Axes:
    """Draw the costs on a plane as color bands with contours.

    Cells with a cost that is not finite are gray.

    Args:
        dataset: Dataset of a plane.
        norm: color scale; None computes it from this plane.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> directions = {"x": jnp.array([1.0, 0.0]), "y": jnp.array([0.0, 1.0])}
        >>> side = jnp.linspace(-1, 1, 3)
        >>> bowl = landscape.plane(lambda w: w @ w, jnp.zeros(2), directions, side, side)
        >>> plane(bowl).get_xlabel()
        'x'
    """
    norm = cost_scale([dataset]) if norm is None else norm
    with styled_axes(ax, (6.4, 5.6)) as axes:
        a, b = dataset.a.values, dataset.b.values
        cost = np.ma.masked_invalid(dataset.cost.values.T)
        axes.set_facecolor(NOT_FINITE)
        if min(cost.shape) > 1:
            bands = np.asarray(norm.inverse(np.linspace(0, 1, BANDS + 1)))
            axes.contourf(a, b, cost, bands, norm=norm, cmap=COLORMAP, extend="both")
            levels = _levels(dataset.cost.values, norm)
            if len(levels):
                axes.contour(a, b, cost, levels, colors=BLACK, linewidths=0.6, alpha=0.45)
            axes.set_xlim(a.min(), a.max())
            axes.set_ylim(b.min(), b.max())
        else:
            axes.pcolormesh(a, b, cost, norm=norm, cmap=COLORMAP)
        ratio = dataset.b.attrs["length"] / dataset.a.attrs["length"]
        is_grid = min(cost.shape) > 1 and np.isfinite(ratio) and ratio > 0
        axes.set_aspect(ratio if is_grid else "auto")
        axes.set(xlabel=_label(dataset.a), ylabel=_label(dataset.b))
        if ax is None:
            cost_colorbar(norm, ax=axes)
    return axes


def descent_path(dataset: Any, *, ax: Axes, farthest: float | None = None) -> Any:
    """Draw a descent on its plane, colored by its distance from the plane.

    A circle marks the start of the descent, and a star its end.

    Args:
        dataset: Dataset of a plane with a descent.
        ax: axes of the plane.
        farthest: distance at the end of the color scale; None means the maximum of this descent.

    Returns:
        The colored points, as an argument for a color bar.
    """
    a, b, off = (dataset[name].values for name in ("path_a", "path_b", "path_off"))
    farthest = float(np.nanmax(off)) if farthest is None else farthest
    ax.plot(a, b, color="white", linewidth=3, zorder=3)
    ax.plot(a, b, color=BLACK, linewidth=1, zorder=3)
    points = ax.scatter(
        a, b, c=off, cmap=DISTANCE_COLORMAP, norm=Normalize(0, farthest or 1), s=36,
        edgecolors=BLACK, linewidths=0.5, zorder=4,
    )  # fmt: skip
    ax.plot(a[0], b[0], "o", color="white", markeredgecolor=BLACK, markersize=11, zorder=5)
    ax.plot(a[-1], b[-1], "*", color="white", markeredgecolor=BLACK, markersize=19, zorder=5)
    return points


def descent_costs(dataset: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the costs of a descent and of its projection onto the plane."""
    with styled_axes(ax, (6.4, 4.4)) as axes:
        step = dataset.snapshot_step.values
        cost, projected = dataset.path_cost.values, dataset.path_cost_in_slice.values
        axes.fill_between(step, cost, projected, color=VERMILLION, alpha=0.18, linewidth=0)
        axes.plot(step, cost, color=BLACK, label="of the descent")
        dashes = (0, (4, 1.5))
        axes.plot(step, projected, color=VERMILLION, linestyle=dashes, label="of its projection")
        log_scale(axes, np.append(cost, projected), ratio=LOG_FROM)
        axes.set(xlabel=dataset.snapshot_step.attrs.get("long_name", "step"), ylabel="cost")
    return axes


def line_or_plane(dataset: Any, *, title: str = "") -> Axes | Figure:
    """Draw the costs on a line or on a plane.

    Args:
        dataset: Dataset of `line` or `plane`.
        title: figure title.

    Raises:
        ValueError: if the Dataset has more than two dimensions.
    """
    dimensions = dataset.cost.dims
    if dimensions == ("a",):
        return lines({str(dataset.a.attrs.get("long_name", "line")): dataset}, title=title)
    if dimensions == ("a", "b"):
        return planes({"": {title: dataset}})
    raise ValueError(
        f"the cost has dimensions {', '.join(map(str, dimensions))}, expected a line (a) or a "
        f"plane (a, b); choose one value of the others: dataset.sel(c=..., method='nearest')"
    )


def trajectory(dataset: Any, *, title: str = "") -> Figure:
    """Draw a descent on its plane, for a Dataset of `trajectory_plane`."""
    return descents({title or "Descent in its principal plane": dataset})


def planes(rows: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """Draw planes on a common color scale, with one row per point.

    Args:
        rows: mapping from the title of each row to the planes in it by title; a plane may contain
            a descent.
        title: figure title.

    Raises:
        ValueError: if a row is not a mapping from titles to planes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> directions = {"x": jnp.array([1.0, 0.0]), "y": jnp.array([0.0, 1.0])}
        >>> side = jnp.linspace(-1, 1, 3)
        >>> bowl = landscape.plane(lambda w: w @ w, jnp.zeros(2), directions, side, side)
        >>> planes({"start": {"bowl": bowl}}, title="One cost").get_suptitle()
        'One cost'
    """
    planes = [row.values() if isinstance(row, Mapping) else [row] for row in rows.values()]
    datasets = [dataset for row in planes for dataset in row]
    if not all(getattr(getattr(d, "cost", None), "dims", ()) == ("a", "b") for d in datasets):
        raise ValueError(
            f"planes: rows[{next(iter(rows))!r}] has no dict of planes, expected Datasets with "
            f"`cost` over a and b in {{'title of a row': {{'title of a plane': plane}}}}"
        )
    columns = max(len(row) for row in rows.values())
    norm = cost_scale(datasets)
    with style():
        figure = Figure(figsize=(min(1.6 + 3.35 * columns, MAX_WIDTH), 0.9 + 3.25 * len(rows)))
        panels = figure.subplots(len(rows), columns, squeeze=False)
        first = next(iter(rows.values()))
        for panel_row, (name, row) in zip(panels, rows.items(), strict=True):
            for axes in panel_row[len(row) :]:
                axes.set_visible(False)
            for axes, (kind, dataset) in zip(panel_row, row.items(), strict=False):
                plane(dataset, norm=norm, ax=axes)
                if "path_a" in dataset:
                    descent_path(dataset, ax=axes)
                else:
                    axes.plot(0, 0, "*", color="white", markeredgecolor=BLACK, markersize=15)
                if row is first or list(row) != list(first):
                    axes.set_title(kind, fontsize=13)
                axes.text(
                    0.97, 0.03, _cost_range(dataset.cost.values), ha="right",
                    transform=axes.transAxes,
                    bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0},
                )  # fmt: skip
            above = panel_row[0].get_title(loc="left")
            panel_row[0].set_title("\n".join(t for t in (name, above) if t), fontsize=13)
        cost_colorbar(norm, ax=panels, aspect=35, pad=0.02)
        if title:
            figure.suptitle(title)
    return figure


def _cost_range(cost):
    cost = cost[np.isfinite(cost)]
    if not cost.size:
        return "no finite cost"
    low, high = f"{cost.min():.3g}", f"{cost.max():.3g}"
    return f"cost {low} everywhere" if low == high else f"cost {low} to {high}"


def cost_colorbar(norm: Normalize, *, ax: Any, **placement: Any) -> None:
    """Add a color bar of costs, labeled with plain numbers.

    Args:
        norm: color scale.
        ax: axes beside which the color bar is placed.
        placement: keyword arguments of matplotlib's `Figure.colorbar`, such as `cax`, axes into
            which the color bar is drawn instead.
    """
    figure = figure_of(np.ravel(np.array(ax, object))[0])
    bar = figure.colorbar(ScalarMappable(norm, COLORMAP), ax=ax, label=COST, **placement)
    if isinstance(norm, LogNorm):
        label_log_axis(bar.ax.yaxis)
    bar.outline.set_visible(False)


def descents(views: Mapping[str, Any], *, title: str = "") -> Figure:
    """Draw descents on their planes, each beside its cost against the step.

    Args:
        views: by title, planes with a descent, as returned by `trajectory_plane`.
        title: figure title.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> snapshots = jnp.array([[4, 1, 0], [3, 0.1, 0], [2, 0, 0], [1, 0, 0]])
        >>> path = landscape.trajectory_plane(lambda w: w @ w, snapshots, points=5)
        >>> len(descents({"in its plane": path}).axes)
        4
    """
    norm = cost_scale(list(views.values()))
    farthest = max(float(np.nanmax(dataset.path_off.values)) for dataset in views.values())
    with style():
        count = len(views)
        figure = Figure(figsize=(MAX_WIDTH, 1.6 + 3.6 * count))
        cells = figure.add_gridspec(
            count + 1, 3, width_ratios=(1.5, 0.05, 1), height_ratios=(*(1,) * count, 0.05)
        )
        for row, (name, dataset) in enumerate(views.items()):
            axes, side = (figure.add_subplot(cells[row, column]) for column in (0, 2))
            plane(dataset, norm=norm, ax=axes)
            points = descent_path(dataset, ax=axes, farthest=farthest)
            axes.set_title(name)
            descent_costs(dataset, ax=side)
            share = float(dataset.explained.values[:2].sum())
            side.set_title(f"explained by the plane: {share:.1%}", fontsize=13)
            if row == 0:
                legend_above(side, 1)
        cost_colorbar(norm, ax=axes, cax=figure.add_subplot(cells[:count, 1]))
        bar = figure.colorbar(
            points, cax=figure.add_subplot(cells[count, 0]), location="bottom",
            label="distance of the descent from the plane",
        )  # fmt: skip
        bar.outline.set_visible(False)
        if title:
            figure.suptitle(title)
    return figure


def surface(dataset: Any, *, title: str = "") -> Axes:
    """Draw the cost on a plane as a surface, with a descent at its recorded cost.

    Args:
        dataset: Dataset of a plane, with or without a descent.
        title: figure title.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> snapshots = jnp.array([[4, 1, 0], [3, 0.1, 0], [2, 0, 0], [1, 0, 0]])
        >>> path = landscape.trajectory_plane(lambda w: w @ w, snapshots, points=5)
        >>> surface(path).get_zlabel()
        'cost'
    """
    norm: Any = cost_scale([dataset])
    raised = np.log10 if isinstance(norm, LogNorm) else np.asarray
    with style():
        figure = Figure(figsize=(9, 7))
        figure.set_layout_engine("none")
        rectangle = (0.0, 0.02, 1.0, 0.9)
        axes: Any = figure.add_axes(rectangle, projection="3d", computed_zorder=False)
        a, b = np.meshgrid(dataset.a.values, dataset.b.values, indexing="ij")
        cost = np.ma.masked_invalid(dataset.cost.values)
        height = np.ma.asarray(raised(cost))
        lit = LightSource(azdeg=-60, altdeg=55).shade_rgb(
            colormaps[COLORMAP](norm(cost))[..., :3], height.filled(np.nan), blend_mode="soft",
            vert_exag=0.35 * np.ptp(dataset.a.values) / (np.ptp(height) or 1), fraction=0.6,
        )  # fmt: skip
        axes.plot_surface(
            a, b, height.filled(np.nan), facecolors=lit, rstride=1, cstride=1, linewidth=0,
            antialiased=False, shade=False, zorder=1,
        )  # fmt: skip
        if "path_a" in dataset:
            _draw_descent_in_space(axes, dataset, raised)
            figure.legend(loc="upper left", bbox_to_anchor=(0.02, 0.94))
        axes.view_init(elev=32, azim=-118)
        axes.set_box_aspect((1.35, 1.0, 0.7), zoom=0.95)
        for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
            axis.set_pane_color((1, 1, 1, 0))
        if isinstance(norm, LogNorm):
            low, high = (10**z for z in axes.get_zlim())
            ticks = [t for t in ROUND if low <= t <= high]
            axes.set_zticks(np.log10(ticks), [f"{t:g}" for t in ticks])
        axes.set_xlabel(_label(dataset.a), labelpad=10)
        axes.set_ylabel(_label(dataset.b), labelpad=10)
        axes.set_zlabel("cost", labelpad=6)
        figure.suptitle(title, x=0.03, ha="left")
    return axes


def _draw_descent_in_space(axes, dataset, raised):
    """Draw a descent at its recorded cost, its projection, and lines between the two."""
    x, y = dataset.path_a.values, dataset.path_b.values
    cost, projected = raised(dataset.path_cost.values), raised(dataset.path_cost_in_slice.values)
    for point in zip(x, y, cost, projected, strict=True):
        axes.plot(point[:1] * 2, point[1:2] * 2, point[2:], color=VERMILLION, linewidth=1, zorder=2)
    axes.plot(x, y, cost, color=BLACK, linewidth=2.4, zorder=4, label="descent: cost of its points")
    axes.plot(
        x, y, projected, ".-", color=VERMILLION, linewidth=1.2, markersize=5, zorder=3,
        label="projection of the descent onto the plane",
    )  # fmt: skip
    white = {"linestyle": "none", "color": "white", "markeredgecolor": BLACK, "zorder": 5}
    axes.plot(x[:1], y[:1], cost[:1], marker="o", markersize=10, label="start", **white)
    axes.plot(x[-1:], y[-1:], cost[-1:], marker="*", markersize=18, label="end", **white)


def lines(
    curves: Mapping[str, Any],
    *,
    parabolas: Mapping[str, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw costs along lines through a point, against the distance from the point.

    Args:
        curves: Datasets by name, as returned by `line`.
        parabolas: curvature of the parabola to draw for a curve, by name of the curve.
        title: axes title.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax import landscape
        >>> along = landscape.line(lambda w: w @ w, jnp.zeros(2), jnp.ones(2), [-1.0, 0.0, 1.0])
        >>> len(lines({"diagonal": along}, parabolas={"diagonal": 2.0}).lines)
        3
    """
    curvatures = parabolas or {}
    with styled_axes(ax, (9, 5.4)) as axes:
        for number, (name, dataset) in enumerate(curves.items()):
            color = CYCLE[number % len(CYCLE)]
            distance = dataset.a.values * dataset.a.attrs["length"]
            cost = dataset.cost.values
            axes.plot(distance, cost, color=color, label=name)
            if name in curvatures:
                middle = np.argmin(np.abs(distance))
                slope = np.gradient(cost, distance)[middle]
                parabola = cost[middle] + slope * distance + curvatures[name] / 2 * distance**2
                top = np.nanmax(np.where(np.isfinite(cost), cost, np.nan))
                axes.plot(
                    distance, np.where(parabola <= top, parabola, np.nan), color=color,
                    linewidth=1.2, linestyle=(0, (4, 2)),
                    label=f"parabola of curvature {curvatures[name]:.3g}",
                )  # fmt: skip
        axes.axvline(0, color=GREY, linewidth=1)
        axes.set(xlabel="distance from the point, in the space of all parameters", ylabel=COST)
        if ax is None:
            figure_of(axes).legend(loc="outside lower center", ncols=2)
        else:
            axes.legend()
        axes.set_title(title)
    return axes
