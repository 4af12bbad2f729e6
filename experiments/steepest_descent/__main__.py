"""Is the negative gradient the direction of steepest descent, and in which minimum do descents end?

    slope along a unit vector u = grad f . u >= -|grad f|,  equal only for u = -grad f / |grad f|

    python -m experiments.steepest_descent           (about 15 s)

Expected: the ratio of the steepest measured descent to |grad f| is in [cos 0.5 deg, 1], in a
direction at most 0.5 deg from the negative gradient; all 4 saddles of the first function and all 7
of the second are on a boundary.
"""

import jax
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.minima.basins import NoMinimum
from gdjax.plots import surfaces

from .config import Config
from .figures import basins as draw_basins
from .figures import directions
from .model import one


def by_function(dataset):
    """Yield the name and the Dataset of each surface, without NaN padding."""
    for index, name in enumerate(dataset.attrs["functions"]):
        surface = dataset.isel(function=index)
        for kind in ("minimum", "saddle", "maximum"):
            surface = surface.dropna(f"{kind}_number")
        yield name, surface


def steepest(dataset):
    """Return the steepest measured descent / |grad f|, and its angle to -grad f.

    The angle is in degrees.
    """
    gradient = dataset.gradient.values.reshape(-1, 2)
    slope = dataset.slope.values.reshape(len(gradient), -1)
    ratio = -np.min(slope, axis=1) / np.linalg.norm(gradient, axis=1)
    from_downhill = dataset.angle.values[np.argmin(slope, axis=1)] - downhill(gradient)
    return ratio, np.degrees(np.abs((from_downhill + np.pi) % (2 * np.pi) - np.pi))


def downhill(gradient):
    """Return the direction of -grad f, as an angle in radians."""
    return np.arctan2(-gradient[..., 1], -gradient[..., 0])


def on_border(surface):
    """Return whether starts around each saddle end in different minima.

    The starts are the 3 x 3 grid points nearest to the saddle; the learning rate is the first one.
    """
    end, distances = surface.end.values[0], []
    for x, y in surface.saddle.values:
        row = np.argmin(np.abs(surface.y.values - y))
        column = np.argmin(np.abs(surface.x.values - x))
        around = end[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        distances.append(len(np.unique(around[around >= 0])) > 1)
    return np.array(distances)


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of the steepest slopes, and shares of starts by end point."""
    ratio, angle = steepest(dataset)
    summary = {
        "slopes_measured": int(dataset.slope.size),
        "steepest_over_gradient_norm_least": float(ratio.min()),
        "steepest_over_gradient_norm_most": float(ratio.max()),
        "degrees_from_negative_gradient_most": float(angle.max()),
    }
    for name, surface in by_function(dataset):
        small = surface.end.values[0]
        border = on_border(surface)
        summary[f"{name}_saddles"] = len(border)
        summary[f"{name}_saddles_on_border"] = int(border.sum())
        summary[f"{name}_share_by_minimum"] = [
            float(np.mean(small == number)) for number in surface.minimum_number.values
        ]
        for index, share in enumerate(dataset.rate.values):
            end = surface.end.values[index]
            summary[f"{name}_learning_rate_{share:g}"] = float(surface.learning_rate[index])
            summary[f"{name}_diverged_{share:g}"] = float(np.mean(end == NoMinimum.DIVERGED))
            summary[f"{name}_not_arrived_{share:g}"] = float(np.mean(end == NoMinimum.NOT_ARRIVED))
            summary[f"{name}_at_no_minimum_{share:g}"] = float(
                np.mean(end == NoMinimum.AT_NO_MINIMUM)
            )
            summary[f"{name}_elsewhere_{share:g}"] = float(np.mean(end != small))
    return summary


def run(config: Config) -> xr.Dataset:
    """Return the descents on all surfaces, with a dimension `function`."""
    with jax.enable_x64(True):
        surfaces = [one(config, name) for name in config.functions]
    # Surfaces differ in their critical points; missing ones become NaN.
    dataset = xr.concat(surfaces, "function", join="outer", data_vars="all")
    formulas = [gd.problems.find(name).formula for name in config.functions]
    return dataset.assign_coords(rate=list(config.rates)).assign_attrs(
        functions=list(config.functions), formulas=formulas
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw slopes in all directions, paths, and maps of the end points."""
    grids = [
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
    by_name = dict(by_function(dataset))
    first = next(iter(by_name.values()))
    center = np.array([np.mean(grids[0].x), np.mean(grids[0].y)])
    shown = np.argmin(np.linalg.norm(first.point.values - center, axis=1))
    gradient = dataset.gradient.values.reshape(-1, 2)
    slope = dataset.slope.values.reshape(len(gradient), -1)
    figures = {
        "directions": directions(
            grids[0],
            first.point.values[shown],
            int(shown),
            dataset.angle.values,
            downhill=downhill(gradient),
            slopes=slope / np.linalg.norm(gradient, axis=1, keepdims=True),
        ),
        "basins": draw_basins(
            grids,
            [list(surface.end.values) for surface in by_name.values()],
            [list(surface.learning_rate.values) for surface in by_name.values()],
            not_arrived=NoMinimum.NOT_ARRIVED,
            diverged=NoMinimum.DIVERGED,
        ),
    }
    for grid, (name, surface) in zip(grids, by_name.items(), strict=True):
        figures[f"paths_{name}"] = surfaces.paths(
            grid,
            surface.path.values,
            surface.path_end.values,
            field_at=surface.field_at.values,
            field=surface.field.values,
        ).figure
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
