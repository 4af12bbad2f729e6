"""On a curve: where does the slope lead, and is the lowest valley found?

    x_{t+1} = x_t - learning_rate * f'(x_t)

Many evenly spaced starts walk down three curves whose valleys are known beforehand. A positive
slope sends a start left, a negative one right, and steps shrink with the slope. With a learning
rate below 1 / max |f''| no step can leap over a valley or a hilltop, so the certified maxima must
be the watersheds, and the share of starts that reach the lowest minimum must be the width of its
valley, 53, 60 and 42 % of the domains: nobody looked for it.

    python experiments/slope_descent.py           (about 5 s)

Expected: every start in the valley that the maxima predict, within 1e-8 of its certified minimum.
"""

from dataclasses import dataclass
from itertools import pairwise

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import curves

import gdjax as gd

GRID = 1001  # points of a drawn curve
DRAWN = 21  # paths a picture


@dataclass(frozen=True)
class Config:
    """What is descended, and how.

    Args:
        functions: names of 1-D test functions.
        starts: how many, evenly over each domain.
        steps: how many each start takes.
        caution: learning rate as a share of 1 / max |f''| over the domain; at most 1.
    """

    functions: tuple[str, ...] = ("quartic", "sine_bowl", "two_sines")
    starts: int = 200
    steps: int = 400
    caution: float = 0.5


def descend(f, learning_rate, starts, steps):
    """Position, slope and cost of every start at every step, arrays [starts, steps + 1]."""

    def path(start):
        optimizer = optax.sgd(learning_rate)

        def advance(state, _):
            state_next, info = gd.descent.step(f, optimizer, state)
            return state_next, (state.params, info.gradient, info.cost)

        return jax.lax.scan(advance, gd.descent.init(optimizer, start), length=steps + 1)[1]

    return jax.jit(jax.vmap(path))(starts)


def one(config: Config, name: str) -> xr.Dataset:
    """All descents on one curve, beside what is known about it."""
    known = gd.problems.find(name)
    ((lo, hi),) = known.domain
    grid = np.linspace(lo, hi, GRID)
    bend = jax.vmap(jax.grad(jax.grad(known.f)))
    learning_rate = config.caution / float(jnp.max(jnp.abs(bend(jnp.asarray(grid)))))
    # Midpoints: each start stands for an equal share of the domain.
    starts = lo + (hi - lo) * (np.arange(config.starts) + 0.5) / config.starts
    position, slope, cost = descend(known.f, learning_rate, jnp.asarray(starts), config.steps)
    minima = sorted(p.x for p in known.critical_points if p.kind == "minimum")
    maxima = sorted(p.x for p in known.critical_points if p.kind == "maximum")
    at_minima = jnp.asarray(minima)
    return xr.Dataset(
        {
            "curve_x": ("grid", grid),
            "curve_cost": ("grid", np.asarray(jax.vmap(known.f)(jnp.asarray(grid)))),
            "position": (("start", "step"), np.asarray(position)),
            "slope": (("start", "step"), np.asarray(slope)),
            "cost": (("start", "step"), np.asarray(cost)),
            # Which minimum is nearest to the end, and which one the maxima say it must be.
            "valley": ("start", nearest(position[:, -1], minima)),
            "predicted_valley": ("start", np.searchsorted(maxima, starts)),
            "minimum_x": ("minimum", minima),
            "minimum_cost": ("minimum", np.asarray(jax.vmap(known.f)(at_minima))),
            "minimum_curvature": ("minimum", np.asarray(bend(at_minima))),
            "maximum_x": ("maximum", maxima),
            "learning_rate": ((), learning_rate),
        },
        {"minimum": np.arange(len(minima)), "maximum": np.arange(len(maxima))},
    )


def nearest(ends, minima):
    """Number of the minimum that each end is nearest to."""
    return np.argmin(np.abs(np.asarray(ends)[:, None] - np.asarray(minima)), axis=1)


def run(config: Config) -> xr.Dataset:
    """All curves, along a dimension `function` in the order of the config."""
    with jax.enable_x64(True):
        found = [one(config, name) for name in config.functions]
    # Curves differ in how many minima they have: the missing ones become NaN.
    dataset = xr.concat(found, "function", join="outer", data_vars="all")
    formulas = [gd.problems.find(name).formula for name in config.functions]
    return dataset.assign_attrs(functions=list(config.functions), formulas=formulas)


def by_function(dataset):
    """Each curve by its name, without the padding."""
    for index, name in enumerate(dataset.attrs["functions"]):
        found = dataset.isel(function=index)
        yield name, found.dropna("minimum").dropna("maximum")


def numbers(dataset: xr.Dataset) -> dict:
    """What the descents did, beside what had to happen."""
    found: dict = {}
    step = dataset.position.diff("step").values
    slope = dataset.slope.values[..., :-1]
    moved = step != 0
    found["steps_looked_at"] = int(moved.sum())
    found["share_of_steps_against_slope"] = float(np.mean((step * slope < 0)[moved]))
    found["share_of_steps_that_lower_cost"] = float(
        np.mean((dataset.cost.diff("step").values <= 0)[np.abs(step) > 1e-6])
    )
    found["share_in_predicted_valley"] = float(
        np.mean(dataset.valley.values == dataset.predicted_valley.values)
    )
    distances, errors = [], []
    for name, curve in by_function(dataset):
        valley = curve.valley.values
        at = curve.minimum_x.values[valley]
        distances.append(np.max(np.abs(curve.position.values[:, -1] - at)))
        errors.append(np.max(np.abs(contraction(curve) - shrinks_by(curve)[valley])))
        lowest = int(np.argmin(curve.minimum_cost.values))
        found[f"{name}_learning_rate"] = float(curve.learning_rate)
        found[f"{name}_share_at_lowest"] = float(np.mean(valley == lowest))
        found[f"{name}_width_of_lowest"] = width(curve, lowest)
    found["largest_distance_to_minimum"] = float(max(distances))
    found["largest_error_of_contraction"] = float(max(errors))
    return found


def shrinks_by(curve):
    """1 - learning_rate * f'' at each minimum: the ratio of two steps that follow each other."""
    return 1 - float(curve.learning_rate) * curve.minimum_curvature.values


def contraction(curve):
    """That ratio as the descents show it, where steps are small but far from rounding."""
    length = np.abs(curve.position.diff("step").values)
    late = np.argmax(length < 1e-8, axis=1)
    rows = np.arange(len(length))
    return length[rows, late] / length[rows, late - 1]


def width(curve, valley):
    """Share of the domain between the maxima on both sides of a minimum."""
    edges = [curve.curve_x.values[0], *curve.maximum_x.values, curve.curve_x.values[-1]]
    low, high = list(pairwise(edges))[valley]
    return float((high - low) / (edges[-1] - edges[0]))


def plot(dataset: xr.Dataset) -> dict:
    """Where starts fall on every curve, and one curve's steps looked at closely."""
    panels = []
    for (_, curve), formula in zip(by_function(dataset), dataset.attrs["formulas"], strict=True):
        few = slice(None, None, max(1, curve.sizes["start"] // DRAWN))
        panels.append(
            curves.Curve(
                title=formula,
                x=curve.curve_x.values,
                cost=curve.curve_cost.values,
                paths=curve.position.values[few],
                valley=curve.valley.values[few],
                minima=curve.minimum_x.values,
                minima_cost=curve.minimum_cost.values,
                maxima=curve.maximum_x.values,
                shares=np.bincount(curve.valley, minlength=curve.sizes["minimum"])
                / curve.sizes["start"],
            )
        )
    _, first = next(by_function(dataset))
    return {
        "valleys": curves.valleys(panels),
        "steps": curves.steps(
            panels[0],
            slopes=first.slope.values[:: max(1, first.sizes["start"] // DRAWN)],
            learning_rate=float(first.learning_rate),
            contractions=shrinks_by(first),
        ),
    }


if __name__ == "__main__":
    common.main("slope_descent", Config, run, plot, numbers)
