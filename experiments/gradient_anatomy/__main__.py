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

from . import figures as anatomy
from .config import Config
from .model import examine, one
from .summary import expected_error, numbers, statistics_by_stage


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
