"""Maps of the settings with which training succeeds."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax.errors import InputError

from . import box_counting
from .conditions import CONDITIONS, Condition

MAX_BOUNDARY_SHARE = 0.25  # largest share of boundary cells in a window for the next map
CAP = 1e6  # relative costs are clipped to [1 / CAP, CAP]
WAVELENGTH = 0.1  # wavelength of the cosine; descent starts from x = 1


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
    neurons: int = 8  # number of inputs and of hidden neurons in every condition
    # smallest and largest value on both axes of the first map; by default the window of the
    # condition
    window: tuple[float, float] | None = None
    # seeds of data, starting points and random windows; the first is shown in the figures
    seeds: tuple[int, ...] = tuple(range(1, 11))
    # values of e / l^2, each of which defines a one-dimensional case
    roughness: tuple[float, ...] = tuple(float(k) / 1000 for k in range(10, 121, 5))
    rates: int = 2**14 + 1  # number of learning rates of each one-dimensional case
    # smallest and largest learning rate of the one-dimensional cases
    rate_range: tuple[float, float] = (1.0, 1.032)
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
        batch_size=condition.batch,
        make_optimizer=condition.optimizer,
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
    condition = condition.with_neurons(config.neurons)
    problem = condition.problem(seed)
    window = condition.window if config.window is None else (config.window,) * 2
    rng = np.random.default_rng(seed)
    windows, sides_of_maps = [], []
    for _ in range(config.zooms + 1):
        sides = [np.geomspace(*ends, config.points) for ends in window]
        windows.append(train(config, condition, problem, sides, seed))
        sides_of_maps.append(sides)
        if config.placement == "random":
            corner = random_window(windows[-1][0], config.factor, rng)
        else:
            corner = window_with_longest_boundary(windows[-1][0], config.factor)
        window = tuple(
            (side[start], side[start] * (side[-1] / side[0]) ** (1 / config.factor))
            for side, start in zip(sides, reversed(corner), strict=True)
        )
    trains, speed = (np.stack(arrays) for arrays in zip(*windows, strict=True))
    across, up = np.swapaxes(sides_of_maps, 0, 1)
    return xr.Dataset(
        {
            "trains": (("map", "row", "column"), trains),
            "speed": (("map", "row", "column"), speed),
            "across": (("map", "column"), across),
            "up": (("map", "row"), up),
        }
    )


def cosine(config: Config) -> xr.Dataset:
    """Return whether descent on a parabola plus a cosine remains bounded.

    The dimensions of the result are `roughness` and `learning_rate`.
    """

    def cost(x, *, roughness):
        return x**2 + roughness * WAVELENGTH**2 * jnp.cos(2 * jnp.pi * x / WAVELENGTH)

    runs = gd.sweep(
        gd.Problem(init=lambda key: jnp.ones(()), cost=cost),
        gd.axes(
            roughness=config.roughness, learning_rate=np.linspace(*config.rate_range, config.rates)
        ),
        config.rate_steps,
        record_every=config.rate_steps,
        divergence_threshold=1e8,
    )
    return xr.Dataset({"bounded": runs.diverged_at < 0}).drop_attrs()
