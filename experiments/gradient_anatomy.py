"""What does one gradient say about 13,002 parameters, and is it correct?

    sign: which way to turn a weight;  size: how much that matters next to the others

The gradient of the digit network's cost over all training images is taken apart at a random start
and again after training: how large its entries are, in which layer, which ones matter most, which
are exactly zero, and what the entries of the first layer look like as images of their pixels. Then
it is put to the proof: the most important weights are nudged one by one, and the cost must change
by gradient times nudge, up to the curvature H_ii h^2 / 2 and to the rounding of the cost.

The pictures show one start; the numbers of 16 stand beside them, medians with intervals.

    python experiments/gradient_anatomy.py        (about 11 s)

Expected: 2,112 entries exactly zero at any time (132 pixels are dark in all 4,000 images, times 16
neurons); every nudge within the error that is allowed, which is below 1 % at the start. Refuted by
one nudge outside of it, from any start.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import common
import jax
import numpy as np
import optax
import xarray as xr
from drawings import anatomy
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature import check_gradient, gradient_summary, largest_entries, locate
from gdjax.errors import InputError
from gdjax.plots import images
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Which network, and when it is looked at.

    Args:
        data: data set.
        widths: hidden neurons a layer.
        epochs: passes over the training set after which the gradient is looked at, rising.
        learning_rate: of the training in between.
        batch_size: of the training in between; the gradient that is looked at is the whole set's.
        top: entries that are listed and nudged.
        seed: of the starting point in the pictures.
        seeds: starting points of the numbers.
    """

    data: str = "mnist5k"
    widths: tuple[int, ...] = (16, 16)
    epochs: tuple[int, ...] = (0, 30)
    learning_rate: float = 1.0
    batch_size: int = 32
    top: int = 20
    seed: int = 0
    seeds: int = 16


def run(config: Config) -> xr.Dataset:
    """The gradient of each stage from the pictures' start, and the numbers of all starts."""
    look = jax.jit(partial(examine, config.top))
    problem = gd.problems.digits(config.data, widths=config.widths)
    rule = optax.sgd(config.learning_rate)  # one for all starts: one program
    rows = [
        told(one(replace(config, seed=seed), problem, rule, look)) for seed in range(config.seeds)
    ]
    return one(config, problem, rule, look).assign(
        {
            f"seeds_{name}": (("stage", "seed"), np.stack([row[name] for row in rows], axis=1))
            for name in rows[0]
        }
    )


def one(
    config: Config, problem: gd.Problem, rule: optax.GradientTransformation, look: Callable
) -> xr.Dataset:
    """The gradient of each stage from one start, its largest entries, and their nudges."""
    if list(config.epochs) != sorted(set(config.epochs)) or config.epochs[:1] < (0,):
        raise InputError(f"epochs = {config.epochs}, expected whole numbers >= 0 that rise")
    streams = gd.streams(0, seed=config.seed)
    at, params = 0, problem.init(streams.init)
    before, stages = None, []
    for epochs in config.epochs:
        steps = gd.descent.steps_for(epochs, problem.samples, config.batch_size)
        if steps > at:
            before = gd.descend(
                problem,
                rule,
                params if before is None else before,
                steps - at,
                key=streams.order,
                batch_size=config.batch_size,
                record_every=steps,
            )
            at, params = steps, before.params
        stages.append(jax.tree.map(np.asarray, look(problem, params)))
    found, nudges = jax.tree.map(lambda *a: np.stack(a), *stages)
    gradient = np.stack([ravel_pytree(stage.gradient)[0] for stage, _ in stages])
    side = math.isqrt(problem.network.widths[0])
    places = [
        locate(params, top, network=problem.network, image_shape=(side, side))
        for top in nudges.position
    ]
    layer = np.concatenate([np.full(w.size + b.size, i + 1) for i, (w, b) in enumerate(params)])
    return xr.Dataset(
        {
            "gradient": (("stage", "entry"), gradient),
            "layer": ("entry", layer),
            "cost": ("stage", found.cost),
            "norm": ("stage", found.norm),
            "layer_norm": (("stage", "part"), np.stack(found.layer_norms, axis=1)),
            "zero_share": ("stage", found.zero_share),
            "position": (("stage", "top"), nudges.position),
            **{
                name: (("stage", "top"), getattr(nudges, name))
                for name in ("displacement", "predicted", "actual", "second_order", "rounding")
            },
            "dark_pixels": ((), int(np.sum(np.all(problem.data[0] == 0, axis=0)))),
        },
        {"epoch": ("stage", list(config.epochs))},
        {
            "places": [[place.label for place in stage] for stage in places],
            "image_shape": [side, side],
            "neurons": problem.network.widths[1],
            "data_hash": (problem.provenance or {})["hash"],
        },
    )


def examine(count, problem, params):
    """Anatomy of the gradient at one point, and the nudges of its largest entries."""
    parts = gradient_summary(problem, params)
    top = largest_entries(parts.gradient, count)
    return parts, check_gradient(problem, params, top.position)


def expected_error(stage):
    """Relative error of each prediction that theory allows; without end where it predicts 0."""
    allowed = (abs(stage.second_order) + stage.rounding).values
    size = np.abs(stage.predicted.values)
    return np.divide(allowed, size, out=np.full(size.shape, np.inf), where=size > 0)


def found_error(stage):
    """Relative error of each prediction that was found; 0 where it predicts 0."""
    size = np.abs(stage.predicted.values)
    off = np.abs((stage.actual - stage.predicted).values)
    return np.divide(off, size, out=np.zeros(size.shape), where=size > 0)


def holding_half(gradient):
    """How many of the largest entries hold half of the squared norm."""
    squares = np.sort(gradient.astype(float) ** 2)[::-1]
    return int(np.searchsorted(np.cumsum(squares), squares.sum() / 2) + 1)


def told(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """What is said of each start, a number a stage."""
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
            [np.mean(found_error(stage) <= expected_error(stage)) for stage in stages]
        ),
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Signs, zeros, shares and the proof, a stage at a time."""
    found = {
        "parameters": dataset.sizes["entry"],
        "dark_pixels": int(dataset.dark_pixels),
        "data_hash": dataset.attrs["data_hash"],
    }
    for i, places in enumerate(dataset.attrs["places"]):
        stage = dataset.isel(stage=i)
        g = stage.gradient.values
        error = found_error(stage)
        shares = (stage.layer_norm.values / (float(stage.norm) or 1)) ** 2
        name = f"epoch_{int(stage.epoch)}"
        found |= {
            f"{name}_cost": float(stage.cost),
            f"{name}_gradient_norm": float(stage.norm),
            f"{name}_exactly_zero": int(np.sum(g == 0)),
            f"{name}_positive": int(np.sum(g > 0)),
            f"{name}_negative": int(np.sum(g < 0)),
            f"{name}_entries_holding_half": holding_half(g),
            f"{name}_share_of_layers": [float(share) for share in shares],
            f"{name}_largest_entry": places[0],
            f"{name}_largest_error_found": float(np.max(error)),
            f"{name}_largest_error_allowed": float(np.max(expected_error(stage))),
            f"{name}_nudges_within_allowed": float(np.mean(error <= expected_error(stage))),
        }
        for key in map(str, dataset.data_vars):
            if key.startswith("seeds_"):
                values = dataset[key].values[i]
                what = f"{name}_{key.removeprefix('seeds_')}"
                found[f"{what}_over_seeds"] = median(values)[:3]
                found[f"{what}_least_and_most"] = [float(values.min()), float(values.max())]
    return found | {"seeds": dataset.sizes["seed"]}


def plot(dataset: xr.Dataset) -> dict:
    """Sizes, the most important entries, the proof, and the first layer as images."""
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
        top[f"{name}:\n{last} of the {len(places)} largest in {layers[-1]}"] = anatomy.Bars(
            g[stage.position.values], places
        )
        proof[name] = anatomy.Proof(
            stage.predicted.values, stage.actual.values, expected_error(stage)
        )
        first = g[: neurons * side[0] * side[1]].reshape(neurons, *side)
        figures[f"pixels_{epoch}"] = images.signed(
            first,
            title=f"Where the gradient pulls the first layer's weights, {name}",
            label="slope of the cost: red weights fall, blue rise, grey (dark pixels) never move",
        )
    return {
        "sizes": anatomy.relative_sizes(sizes),
        "largest": anatomy.top_entries(top),
        "proof": anatomy.predicted_actual(proof),
        **figures,
    }


if __name__ == "__main__":
    common.main("gradient_anatomy", Config, run, plot, numbers)
