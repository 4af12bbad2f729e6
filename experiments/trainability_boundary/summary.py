"""Summary of the dimensions of trainability boundaries."""

import numpy as np
import xarray as xr

from gdjax.statistics import Interval, median

from . import box_counting
from .conditions import CONDITIONS

COARSEST = 10  # side of the smallest boxes of the published method, in cells


def published_estimator(maps: np.ndarray) -> float:
    """Return the median local dimension over box sides and over all maps of one seed.

    The local dimension is the negative slope of log N against log s. As in the public code of the
    paper, up to ten box sides are used, from 10 cells to the whole map.
    """
    slopes = []
    for trains in maps:
        cells = box_counting.boundary(trains)
        sides = np.unique(np.geomspace(COARSEST, len(cells), 10).astype(int))
        _, counts = box_counting.box_counts(cells, sides)
        slopes.append(-np.gradient(np.log(counts), np.log(sides)))
    return float(np.median(slopes))


def fits(dataset: xr.Dataset) -> xr.Dataset:
    """Return dimension and error for each map, and one dimension for each seed.

    The latter is computed by `published_estimator`.
    """

    def each(function, dims, core_dims):
        return xr.apply_ufunc(function, dataset.trains, input_core_dims=[dims],
                              output_core_dims=core_dims, vectorize=True)  # fmt: skip

    def fit(trains):
        box_dimension = box_counting.dimension(
            *box_counting.box_counts(box_counting.boundary(trains))
        )
        return box_dimension.dimension, box_dimension.error

    dimension, error = each(fit, ("row", "column"), [[], []])
    published = each(published_estimator, ("map", "row", "column"), [[]])
    return xr.Dataset({"dimension": dimension, "error": error, "published_estimator": published})


def boundary_rates(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of learning rates on the boundary, for each roughness."""
    return np.array([int(box_counting.boundary(row).sum()) for row in dataset.bounded.values])


def parts(dataset: xr.Dataset) -> list[str]:
    """Return the names of the maps of one seed, such as "whole" and "8 times closer"."""
    ends = dataset.up.values[0, 0][:, [0, -1]]
    magnification = np.log(ends[0, 1] / ends[0, 0]) / np.log(ends[:, 1] / ends[:, 0])
    return ["whole", *(f"{times:.0f} times closer" for times in magnification[1:])]


def over_seeds(dataset: xr.Dataset) -> dict[str, dict[str, Interval]]:
    """Return median dimensions over seeds, by condition and map or method."""
    medians = {}
    for index, condition in enumerate(dataset.attrs["conditions"]):
        one = fits(dataset.isel(condition=index))
        named = {name: one.dimension.isel(map=k) for k, name in enumerate(parts(dataset))}
        named["published estimator"] = one.published_estimator
        medians[condition] = {name: median(values.values) for name, values in named.items()}
    return medians


def numbers(dataset: xr.Dataset) -> dict:
    """Return dimensions with intervals, and numbers of boundary rates."""
    summary: dict = {
        "runs_a_map": int(dataset.trains[0, 0, 0].size),
        "seeds": dataset.sizes["seed"],
    }
    for index, (condition, medians) in enumerate(over_seeds(dataset).items()):
        name = condition.replace(" ", "_")
        condition_data = dataset.isel(condition=index)
        one = fits(condition_data)
        summary |= {f"{name}_{part.replace(' ', '_')}": one[:3] for part, one in medians.items()}
        summary |= {
            f"{name}_published": CONDITIONS[condition].published,
            f"{name}_least": one.dimension.min("seed").values.tolist(),
            f"{name}_most": one.dimension.max("seed").values.tolist(),
            f"{name}_error_most": one.error.max("seed").values.tolist(),
            f"{name}_of_a_line": (one.dimension - one.error <= 1).sum("seed").values.tolist(),
            f"{name}_share_that_trains": condition_data.trains.mean(
                ("seed", "row", "column")
            ).values.tolist(),
        }
    roughness, rates = dataset.roughness.values, boundary_rates(dataset)
    ragged = rates > 1
    summary["largest_roughness_with_one_boundary_rate"] = float(roughness[~ragged].max())
    summary["smallest_roughness_with_several"] = float(roughness[ragged].min())
    summary["roughness_where_convexity_ends"] = float(1 / (2 * np.pi**2))
    summary["most_boundary_rates"] = int(rates.max())
    return summary
