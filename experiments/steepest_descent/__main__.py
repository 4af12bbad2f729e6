"""Is the negative gradient the direction of steepest descent, and in which minimum do descents end?

    slope along a unit vector u = grad f . u >= -|grad f|,  equal only for u = -grad f / |grad f|

    python -m experiments.steepest_descent           (about 15 s)

Expected: the ratio of the steepest measured descent to |grad f| is in [cos 0.5 deg, 1], in a
direction at most 0.5 deg from the negative gradient; all 4 saddles of the first function and all 7
of the second are on a boundary.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.trees import datasets
from gdjax.minima.basins import NoMinimum, basins_of_attraction, learning_rate_limits
from gdjax.plots import surfaces

from . import figures

MAX_DISTANCE = 1e-2  # largest distance of a converged descent from a classified minimum
GRADIENT = 1e-3  # largest gradient norm at which a descent counts as converged
DIFFERENCE = 1e-5  # step of the finite differences; their error is of order 1e-8 here
FIELD = 17  # number of arrows along each side of the drawn vector field


@dataclass(frozen=True)
class Config:
    """Surfaces, and settings of the descents and slopes on them."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")  # names of 2-D test functions
    side: int = 200  # number of starts along each side of the map
    steps: int = 1000  # number of steps of each descent
    # learning rates of the maps, in units of 2 / (largest eigenvalue at any minimum)
    rates: tuple[float, ...] = (0.1, 0.9)
    paths: int = 24  # number of random starts whose paths at the first rate are drawn
    points: int = 200  # number of random points at which slopes in all directions are measured
    directions: int = 360  # number of directions, evenly spaced
    seed: int = 0  # seed of the random starts and points


def directional_slopes(f, points, angle):
    """Return slopes of f at each point along unit vectors, by central differences."""
    units = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    def slope(point, unit):
        return (f(point + DIFFERENCE * unit) - f(point - DIFFERENCE * unit)) / (2 * DIFFERENCE)

    return jax.jit(jax.vmap(jax.vmap(slope, (None, 0)), (0, None)))(points, units)


def paths(f, learning_rate, starts, steps):
    """Return the positions of descents at every step, [starts, steps + 1, 2]."""

    def path(start):
        optimizer = optax.sgd(learning_rate)

        def advance(state, _):
            return gd.descent.step(f, optimizer, state)[0], state.params

        state = gd.descent.init(optimizer, start)
        return jax.lax.scan(advance, state, length=steps + 1)[1]

    return jax.jit(jax.vmap(path))(starts)


def nearest(points, minima):
    """Return the index of the minimum each point has reached, or `NOT_ARRIVED`."""
    distance = np.linalg.norm(np.asarray(points)[..., None, :] - minima, axis=-1)
    converged = np.min(distance, axis=-1) < MAX_DISTANCE
    return np.where(converged, np.argmin(distance, axis=-1), NoMinimum.NOT_ARRIVED)


def one(config: Config, name: str) -> xr.Dataset:
    """Return all measurements on one surface, and its known critical points."""
    known, init = gd.problems.find(name), gd.problems.from_function(name).init
    rates = learning_rate_limits(name).min() * np.array(config.rates)
    ends = basins_of_attraction(
        name,
        rates,
        side=config.side,
        num_steps=config.steps,
        gradient_tolerance=GRADIENT,
        distance_tolerance=MAX_DISTANCE,
    ).isel(momentum=0)
    keys = gd.run_keys(config.seed, np.arange(config.paths)).init
    trajectories = paths(known.f, rates[0], jax.vmap(init)(keys), config.steps)
    points = jax.vmap(init)(gd.run_keys(config.seed, np.arange(config.points)).probes)
    angle = 2 * jnp.pi * jnp.arange(config.directions) / config.directions
    gradient = jax.jit(jax.vmap(jax.grad(known.f)))
    inside = (np.arange(FIELD) + 0.5) / FIELD
    field_x, field_y = (a + (b - a) * inside for a, b in known.domain)
    field = jnp.asarray(np.stack(np.meshgrid(field_x, field_y), axis=-1).reshape(-1, 2))
    critical = {
        kind: np.array([p.x for p in known.critical_points if p.kind == kind]).reshape(-1, 2)
        for kind in ("saddle", "maximum")
    }
    return xr.Dataset(
        {
            "x": ("column", ends.x.values),
            "y": ("row", ends.y.values),
            "cost": (("row", "column"), ends.cost.values),
            "end": (("rate", "row", "column"), ends.end.values),
            "path": (("start", "step", "xy"), np.asarray(trajectories)),
            "path_end": ("start", nearest(trajectories[:, -1], ends.position.values)),
            "field_at": (("arrow", "xy"), np.asarray(field)),
            "field": (("arrow", "xy"), -np.asarray(gradient(field))),
            "point": (("probe", "xy"), np.asarray(points)),
            "gradient": (("probe", "xy"), np.asarray(gradient(points))),
            "slope": (
                ("probe", "direction"),
                np.asarray(directional_slopes(known.f, points, angle)),
            ),
            "learning_rate": ("rate", rates),
            "minimum": (("minimum_number", "xy"), ends.position.values),
            **{kind: ((f"{kind}_number", "xy"), at) for kind, at in critical.items()},
        },
        {"angle": ("direction", np.asarray(angle)), "rate": list(config.rates)},
        {"formula": known.formula},
    )


def run(config: Config) -> xr.DataTree:
    """Return a tree with the descents and slopes on each surface."""
    with jax.enable_x64(True):
        return xr.DataTree.from_dict({name: one(config, name) for name in config.functions})


def downhill(surface: xr.Dataset) -> np.ndarray:
    """Return the direction of -grad f at each point, as an angle in radians."""
    return np.arctan2(-surface.gradient.values[:, 1], -surface.gradient.values[:, 0])


def relative_slopes(surface: xr.Dataset) -> np.ndarray:
    """Return the slopes along all directions at each point, divided by |grad f|."""
    return surface.slope.values / np.linalg.norm(surface.gradient.values, axis=1, keepdims=True)


def on_border(surface: xr.Dataset) -> np.ndarray:
    """Return whether starts around each saddle end in different minima.

    The starts are the 3 x 3 grid points nearest to the saddle; the learning rate is the first one.
    """
    end, results = surface.end.values[0], []
    for x, y in surface.saddle.values:
        row = np.argmin(np.abs(surface.y.values - y))
        column = np.argmin(np.abs(surface.x.values - x))
        around = end[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        results.append(len(np.unique(around[around >= 0])) > 1)
    return np.array(results)


def numbers(tree: xr.DataTree) -> dict:
    """Return statistics of the steepest slopes, and shares of starts by end point."""
    by_name = datasets(tree)
    ratio, angle = [], []
    for surface in by_name.values():
        slope = relative_slopes(surface)
        ratio.append(-slope.min(axis=1))
        from_downhill = surface.angle.values[slope.argmin(axis=1)] - downhill(surface)
        angle.append(np.degrees(np.abs((from_downhill + np.pi) % (2 * np.pi) - np.pi)))
    summary = {
        "slopes_measured": sum(surface.slope.size for surface in by_name.values()),
        "steepest_over_gradient_norm_least": np.min(ratio),
        "steepest_over_gradient_norm_most": np.max(ratio),
        "degrees_from_negative_gradient_most": np.max(angle),
    }
    for name, surface in by_name.items():
        small, border = surface.end.values[0], on_border(surface)
        summary |= {
            f"{name}_saddles": len(border),
            f"{name}_saddles_on_border": int(border.sum()),
            f"{name}_share_by_minimum": [
                np.mean(small == number) for number in range(surface.sizes["minimum_number"])
            ],
        }
        for rate, end, learning_rate in zip(
            surface.rate.values, surface.end.values, surface.learning_rate.values, strict=True
        ):
            summary |= {
                f"{name}_learning_rate_{rate:g}": learning_rate,
                f"{name}_elsewhere_{rate:g}": np.mean(end != small),
                **{
                    f"{name}_{code.name.lower()}_{rate:g}": np.mean(end == code)
                    for code in (NoMinimum.DIVERGED, NoMinimum.NOT_ARRIVED, NoMinimum.AT_NO_MINIMUM)
                },
            }
    return summary


def plot(tree: xr.DataTree) -> dict:
    """Draw slopes in all directions, paths, and maps of the end points."""
    by_name = datasets(tree)
    grids = {
        name: surfaces.Surface(
            title=surface.formula,
            x=surface.x.values,
            y=surface.y.values,
            cost=surface.cost.values,
            minima=surface.minimum.values,
            saddles=surface.saddle.values,
            maxima=surface.maximum.values,
        )
        for name, surface in by_name.items()
    }
    first, grid = next(iter(by_name.values())), next(iter(grids.values()))
    center = np.array([np.mean(grid.x), np.mean(grid.y)])
    shown = int(np.argmin(np.linalg.norm(first.point.values - center, axis=1)))
    every = by_name.values()
    return {
        "directions": figures.directions(
            grid,
            first.point.values[shown],
            shown,
            first.angle.values,
            downhill=np.concatenate([downhill(surface) for surface in every]),
            slopes=np.concatenate([relative_slopes(surface) for surface in every]),
        ),
        "basins": figures.basins(
            list(grids.values()),
            [surface.end.values for surface in every],
            [surface.learning_rate.values for surface in every],
        ),
    } | {
        f"paths_{name}": surfaces.paths(
            grids[name],
            surface.path.values,
            surface.path_end.values,
            field_at=surface.field_at.values,
            field=surface.field.values,
        ).figure
        for name, surface in by_name.items()
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
