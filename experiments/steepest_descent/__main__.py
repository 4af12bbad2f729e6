"""Is the negative gradient the direction of steepest descent, and in which minimum do descents end?

    slope along a unit vector u = grad f . u >= -|grad f|,  equal only for u = -grad f / |grad f|

    python -m experiments.steepest_descent           (about 80 s)

Expected: the ratio of the steepest measured descent to |grad f| is in [cos 0.5 deg, 1], in a
direction at most 0.5 deg from the negative gradient; all 4 saddles of the first function and all 7
of the second are on a boundary. On curves, every descent ends in the valley that the maxima
predict, within 1e-8 of its classified minimum. On surfaces, no descent from a grid of starts ends
in a minimum whose stability limit is exceeded (a start exactly at it would remain there). The
limits of all 121 minima of Rastrigin's function lie within 2 % of 0.0051, so their basins vanish at
nearly equal rates.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import paths
from experiments.shared.trees import datasets, tree_of
from gdjax.minima import NoMinimum
from gdjax.plots import surfaces
from gdjax.plots.style import BLACK, BLUE, VERMILLION, Figure
from gdjax.plots.surfaces import Surface

from . import basins, curves

MAX_DISTANCE = 1e-2  # largest distance of the end of a drawn path from a classified minimum
DIFFERENCE = 1e-5  # step of the finite differences; their error is of order 1e-8 here
FIELD = 17  # number of arrows along each side of the drawn vector field


@dataclass(frozen=True)
class Config:
    """Surfaces and curves, and settings of the descents and slopes on them."""

    functions: tuple[str, ...] = ("himmelblau", "six_hump_camel")  # with slopes and paths
    maps: tuple[str, ...] = ("himmelblau", "six_hump_camel", "rastrigin")  # with maps of starts
    curves: tuple[str, ...] = ("quartic", "sine_bowl", "two_sines")  # names of 1-D functions
    caution: float = 0.5  # learning rate on a curve as a share of 1 / max |f''|; at most 1
    starts: int = 200  # number of starts on each curve
    path_steps: int = 1000  # number of steps on curves, and of drawn paths
    side: int = 100  # number of starts along each side of a map
    steps: int = 3000  # maximum number of steps of each descent of a map
    # learning rates in units of 2 / (largest eigenvalue at the sharpest minimum)
    rates: tuple[float, ...] = (
        *(0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.97),
        *(1.03, 1.1, 1.2, 1.35, 1.5, 1.63, 1.8, 2.1),
    )
    momenta: tuple[float, ...] = (0.0, 0.9)  # coefficients of heavy-ball momentum
    drawn: tuple[int, ...] = (0, 6, 10)  # indices of the rates for which maps are drawn
    paths: int = 24  # number of random starts whose paths at the second rate are drawn
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


def one(config: Config, name: str, ends: xr.Dataset) -> xr.Dataset:
    """Return slopes, paths and the gradient on one surface, and its known critical points."""
    known, init = gd.problems.FUNCTIONS[name], gd.problems.from_function(name).init
    keys = gd.run_keys(config.seed, np.arange(config.paths)).init
    rate = float(ends.learning_rate[1])
    trajectories, *_ = paths(known.f, rate, jax.vmap(init)(keys), config.path_steps)
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
            "minimum": (("minimum_number", "xy"), ends.position.values),
            **{kind: ((f"{kind}_number", "xy"), at) for kind, at in critical.items()},
        },
        {"angle": ("direction", np.asarray(angle))},
        {"formula": known.formula},
    )


def run(config: Config) -> xr.DataTree:
    """Return trees with slopes and maps of the end points on surfaces, and descents on curves."""
    settings = config.rates, config.momenta, config.side, config.steps
    of_curves = config.starts, config.path_steps, config.caution
    with jax.enable_x64(True):
        maps = {name: basins.maps(name, *settings) for name in config.maps}
        parts = {f"surface/{name}": one(config, name, maps[name]) for name in config.functions}
        parts |= {f"curve/{name}": curves.descents(name, *of_curves) for name in config.curves}
    return tree_of(
        parts | {f"map/{name}": ends for name, ends in maps.items()}, drawn=list(config.drawn)
    )


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


def on_border(saddles: np.ndarray, ends: xr.Dataset) -> np.ndarray:
    """Return whether starts around each saddle end in different minima.

    The starts are the 3 x 3 grid points nearest to the saddle; the learning rate is the first one.
    """
    end, results = ends.end.values[0, 0], []
    for x, y in saddles:
        row, column = np.argmin(np.abs(ends.y.values - y)), np.argmin(np.abs(ends.x.values - x))
        around = end[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        results.append(len(np.unique(around[around >= 0])) > 1)
    return np.array(results)


def numbers(tree: xr.DataTree) -> dict:
    """Return statistics of slopes, of the end points on each surface, and of curves."""
    angle, slope = angles_and_slopes(tree)
    steepest = slope.argmin(axis=1)[:, None]
    ratio = -np.take_along_axis(slope, steepest, axis=1)
    maps = datasets(tree["map"])
    cases = {name: basins.numbers(ends) for name, ends in maps.items()}
    for name, surface in datasets(tree["surface"]).items():
        border = on_border(surface.saddle.values, maps[name])
        cases[name] |= {"saddles": len(border), "saddles_on_border": int(border.sum())}
    return {
        "slopes_measured": slope.size,
        "steepest_over_gradient_norm_least": ratio.min(),
        "steepest_over_gradient_norm_most": ratio.max(),
        "degrees_from_negative_gradient_most": np.abs(
            np.take_along_axis(angle, steepest, axis=1)
        ).max(),
        "case": cases,
        "curves": curves.numbers(datasets(tree["curve"])),
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
    """Draw slopes in all directions, paths, maps of starts, and descents on curves."""
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
    figures |= basins.plot(datasets(tree["map"]), tree.attrs["drawn"])
    return figures | curves.plot(datasets(tree["curve"]))


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
