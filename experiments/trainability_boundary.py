"""Where does training stop working, and is there a line between what trains and what fails?

    f(x) = s(g / sqrt(n) W0 x) W1 / n,   C = mean (f(x) - y)^2,   W_l <- W_l - rate_l dC/dW_l

A small network learns random targets, with one learning rate for each of its two layers, for every
pair of rates on a grid. A pair trains if the mean cost of the last fifth of the steps is below the
cost at the start. Six conditions: tanh, ReLU and no activation at all; mini-batches; a single
sample; and one rate against an offset of the starting weights. Ten seeds each, with data and
starting points of their own. The window of each map where the two sides are most entangled is
mapped again with as many runs, eight times closer, and so on; or, where the placement is random, a
window around a boundary cell drawn at random. A smooth boundary has box-counting dimension 1.

The smallest case beside it: f(x) = x^2 + e cos(2 pi x / l), one number, one learning rate. Its
boundary should be a single rate as long as f is convex, up to a roughness e / l^2 of
1 / (2 pi^2) = 0.0507, and many beyond.

    python experiments/trainability_boundary.py           (about 11 min of processor time)

Expected: a dimension above 1 in every condition, of the whole and more so closer, refuted for a
condition by a median over seeds whose interval comes nearer to 1 than the bias of box counting.
Published (Sohl-Dickstein 2024, arXiv 2402.06184) are 1.17 to 1.98, from the local slopes of box
counts on zooms of 4096 x 4096 runs, one seed and one place each; that way of measuring depends on
the place by more than most of these differ. One boundary rate in every convex case (Liu 2024,
arXiv 2406.13971).
"""

from dataclasses import dataclass
from typing import Literal

import box_counting
import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import boundary as plots
from variants.trainability import CONDITIONS, Condition

import gdjax as gd
from gdjax.errors import InputError
from gdjax.statistics import Interval, median

DUST = 0.25  # share of boundary cells above which a window is not zoomed into
WIDTH = 256  # runs a device at a time: their activations fill a cache, 2.6 times as fast as 4096
CAP = 1e6  # relative costs beyond it, or below its inverse, look the same in the picture
WAVELENGTH = 0.1  # of the cosine, where the descent starts from x = 1
COARSEST = 10  # side of the smallest boxes of the published way, in cells


@dataclass(frozen=True)
class Config:
    """Which networks are trained, how, and what is mapped.

    Args:
        conditions: names of them.
        steps: of every run.
        record_every: steps from one recorded cost to the next.
        points: numbers along each side of a map.
        zooms: maps after the first.
        factor: how much narrower a map is than the one before.
        placement: of the next map: the window where the boundary is longest, or a window around
            a boundary cell drawn at random.
        neurons: inputs, and hidden neurons, of every condition.
        window: smallest and largest of both axes of the first map; None takes the condition's.
        seeds: of data, starting points and random places; the first is the pictures'.
        roughness: e / l^2 of the one-dimensional cases.
        rates: learning rates of each.
        rate_range: their smallest and largest.
        rate_steps: steps of each.
    """

    conditions: tuple[str, ...] = tuple(CONDITIONS)
    steps: int = 100
    record_every: int = 4
    points: int = 144
    zooms: int = 4
    factor: int = 8
    placement: Literal["richest", "random"] = "richest"
    neurons: int = 8
    window: tuple[float, float] | None = None
    seeds: tuple[int, ...] = tuple(range(1, 11))
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1
    rate_range: tuple[float, float] = (1.0, 1.032)
    rate_steps: int = 1000


def train(
    config: Config, condition: Condition, problem: gd.Problem, sides, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pair of numbers trains, and how fast it does or does not; [up, across].

    Speed is the mean of relative cost along a run that trains, of its inverse along one that does
    not: small is fast.
    """
    across, up = condition.axes
    runs = gd.sweep(
        problem,
        gd.axes(**{up: sides[1], across: sides[0]}),
        config.steps,
        batch_size=condition.batch,
        make_optimizer=condition.optimizer,
        record_every=config.record_every,
        root_seed=seed,
        width=WIDTH,
        max_param_bytes=2**32,
    )
    relative = np.clip(runs.cost.values / runs.cost.values[..., :1], 1 / CAP, CAP)
    late = runs.step.values >= 0.8 * config.steps
    trains = relative[..., late].mean(axis=-1) < 1
    speed = np.where(trains, relative.mean(axis=-1), (1 / relative).mean(axis=-1))
    return trains, speed.astype(np.float32)


def richest(trains: np.ndarray, factor: int) -> tuple[int, int]:
    """Row and column of the window, a `factor`-th as wide, with the longest boundary in it.

    Where more than a quarter of the cells are boundary, runs are dust at this resolution and there
    is little to see: such windows are left out, if there are others. Both sides share the window,
    as evenly as may be.
    """
    size = len(trains) // factor
    best, place = -1.0, (0, 0)
    for row in range(0, len(trains) - size + 1, max(1, size // 4)):
        for column in range(0, len(trains) - size + 1, max(1, size // 4)):
            inside = trains[row : row + size, column : column + size]
            share, length = inside.mean(), box_counting.boundary(inside).mean()
            score = length * min(share, 1 - share) * (1.0 if length <= DUST else 1e-3)
            if score > best:
                best, place = score, (row, column)
    return place


def random_window(trains: np.ndarray, factor: int, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of a window, a `factor`-th as wide, around a random boundary cell."""
    size = len(trains) // factor
    cells = np.argwhere(box_counting.boundary(trains))
    if not len(cells):
        raise InputError("placement = random: no boundary in the map; take a wider window")
    row, column = np.clip(rng.choice(cells) - size // 2, 0, len(trains) - size)
    return int(row), int(column)


def maps(config: Config, condition: Condition, seed: int) -> xr.Dataset:
    """The first map and its zooms, each at a place on the boundary of the one before."""
    condition = condition.with_neurons(config.neurons)
    problem = condition.problem(seed)
    window = condition.window if config.window is None else (config.window,) * 2
    rng = np.random.default_rng(seed)
    found, all_sides = [], []
    for _ in range(config.zooms + 1):
        sides = [np.geomspace(*ends, config.points) for ends in window]
        found.append(train(config, condition, problem, sides, seed))
        all_sides.append(sides)
        if config.placement == "random":
            corner = random_window(found[-1][0], config.factor, rng)
        else:
            corner = richest(found[-1][0], config.factor)
        window = tuple(
            (side[start], side[start] * (side[-1] / side[0]) ** (1 / config.factor))
            for side, start in zip(sides, reversed(corner), strict=True)
        )
    trains, speed = (np.stack(arrays) for arrays in zip(*found, strict=True))
    across, up = np.swapaxes(all_sides, 0, 1)
    return xr.Dataset(
        {
            "trains": (("map", "row", "column"), trains),
            "speed": (("map", "row", "column"), speed),
            "across": (("map", "column"), across),
            "up": (("map", "row"), up),
        }
    )


def cosine(config: Config) -> xr.Dataset:
    """Which learning rates keep descent on a bowl with a cosine bounded, for every roughness."""

    def cost(x, *, roughness):
        return x**2 + roughness * WAVELENGTH**2 * jnp.cos(2 * jnp.pi * x / WAVELENGTH)

    runs = gd.sweep(
        gd.Problem(init=lambda key: jnp.ones(()), cost=cost),
        gd.axes(
            roughness=config.roughness,
            learning_rate=np.linspace(*config.rate_range, config.rates),
        ),
        config.rate_steps,
        record_every=config.rate_steps,
        divergence_threshold=1e8,
    )
    return xr.Dataset({"bounded": runs.diverged_at < 0}).drop_attrs()


def run(config: Config) -> xr.Dataset:
    """All maps of all conditions and seeds, and the smallest case."""
    if config.points < 34:
        raise InputError(
            f"points = {config.points}, expected at least 34: a fit needs boxes of three sizes"
        )
    unknown = set(config.conditions) - set(CONDITIONS)
    if unknown:
        raise InputError(f"conditions: no {sorted(unknown)}, expected some of {list(CONDITIONS)}")
    with jax.enable_x64(True):
        mapped = [
            xr.concat([maps(config, CONDITIONS[name], seed) for seed in config.seeds], "seed")
            for name in config.conditions
        ]
        found = xr.merge([xr.concat(mapped, "condition"), cosine(config)])
    return found.assign_coords(seed=list(config.seeds)).assign_attrs(
        conditions=list(config.conditions)
    )


def published_way(maps: np.ndarray) -> float:
    """The median of the local slopes of box counts over all maps of one seed.

    As in the public code of the paper, which takes ten sides from 10 cells to the whole map.
    """
    slopes = []
    for trains in maps:
        cells = box_counting.boundary(trains)
        sides = np.unique(np.geomspace(COARSEST, len(cells), 10).astype(int))
        _, counts = box_counting.box_counts(cells, sides)
        slopes.append(-np.gradient(np.log(counts), np.log(sides)))
    return float(np.median(slopes))


def fits(dataset: xr.Dataset) -> xr.Dataset:
    """Dimension of every map, its error, and what the published way says of every seed."""

    def each(function, dims, kept):
        return xr.apply_ufunc(function, dataset.trains, input_core_dims=[dims],
                              output_core_dims=kept, vectorize=True)  # fmt: skip

    def fit(trains):
        found = box_counting.dimension(*box_counting.box_counts(box_counting.boundary(trains)))
        return found.dimension, found.error

    dimension, error = each(fit, ("row", "column"), [[], []])
    way = each(published_way, ("map", "row", "column"), [[]])
    return xr.Dataset({"dimension": dimension, "error": error, "published_way": way})


def boundary_rates(dataset: xr.Dataset) -> np.ndarray:
    """How many boundary rates each roughness has, as far as the grid can tell."""
    return np.array([int(box_counting.boundary(row).sum()) for row in dataset.bounded.values])


def parts(dataset: xr.Dataset) -> list[str]:
    """Names of the maps of one seed: "whole", "8 times closer"."""
    ends = dataset.up.values[0, 0][:, [0, -1]]
    closer = np.log(ends[0, 1] / ends[0, 0]) / np.log(ends[:, 1] / ends[:, 0])
    return ["whole", *(f"{times:.0f} times closer" for times in closer[1:])]


def over_seeds(dataset: xr.Dataset) -> dict[str, dict[str, Interval]]:
    """Medians over seeds of each condition: of the whole, of closer maps, in the published way."""
    told = {}
    for index, condition in enumerate(dataset.attrs["conditions"]):
        one = fits(dataset.isel(condition=index))
        named = {name: one.dimension.isel(map=k) for k, name in enumerate(parts(dataset))}
        named["the published way"] = one.published_way
        told[condition] = {name: median(values.values) for name, values in named.items()}
    return told


def numbers(dataset: xr.Dataset) -> dict:
    """Dimensions with their intervals, and where the boundary stops being a single rate."""
    told: dict = {"runs_a_map": int(dataset.trains[0, 0, 0].size), "seeds": dataset.sizes["seed"]}
    for index, (condition, medians) in enumerate(over_seeds(dataset).items()):
        name = condition.replace(" ", "_")
        of_one = dataset.isel(condition=index)
        one = fits(of_one)
        told |= {f"{name}_{part.replace(' ', '_')}": one[:3] for part, one in medians.items()}
        told |= {
            f"{name}_published": CONDITIONS[condition].published,
            f"{name}_least": one.dimension.min("seed").values.tolist(),
            f"{name}_most": one.dimension.max("seed").values.tolist(),
            f"{name}_error_most": one.error.max("seed").values.tolist(),
            f"{name}_of_a_line": (one.dimension - one.error <= 1).sum("seed").values.tolist(),
            f"{name}_share_that_trains": of_one.trains.mean(
                ("seed", "row", "column")
            ).values.tolist(),
        }
    roughness, rates = dataset.roughness.values, boundary_rates(dataset)
    ragged = rates > 1
    told["largest_roughness_with_one_boundary_rate"] = float(roughness[~ragged].max())
    told["smallest_roughness_with_several"] = float(roughness[ragged].min())
    told["roughness_where_convexity_ends"] = float(1 / (2 * np.pi**2))
    told["most_boundary_rates"] = int(rates.max())
    return told


def panels(dataset: xr.Dataset, index: int) -> list[plots.Map]:
    """One map of the first seed in every condition."""
    return [
        plots.Map(
            *(one[side].values for side in ("across", "up", "trains", "speed")),
            CONDITIONS[name].axes,
        )
        for place, name in enumerate(dataset.attrs["conditions"])
        for one in [dataset.isel(condition=place, seed=0, map=index)]
    ]


def plot(dataset: xr.Dataset) -> dict:
    """A map of every condition and its zooms, the dimensions of all, and the smallest case."""
    known = over_seeds(dataset)

    last = dataset.sizes["map"] - 1

    def drawn(index, closer=None):
        part = parts(dataset)[index]
        titles = [f"{name}: {_short(medians[part])}" for name, medians in known.items()]
        return plots.maps(panels(dataset, index), titles, title=part, closer=closer)

    published = [CONDITIONS[name].published for name in known]
    return {
        "whole": drawn(0, panels(dataset, min(1, last))),
        "closest": drawn(last),
        "dimensions": plots.dimensions(known, published),
        "cosine": plots.boundary_rates(
            dataset.roughness.values,
            dataset.learning_rate.values,
            dataset.bounded.values,
            threshold=1 / (2 * np.pi**2),
        ),
    }


def _short(one: Interval) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


if __name__ == "__main__":
    common.main("trainability_boundary", Config, run, plot, numbers)
