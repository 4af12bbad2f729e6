"""Which of 13,002 partial derivatives are large, and is the gradient correct?

    sign: direction in which to change a parameter;  size: sensitivity of the cost to it

    python -m experiments.gradient_anatomy        (about 11 s)

Expected: exactly 2,112 entries are zero before and after training (16 neurons times 132 pixels that
are zero in all 4,000 images); the error of every predicted change is below the sum of these two
terms, which is less than 1 % of the change at the start. This is refuted by a single change with a
larger error, from any start.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import with_snapshots
from gdjax.base.errors import InputError
from gdjax.base.statistics import median
from gdjax.curvature import check_gradient, gradient_summary, largest_entries, locate_entries
from gdjax.plots import images
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, label_log_axis

LEAST = 1e-9  # smallest drawn error, since a logarithmic axis has no 0


@dataclass(frozen=True)
class Config:
    """Network, and the epochs after which its gradient is examined."""

    data: str = "mnist5k"  # name of the data set
    widths: tuple[int, ...] = (16, 16)  # number of neurons in each hidden layer
    epochs: tuple[int, ...] = (0, 30)  # epochs after which the gradient is examined, ascending
    learning_rate: float = 1.0  # learning rate of the training between these epochs
    batch_size: int = 32  # images per training step; the examined gradient is over all images
    top: int = 20  # number of largest entries that are listed and checked
    seeds: int = 16  # number of starting points; the figures show the first one


def one(config: Config, seed: int, problem: gd.Problem, rule, examine: Callable) -> xr.Dataset:
    """Return the gradients of one descent after `config.epochs`, and their checks."""
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    steps, batch_size = config.epochs[-1] * epoch, config.batch_size
    descent = with_snapshots(problem, rule, steps, epoch, batch_size=batch_size, seed=seed)
    params = [jax.tree.map(lambda a, at=at: a[at], descent.snapshots) for at in config.epochs]
    stages = [jax.tree.map(np.asarray, examine(problem, w)) for w in params]
    summaries, nudges = jax.tree.map(lambda *a: np.stack(a), *stages)
    inputs, neurons = problem.network.widths[:2]
    shape = (math.isqrt(inputs), math.isqrt(inputs))
    locations = [
        locate_entries(params[0], top, network=problem.network, image_shape=shape)
        for top in nudges.position
    ]
    layer = np.concatenate([np.full(w.size + b.size, i + 1) for i, (w, b) in enumerate(params[0])])
    checks = ("position", "predicted", "actual", "second_order", "rounding")
    return xr.Dataset(
        {
            "gradient": (("stage", "entry"), [ravel_pytree(s.gradient)[0] for s, _ in stages]),
            "layer": ("entry", layer),
            "cost": ("stage", summaries.cost),
            "norm": ("stage", summaries.norm),
            "layer_norm": (("stage", "part"), np.stack(summaries.layer_norms, axis=1)),
            **{name: (("stage", "top"), getattr(nudges, name)) for name in checks},
            "dark_pixels": int(np.sum(np.all(problem.data[0] == 0, axis=0))),
        },
        {"epoch": ("stage", list(config.epochs))},
        {
            "places": [[location.label for location in stage] for stage in locations],
            "shape": [neurons, *shape],
        },
    )


def run(config: Config) -> xr.Dataset:
    """Return the gradients for the first start, and statistics over starts."""
    if list(config.epochs) != sorted(set(config.epochs)) or config.epochs[:1] < (0,):
        raise InputError(f"epochs = {config.epochs}, expected increasing integers >= 0")

    @jax.jit
    def examine(problem, params):
        summary = gradient_summary(problem, params)
        largest = largest_entries(summary.gradient, config.top)
        return summary, check_gradient(problem, params, largest.position)

    problem = gd.problems.digits(config.data, widths=config.widths)
    rule = optax.sgd(config.learning_rate)  # one for all starts, so that they share a compilation
    every = [one(config, k, problem, rule, examine) for k in range(config.seeds)]
    rows = [[statistics(stage) for _, stage in stages(start)] for start in every]
    over_seeds = {
        f"seeds_{name}": (("seed", "stage"), [[stage[name] for stage in row] for row in rows])
        for name in rows[0][0]
    }
    return every[0].assign(over_seeds)


def stages(dataset: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the description and the results of each stage."""
    for i, epoch in enumerate(dataset.epoch.values):
        yield "at a random start" if epoch == 0 else f"after {epoch} epochs", dataset.isel(stage=i)


def relative_errors(stage: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return measured and allowed relative errors of predictions: 0 and +inf if it is 0."""
    size = np.abs(stage.predicted.values)
    measured = np.abs((stage.actual - stage.predicted).values)
    allowed = (abs(stage.second_order) + stage.rounding).values
    return tuple(
        np.divide(error, size, out=np.full(size.shape, otherwise), where=size > 0)
        for error, otherwise in ((measured, 0.0), (allowed, np.inf))
    )


def holding_half(gradient):
    """Return the number of largest entries that make up half of the squared norm."""
    squares = np.sort(gradient.astype(float) ** 2)[::-1]
    return int(np.searchsorted(np.cumsum(squares), squares.sum() / 2) + 1)


def statistics(stage: xr.Dataset) -> dict:
    """Return statistics of the gradient from one start at one stage."""
    g, layer = stage.gradient.values, stage.layer.values
    measured, allowed = relative_errors(stage)
    largest, layer_of_largest = g[stage.position.values], layer[stage.position.values]
    shares = (stage.layer_norm.values / (stage.norm.values or 1)) ** 2
    return {
        "cost": stage.cost.values,
        "gradient_norm": stage.norm.values,
        "exactly_zero": np.sum(g == 0),
        "entries_holding_half": holding_half(g),
        "share_of_first_layer": shares[0],
        "share_of_last_layer": shares[-1],
        "share_of_largest_in_last_layer": np.mean(layer_of_largest == layer[-1]),
        "share_of_largest_positive": np.mean(largest > 0),
        "nudges_within_allowed": np.mean(measured <= allowed),
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of the gradient and errors of its checks, for each stage."""
    epochs = {}
    for _, stage in stages(dataset):
        measured, allowed = relative_errors(stage)
        of_seeds = {
            str(name).removeprefix("seeds_"): variable.values
            for name, variable in stage.items()
            if variable.dims == ("seed",)
        }
        epochs[f"{stage.epoch:d}"] = {
            "exactly_zero": int(np.sum(stage.gradient == 0)),
            "largest_error_found": float(np.max(measured)),
            "largest_error_allowed": float(np.max(allowed)),
            "over_seeds": {name: median(values)[:3] for name, values in of_seeds.items()},
            "least_and_most": {
                name: [float(values.min()), float(values.max())]
                for name, values in of_seeds.items()
            },
        }
    return {
        "parameters": dataset.sizes["entry"],
        "dark_pixels": int(dataset.dark_pixels),
        "seeds": dataset.sizes["seed"],
        "epoch": epochs,
    }


def top_entries(dataset: xr.Dataset) -> Figure:
    """Draw the largest entries of the gradients as bars, with their signs and locations."""
    rows, positions = dataset.sizes["top"], np.arange(dataset.sizes["top"])
    last = f"layer {int(dataset.layer[-1])}"
    figure = Figure(figsize=(6.5 * dataset.sizes["stage"], 0.3 * rows + 2.1))
    panels = np.ravel(figure.subplots(1, dataset.sizes["stage"], squeeze=False))
    for axes, (name, stage), places in zip(
        panels, stages(dataset), dataset.attrs["places"], strict=True
    ):
        values = stage.gradient.values[stage.position.values]
        unit, unit_text = _unit(values)
        axes.barh(positions, values / unit, color=np.where(values > 0, VERMILLION, BLUE))
        axes.set_yticks(positions, places)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.axvline(0, color=BLACK, linewidth=1)
        of_last = sum(place.startswith(f"{last}:") for place in places)
        axes.set_title(f"{name}:\n{of_last} of the {rows} largest entries in {last}")
        axes.set_xlabel(f"slope of the cost{unit_text}")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    handles = [
        Patch(color=VERMILLION, label="positive: descent decreases the parameter"),
        Patch(color=BLUE, label="negative: descent increases the parameter"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def predicted_actual(dataset: xr.Dataset) -> Figure:
    """Draw actual against predicted changes of the cost, and the relative errors."""
    figure = Figure(figsize=(4.5 * dataset.sizes["stage"] + 4.5, 4.8))
    ratios = [1.0] * dataset.sizes["stage"] + [1.4]  # labels of the last panel are wide
    *panels, errors = figure.subplots(1, len(ratios), width_ratios=ratios)
    for axes, (name, stage), color, mark in zip(
        panels, stages(dataset), CYCLE, "os^Dv", strict=False
    ):
        shown = {"color": color, "marker": mark, "linestyle": "", "alpha": 0.75}
        axes.axline((0, 0), slope=1, color=GREY, linewidth=1.2, zorder=0)
        axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        axes.axvline(0, color=GREY, linewidth=0.6, zorder=0)
        predicted, actual = stage.predicted.values, stage.actual.values
        unit, unit_text = _unit(predicted)
        axes.plot(predicted / unit, actual / unit, **shown)
        axes.set(title=name, ylabel=f"actual change of the cost{unit_text}")
        axes.set_xlabel(f"predicted change of the cost{unit_text},\ngradient times change")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        # The relative error is undefined for an entry of 0.
        measured, allowed = (error[predicted != 0] for error in relative_errors(stage))
        errors.plot(allowed, np.maximum(measured, LEAST), label=name, **shown)
    errors.set(xscale="log", yscale="log")
    allowed = np.array(errors.get_xlim()) * (0.8, 1.25)
    top = max(2 * allowed[1], errors.get_ylim()[1])
    errors.fill_between(allowed, allowed, top, color=GREY, alpha=0.25, linewidth=0)
    errors.text(
        0.05, 0.95, "above the allowed error", transform=errors.transAxes, va="top", color=BLACK
    )
    errors.set(xlim=allowed, title="Errors of the predicted changes")
    errors.set_ylim(top=top)
    for axis in (errors.xaxis, errors.yaxis):
        label_log_axis(axis, form=lambda share: f"{100 * share:.3g}%")
    errors.set_xlabel("allowed relative error,\nfrom curvature and rounding")
    errors.set_ylabel("relative error of the prediction")
    errors.legend(loc="lower right")
    return figure


def _unit(values):
    """Return the power of 1000 by which values on an axis are divided, and its label."""
    highest = np.max(np.abs(values), initial=0)
    power = 3 * int(np.floor(np.log10(highest) / 3)) if highest > 0 else 0
    if power == -3 and highest > 0.1:
        power = 0
    return 10.0**power, f" (10$^{{{power}}}$)" if power else ""


def plot(dataset: xr.Dataset) -> dict:
    """Draw the largest entries with checks, and entries as images."""
    shape = dataset.attrs["shape"]
    pixels = {
        f"pixels_{int(stage.epoch)}": images.signed(
            stage.gradient.values[: math.prod(shape)].reshape(shape),
            title=f"Gradient with respect to the first layer's weights, {name}",
            label="slope of the cost: descent decreases red weights, increases blue ones; gray: 0",
        )
        for name, stage in stages(dataset)
    }
    return {
        "largest": top_entries(dataset),
        "proof": predicted_actual(dataset),
        **pixels,
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
