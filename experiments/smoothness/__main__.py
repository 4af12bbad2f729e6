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
from experiments.shared.statistics import medians
from gdjax.statistics import median

from .config import Config
from .figures import cooling
from .model import at_start


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


def best(dataset):
    """Return test accuracies at the best rate, and this rate, by temperature.

    The best learning rate has the lowest median training cost.
    """
    cost = medians(dataset.cost.isel(step=-1))
    choice = cost.argmin("learning_rate")
    accuracy = dataset.test_accuracy.isel(step=-1, learning_rate=choice)
    return accuracy.transpose("temperature", "seed"), dataset.learning_rate[choice]


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of gradients, and accuracies, by temperature."""
    accuracy, rate = best(dataset)
    scaled = dataset.scaled_test_accuracy.isel(step=-1).transpose("temperature", "seed")
    temperatures = dataset.looked_at.values
    gradient_norm = medians(dataset.gradient_norm).values
    typical = dataset.image_gradient_norm.median("image")
    image = medians(typical).values
    still = (dataset.image_gradient_norm == 0).mean("image")
    steps = dataset.sel(temperature=0)
    summary = {
        "seeds": dataset.sizes["seed"],
        "image_gradient_norm_at_1": median(typical.sel(looked_at=1).values)[:3],
        "image_gradient_norm_most": median(typical[image.argmax()].values)[:3],
        "image_gradient_norm_most_at": float(temperatures[image.argmax()]),
        "image_gradient_zero_from": float(temperatures[image == 0].max()),
        "gradient_norm_most": float(gradient_norm.max()),
        "gradient_norm_most_at": float(temperatures[gradient_norm.argmax()]),
        "images_without_gradient": {
            f"at_{t:.2g}": median(still.sel(looked_at=t).values)[:3] for t in temperatures
        },
        "gradient_norm_of_steps": float(dataset.gradient_norm.sel(looked_at=0).max()),
        "cost_moved_by_steps": float(np.ptp(steps.cost.values, axis=-1).max()),
        "scaled_cost_spread": float(
            np.ptp(dataset.scaled_cost.isel(step=-1).values[dataset.temperature > 0], axis=0).max()
        ),
    }
    for index, temperature in enumerate(dataset.temperature.values):
        name = f"{temperature:g}"
        summary[f"accuracy_at_{name}"] = median(accuracy.values[index])[:3]
        summary[f"best_rate_at_{name}"] = float(rate.values[index])
        summary[f"scaled_accuracy_at_{name}"] = median(scaled.values[index])[:3]
    return summary


def run(config: Config) -> xr.Dataset:
    """Return the measurements before and after training."""
    problem = gd.problems.digits(config.data)
    classes = problem.network.widths[-1]
    both = xr.merge([at_start(config, problem), trained(config, problem)])
    return both.assign_attrs(chance=1 / classes)


def plot(dataset: xr.Dataset) -> dict:
    """Draw cost, gradients and accuracies in one figure."""
    return {"cooling": cooling(dataset, best(dataset)[0])}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
