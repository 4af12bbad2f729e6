"""Summary of gradient norms and accuracies by temperature."""

import numpy as np
import xarray as xr

from experiments.shared.statistics import medians
from gdjax.statistics import median


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
