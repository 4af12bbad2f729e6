"""Is the negative gradient the direction of steepest descent, and in which minimum do descents end?

    slope along a unit vector u = grad f . u >= -|grad f|,  equal only for u = -grad f / |grad f|

    python -m experiments.steepest_descent           (about 20 s)

Expected: the ratio of the steepest measured descent to |grad f| is in [cos 0.5 deg, 1], in a
direction at most 0.5 deg from the negative gradient; all 4 saddles of the first function and all 7
of the second are on a boundary. On curves, every descent ends in the valley that the maxima
predict, within 1e-8 of its classified minimum.
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
from gdjax.minima import NoMinimum, basins_of_attraction, learning_rate_limits
from gdjax.plots import surfaces
from gdjax.plots.style import BLACK, BLUE, VERMILLION, Figure
from gdjax.plots.surfaces import Surface

from . import curves

MAX_DISTANCE = 1e-2  # largest distance of a converged descent from a classified minimum
GRADIENT = 1e-3  # largest gradient norm at which a descent counts as converged
DIFFERENCE = 1e-5  # step of the finite differences; their error is of order 1e-8 here
FIELD = 17  # number of arrows along each side of the drawn vector field


@dataclass(frozen=True)
class Config:
    """Surfaces and curves, and settings of the descents and slopes on them."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")  # names of 2-D test functions
    curves: tuple[str, ...] = ("quartic", "sine_bowl", "two_sines")  # names of 1-D functions
    caution: float = 0.5  # learning rate on a curve as a share of 1 / max |f''|; at most 1
    side: int = 200  # number of starts on each curve, and along each side of the map of a surface
    steps: int = 1000  # number of steps of each descent
    rates: tuple[float, ...] = (0.1, 0.9)  # rates in units of 2 / (largest eigenvalue at a minimum)
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


def nearest(points, minima):
    """Return the index of the minimum each point has reached, or `NOT_ARRIVED`."""
    distance = np.linalg.norm(np.asarray(points)[..., None, :] - minima, axis=-1)
    converged = np.min(distance, axis=-1) < MAX_DISTANCE
    return np.where(converged, np.argmin(distance, axis=-1), NoMinimum.NOT_ARRIVED)


def one(config: Config, name: str) -> xr.Dataset:
    """Return all measurements on one surface, and its known critical points."""
    known, init = gd.problems.FUNCTIONS[name], gd.problems.from_function(name).init
    rates = learning_rate_limits(name).min() * np.array(config.rates)
    tolerances: dict = {"gradient_tolerance": GRADIENT, "distance_tolerance": MAX_DISTANCE}
    ends = basins_of_attraction(
        name, rates, side=config.side, num_steps=config.steps, **tolerances
    ).isel(momentum=0)
    keys = gd.run_keys(config.seed, np.arange(config.paths)).init
    trajectories, *_ = paths(known.f, rates[0], jax.vmap(init)(keys), config.steps)
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
    """Return trees with the descents and slopes on each surface, and the descents on each curve."""
    settings = config.side, config.steps, config.caution
    with jax.enable_x64(True):
        parts = {f"surface/{name}": one(config, name) for name in config.functions}
        parts |= {f"curve/{name}": curves.descents(name, *settings) for name in config.curves}
    return xr.DataTree.from_dict(parts)


def angles_and_slopes(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray]:
    """Return the angles of all directions from -grad f, and the slopes along them over |grad f|.

    Angles are in degrees, from -180 to 180. Both arrays have the shape [points, directions], with
    the points on all surfaces.
    """
    measured = [surface[["gradient", "slope"]] for surface in datasets(tree["surface"]).values()]
    points = xr.concat(measured, "probe")
    gradient = points.gradient.values
    downhill = np.arctan2(-gradient[:, 1], -gradient[:, 0])[:, None]
    angle = np.degrees((points.angle.values - downhill + np.pi) % (2 * np.pi) - np.pi)
    return angle, points.slope.values / np.linalg.norm(gradient, axis=1, keepdims=True)


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
    angle, slope = angles_and_slopes(tree)
    steepest = slope.argmin(axis=1)[:, None]
    ratio = -np.take_along_axis(slope, steepest, axis=1)
    return {
        "slopes_measured": slope.size,
        "steepest_over_gradient_norm_least": ratio.min(),
        "steepest_over_gradient_norm_most": ratio.max(),
        "degrees_from_negative_gradient_most": np.abs(
            np.take_along_axis(angle, steepest, axis=1)
        ).max(),
        "case": {name: end_points(surface) for name, surface in datasets(tree["surface"]).items()},
        "curves": curves.numbers(datasets(tree["curve"])),
    }


def end_points(surface: xr.Dataset) -> dict:
    """Return the shares of starts on a surface by end point, and the saddles on boundaries."""
    small, border = surface.end.values[0], on_border(surface)
    return {
        "saddles": len(border),
        "saddles_on_border": int(border.sum()),
        "share_by_minimum": [np.mean(small == k) for k in range(surface.sizes["minimum_number"])],
        "rate": {
            f"{rate:g}": {
                "learning_rate": float(surface.learning_rate.sel(rate=rate)),
                "elsewhere": np.mean(end != small),
                "diverged": np.mean(end == NoMinimum.DIVERGED),
                "not_arrived": np.mean(end == NoMinimum.NOT_ARRIVED),
            }
            for rate, end in zip(surface.rate.values, surface.end.values, strict=True)
        },
    }


def directions(tree: xr.DataTree) -> Figure:
    """Draw the slopes along all directions at all points, by the angle from -grad f."""
    angles, slopes = angles_and_slopes(tree)
    figure = Figure(figsize=(6, 5.4))
    axes = figure.subplots()
    look: dict = {"color": BLUE, "markersize": 4, "rasterized": True}
    label = f"measured: {slopes.size:,} slopes"
    axes.plot(angles.ravel(), slopes.ravel(), ".", label=label, **look)
    theory = np.linspace(-180, 180, 361)
    axes.plot(theory, -np.cos(np.radians(theory)), color=BLACK, linewidth=1.2, label="-cos")
    look: dict = {"color": VERMILLION, "markeredgecolor": BLACK, "markersize": 19}
    axes.plot(0, -1, "*", linestyle="none", label="negative gradient", **look)
    axes.set(xticks=[-180, -90, 0, 90, 180], ylim=(-1.15, 1.6))
    axes.set_xlabel("angle from the negative gradient (degrees)")
    axes.set_ylabel("slope / norm of the gradient")
    axes.set_title(f"At {len(slopes)} points: no direction is steeper")
    axes.legend(loc="upper center")
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw slopes in all directions, paths, and descents on curves."""
    by_name = datasets(tree["surface"])
    parts = ("x", "y", "cost", "minimum", "saddle", "maximum")
    grids = {
        name: Surface(surface.formula, *(surface[part].values for part in parts))
        for name, surface in by_name.items()
    }
    figures: dict = {"directions": directions(tree)}
    for name, surface in by_name.items():
        arrows = {"field_at": surface.field_at.values, "field": surface.field.values}
        ends = surface.path_end.values
        axes = surfaces.paths(grids[name], surface.path.values, ends, **arrows)
        figures[f"paths_{name}"] = axes.figure
    return figures | curves.plot(datasets(tree["curve"]))


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
