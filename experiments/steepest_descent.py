"""Is the negative gradient the steepest way down, and to which minimum does it lead?

    slope along a unit vector u = grad f . u >= -|grad f|,  equal only for u = -grad f / |grad f|

Slopes are measured in hundreds of directions from values of the cost alone, without any gradient.
Then a whole grid of starts descends as one program, and the map of where each one ends is drawn, at
a small learning rate and at one near the limit 2 / lambda beyond which the sharpest minimum cannot
hold a descent. At a small rate every certified saddle must lie on a border of the map; at a large
one the same starts end elsewhere, and the borders fray.

    python experiments/steepest_descent.py           (about 15 s)

Expected: largest measured slope over |grad f| in [cos 0.5 deg, 1], never more than 0.5 deg from the
negative gradient; 4 of 4 and 7 of 7 saddles on a border.
"""

from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax.minima.basins import NoMinimum, basins, stability_limits
from gdjax.plots import surfaces

NEAR = 1e-2  # a descent that rests this near to a certified minimum has arrived there
GRADIENT = 1e-3  # it rests where the slope is no larger
DIFFERENCE = 1e-5  # step of the finite differences: their error is of order 1e-8 here
FIELD = 17  # arrows along each side of a drawn field


@dataclass(frozen=True)
class Config:
    """Which surfaces, from where, and how.

    Args:
        functions: names of 2-D test functions.
        side: starts along each side of the map.
        steps: how many each start takes.
        rates: learning rates of the maps, as shares of 2 / the largest eigenvalue at any minimum.
        paths: random starts whose whole paths are drawn, at the first rate.
        points: random points at which slopes in all directions are measured.
        directions: how many, evenly around.
        seed: of the random starts and points.
    """

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")
    side: int = 200
    steps: int = 1000
    rates: tuple[float, ...] = (0.1, 0.9)
    paths: int = 24
    points: int = 200
    directions: int = 360
    seed: int = 0


def directional_slopes(f, points, directions):
    """How steep f is along each unit vector, from its values on both sides of each point."""
    angle = 2 * jnp.pi * jnp.arange(directions) / directions
    units = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    def slope(point, unit):
        return (f(point + DIFFERENCE * unit) - f(point - DIFFERENCE * unit)) / (2 * DIFFERENCE)

    every = jax.vmap(jax.vmap(slope, (None, 0)), (0, None))
    return np.asarray(angle), jax.jit(every)(points, units)


def paths(f, learning_rate, starts, steps):
    """Where each start is at every step, [starts, steps + 1, 2]."""

    def path(start):
        optimizer = optax.sgd(learning_rate)

        def advance(state, _):
            return gd.descent.step(f, optimizer, state)[0], state.params

        state = gd.descent.init(optimizer, start)
        return jax.lax.scan(advance, state, length=steps + 1)[1]

    return jax.jit(jax.vmap(path))(starts)


def nearest(points, minima):
    """Number of the minimum that each point has arrived at, or that it has at none."""
    distance = np.linalg.norm(np.asarray(points)[..., None, :] - minima, axis=-1)
    arrived = np.min(distance, axis=-1) < NEAR
    return np.where(arrived, np.argmin(distance, axis=-1), NoMinimum.NOT_ARRIVED)


def one(config: Config, name: str) -> xr.Dataset:
    """All that is measured on one surface, beside what is known about it."""
    known = gd.problems.find(name)
    kinds = {
        kind: np.array([p.x for p in known.critical_points if p.kind == kind]).reshape(-1, 2)
        for kind in ("saddle", "maximum")
    }
    rates = stability_limits(name).min() * np.array(config.rates)
    held = basins(
        name,
        rates,
        side=config.side,
        num_steps=config.steps,
        gradient_tolerance=GRADIENT,
        distance_tolerance=NEAR,
    ).isel(momentum=0)
    minima = kinds["minimum"] = held.position.values
    init = gd.problems.function(name).init
    keys = gd.streams(config.seed, np.arange(config.paths)).init
    walked = paths(known.f, rates[0], jax.vmap(init)(keys), config.steps)
    keys = gd.streams(config.seed, np.arange(config.points)).probes
    points = jax.vmap(init)(keys)
    angle, slope = directional_slopes(known.f, points, config.directions)
    gradient = jax.jit(jax.vmap(jax.grad(known.f)))
    inside = (np.arange(FIELD) + 0.5) / FIELD
    field_x, field_y = (a + (b - a) * inside for a, b in known.domain)
    field = jnp.asarray(np.stack(np.meshgrid(field_x, field_y), axis=-1).reshape(-1, 2))
    return xr.Dataset(
        {
            "x": ("column", held.x.values),
            "y": ("row", held.y.values),
            "cost": (("row", "column"), held.cost.values),
            "end": (("rate", "row", "column"), held.end.values),
            "path": (("start", "step", "xy"), np.asarray(walked)),
            "path_end": ("start", nearest(walked[:, -1], minima)),
            "field_at": (("arrow", "xy"), np.asarray(field)),
            "field": (("arrow", "xy"), -np.asarray(gradient(field))),
            "point": (("probe", "xy"), np.asarray(points)),
            "gradient": (("probe", "xy"), np.asarray(gradient(points))),
            "slope": (("probe", "direction"), np.asarray(slope)),
            "learning_rate": ("rate", rates),
            **{kind: ((f"{kind}_number", "xy"), found) for kind, found in kinds.items()},
        },
        {"angle": ("direction", angle)}
        | {f"{kind}_number": np.arange(len(found)) for kind, found in kinds.items()},
    )


def run(config: Config) -> xr.Dataset:
    """All surfaces, along a dimension `function` in the order of the config."""
    with jax.enable_x64(True):
        found = [one(config, name) for name in config.functions]
    # Surfaces differ in their critical points: the missing ones become NaN.
    dataset = xr.concat(found, "function", join="outer", data_vars="all")
    formulas = [gd.problems.find(name).formula for name in config.functions]
    return dataset.assign_coords(rate=list(config.rates)).assign_attrs(
        functions=list(config.functions), formulas=formulas
    )


def by_function(dataset):
    """Each surface by its name, without the padding."""
    for index, name in enumerate(dataset.attrs["functions"]):
        found = dataset.isel(function=index)
        for kind in ("minimum", "saddle", "maximum"):
            found = found.dropna(f"{kind}_number")
        yield name, found


def steepest(dataset):
    """Steepest measured way down: its slope over |grad f|, and its angle to -grad f in degrees."""
    gradient = dataset.gradient.values.reshape(-1, 2)
    slope = dataset.slope.values.reshape(len(gradient), -1)
    ratio = -np.min(slope, axis=1) / np.linalg.norm(gradient, axis=1)
    away = dataset.angle.values[np.argmin(slope, axis=1)] - downhill(gradient)
    return ratio, np.degrees(np.abs((away + np.pi) % (2 * np.pi) - np.pi))


def downhill(gradient):
    """Direction of -grad f, as an angle in radians."""
    return np.arctan2(-gradient[..., 1], -gradient[..., 0])


def on_border(surface):
    """For each saddle, whether starts around it end in different minima at the first rate."""
    end, found = surface.end.values[0], []
    for x, y in surface.saddle.values:
        row = np.argmin(np.abs(surface.y.values - y))
        column = np.argmin(np.abs(surface.x.values - x))
        around = end[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        found.append(len(np.unique(around[around >= 0])) > 1)
    return np.array(found)


def numbers(dataset: xr.Dataset) -> dict:
    """How steep the steepest way is, and what the maps show."""
    ratio, angle = steepest(dataset)
    found = {
        "slopes_measured": int(dataset.slope.size),
        "steepest_over_gradient_norm_least": float(ratio.min()),
        "steepest_over_gradient_norm_most": float(ratio.max()),
        "degrees_from_negative_gradient_most": float(angle.max()),
    }
    for name, surface in by_function(dataset):
        small = surface.end.values[0]
        border = on_border(surface)
        found[f"{name}_saddles"] = len(border)
        found[f"{name}_saddles_on_border"] = int(border.sum())
        found[f"{name}_share_by_minimum"] = [
            float(np.mean(small == number)) for number in surface.minimum_number.values
        ]
        for index, share in enumerate(dataset.rate.values):
            end = surface.end.values[index]
            found[f"{name}_learning_rate_{share:g}"] = float(surface.learning_rate[index])
            found[f"{name}_diverged_{share:g}"] = float(np.mean(end == NoMinimum.DIVERGED))
            found[f"{name}_not_arrived_{share:g}"] = float(np.mean(end == NoMinimum.NOT_ARRIVED))
            found[f"{name}_at_no_minimum_{share:g}"] = float(
                np.mean(end == NoMinimum.AT_NO_MINIMUM)
            )
            found[f"{name}_elsewhere_{share:g}"] = float(np.mean(end != small))
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Slopes in all directions, paths over the surfaces, and the maps of where starts end."""
    pictures = [
        surfaces.Surface(
            title=formula,
            x=surface.x.values,
            y=surface.y.values,
            cost=surface.cost.values,
            minima=surface.minimum.values,
            saddles=surface.saddle.values,
            maxima=surface.maximum.values,
        )
        for (_, surface), formula in zip(
            by_function(dataset), dataset.attrs["formulas"], strict=True
        )
    ]
    found = dict(by_function(dataset))
    first = next(iter(found.values()))
    centre = np.array([np.mean(pictures[0].x), np.mean(pictures[0].y)])
    shown = np.argmin(np.linalg.norm(first.point.values - centre, axis=1))
    gradient = dataset.gradient.values.reshape(-1, 2)
    slope = dataset.slope.values.reshape(len(gradient), -1)
    figures = {
        "directions": surfaces.directions(
            pictures[0],
            first.point.values[shown],
            int(shown),
            dataset.angle.values,
            downhill=downhill(gradient),
            slopes=slope / np.linalg.norm(gradient, axis=1, keepdims=True),
        ),
        "basins": surfaces.basins(
            pictures,
            [list(surface.end.values) for surface in found.values()],
            [list(surface.learning_rate.values) for surface in found.values()],
            not_arrived=NoMinimum.NOT_ARRIVED,
            diverged=NoMinimum.DIVERGED,
        ),
    }
    for picture, (name, surface) in zip(pictures, found.items(), strict=True):
        figures[f"paths_{name}"] = surfaces.paths(
            picture,
            surface.path.values,
            surface.path_end.values,
            field_at=surface.field_at.values,
            field=surface.field.values,
        )
    return figures


if __name__ == "__main__":
    common.main("steepest_descent", Config, run, plot, numbers)
