"""Descents on curves: their valleys, and the steps that lead into them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared.runs import paths
from gdjax.plots.style import BLACK, CYCLE, GREY, Figure

GRID = 1001  # number of points of a drawn curve
DRAWN = 21  # approximate number of paths drawn on each curve


def descents(name: str, starts: int, steps: int, caution: float) -> xr.Dataset:
    """Return descents on one curve, with the curve and its known critical points.

    The learning rate is `caution` divided by the largest |f''| on the domain.
    """
    known = gd.problems.FUNCTIONS[name]
    ((lo, hi),) = known.domain
    grid = np.linspace(lo, hi, GRID)
    f, bend = jax.vmap(known.f), jax.vmap(jax.grad(jax.grad(known.f)))
    learning_rate = caution / float(jnp.max(jnp.abs(bend(jnp.asarray(grid)))))
    # Starts are at midpoints, so that each represents an equal share of the domain.
    start = lo + (hi - lo) * (np.arange(starts) + 0.5) / starts
    position, slope, cost = paths(known.f, learning_rate, jnp.asarray(start), steps)
    minima, maxima = (
        np.array(sorted(p.x for p in known.critical_points if p.kind == kind))
        for kind in ("minimum", "maximum")
    )
    # The minimum nearest to the end point, and the one between the same two maxima as the start.
    valley = np.argmin(np.abs(np.asarray(position)[:, -1:] - minima), axis=1)
    at = jnp.asarray(minima)
    columns = {
        ("grid",): {"curve_x": grid, "curve_cost": f(jnp.asarray(grid))},
        ("start", "step"): {"position": position, "slope": slope, "cost": cost},
        ("start",): {"valley": valley, "predicted_valley": np.searchsorted(maxima, start)},
        ("minimum",): {
            "minimum_x": minima,
            "minimum_cost": f(at),
            "contraction": 1 - learning_rate * np.asarray(bend(at)),
            "share": np.bincount(valley, minlength=len(minima)) / starts,
        },
        ("maximum",): {"maximum_x": maxima},
        (): {"learning_rate": learning_rate},
    }
    return xr.Dataset(
        {name: (dims, np.asarray(a)) for dims, part in columns.items() for name, a in part.items()},
        attrs={"formula": known.formula},
    )


def numbers(curves: Mapping[str, xr.Dataset]) -> dict:
    """Return the results of the descents and their predicted values, over all and by curve."""
    of_starts = ["position", "slope", "cost", "valley", "predicted_valley"]
    runs = xr.concat(
        [
            curve[of_starts].merge(curve[["minimum_x", "contraction"]].isel(minimum=curve.valley))
            for curve in curves.values()
        ],
        "curve",
    )
    step = runs.position.diff("step").values
    length, against = np.abs(step), step * runs.slope.values[..., :-1] < 0
    # The measured contraction is that of the first step shorter than 1e-8.
    late = np.argmax(length < 1e-8, axis=-1)[..., None]
    last, before = (np.take_along_axis(length, k, axis=-1)[..., 0] for k in (late, late - 1))
    cases = {}
    for name, curve in curves.items():
        lowest = int(curve.minimum_cost.values.argmin())
        edges = np.concatenate([curve.curve_x[:1], curve.maximum_x, curve.curve_x[-1:]])
        cases[name] = {
            "learning_rate": float(curve.learning_rate),
            "share_at_lowest": float(curve.share[lowest]),
            "width_of_lowest": float(np.diff(edges)[lowest] / np.ptp(edges)),
        }
    # The differences of costs of shorter steps are rounding errors.
    lower = runs.cost.diff("step").values[length > 1e-6] <= 0
    return {
        "steps_looked_at": int(np.sum(step != 0)),
        "share_of_steps_against_slope": against[step != 0].mean(),
        "share_of_steps_that_lower_cost": np.mean(lower),
        "share_in_predicted_valley": float((runs.valley == runs.predicted_valley).mean()),
        "largest_distance_to_minimum": float(abs(runs.position[..., -1] - runs.minimum_x).max()),
        "largest_error_of_contraction": float(abs(last / before - runs.contraction).max()),
        "case": cases,
    }


def draw_starts(axes, curve):
    """Draw the curve, each start as a dot in the color of its valley, and the shares."""
    grid, cost = curve.curve_x.values, curve.curve_cost.values
    axes.plot(grid, cost, color=GREY, zorder=1)
    start, colors = curve.position.values[:, 0], np.array(CYCLE)[curve.valley]
    axes.scatter(start, np.interp(start, grid, cost), c=colors, s=36, zorder=2)
    low, high = np.min(cost), np.max(cost)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))
    lowest = int(curve.minimum_cost.values.argmin())
    look: dict = {"textcoords": "offset points", "ha": "center", "va": "top", "color": BLACK}
    minima = zip(curve.minimum_x.values, curve.minimum_cost.values, curve.share.values, strict=True)
    for number, (x, y, share) in enumerate(minima):
        axes.plot(x, y, "*", color=CYCLE[number], markersize=17, markeredgecolor=BLACK, zorder=3)
        text, weight = ("lowest\n", "bold") if number == lowest else ("", "normal")
        axes.annotate(f"{text}{share:.0%}", (x, y), (0, -11), weight=weight, **look)
    axes.set_title(curve.formula)


def draw_paths(axes, curve):
    """Draw positions by step until their changes are invisible, and the maxima."""
    paths, width = curve.position.values, np.ptp(curve.curve_x.values)
    far = np.abs(paths - paths[:, -1:]) > 0.004 * width
    steps = min(paths.shape[1] - 1, int(np.max(np.nonzero(far.any(axis=0))[0], initial=0)))
    time = np.arange(steps + 2)
    for path, valley in zip(paths, curve.valley.values, strict=True):
        axes.plot(path[: len(time)], time[: len(path)], color=CYCLE[valley], linewidth=1.3)
    axes.set_ylim(steps + 1, 0)
    for number, x in enumerate(curve.maximum_x.values):
        axes.axvline(x, color=BLACK, linestyle=":")
        if number == 0:
            axes.text(x, steps, "maximum ", rotation=90, ha="right", va="bottom")
    axes.set_xlabel("parameter x")


def plot(curves: Mapping[str, xr.Dataset]) -> dict[str, Figure]:
    """Draw descents and end points on every curve."""
    shown = [
        curve.isel(start=slice(None, None, max(1, curve.sizes["start"] // DRAWN)))
        for curve in curves.values()
    ]
    valleys = Figure(figsize=(4 * len(shown) + 0.5, 7.2))
    panels = valleys.subplots(2, len(shown), sharex="col", squeeze=False)
    for (above, below), curve in zip(panels.T, shown, strict=True):
        draw_starts(above, curve)
        draw_paths(below, curve)
    first, below = panels[:, 0]
    first.set_ylabel("cost")
    below.set_ylabel("step")
    text = "share of starts that\nlead to each minimum"
    first.text(0.5, 0.97, text, transform=first.transAxes, ha="center", va="top")
    valleys.suptitle("Starts and descents, colored by the valley in which they end")
    return {"valleys": valleys}
