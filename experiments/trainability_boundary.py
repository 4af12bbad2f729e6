"""Where does training stop working, and is there a line between works and does not?

    f(x) = tanh(sqrt(2 / n) x W0) W1 / n,   C = mean (f(x) - y)^2,   W_l <- W_l - rate_l dC/dW_l

A small network learns random targets by whole-set descent, with one learning rate for each of its
two layers, for every pair of rates on a fine grid. A pair trains if the mean cost of the last fifth
of the steps is below the cost at the start. Then the window where the two sides are most entangled
is mapped again with the same number of runs, twice over. A smooth boundary would be a
straight line by then, of box-counting dimension 1.

The smallest case beside it: f(x) = x^2 + e cos(2 pi x / l), one number, one learning rate. Its
boundary should be a single rate as long as f is convex, up to a roughness e / l^2 of
1 / (2 pi^2) = 0.0507, and many beyond.

One seed carries the picture. The number comes from ten: data and starting points of their own, each
with a coarser map; their dimensions have the error of box counting, and the median over seeds an
interval.

    python experiments/trainability_boundary.py           (about 3 minutes on two cores)

Expected: a dimension of 1.2 for the whole and more where it is entangled (Sohl-Dickstein 2024,
arXiv 2402.06184), refuted by a median over seeds whose interval holds 1; one boundary rate in every
convex case (Liu 2024, arXiv 2406.13971).
"""

from dataclasses import dataclass, replace
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import boundary as plots

import gdjax as gd
from gdjax.errors import InputError
from gdjax.geometry import fractal
from gdjax.statistics import median

DUST = 0.25  # share of boundary cells above which a window is not zoomed into
WIDTH = 256  # runs a device at a time: their activations fill a cache, 2.6 times as fast as 4096
CAP = 1e6  # relative costs above it look the same in the picture
WAVELENGTH = 0.1  # of the cosine, where the descent starts from x = 1


@dataclass(frozen=True)
class Config:
    """Which networks are trained, how, and what is mapped.

    Args:
        width: inputs, and hidden neurons.
        samples: random inputs and targets; as many as parameters.
        steps: of every run.
        record_every: steps from one recorded cost to the next.
        points: learning rates along each side of a map.
        input_rates: smallest and largest rate of the first layer.
        output_rates: smallest and largest rate of the second layer.
        zooms: maps after the first.
        factor: how much narrower a map is than the one before.
        seed: of data and starting point, for the picture.
        seeds: of those that the number is taken over.
        seed_points: learning rates along each side of their maps.
        seed_zooms: maps after the first of each of them.
        roughness: e / l^2 of the one-dimensional cases.
        rates: learning rates of each.
        rate_range: their smallest and largest.
        rate_steps: steps of each.
    """

    width: int = 8
    samples: int = 72
    steps: int = 100
    record_every: int = 4
    points: int = 256
    input_rates: tuple[float, float] = (0.1, 100.0)
    output_rates: tuple[float, float] = (1.0, 1000.0)
    zooms: int = 2
    factor: int = 8
    seed: int = 1
    seeds: tuple[int, ...] = tuple(range(1, 11))
    seed_points: int = 192
    seed_zooms: int = 0
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1
    rate_range: tuple[float, float] = (1.0, 1.032)
    rate_steps: int = 1000


def network(width: int, samples: int, seed: int) -> gd.Problem:
    """Two layers without biases, with random data.

    Samples stay in the last axis, which makes narrow networks about twice as fast in a sweep.
    """
    key_x, key_y = jax.random.split(gd.streams(seed).probes)

    def init(key):
        key_0, key_1 = jax.random.split(key)
        return jax.random.normal(key_0, (width, width)), jax.random.normal(key_1, (1, width))

    def cost(params, batch):
        w0, w1 = params
        x, y = batch
        hidden = jnp.tanh(np.sqrt(2 / width) * w0 @ x.T)
        return jnp.mean((w1 @ hidden / width - y.T) ** 2)

    data = jax.random.normal(key_x, (samples, width)), jax.random.normal(key_y, (samples, 1))
    return gd.Problem(init=init, cost=cost, data=data)


def rate_a_layer(input_rate, output_rate) -> optax.GradientTransformation:
    """Plain descent with one learning rate for each of two layers."""

    def update(gradient: Any, _params: Any) -> Any:
        return -input_rate * gradient[0], -output_rate * gradient[1]

    return optax.stateless(update)


def side(low: float, high: float, points: int) -> np.ndarray:
    """Rates along a side of a map, evenly spaced by their ratio."""
    return np.geomspace(low, high, points)


def train(config: Config, problem: gd.Problem, window) -> tuple[np.ndarray, np.ndarray]:
    """Whether each pair of rates trains, and how fast it does or does not.

    Speed is the mean of relative cost along a run that trains, of its inverse along one that does
    not, both in (0, 1]: small is fast.
    """
    runs = gd.sweep(
        problem,
        gd.axes(
            output_rate=side(*window[1], config.points), input_rate=side(*window[0], config.points)
        ),
        config.steps,
        optimizer=rate_a_layer,
        record_every=config.record_every,
        root=config.seed,
        width=WIDTH,
        keep=2**32,
    )
    relative = np.minimum(runs.cost.values / runs.cost.values[..., :1], CAP)
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
            share, length = inside.mean(), fractal.boundary(inside).mean()
            score = length * min(share, 1 - share) * (1.0 if length <= DUST else 1e-3)
            if score > best:
                best, place = score, (row, column)
    return place


def maps(config: Config) -> xr.Dataset:
    """The first map and its zooms, each around the place where the one before is most entangled."""
    problem = network(config.width, config.samples, config.seed)
    window = config.input_rates, config.output_rates
    found, sides = [], []
    for _ in range(config.zooms + 1):
        found.append(train(config, problem, window))
        sides.append([side(*rates, config.points) for rates in window])
        corner = richest(found[-1][0], config.factor)
        window = tuple(
            (
                float(rates[start]),
                float(rates[start] * (rates[-1] / rates[0]) ** (1 / config.factor)),
            )
            for rates, start in zip(sides[-1], reversed(corner), strict=True)
        )
    trains, speed = (np.stack(arrays) for arrays in zip(*found, strict=True))
    along = np.array(sides)
    return xr.Dataset(
        {
            "trains": (("map", "row", "column"), trains),
            "speed": (("map", "row", "column"), speed),
        },
        {
            "input_rate": (("map", "column"), along[:, 0]),
            "output_rate": (("map", "row"), along[:, 1]),
        },
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
        bound=1e8,
    )
    return xr.Dataset({"bounded": runs.diverged_at < 0}).drop_attrs()


def run(config: Config) -> xr.Dataset:
    """All maps, and the smallest case."""
    for name in ("points", "seed_points"):
        points = getattr(config, name)
        if points < 34:
            raise InputError(
                f"{name} = {points}, expected at least 34: a fit needs boxes of three sizes"
            )
    with jax.enable_x64(True):
        return xr.merge([maps(config), over_seeds(config), cosine(config)])


def over_seeds(config: Config) -> xr.Dataset:
    """The dimension of each seed's maps, coarser than the picture's."""
    settings = {"points": config.seed_points, "zooms": config.seed_zooms}
    fits = []
    for seed in config.seeds:
        trains = maps(replace(config, seed=seed, **settings)).trains.values
        fits.append(
            [fractal.dimension(*fractal.box_counts(fractal.boundary(map_))) for map_ in trains]
        )
    dims = ("seed", "seed_map")
    return xr.Dataset(
        {
            "seed_dimension": (dims, [[fit.dimension for fit in row] for row in fits]),
            "seed_error": (dims, [[fit.error for fit in row] for row in fits]),
        },
        {"seed": list(config.seeds)},
    )


def box_counts(dataset: xr.Dataset):
    """Sides of boxes and how many meet the boundary, for each map."""
    return [fractal.box_counts(fractal.boundary(trains)) for trains in dataset.trains.values]


def boundary_rates(dataset: xr.Dataset) -> np.ndarray:
    """How many boundary rates each roughness has, as far as the grid can tell."""
    return np.array([int(fractal.boundary(row).sum()) for row in dataset.bounded.values])


def numbers(dataset: xr.Dataset) -> dict:
    """Dimensions with their fits, and where the boundary stops being a single rate."""
    found: dict = {"runs_a_map": int(dataset.trains[0].size)}
    fits = [fractal.dimension(*counts) for counts in box_counts(dataset)]
    for index, fit in enumerate(fits):
        found |= {f"map_{index}_{name}": value for name, value in fit._asdict().items()}
        found[f"map_{index}_share_that_trains"] = float(dataset.trains[index].mean())
        rates = dataset.input_rate.values[index]
        found[f"map_{index}_decades"] = float(np.log10(rates[-1] / rates[0]))
    for index in range(dataset.sizes["seed_map"]):
        dimension, error = (dataset[f"seed_{n}"].values[:, index] for n in ("dimension", "error"))
        found |= {
            f"seeds_map_{index}_dimension": median(dimension)[:3],
            f"seeds_map_{index}_of_a_line_by_their_own_error": int(np.sum(dimension - error <= 1)),
            f"seeds_map_{index}_least": float(dimension.min()),
            f"seeds_map_{index}_most": float(dimension.max()),
            f"seeds_map_{index}_error_of_one": float(error.max()),
        }
    found["seeds"] = dataset.sizes["seed"]
    roughness, rates = dataset.roughness.values, boundary_rates(dataset)
    ragged = rates > 1
    found["largest_roughness_with_one_boundary_rate"] = float(roughness[~ragged].max())
    found["smallest_roughness_with_several"] = float(roughness[ragged].min())
    found["roughness_where_convexity_ends"] = float(1 / (2 * np.pi**2))
    found["most_boundary_rates"] = int(rates.max())
    return found


def plot(dataset: xr.Dataset) -> dict:
    """The maps, and how ragged their boundaries are."""
    shown = [
        plots.Map(
            input_rate=dataset.input_rate.values[index],
            output_rate=dataset.output_rate.values[index],
            trains=dataset.trains.values[index],
            speed=dataset.speed.values[index],
        )
        for index in range(dataset.sizes["map"])
    ]
    counts = box_counts(dataset)
    over = median(dataset.seed_dimension.values[:, 0])
    known = f"{over.value:.2f} ({over.low:.2f} to {over.high:.2f})"
    return {
        "maps": plots.maps(shown),
        "dimension": plots.box_counting(
            counts,
            [fractal.dimension(*pair)[:2] for pair in counts],
            title=f"Dimension of the whole over {over.runs} seeds: {known}",
        ),
        "cosine": plots.boundary_rates(
            dataset.roughness.values,
            dataset.learning_rate.values,
            dataset.bounded.values,
            threshold=1 / (2 * np.pi**2),
        ),
    }


if __name__ == "__main__":
    common.main("trainability_boundary", Config, run, plot, numbers)
