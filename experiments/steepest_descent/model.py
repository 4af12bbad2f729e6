"""Slopes in all directions, and descents from a grid of starts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax.minima.basins import NoMinimum, basins_of_attraction, learning_rate_limits

from .config import Config

MAX_DISTANCE = (
    1e-2  # largest distance from a classified minimum at which a descent counts as converged
)
GRADIENT = 1e-3  # largest gradient norm at which a descent counts as converged
DIFFERENCE = 1e-5  # step of the finite differences; their error is of order 1e-8 here
FIELD = 17  # number of arrows along each side of the drawn vector field


def directional_slopes(f, points, directions):
    """Return angles of unit vectors, and slopes of f along them at each point.

    The slopes are central differences.
    """
    angle = 2 * jnp.pi * jnp.arange(directions) / directions
    units = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)

    def slope(point, unit):
        return (f(point + DIFFERENCE * unit) - f(point - DIFFERENCE * unit)) / (2 * DIFFERENCE)

    every = jax.vmap(jax.vmap(slope, (None, 0)), (0, None))
    return np.asarray(angle), jax.jit(every)(points, units)


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
    known = gd.problems.find(name)
    kinds = {
        kind: np.array([p.x for p in known.critical_points if p.kind == kind]).reshape(-1, 2)
        for kind in ("saddle", "maximum")
    }
    rates = learning_rate_limits(name).min() * np.array(config.rates)
    held = basins_of_attraction(
        name,
        rates,
        side=config.side,
        num_steps=config.steps,
        gradient_tolerance=GRADIENT,
        distance_tolerance=MAX_DISTANCE,
    ).isel(momentum=0)
    minima = kinds["minimum"] = held.position.values
    init = gd.problems.from_function(name).init
    keys = gd.run_keys(config.seed, np.arange(config.paths)).init
    trajectories = paths(known.f, rates[0], jax.vmap(init)(keys), config.steps)
    keys = gd.run_keys(config.seed, np.arange(config.points)).probes
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
            "path": (("start", "step", "xy"), np.asarray(trajectories)),
            "path_end": ("start", nearest(trajectories[:, -1], minima)),
            "field_at": (("arrow", "xy"), np.asarray(field)),
            "field": (("arrow", "xy"), -np.asarray(gradient(field))),
            "point": (("probe", "xy"), np.asarray(points)),
            "gradient": (("probe", "xy"), np.asarray(gradient(points))),
            "slope": (("probe", "direction"), np.asarray(slope)),
            "learning_rate": ("rate", rates),
            **{
                kind: ((f"{kind}_number", "xy"), converged_to)
                for kind, converged_to in kinds.items()
            },
        },
        {"angle": ("direction", angle)}
        | {f"{kind}_number": np.arange(len(converged_to)) for kind, converged_to in kinds.items()},
    )
