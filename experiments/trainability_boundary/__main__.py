"""At which learning rates does training fail, and is their boundary a smooth line?

    f(x) = s(g / sqrt(n) W0 x) W1 / n,   C = mean (f(x) - y)^2,   W_l <- W_l - rate_l dC/dW_l

    python -m experiments.trainability_boundary           (about 11 min of processor time)

Expected: a dimension above 1 in every condition for the whole map, and a larger dimension for the
magnified maps. This is refuted for a condition if the interval of its median dimension over seeds
is closer to 1 than the bias of box counting. Published dimensions (Sohl-Dickstein 2024, arXiv
2402.06184) are 1.17 to 1.98, from local slopes of box counts on magnified maps of 4096 x 4096 runs,
with one seed and one window per condition. The dependence of these dimensions on the window is
larger than most differences between conditions. For the simplest case, one boundary rate is
expected for every convex f (Liu 2024, arXiv 2406.13971).
"""

import jax
import numpy as np
import xarray as xr

from experiments.shared import command
from experiments.shared.labels import with_ends
from gdjax.errors import InputError
from gdjax.statistics import Interval, median

from . import box_counting
from . import figures as plots
from .conditions import CONDITIONS
from .model import Config, cosine, maps

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
        return box_counting.dimension(*box_counting.box_counts(box_counting.boundary(trains)))[:2]

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
        part = dataset.isel(condition=index)
        one = fits(part)
        entries: dict = {name.replace(" ", "_"): interval[:3] for name, interval in medians.items()}
        entries |= {
            "published": CONDITIONS[condition].published,
            "least": one.dimension.min("seed").values,
            "most": one.dimension.max("seed").values,
            "error_most": one.error.max("seed").values,
            "of_a_line": (one.dimension - one.error <= 1).sum("seed").values,
            "share_that_trains": part.trains.mean(("seed", "row", "column")).values,
        }
        name = condition.replace(" ", "_")
        summary |= {f"{name}_{key}": value for key, value in entries.items()}
    roughness, rates = dataset.roughness.values, boundary_rates(dataset)
    return summary | {
        "largest_roughness_with_one_boundary_rate": roughness[rates <= 1].max(),
        "smallest_roughness_with_several": roughness[rates > 1].min(),
        "roughness_where_convexity_ends": float(1 / (2 * np.pi**2)),
        "most_boundary_rates": int(rates.max()),
    }


def run(config: Config) -> xr.Dataset:
    """Return the maps of all conditions and seeds, and the one-dimensional cases."""
    if config.points < 34:
        raise InputError(
            f"points = {config.points}, expected at least 34: box counting needs three box sizes"
        )
    unknown = set(config.conditions) - set(CONDITIONS)
    if unknown:
        raise InputError(f"unknown conditions {sorted(unknown)}; available: {list(CONDITIONS)}")
    with jax.enable_x64(True):
        mapped = [
            xr.concat([maps(config, CONDITIONS[name], seed) for seed in config.seeds], "seed")
            for name in config.conditions
        ]
        dataset = xr.merge([xr.concat(mapped, "condition"), cosine(config)])
    return dataset.assign_coords(seed=list(config.seeds)).assign_attrs(
        conditions=list(config.conditions)
    )


def panels(dataset: xr.Dataset, index: int) -> list[plots.Map]:
    """Return, for each condition, the map number `index` of the first seed."""
    return [
        plots.Map(
            *(one[side].values for side in ("across", "up", "trains", "speed")),
            CONDITIONS[name].axes,
        )
        for place, name in enumerate(dataset.attrs["conditions"])
        for one in [dataset.isel(condition=place, seed=0, map=index)]
    ]


def plot(dataset: xr.Dataset) -> dict:
    """Draw the first and the last maps, dimensions, and the one-dimensional cases."""
    by_condition, last = over_seeds(dataset), dataset.sizes["map"] - 1

    def drawn(index, closer=None):
        part = parts(dataset)[index]
        titles = [f"{name}: {with_ends(medians[part])}" for name, medians in by_condition.items()]
        return plots.maps(panels(dataset, index), titles, title=part, closer=closer)

    return {
        "whole": drawn(0, panels(dataset, min(1, last))),
        "closest": drawn(last),
        "dimensions": plots.dimensions(
            by_condition, [CONDITIONS[name].published for name in by_condition]
        ),
        "cosine": plots.boundary_rates(
            dataset.roughness.values,
            dataset.learning_rate.values,
            dataset.bounded.values,
            threshold=1 / (2 * np.pi**2),
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
