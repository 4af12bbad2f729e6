"""Where does training stop working, and is there a line between what trains and what fails?

    f(x) = s(g / sqrt(n) W0 x) W1 / n,   C = mean (f(x) - y)^2,   W_l <- W_l - rate_l dC/dW_l

A small network is fitted to random targets, with one learning rate for each of its two layers, for
every pair of rates on a grid. Training succeeds if the mean cost of the last fifth of the steps is
below the cost at the start. There are six conditions: tanh, ReLU and no activation; mini-batches; a
single sample; and one rate against an offset of the starting weights. Each condition is repeated
with ten seeds of the data and starting points. The window of each map with the longest boundary is
mapped again with as many runs, magnified eight times, and so on; with random placement, the window
surrounds a random boundary cell instead. A smooth boundary has box-counting dimension 1.

The simplest case is f(x) = x^2 + e cos(2 pi x / l), with one parameter and one learning rate. Its
boundary should be a single rate as long as f is convex, up to a roughness e / l^2 of 1 / (2 pi^2) =
0.0507, and consist of many rates for larger roughness.

    python experiments/trainability_boundary.py           (about 11 min of processor time)

Expected: a dimension above 1 in every condition for the whole map, and a larger one for the
magnified maps. This is refuted for a condition if the interval of its median over seeds is closer
to 1 than the bias of box counting. Published dimensions (Sohl-Dickstein 2024, arXiv 2402.06184) are
1.17 to 1.98, from the local slopes of box counts on zooms of 4096 x 4096 runs, with one seed and
one window each. The dependence of that measurement on the window is larger than most of the
differences between conditions. Expected for the simplest case: one boundary rate in every convex
case (Liu 2024, arXiv 2406.13971).
"""

from dataclasses import dataclass
from typing import Literal

import common
import jax
import numpy as np
import xarray as xr
from drawings import boundary as plots
from methods.trainability_boundary import cosine, maps
from summaries.trainability_boundary import numbers, over_seeds, parts
from variants.trainability import CONDITIONS

from gdjax.errors import InputError
from gdjax.statistics import Interval


@dataclass(frozen=True)
class Config:
    """Networks, pairs of rates, and maps.

    Args:
        conditions: names of the conditions.
        steps: steps of each run.
        record_every: steps from one recorded cost to the next.
        points: values along each side of a map.
        zooms: number of maps after the first.
        factor: ratio of the widths of a map and the next one, on a logarithmic scale.
        placement: placement of the next map: in the window with the longest boundary, or around a
            random boundary cell.
        neurons: number of inputs and of hidden neurons in every condition.
        window: smallest and largest value on both axes of the first map; by default that of the
            condition.
        seeds: seeds of data, starting points and random windows; the first is shown in the figures.
        roughness: e / l^2 of the one-dimensional cases.
        rates: number of learning rates of each one-dimensional case.
        rate_range: smallest and largest learning rate of these cases.
        rate_steps: steps of each run of these cases.
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


def run(config: Config) -> xr.Dataset:
    """Return all maps of all conditions and seeds, and the one-dimensional case."""
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
        dataset = xr.merge([xr.concat(mapped, "condition"), cosine(config)])
    return dataset.assign_coords(seed=list(config.seeds)).assign_attrs(
        conditions=list(config.conditions)
    )


def panels(dataset: xr.Dataset, index: int) -> list[plots.Map]:
    """Return one map of the first seed in every condition."""
    return [
        plots.Map(
            *(one[side].values for side in ("across", "up", "trains", "speed")),
            CONDITIONS[name].axes,
        )
        for place, name in enumerate(dataset.attrs["conditions"])
        for one in [dataset.isel(condition=place, seed=0, map=index)]
    ]


def plot(dataset: xr.Dataset) -> dict:
    """Draw maps and zooms, all dimensions, and the one-dimensional case."""
    over_all_seeds = over_seeds(dataset)

    last = dataset.sizes["map"] - 1

    def drawn(index, closer=None):
        part = parts(dataset)[index]
        titles = [f"{name}: {_short(medians[part])}" for name, medians in over_all_seeds.items()]
        return plots.maps(panels(dataset, index), titles, title=part, closer=closer)

    published = [CONDITIONS[name].published for name in over_all_seeds]
    return {
        "whole": drawn(0, panels(dataset, min(1, last))),
        "closest": drawn(last),
        "dimensions": plots.dimensions(over_all_seeds, published),
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
