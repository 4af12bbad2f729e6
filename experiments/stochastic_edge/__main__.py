"""How sharp does a cost become under mini-batch descent, and does the sampling of batches matter?

    batch sharpness = E[g^T H_B g] / E|g|^2 over mini-batches B,   compared with 2 / eta at the end

    python -m experiments.stochastic_edge           (about 10 min on two cores)

Expected: eta / 2 times the batch sharpness settles at 1 within 10 % for every batch size at the
larger rates, and the sharpness of the full-batch cost is lower for smaller batches. With shuffled
batches of half of the samples, the latter exceeds 2 / eta; with replacement, it does not. This is
refuted by intervals outside 0.9 to 1.1 at the majority of the rates at which the sharpness has
become stationary, or by intervals of the two ways of sampling that overlap.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import random_targets
from experiments.shared.trees import datasets, nested, tree_of
from gdjax.base.statistics import median
from gdjax.curvature import Sharpness, batch_sharpness
from gdjax.plots.style import CYCLE, GREY, Figure
from gdjax.sweeps import Axes

from .oscillation import Config, constrained_path, oscillation

SAMPLINGS = ("shuffled", "replacement")


def late_sharpness(
    config: Config,
    problem: gd.Problem,
    grid: Axes,
    sampling: str,
    size: int,
    *,
    length: tuple[int, int] | None = None,
    measured: gd.Problem | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the sharpness at the end of descents, and the descents.

    Each sharpness is that of the problem `measured`, by default that of the descents, in units of
    2 / eta. It is the median over the last quarter of the records; NaN if the descent diverged.
    """
    measured = measured or problem
    steps, records = length or (config.steps, config.records)

    def estimates(problem, params, *, key):
        options = {"batch_size": size, "batches": config.batches}
        estimate = batch_sharpness(problem, params, key=key, **options)
        return jnp.stack([estimate.value, estimate.mean_of_ratios])

    metrics = {
        "sharpness": gd.Metric(Sharpness(rtol=0.02), data=measured.data),
        "batch": gd.Metric(estimates, data=measured.data, dims=("estimate",)),
    }
    options: dict = {"record_every": steps // records, "metrics": metrics, "batch_size": size}
    is_random = sampling == "replacement"
    runs = gd.sweep(problem, grid, steps, replacement=is_random, **options)
    late = runs.isel(step=slice(-(records // 4), None)).drop_attrs()
    bounded = late.diverged_at < 0

    def middle(values):
        """Return the median over late records, in units of 2 / eta; NaN if diverged."""
        return (values * late.learning_rate / 2).median("step").where(bounded)

    result = {
        "batch": middle(late.batch.isel(estimate=0)),
        "ratios": middle(late.batch.isel(estimate=1)),
        "whole": middle(late.sharpness),
        "diverged": ~bounded,
    }
    return xr.Dataset(result), runs


def networks(config: Config) -> xr.Dataset:
    """Return the late sharpness of swish networks, and their oscillation at one rate."""
    problem = random_targets(config.width, config.samples)
    like = jax.eval_shape(problem.init, jax.random.key(0))
    grid = gd.axes(learning_rate=config.rates, **_starts(config))

    def of(sampling, size):
        late, runs = late_sharpness(config, problem, grid, sampling, size)
        ends = gd.params_of(runs, like, {"learning_rate": config.rate, "data_seed": 0})
        return xr.merge([late, oscillation(config, problem, ends, sampling, size)])

    return _over_samplings(config.batch_sizes, of)


def gradual(config: Config) -> xr.Dataset:
    """Return the late sharpness by number of copies of each sample per pass."""
    problem = random_targets(config.width, config.samples)
    grid = gd.axes(learning_rate=[config.rate], **_starts(config))

    def of(copies, size):
        data = jax.tree.map(lambda a: np.tile(a, (copies, 1)), problem.data)
        repeated = dataclasses.replace(problem, data=data)
        return late_sharpness(config, repeated, grid, "shuffled", size, measured=problem)[0]

    return _over(
        "copies", config.copies, lambda n: _over("batch_size", config.sizes, lambda b: of(n, b))
    )


def noisy(config: Config) -> xr.Dataset:
    """Return the late sharpness of descents with new noise in the targets at every step."""
    problem = random_targets(config.width, config.samples)

    def cost(params, batch, *, key, label_noise=0.0):
        x, y = batch
        return problem.cost(params, (x, y + label_noise * jax.random.normal(key, y.shape)))

    noisy = dataclasses.replace(problem, cost=cost, evaluation=problem.cost)
    grid = gd.axes(learning_rate=[config.rate], label_noise=config.noises, **_starts(config))

    def of(sampling, size):
        return late_sharpness(config, noisy, grid, sampling, size, measured=problem)[0]

    return _over_samplings(config.sizes, of)


def images(config: Config) -> xr.Dataset:
    """Return the late sharpness of a tanh network on images."""
    problem = gd.problems.digits(
        config.image_data, widths=config.image_widths, activation="tanh", samples=config.images
    )
    starts = range(config.starts)
    pairs = gd.zip_axes(seed=starts, data_seed=starts)
    grid = gd.axes(learning_rate=[0.05], start=pairs)
    length = config.image_steps, config.image_records

    def of(sampling, size):
        return late_sharpness(config, problem, grid, sampling, size, length=length)[0]

    return _over_samplings(config.image_sizes, of)


def _starts(config):
    return {"seed": range(config.starts), "data_seed": range(config.orders)}


def _over_samplings(sizes, make: Callable[[str, int], xr.Dataset]) -> xr.Dataset:
    return _over("sampling", SAMPLINGS, lambda s: _over("batch_size", sizes, lambda b: make(s, b)))


def _over(dim: str, values: Sequence, make: Callable[..., xr.Dataset]) -> xr.Dataset:
    """Return the results for several values, along a new dimension."""
    return xr.concat([make(value) for value in values], xr.Variable(dim, list(values)))


def run(config: Config) -> xr.DataTree:
    """Return a tree with the measurements of each part."""
    parts = {
        "net": networks(config),
        "gradual": gradual(config).squeeze("learning_rate", drop=True),
        "noisy": noisy(config).squeeze("learning_rate", drop=True),
        "flow": constrained_path(config),
        "image": images(config).squeeze("learning_rate", drop=True),
    }
    return tree_of(parts, rate=config.rate)


def middle_of_orders(values: xr.DataArray) -> xr.DataArray:
    """Return the median over orders; runs from the same start are not independent."""
    return values.median("data_seed") if "data_seed" in values.dims else values


def triple(values: xr.DataArray) -> list[float] | None:
    """Return the median over starts with its interval; None if no value is finite."""
    flat = middle_of_orders(values).values
    finite = flat[np.isfinite(flat)]
    return list(median(finite)[:3]) if len(finite) else None


def predicted(share: xr.DataArray) -> xr.DataArray:
    """Return the sharpness at equilibrium for 1 - (1 - eta S)^2 = share.

        eta S / 2 = (1 + sqrt(1 - share)) / 2

    It is NaN if the share exceeds 1.

    Examples:
        >>> predicted(xr.DataArray([0.0, 0.75, -1.25])).values.tolist()
        [1.0, 0.75, 1.25]
    """
    return (1 + np.sqrt((1 - share).where(share <= 1))) / 2


def predicted_on_flow(tree: xr.DataTree) -> xr.DataArray:
    """Return `predicted` for the share eta^2 sigma^2 beta / (2 alpha) on the central flow.

    The variance sigma^2 is that of u . g over independent mini-batches with noise in the targets,
    for each batch size and label noise. Points where alpha is not above 0 are omitted.
    """
    flow, noisy = tree["flow"].to_dataset(), tree["noisy"].to_dataset()
    variance = flow.gradient_variance + noisy.label_noise**2 * flow.target_variance
    share = tree.attrs["rate"] ** 2 * variance / noisy.batch_size * flow.beta / (2 * flow.alpha)
    return predicted(share.where(flow.alpha > 0).median("point"))


def of_sampling(part: xr.Dataset) -> dict:
    """Return the entries of swish networks for one way of sampling and one batch size."""

    def late(at):
        return {name: triple(at[name]) for name in ("batch", "ratios", "whole")}

    bound = part.stationary * part.along_hessian**2 / part.distance_hessian
    sign = -1 if part.sampling == "shuffled" else 1
    return {
        **nested(part, ["learning_rate"], late),
        **{name: triple(part[name]) for name in ("path_batch", "stationary", "additive")},
        "limit": {way: triple(part[f"limit_{way}"]) for way in SAMPLINGS},
        "diverged": int(part.diverged.sum()),
        "bound": triple(bound),
        "bound_holds": bool((bound <= part.path_batch * 1.001).all()),
        "scalar": triple(predicted(sign * part.curvature_variance)),
    }


def numbers(tree: xr.DataTree) -> dict:
    """Return all medians with intervals over starts, by part and coordinate."""
    parts, rate = datasets(tree), tree.attrs["rate"]
    parts["noisy"]["gap"] = predicted_on_flow(tree)
    flow = parts["flow"]

    def whole(part):
        return {"whole": triple(part.whole)}

    def difference(part):
        middle = middle_of_orders(part.whole)
        return triple(middle.sel(sampling="shuffled") - middle.sel(sampling="replacement"))

    def of_net(part):
        here = part.sel(learning_rate=rate)
        return {"difference": difference(here), **nested(part, ["sampling"], of_sampling)}

    def of_image(part):
        return {"difference": difference(part), **nested(part, ["sampling"], whole)}

    def of_noise(part):
        return {"gap": triple(part.gap), **nested(part, ["sampling"], whole)}

    by_size: dict = {
        "net": of_net,
        "image": of_image,
        "gradual": lambda part: nested(part, ["copies"], whole),
        "noisy": lambda part: nested(part, ["label_noise"], of_noise),
    }
    cases = {name: nested(parts[name], ["batch_size"], of) for name, of in by_size.items()}
    cases["flow"] = {
        "sharpness": triple((flow.sharpness * rate / 2).median("point")),
        "second": triple((flow.second * rate / 2).median("point")),
        "alpha_positive": float((flow.alpha > 0).mean()),
    }
    return {"rates": parts["net"].learning_rate.values, "case": cases}


def plot(tree: xr.DataTree) -> dict:
    """Draw the effect of sampling, of copies and of noise, and the batch sharpness.

    Starts are dots, their medians are lines, and medians of predictions are crosses.
    """
    net, gradual, noisy = (tree[name].to_dataset() for name in ("net", "gradual", "noisy"))
    largest, here = gradual.batch_size.values[-1], net.sel(learning_rate=tree.attrs["rate"])

    def lines(values):
        return {way: values.sel(sampling=way) for way in SAMPLINGS}

    labels = {
        "batch_size": "samples per step",
        "copies": "copies of each sample",
        "label_noise": "standard deviation of the noise",
    }
    limits = {way: here[f"limit_{way}"].sel(sampling=way) for way in SAMPLINGS}
    copies = {"shuffled": gradual.whole.sel(batch_size=largest)}
    noise = lines(noisy.whole.sel(batch_size=largest))
    of_noise = {"replacement": predicted_on_flow(tree).sel(batch_size=largest)}
    # For each panel: title, dimension, and the lines with their predictions.
    panels = [
        ("Full-batch cost", "batch_size", lines(here.whole), limits),
        ("Batch sharpness along the path", "batch_size", lines(here.path_batch), {}),
        (f"Several copies per pass, {largest} per step", "copies", copies, {}),
        (f"Noise in the targets, {largest} per step", "label_noise", noise, of_noise),
    ]
    figure = Figure(figsize=(13, 4.6 * 2))
    grid = figure.subplots(2, 2)
    for axes, (title, dim, measured, theory) in zip(grid.flat, panels, strict=True):
        at = next(iter(measured.values()))[dim].values
        place = np.arange(len(at))
        for (name, values), color in zip(measured.items(), CYCLE, strict=False):
            starts = middle_of_orders(values).transpose(dim, "seed")
            axes.plot(place, starts.median("seed"), color=color, label=name)
            axes.plot(place, starts, ".", color=color, alpha=0.4)
            if name in theory:
                middle = theory[name].median("seed")
                axes.plot(place, middle, "x", color=color, markersize=9, label="predicted")
        axes.axhline(1, color=GREY, linestyle="--")
        axes.set_xticks(place, [f"{value:g}" for value in at])
        axes.set(xlabel=labels[dim], title=title)
        axes.legend()
    for axes in grid[:, 0]:
        axes.set_ylabel("sharpness, in units of 2 / rate")
    return {"sampling": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
