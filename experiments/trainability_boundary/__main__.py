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

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import with_ends
from gdjax.base.errors import InputError
from gdjax.base.statistics import median

from . import box_counting
from . import figures as plots
from .conditions import CONDITIONS, Condition

COARSEST = 10  # side of the smallest boxes of the published method, in cells
MAX_BOUNDARY_SHARE = 0.25  # largest share of boundary cells in a window for the next map
CAP = 1e6  # relative costs are clipped to [1 / CAP, CAP]
WAVELENGTH = 0.1  # wavelength of the cosine; descent starts from x = 1
CONVEX = 1 / (2 * np.pi**2)  # largest roughness at which the cost is convex


@dataclass(frozen=True)
class Config:
    """Conditions, maps of their settings, and one-dimensional cases."""

    conditions: tuple[str, ...] = tuple(CONDITIONS)  # names of the conditions
    steps: int = 100  # number of steps of each run
    record_every: int = 4  # number of steps from one recorded cost to the next
    points: int = 144  # number of grid points along each side of a map
    zooms: int = 4  # number of magnified maps after the first map
    factor: int = 8  # ratio of the width of a map to that of the next map, on a logarithmic scale
    # "richest" places the next map in the window with the longest boundary, "random" around a
    # random boundary cell
    placement: Literal["richest", "random"] = "richest"
    seeds: tuple[int, ...] = tuple(range(1, 11))  # seeds of data, starts, windows; first is shown
    # values of e / l^2, each of which defines a one-dimensional case
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1  # number of learning rates from 1 to 1.032 of each 1-D case
    rate_steps: int = 1000  # number of steps of each run of the one-dimensional cases


def train(
    config: Config, condition: Condition, problem: gd.Problem, sides, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether training succeeds at each pair of settings, and its speed.

    Both arrays have the shape [up, across]. The speed is the mean relative cost along the run if
    training succeeds, otherwise the mean of its inverse; small values denote fast success or fast
    failure.
    """
    across, up = condition.axes
    runs = gd.sweep(
        problem,
        gd.axes(**{up: sides[1], across: sides[0]}),
        config.steps,
        make_optimizer=condition.optimizer,
        batch_size=condition.batch,
        record_every=config.record_every,
        root_seed=seed,
        max_param_bytes=2**32,
    )
    relative = np.clip(runs.cost.values / runs.cost.values[..., :1], 1 / CAP, CAP)
    late = runs.step.values >= 0.8 * config.steps
    trains = relative[..., late].mean(axis=-1) < 1
    speed = np.where(trains, relative.mean(axis=-1), (1 / relative).mean(axis=-1))
    return trains, speed.astype(np.float32)


def window_with_longest_boundary(trains: np.ndarray, factor: int) -> tuple[int, int]:
    """Return the row and column at which the window with the longest boundary starts.

    Windows in which more than a quarter of the cells belong to the boundary do not resolve it, and
    are used only if there are no others. Windows with similar shares of success and failure are
    preferred.
    """
    size = len(trains) // factor
    best, corner = -1.0, (0, 0)
    for row in range(0, len(trains) - size + 1, max(1, size // 4)):
        for column in range(0, len(trains) - size + 1, max(1, size // 4)):
            inside = trains[row : row + size, column : column + size]
            share, length = inside.mean(), box_counting.boundary(inside).mean()
            score = length * min(share, 1 - share) * (1.0 if length <= MAX_BOUNDARY_SHARE else 1e-3)
            if score > best:
                best, corner = score, (row, column)
    return corner


def random_window(trains: np.ndarray, factor: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return the row and column at which a window around a random cell starts.

    The cell is drawn from the cells of the boundary.
    """
    size = len(trains) // factor
    cells = np.argwhere(box_counting.boundary(trains))
    if not len(cells):
        raise InputError("placement = random: the map has no boundary; use a wider window")
    row, column = np.clip(rng.choice(cells) - size // 2, 0, len(trains) - size)
    return int(row), int(column)


def maps(config: Config, condition: Condition, seed: int) -> xr.Dataset:
    """Return the first map, and magnified maps, each of a window in the previous map."""
    problem = condition.problem(seed)
    window = condition.window
    around = partial(random_window, rng=np.random.default_rng(seed))
    place = around if config.placement == "random" else window_with_longest_boundary
    results = []
    for _ in range(config.zooms + 1):
        across, up = (np.geomspace(*ends, config.points) for ends in window)
        trains, speed = train(config, condition, problem, (across, up), seed)
        columns = {"trains": (("row", "column"), trains), "speed": (("row", "column"), speed)}
        results.append(xr.Dataset(columns | {"across": ("column", across), "up": ("row", up)}))
        window = tuple(
            (side[start], side[start] * (side[-1] / side[0]) ** (1 / config.factor))
            for side, start in zip(
                (across, up), reversed(place(trains, config.factor)), strict=True
            )
        )
    return xr.concat(results, "map")


def cosine(config: Config) -> xr.Dataset:
    """Return whether descent on a parabola plus a cosine remains bounded.

    The dimensions of the result are `roughness` and `learning_rate`.
    """

    def cost(x, *, roughness):
        return x**2 + roughness * WAVELENGTH**2 * jnp.cos(2 * jnp.pi * x / WAVELENGTH)

    runs = gd.sweep(
        gd.Problem(init=lambda key: jnp.ones(()), cost=cost),
        gd.axes(roughness=config.roughness, learning_rate=np.linspace(1.0, 1.032, config.rates)),
        config.rate_steps,
        record_every=config.rate_steps,
        divergence_threshold=1e8,
    )
    return xr.Dataset({"bounded": runs.diverged_at < 0}).drop_attrs()


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
    return dataset.assign_coords(seed=list(config.seeds), condition=list(config.conditions))


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

    The latter is computed by `published_estimator`. The coordinate `map` is the magnification.
    """

    def each(function, dims, core_dims):
        return xr.apply_ufunc(function, dataset.trains, input_core_dims=[dims],
                              output_core_dims=core_dims, vectorize=True)  # fmt: skip

    def fit(trains):
        return box_counting.dimension(*box_counting.box_counts(box_counting.boundary(trains)))[:2]

    dimension, error = each(fit, ("row", "column"), [[], []])
    published = each(published_estimator, ("map", "row", "column"), [[]])
    widths = np.log(dataset.up.values[0, 0, :, -1] / dataset.up.values[0, 0, :, 0])
    return xr.Dataset(
        {"dimension": dimension, "error": error, "published_estimator": published},
        {"map": np.rint(widths[0] / widths).astype(int)},
    )


def boundary_rates(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of learning rates on the boundary, for each roughness."""
    return np.array([int(box_counting.boundary(row).sum()) for row in dataset.bounded.values])


def numbers(dataset: xr.Dataset) -> dict:
    """Return dimensions with intervals by condition, and numbers of boundary rates."""
    fit, conditions = fits(dataset), {}
    for name in dataset.condition.values:
        maps = {}
        for magnification in fit["map"].values:
            one = fit.sel(condition=name, map=magnification)
            maps[str(magnification)] = {
                "dimension": median(one.dimension)[:3],
                "least": float(one.dimension.min()),
                "most": float(one.dimension.max()),
                "error_most": float(one.error.max()),
                "of_a_line": int((one.dimension - one.error <= 1).sum()),
            }
        conditions[str(name)] = {
            "magnification": maps,
            "published_estimator": median(fit.published_estimator.sel(condition=name))[:3],
            "published": CONDITIONS[name].published,
        }
    roughness, rates = dataset.roughness.values, boundary_rates(dataset)
    return {
        "seeds": dataset.sizes["seed"],
        "condition": conditions,
        "largest_roughness_with_one_boundary_rate": roughness[rates <= 1].max(),
        "smallest_roughness_with_several": roughness[rates > 1].min(),
        "roughness_where_convexity_ends": CONVEX,
        "most_boundary_rates": int(rates.max()),
    }


def plot(dataset: xr.Dataset) -> dict:
    """Draw the first and the last maps, and the one-dimensional cases."""
    fit, figures = fits(dataset), {"cosine": plots.boundary_rates(dataset, threshold=CONVEX)}
    for file, index in (("whole", 0), ("closest", dataset.sizes["map"] - 1)):
        by_condition = zip(fit.condition.values, fit.dimension.values[..., index], strict=True)
        titles = [f"{name}: {with_ends(median(values))}" for name, values in by_condition]
        title = f"{fit['map'].values[index]} times closer" if index else "whole"
        figures[file] = plots.maps(dataset, index, titles, title=title)
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
