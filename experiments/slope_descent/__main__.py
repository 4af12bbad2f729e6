"""On a curve: to which valley does descent lead, and does it find the lowest one?

    x_{t+1} = x_t - learning_rate * f'(x_t)

    python -m experiments.slope_descent           (about 5 s)

Expected: every descent ends in the valley that the maxima predict, within 1e-8 of its classified
minimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import paths
from experiments.shared.trees import datasets
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, Figure, style

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
    predicted = np.searchsorted(maxima, starts)
    at = jnp.asarray(minima)
    columns = {
        ("grid",): {"curve_x": grid, "curve_cost": f(jnp.asarray(grid))},
        ("start", "step"): dict(zip(("position", "slope", "cost"), descents, strict=True)),
        ("start",): {"valley": valley, "predicted_valley": predicted},
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
    """Return the results of the descents, and their predicted values."""
    curves = datasets(tree)
    names = ["position", "slope", "cost", "valley", "predicted_valley"]
    runs = xr.concat([curve[names] for curve in curves.values()], "curve")
    step = runs.position.diff("step").values
    against = step * runs.slope.values[..., :-1] < 0
    summary: dict = {
        "steps_looked_at": int(np.sum(step != 0)),
        "share_of_steps_against_slope": against[step != 0].mean(),
        "share_of_steps_that_lower_cost": float(
            (runs.cost.diff("step").values <= 0)[np.abs(step) > 1e-6].mean()
        ),
        "share_in_predicted_valley": float((runs.valley == runs.predicted_valley).mean()),
    }
    distances, errors = [], []
    for name, curve in curves.items():
        at_end = curve[["minimum_x", "contraction"]].isel(minimum=curve.valley)
        distances.append(np.abs(curve.position[:, -1] - at_end.minimum_x).max())
        # The measured contraction is that of the first step shorter than 1e-8.
        length = np.abs(curve.position.diff("step").values)
        late, rows = np.argmax(length < 1e-8, axis=1), np.arange(len(length))
        measured = length[rows, late] / length[rows, late - 1]
        errors.append(np.abs(measured - at_end.contraction).max())
        lowest = int(curve.minimum_cost.values.argmin())
        edges = np.concatenate([curve.curve_x[:1], curve.maximum_x, curve.curve_x[-1:]])
        summary |= {
            f"{name}_learning_rate": float(curve.learning_rate),
            f"{name}_share_at_lowest": float(curve.share[lowest]),
            f"{name}_width_of_lowest": float(np.diff(edges)[lowest] / np.ptp(edges)),
        }
    return summary | {
        "largest_distance_to_minimum": float(max(distances)),
        "largest_error_of_contraction": float(max(errors)),
    }


def colors(valley) -> list[str]:
    """Return the color of each valley, on the curve and in the paths below it."""
    return [CYCLE[number % len(CYCLE)] for number in np.asarray(valley)]


def valleys(curves: Sequence[xr.Dataset]) -> Figure:
    """Draw each curve with its starts, and the paths from these starts below it."""
    with style():
        figure = Figure(figsize=(4 * len(curves) + 0.5, 7.2))
        panels = figure.subplots(2, len(curves), sharex="col", squeeze=False)
        for (above, below), curve in zip(panels.T, curves, strict=True):
            draw_starts(above, curve)
            draw_paths(below, curve)
        first, below = panels[:, 0]
        first.set_ylabel("cost")
        below.set_ylabel("step")
        text = "share of starts that\nlead to each minimum"
        first.text(0.5, 0.97, text, transform=first.transAxes, ha="center", va="top")
        figure.suptitle("Starts and descents, colored by the valley in which they end")
    return figure


def draw_starts(axes, curve):
    """Draw the curve, each start as a dot in the color of its valley, and the shares."""
    grid, cost = curve.curve_x.values, curve.curve_cost.values
    axes.plot(grid, cost, color=GREY, zorder=1)
    start = curve.position.values[:, 0]
    axes.scatter(start, np.interp(start, grid, cost), c=colors(curve.valley), s=36, zorder=2)
    low, high = np.min(cost), np.max(cost)
    axes.set_ylim(low - 0.3 * (high - low), high + 0.05 * (high - low))
    lowest = int(curve.minimum_cost.values.argmin())
    look: dict = {"textcoords": "offset points", "ha": "center", "va": "top", "color": BLACK}
    minima = zip(curve.minimum_x.values, curve.minimum_cost.values, curve.share.values, strict=True)
    for number, (x, y, share) in enumerate(minima):
        color = CYCLE[number % len(CYCLE)]
        axes.plot(x, y, "*", color=color, markersize=17, markeredgecolor=BLACK, zorder=3)
        text, weight = ("lowest\n", "bold") if number == lowest else ("", "normal")
        axes.annotate(f"{text}{share:.0%}", (x, y), (0, -11), weight=weight, **look)
    axes.set_title(curve.formula)


def draw_paths(axes, curve):
    """Draw positions by step until their changes are invisible, and the maxima."""
    paths, width = curve.position.values, np.ptp(curve.curve_x.values)
    far = np.abs(paths - paths[:, -1:]) > 0.004 * width
    steps = min(paths.shape[1] - 1, int(np.max(np.nonzero(far.any(axis=0))[0], initial=0)))
    time = np.arange(steps + 2)
    for path, color in zip(paths, colors(curve.valley), strict=True):
        axes.plot(path[: len(time)], time[: len(path)], color=color, linewidth=1.3)
    axes.set_ylim(steps + 1, 0)
    for x in curve.maximum_x.values:
        axes.axvline(x, color=BLACK, linestyle=":")
    for x in curve.maximum_x.values[:1]:
        axes.text(x, steps, "maximum ", rotation=90, ha="right", va="bottom")
    axes.set_xlabel("parameter x")


def steps(curve: xr.Dataset) -> Figure:
    """Draw the first steps, all steps against the slope, and the lengths of steps."""
    with style():
        figure = Figure(figsize=(9, 8))
        panels = figure.subplot_mosaic([["first", "first"], ["slope", "length"]])
        draw_first_steps(panels["first"], curve)
        draw_against_slope(panels["slope"], curve)
        draw_lengths(panels["length"], curve)
    return figure


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


def draw_against_slope(axes, curve):
    """Draw all steps against the slopes before them, and the predicted line."""
    step, before = np.diff(curve.position.values, axis=1), curve.slope.values[:, :-1]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    ends = np.array([np.min(before), np.max(before)])
    predicted = -float(curve.learning_rate) * ends
    axes.plot(ends, predicted, color=BLACK, linewidth=1.2, label="-rate · slope")
    axes.scatter(before, step, s=22, c=np.where(before > 0, VERMILLION, BLUE).ravel(), zorder=2)
    axes.set(title="Step against slope", xlabel="slope f'(x)", ylabel="step in x")
    axes.legend(loc="upper right")


def draw_lengths(axes, curve):
    """Draw the lengths of the steps of each descent, and the predicted contraction."""
    length = np.abs(np.diff(curve.position.values, axis=1))
    length[length < 1e-14] = np.nan  # below rounding error
    for row, color in zip(length, colors(curve.valley), strict=True):
        axes.plot(np.arange(len(row)), row, color=color, linewidth=1.2, alpha=0.8)
    for number, ratio in enumerate(curve.contraction.values):
        own = length[curve.valley.values == number]
        late = np.argmax(own < 1e-5, axis=1)
        if late.any():
            # The prediction is drawn for one descent, whose steps become short at the median time.
            middle = np.argsort(late)[len(late) // 2]
            time = np.arange(late[middle], own.shape[1])
            theory = own[middle, time[0]] * abs(ratio) ** (time - time[0])
            above_rounding = theory > 1e-14
            axes.plot(time[above_rounding], theory[above_rounding], "--", color=BLACK, zorder=3)
    for x, color in zip(curve.minimum_x.values, CYCLE, strict=False):
        axes.plot([], [], color=color, label=f"ends at {x:.2f}")
    axes.plot([], [], "--", color=BLACK, label="theory:\n1 - rate · f''")
    axes.legend(loc="lower left", handlelength=1.2)
    axes.set(yscale="log", ylim=(1e-17, None), title="Length of each step", xlabel="step")
    axes.set_ylabel("length of the step in x")


def plot(tree: xr.DataTree) -> dict:
    """Draw descents and end points on every curve, and single steps on the first."""
    curves = [
        curve.isel(start=slice(None, None, max(1, curve.sizes["start"] // DRAWN)))
        for curve in datasets(tree).values()
    ]
    return {"valleys": valleys(curves), "steps": steps(curves[0])}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
