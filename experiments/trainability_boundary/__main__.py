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
from gdjax.errors import InputError
from gdjax.statistics import Interval

from . import figures as plots
from .conditions import CONDITIONS
from .config import Config
from .model import cosine, maps
from .summary import numbers, over_seeds, parts


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
    command.main(Config, run, plot, numbers)
