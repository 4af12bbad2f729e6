"""On a curve: to which valley does descent lead, and does it find the lowest one?

    x_{t+1} = x_t - learning_rate * f'(x_t)

    python -m experiments.slope_descent           (about 5 s)

Expected: every descent ends in the valley that the maxima predict, within 1e-8 of its classified
minimum.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import paths
from experiments.shared.trees import datasets
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, Figure

GRID = 1001  # number of points of a drawn curve
DRAWN = 21  # approximate number of paths drawn on each curve


@dataclass(frozen=True)
class Config:
    """Curves, and settings of the descents on them."""

    functions: tuple[str, ...] = ("quartic", "sine_bowl", "two_sines")  # names of 1-D functions
    starts: int = 200  # number of starts, evenly spaced over each domain
    steps: int = 400  # number of steps of each descent
    caution: float = 0.5  # learning rate as a share of 1 / max |f''| over the domain; at most 1


def one(config: Config, name: str) -> xr.Dataset:
    """Return all descents on one curve, with the curve and its known critical points."""
    known = gd.problems.FUNCTIONS[name]
    ((lo, hi),) = known.domain
    grid = np.linspace(lo, hi, GRID)
    f, bend = jax.vmap(known.f), jax.vmap(jax.grad(jax.grad(known.f)))
    learning_rate = config.caution / float(jnp.max(jnp.abs(bend(jnp.asarray(grid)))))
    # Starts are at midpoints, so that each represents an equal share of the domain.
    starts = lo + (hi - lo) * (np.arange(config.starts) + 0.5) / config.starts
    descents = paths(known.f, learning_rate, jnp.asarray(starts), config.steps)
    minima, maxima = (
        np.array(sorted(p.x for p in known.critical_points if p.kind == kind))
        for kind in ("minimum", "maximum")
    )
    # The minimum nearest to the end point, and the one between the same two maxima as the start.
    valley = np.argmin(np.abs(np.asarray(descents[0])[:, -1:] - minima), axis=1)
    at = jnp.asarray(minima)
    columns = {
        ("grid",): {"curve_x": grid, "curve_cost": f(jnp.asarray(grid))},
        ("start", "step"): dict(zip(("position", "slope", "cost"), descents, strict=True)),
        ("start",): {"valley": valley, "predicted_valley": np.searchsorted(maxima, starts)},
        ("minimum",): {
            "minimum_x": minima,
            "minimum_cost": f(at),
            "contraction": 1 - learning_rate * np.asarray(bend(at)),
            "share": np.bincount(valley, minlength=len(minima)) / config.starts,
        },
        ("maximum",): {"maximum_x": maxima},
        (): {"learning_rate": learning_rate},
    }
    return xr.Dataset(
        {name: (dims, np.asarray(a)) for dims, part in columns.items() for name, a in part.items()},
        attrs={"formula": known.formula},
    )


def run(config: Config) -> xr.DataTree:
    """Return a tree with the descents on each curve."""
    with jax.enable_x64(True):
        return xr.DataTree.from_dict({name: one(config, name) for name in config.functions})


def numbers(tree: xr.DataTree) -> dict:
    """Return the results of the descents and their predicted values, over all and by curve."""
    curves = datasets(tree)
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
    return {
        "steps_looked_at": int(np.sum(step != 0)),
        "share_of_steps_against_slope": against[step != 0].mean(),
        "share_of_steps_that_lower_cost": np.mean(
            runs.cost.diff("step").values[length > 1e-6] <= 0
        ),
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


def draw_first_steps(axes, curve):
    """Draw the first step of every start as an arrow, colored by direction."""
    grid, paths, slope = curve.curve_x.values, curve.position.values, curve.slope.values[:, 0]
    axes.plot(grid, curve.curve_cost, color=GREY, zorder=1)
    start, step = paths[:, 0], paths[:, 1] - paths[:, 0]
    height = np.interp(start, grid, curve.curve_cost.values)
    longer = max(1, round(0.2 * np.ptp(grid) / np.max(np.abs(step))))
    look: dict = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.005, "minlength": 0}
    for side, color, text in (
        (slope > 0, VERMILLION, "positive slope: step to the left"),
        (slope < 0, BLUE, "negative slope: step to the right"),
    ):
        x, y, arrow = start[side], height[side], longer * step[side]
        axes.plot(x, y, "o", color=color, markersize=5, label=text, zorder=3)
        axes.quiver(x, y, arrow, np.zeros_like(arrow), color=color, zorder=2, **look)
    axes.legend(loc="upper center")
    axes.set_title(f"First steps on {curve.formula} (arrows magnified {longer} times)")
    axes.set(xlabel="parameter x", ylabel="cost")


def plot(tree: xr.DataTree) -> dict:
    """Draw descents and end points on every curve, and the first steps on the first."""
    curves = [
        curve.isel(start=slice(None, None, max(1, curve.sizes["start"] // DRAWN)))
        for curve in datasets(tree).values()
    ]
    valleys = Figure(figsize=(4 * len(curves) + 0.5, 7.2))
    panels = valleys.subplots(2, len(curves), sharex="col", squeeze=False)
    for (above, below), curve in zip(panels.T, curves, strict=True):
        draw_starts(above, curve)
        draw_paths(below, curve)
    first, below = panels[:, 0]
    first.set_ylabel("cost")
    below.set_ylabel("step")
    text = "share of starts that\nlead to each minimum"
    first.text(0.5, 0.97, text, transform=first.transAxes, ha="center", va="top")
    valleys.suptitle("Starts and descents, colored by the valley in which they end")
    steps = Figure(figsize=(9, 4))
    draw_first_steps(steps.subplots(), curves[0])
    return {"valleys": valleys, "steps": steps}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
