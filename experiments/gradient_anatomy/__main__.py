"""Which of 13,002 partial derivatives are large, and is the gradient correct?

    sign: direction in which to change a parameter;  size: sensitivity of the cost to it

    python -m experiments.gradient_anatomy        (about 11 s)

Expected: exactly 2,112 entries are zero before and after training (16 neurons times 132 pixels that
are zero in all 4,000 images); the error of every predicted change is below the sum of these two
terms, which is less than 1 % of the change at the start. This is refuted by a single change with a
larger error, from any start.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.plots import images
from gdjax.statistics import median

from . import figures as anatomy
from .config import Config
from .model import examine, one


def expected_error(stage):
    """Return the allowed relative error of each prediction; +inf if it predicts 0."""
    allowed = (abs(stage.second_order) + stage.rounding).values
    size = np.abs(stage.predicted.values)
    return np.divide(allowed, size, out=np.full(size.shape, np.inf), where=size > 0)


def measured_error(stage):
    """Return the relative error of each prediction; 0 if the prediction is 0."""
    size = np.abs(stage.predicted.values)
    off = np.abs((stage.actual - stage.predicted).values)
    return np.divide(off, size, out=np.zeros(size.shape), where=size > 0)


def holding_half(gradient):
    """Return the number of largest entries that make up half of the squared norm."""
    squares = np.sort(gradient.astype(float) ** 2)[::-1]
    return int(np.searchsorted(np.cumsum(squares), squares.sum() / 2) + 1)


def statistics_by_stage(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return statistics of the gradients from one start, with one value per stage."""
    stages = [dataset.isel(stage=i) for i in range(dataset.sizes["stage"])]
    gradients = [stage.gradient.values for stage in stages]
    shares = (dataset.layer_norm.values / np.maximum(dataset.norm.values, 1e-30)[:, None]) ** 2
    largest = np.stack(
        [g[stage.position.values] for g, stage in zip(gradients, stages, strict=True)]
    )
    layer = np.stack([dataset.layer.values[stage.position.values] for stage in stages])
    return {
        "cost": dataset.cost.values,
        "gradient_norm": dataset.norm.values,
        "exactly_zero": np.array([np.sum(g == 0) for g in gradients]),
        "entries_holding_half": np.array([holding_half(g) for g in gradients]),
        "share_of_first_layer": shares[:, 0],
        "share_of_last_layer": shares[:, -1],
        "share_of_largest_in_last_layer": np.mean(layer == dataset.layer.values[-1], axis=1),
        "share_of_largest_positive": np.mean(largest > 0, axis=1),
        "nudges_within_allowed": np.array(
            [np.mean(measured_error(stage) <= expected_error(stage)) for stage in stages]
        ),
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of the gradient and errors of its checks, for each stage."""
    summary = {
        "parameters": dataset.sizes["entry"],
        "dark_pixels": int(dataset.dark_pixels),
        "data_hash": dataset.attrs["data_hash"],
    }
    for i, labels in enumerate(dataset.attrs["places"]):
        stage = dataset.isel(stage=i)
        g = stage.gradient.values
        error = measured_error(stage)
        shares = (stage.layer_norm.values / (float(stage.norm) or 1)) ** 2
        name = f"epoch_{int(stage.epoch)}"
        summary |= {
            f"{name}_cost": float(stage.cost),
            f"{name}_gradient_norm": float(stage.norm),
            f"{name}_exactly_zero": int(np.sum(g == 0)),
            f"{name}_positive": int(np.sum(g > 0)),
            f"{name}_negative": int(np.sum(g < 0)),
            f"{name}_entries_holding_half": holding_half(g),
            f"{name}_share_of_layers": [float(share) for share in shares],
            f"{name}_largest_entry": labels[0],
            f"{name}_largest_error_found": float(np.max(error)),
            f"{name}_largest_error_allowed": float(np.max(expected_error(stage))),
            f"{name}_nudges_within_allowed": float(np.mean(error <= expected_error(stage))),
        }
        for key in map(str, dataset.data_vars):
            if key.startswith("seeds_"):
                values = dataset[key].values[i]
                prefix = f"{name}_{key.removeprefix('seeds_')}"
                summary[f"{prefix}_over_seeds"] = median(values)[:3]
                summary[f"{prefix}_least_and_most"] = [float(values.min()), float(values.max())]
    return summary | {"seeds": dataset.sizes["seed"]}


def run(config: Config) -> xr.Dataset:
    """Return the gradients for the start in the figures, and statistics over starts."""
    look = jax.jit(partial(examine, config.top))
    problem = gd.problems.digits(config.data, widths=config.widths)
    rule = optax.sgd(config.learning_rate)  # one for all starts, so that they share a compilation
    rows = [
        statistics_by_stage(one(replace(config, seed=seed), problem, rule, look))
        for seed in range(config.seeds)
    ]
    return one(config, problem, rule, look).assign(
        {
            f"seeds_{name}": (("stage", "seed"), np.stack([row[name] for row in rows], axis=1))
            for name in rows[0]
        }
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw sizes of entries, the largest entries with checks, and entries as images."""
    layers = [f"layer {number}" for number in np.unique(dataset.layer)]
    side, neurons = dataset.attrs["image_shape"], dataset.attrs["neurons"]
    sizes, top, proof, figures = {}, {}, {}, {}
    for i, places in enumerate(dataset.attrs["places"]):
        stage = dataset.isel(stage=i)
        epoch = int(stage.epoch)
        name = "at a random start" if epoch == 0 else f"after {epoch} epochs"
        g = stage.gradient.values
        relative = np.abs(g) / (np.max(np.abs(g)) or 1)
        sizes[name] = {
            layer: relative[stage.layer.values == number + 1] for number, layer in enumerate(layers)
        }
        last = sum(place.startswith(f"{layers[-1]}:") for place in places)
        top[f"{name}:\n{last} of the {len(places)} largest entries in {layers[-1]}"] = anatomy.Bars(
            g[stage.position.values], places
        )
        proof[name] = anatomy.Proof(
            stage.predicted.values, stage.actual.values, expected_error(stage)
        )
        first = g[: neurons * side[0] * side[1]].reshape(neurons, *side)
        figures[f"pixels_{epoch}"] = images.signed(
            first,
            title=f"Gradient with respect to the first layer's weights, {name}",
            label="slope of the cost: descent decreases red weights, increases blue ones; gray: 0",
        )
    return {
        "sizes": anatomy.relative_sizes(sizes),
        "largest": anatomy.top_entries(top),
        "proof": anatomy.predicted_actual(proof),
        **figures,
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
