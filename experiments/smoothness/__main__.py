"""Why can a neuron not be binary: what happens to gradients as a sigmoid becomes a step?

    s(z / temperature)  ->  1 if z > 0 else 0   as the temperature falls to 0

    python -m experiments.smoothness           (about 40 s)

Expected: a test accuracy of 85 to 90 % at temperatures 1 to 1/4, and a median test accuracy little
above chance (10 %) at temperatures of 1/16 and below, at any learning rate; at temperature 0,
gradients that are exactly 0 and a constant cost.
"""

from functools import partial

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command

from . import figures as temperatures
from .config import Config
from .model import at_start
from .summary import best, numbers


def trained(config: Config, problem) -> xr.Dataset:
    """Return runs at every temperature, from unscaled and from scaled starts."""
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    train = partial(
        gd.sweep, problem, num_steps=steps, batch_size=config.batch_size, record_every=steps
    )
    seeds = range(config.seeds)
    usual = train(
        gd.axes(temperature=config.temperatures, learning_rate=config.learning_rates, seed=seeds)
    )
    t = np.array(config.temperatures)
    unit = np.where(t > 0, t, 1)  # a step function is scale-invariant
    zipped = gd.zip_axes(temperature=t, init_scale=unit, learning_rate=config.scaled_rate * unit**2)
    scaled = train(gd.axes(temperature=zipped, seed=seeds))
    names = ["cost", "test_accuracy"]
    records = scaled[names].reset_coords(drop=True)
    return xr.merge([usual[[*names, "outcome"]], records.rename({n: f"scaled_{n}" for n in names})])


def run(config: Config) -> xr.Dataset:
    """Return the measurements before and after training."""
    problem = gd.problems.digits(config.data)
    classes = problem.network.widths[-1]
    both = xr.merge([at_start(config, problem), trained(config, problem)])
    return both.assign_attrs(chance=1 / classes)


def plot(dataset: xr.Dataset) -> dict:
    """Draw cost, gradients and accuracies in one figure."""
    accuracy, _ = best(dataset)
    image = dataset.image_gradient_norm
    return {
        "cooling": temperatures.cooling(
            dataset.added.values,
            {float(t): dataset.cost_along.sel(drawn=t).values for t in dataset.drawn.values},
            temperature=dataset.looked_at.values,
            full_batch=dataset.gradient_norm.values,
            image=image.median("image").values,
            still=(image == 0).mean("image").values,
            trained=dataset.temperature.values,
            usual=accuracy.values,
            scaled=dataset.scaled_test_accuracy.isel(step=-1).values,
            chance=dataset.attrs["chance"],
        )
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
