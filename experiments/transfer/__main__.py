"""Is the best learning rate of a narrow network also good for a wide network?

    standard: one rate for all layers;   ntp: W = w / sqrt(inputs);   mup: Tensor Programs V

    python -m experiments.transfer                (about 6 min of processor time)

Expected: with Adam the best rate decreases by at least a factor of 2 from width 16 to 256 in the
standard parametrization, and changes by less than a factor of 2 in mup. This is refuted if the
interval of one of these two factors lies on the other side of 2. With plain descent the published
change is smaller, and no expectation is stated for 250 steps.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import strided

from . import figures as plots
from . import parametrizations
from .summary import numbers


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and starting points.

    Args:
        data: name of the data set.
        pixel_stride: interval between the pixels that are used, along rows and columns.
        widths: number of neurons in each hidden layer; the first is the base width.
        hidden_layers: number of hidden layers.
        descent_rates: smallest and largest learning rate of plain descent.
        adam_rates: smallest and largest learning rate of Adam.
        rates: number of learning rates, geometrically spaced.
        seeds: number of starting points.
        steps: number of steps of each run.
        batch_size: number of images per step.
        record_samples: number of images over which a recorded cost is averaged.
        checked_widths: widths of the coordinate check.
        checked_steps: numbers of steps after which the change of each layer is measured.
        descent_checked: learning rate of the coordinate check with plain descent.
        adam_checked: learning rate of the coordinate check with Adam.
    """

    data: str = "mnist5k"
    pixel_stride: int = 2
    widths: tuple[int, ...] = (16, 64, 256)
    hidden_layers: int = 2
    descent_rates: tuple[float, float] = (0.0625, 4.0)
    adam_rates: tuple[float, float] = (2.0**-10, 2.0**-4)
    rates: int = 7
    seeds: int = 8
    steps: int = 250
    batch_size: int = 32
    record_samples: int = 1000
    checked_widths: tuple[int, ...] = (32, 256)
    checked_steps: tuple[int, ...] = (1, 10)
    descent_checked: float = 0.05
    adam_checked: float = 0.001


def problems(config: Config, parametrization: str, optimizer: str, widths) -> dict[str, tuple]:
    """Return the problem and the optimizer factory for each width."""
    images = strided(gd.data.load(config.data), config.pixel_stride)
    problems_by_width = {}
    for width in widths:
        digits = gd.problems.digits(
            images, widths=(width,) * config.hidden_layers, activation="tanh", loss="cross_entropy"
        )
        base = {"base_width": config.widths[0]}
        layers = {"layers": config.hidden_layers + 1}
        problems_by_width[str(width)] = (
            parametrizations.parametrized(digits, parametrization, **base),
            {
                "make_optimizer": parametrizations.make_optimizer(
                    parametrization, optimizer, width, **base, **layers
                )
            },
        )
    return problems_by_width


def recorded(config: Config, optimizer: str) -> xr.Dataset:
    """Return final costs and coordinate checks, with names prefixed by the optimizer."""
    ends, checked = config.descent_rates, config.descent_checked
    if optimizer == "adam":
        ends, checked = config.adam_rates, config.adam_checked
    grid = gd.axes(learning_rate=np.geomspace(*ends, config.rates), seed=range(config.seeds))
    costs, checks = [], []
    for name in parametrizations.PARAMETRIZATIONS:
        print(f"{optimizer}, {name} ...", flush=True)
        sweeps = {
            width: gd.sweep(
                problem,
                grid,
                config.steps,
                batch_size=config.batch_size,
                record_every=config.steps,
                record_samples=config.record_samples,
                metrics={},
                **options,
            )
            for width, (problem, options) in problems(
                config, name, optimizer, config.widths
            ).items()
        }
        costs.append(gd.concat(sweeps, "width").cost.isel(step=-1, drop=True))
        family = problems(config, name, optimizer, config.checked_widths)
        checks.append(
            gd.coordinate_check(
                family,
                parametrizations.preactivations(next(iter(family.values()))[0]),
                learning_rate=checked,
                batch_size=config.batch_size,
                steps=config.checked_steps,
                num_seeds=config.seeds,
            ).rename(width="checked_width")
        )
    joined = (
        xr.merge(
            [xr.concat(costs, "parametrization"), xr.concat(checks, "parametrization")],
            join="exact",
            compat="no_conflicts",
        )
        .drop_attrs()
        .drop_vars("layer")
        .assign_coords(width=list(config.widths))
    )  # Zarr has no stable format for text
    names = ("learning_rate", *joined.data_vars)
    return joined.rename({str(name): f"{optimizer}.{name}" for name in names})


def run(config: Config) -> xr.Dataset:
    """Return the results of both optimizers."""
    parts = [recorded(config, optimizer) for optimizer in parametrizations.OPTIMIZERS]
    return xr.merge(parts, join="exact", compat="no_conflicts").assign_attrs(
        parametrizations=list(parametrizations.PARAMETRIZATIONS),
        optimizers=list(parametrizations.OPTIMIZERS),
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw the final cost against the rate at each width, and the coordinate checks."""
    return {"transfer": plots.costs(dataset), "coordinates": plots.changes(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
