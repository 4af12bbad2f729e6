"""Frequencies of the minima of a census, an embedding of their distances, and their settings."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gdjax.plots.axes import figure_of, legend_above, styled_axes
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, MAX_WIDTH, SKY, VERMILLION, Figure, style

MAX_BARS = 30  # number of minima that are drawn


def frequencies(census: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw the share of runs per minimum, and of runs that ended elsewhere.

    Bars of minima are in ascending order of the cost and have 95 % intervals. At most 30 are drawn.

    Args:
        census: Dataset of `count_minima`.
        title: axes title; by default, the numbers of minima and runs.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> import jax
        >>> from gdjax import minima, problems
        >>> problem = problems.from_function("quartic")
        >>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 8))
        >>> census = minima.count_minima(problem, starts, key=jax.random.key(1))
        >>> frequencies(census).get_title("left")
        '2 minima in 8 runs'
    """
    share, low, high = (census[name].values for name in ("share", "share_low", "share_high"))
    other_shares = _other_shares(census)
    count = min(len(share), MAX_BARS)
    upright = count <= 8  # few enough bars for horizontal labels
    width = max(7.0, min(9.8, 2.5 + (0.8 if upright else 0.4) * (count + len(other_shares))))
    with styled_axes(ax, (width, 5.4)) as axes:
        position = np.arange(count)
        axes.bar(position, share[:count], color=BLUE, width=0.75)
        error = np.stack([share - low, high - share])[:, :count]
        axes.errorbar(
            position, share[:count], error, fmt="none", ecolor=BLACK, elinewidth=1.5, capsize=3
        )
        after = count + 1 + np.arange(len(other_shares))
        axes.bar(after, list(other_shares.values()), color=GREY, width=0.75)
        names = [f"{value:.3g}" for value in _without_rounding(census.minimum_cost.values[:count])]
        label = "cost of the minimum"
        if len(set(names)) < len(names):  # the costs do not tell the minima apart
            names = [f"{number}\n{name}" for number, name in enumerate(names)]
            label = "number and cost of the minimum"
        names += [kind.replace(" ", "\n") for kind in other_shares]
        axes.set_xticks([*position, *after], names, rotation=0 if upright else 90, fontsize=11)
        hidden = len(share) - count
        axes.set_xlabel(label + (f" ({hidden} of higher cost not drawn)" if hidden else ""))
        axes.set_ylabel("share of the runs, 95 % intervals")
        axes.set_ylim(0, None)
        axes.set_title(title or count_title(census))
    return axes


def _other_shares(census):
    """Return the shares of the runs that did not end in a minimum, by kind of end point."""
    attrs = census.kind.attrs
    names = dict(zip(attrs["flag_values"], attrs["flag_meanings"].split(), strict=True))
    kinds = census.kind.values[census.minimum_of.values < 0]
    codes, counts = np.unique(kinds, return_counts=True)
    shares = (counts / census.sizes["run"]).tolist()
    others = {names[k].replace("_", " "): s for k, s in zip(codes, shares, strict=True)}
    apart = {}
    if "reached" in census and census.share.sum() < census["count"].sum() / census.sizes["run"]:
        apart = {f"{name} a minimum": census[name] for name in ("near", "cannot_hold")}
    apart = {name: float(c.sum()) / census.sizes["run"] for name, c in apart.items()}
    return others | {name.replace("_", " "): share for name, share in apart.items() if share}


def count_title(census: Any, lowest: int | None = None) -> str:
    """Return a title such as "1 minimum and 2 manifolds in 60 runs".

    Args:
        census: Dataset of `count_minima`.
        lowest: number of minima of lowest cost that a figure shows; None means all.
    """
    count, manifolds = (census.sizes.get(name, 0) for name in ("minimum", "manifold"))
    title = f"{count} minim{'um' if count == 1 else 'a'}"
    if manifolds:
        title += f" and {manifolds} manifold{'s' * (manifolds > 1)}"
    title += f" in {census.sizes['run']} runs"
    return f"{title}, the {lowest} lowest" if lowest is not None and lowest < count else title


STATE_COLORS = {"reached": GREEN, "near": SKY, "cannot_hold": VERMILLION}


def by_setting(census: Any, *, title: str = "") -> Figure:
    """Draw the minima of a census by settings: their number, sharpness and barriers.

    Args:
        census: Dataset of `count_minima(..., by=...)`.
        title: figure title; by default, the settings.
    """
    axes_names = [str(dim) for dim in census["minima"].dims]
    rows = census.stack(setting=axes_names)
    names = [_setting(value) for value in rows["setting"].values]
    position = np.arange(len(names))
    with style():
        figure = Figure(figsize=(MAX_WIDTH, 4.6))
        counts, sharpness, barriers = figure.subplots(1, 3)
        bottom = np.zeros(len(names))
        for state, color in STATE_COLORS.items():
            number = rows[f"minima_{state}"].values
            counts.bar(position, number, 0.7, bottom, color=color, label=state.replace("_", " "))
            bottom = bottom + number
        counts.set_ylabel("minima, by the state of the ends there")
        legend_above(counts, 2)
        codes = rows["minimum_state"].attrs
        labels = dict(zip(codes["flag_values"], codes["flag_meanings"].split(), strict=True))
        for k in position:
            one = rows.isel(setting=int(k))
            known = np.isfinite(one["sharpness"].values)
            colors = [STATE_COLORS[labels[s]] for s in one["minimum_state"].values[known]]
            sharpness.scatter(np.full(known.sum(), k), one["sharpness"].values[known], c=colors)
        sharpness.set(yscale="log", ylabel="largest eigenvalue of each minimum")
        median, low, high = (rows[f"barrier_{n}"].values for n in ("median", "low", "high"))
        error = np.nan_to_num(np.stack([median - low, high - median]))
        barriers.errorbar(position, median, error, fmt="o", color=BLUE, capsize=3)
        barriers.set_ylabel("median barrier between minima, 95 % interval")
        for axes in (counts, sharpness, barriers):
            axes.set_xticks(position, names)
            axes.set_xlabel(", ".join(axes_names).replace("_", " "))
        figure.suptitle(title or f"Minima by {', '.join(axes_names).replace('_', ' ')}")
    return figure


def _setting(value):
    return ", ".join(f"{v:g}" if isinstance(v, float) else f"{v}" for v in np.atleast_1d(value))


def embedding(census: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw minima as points of a planar embedding of their distances.

    The size of a point shows the share of the runs that ended there, and its color the cost.

    Args:
        census: Dataset of `count_minima` with barriers, which has distances of the lowest minima.
        title: axes title; by default, the numbers of minima and runs.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> import xarray as xr
        >>> values = "minimum", np.array([0.75, 0.25])
        >>> position = ("axis", "minimum"), np.eye(2)
        >>> placed = {"position": position, "position_share": 1.0}
        >>> census = xr.Dataset(placed | {"share": values, "minimum_cost": values})
        >>> embedding(census, title="two minima").get_title("left")
        'two minima'
    """
    position = census.position.values
    share = census.share.values[: len(position)]
    cost = _without_rounding(census.minimum_cost.values[: len(position)])
    with styled_axes(ax, (8, 6.6)) as axes:
        # Rare minima are drawn last, so that larger points do not hide them.
        order = np.argsort(-share, kind="stable")
        points = axes.scatter(
            *position[order].T,
            s=60 + 1500 * share[order],
            c=cost[order],
            edgecolors=BLACK,
            linewidths=0.8,
            alpha=0.85,
        )
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)
        represented = f"represents {float(census.position_share):.0%} of them"
        axes.set_xlabel(f"embedding of the distances ({represented}); area: share of runs")
        axes.set_ylabel("embedding, same scale")
        if np.ptp(cost) > 0:
            axes.annotate(
                "lowest",
                position[int(np.argmin(cost))],
                xytext=(16, 16),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": BLACK},
            )
            figure_of(axes).colorbar(points, ax=axes, label="cost")
        else:
            axes.set_title(f"cost: {cost[0]:.3g} everywhere", loc="right", fontsize=12)
        axes.set_title(title or count_title(census, lowest=len(position)))
    return axes


def _without_rounding(cost):
    """Round costs to 1e-9 times the largest (at least 1), to remove rounding errors."""
    scale = 1e-9 * max(1.0, float(np.max(np.abs(cost), initial=0)))
    return np.round(np.asarray(cost, float) / scale) * scale + 0.0  # turns -0.0 into 0.0
