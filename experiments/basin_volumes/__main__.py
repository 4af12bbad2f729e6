"""In which coordinates do random directions find most of the volume of a basin?

    log V = log V_n + log |det A| + log mean r^n,   A: the identity, or an estimate of the shape

    python -m experiments.basin_volumes           (about 160 s of processor time)

Expected: the estimates increase from each of these kinds of coordinates to the next (published for
a comparison of Adam's moments with the identity: arXiv 2501.18812); all estimates are lower bounds.
This is refuted if the interval of a paired difference over the networks contains 0.
"""

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import ends_of
from gdjax.base.statistics import Interval, mean, median, paired
from gdjax.landscape.basin_volume import basin_volume
from gdjax.landscape.mcmc import Whitening, hessian_whitening
from gdjax.plots.style import BLUE, GREY

KNOWN = ("nothing", "layers", "diagonal", "Hessian")  # information about the basin's shape
FIELDS = ("log_volume", "standard_error", "lower_bound")


@dataclass(frozen=True)
class Config:
    """Networks, and settings of the measurement of their basins."""

    images: int = 500  # number of training images
    hidden: int = 64  # number of neurons in the hidden layer
    decay: float = 1e-4  # weight decay, which does not apply to biases
    seeds: int = 16  # number of networks, which differ in their starting points
    whole: int = 3  # number of networks whose full Hessian is decomposed
    steps: int = 2000  # number of steps of Adam, with cosine decay of its rate from 0.01 to 0
    level: float = 0.01  # rise of the cost at the boundary of a basin
    directions: int = 64  # number of directions in which the boundary is searched


def problem_of(config: Config) -> gd.Problem:
    """Return the problem of classifying scikit-learn's digits, tested on the last images."""
    from sklearn.datasets import load_digits  # takes seconds

    pixels, labels = load_digits(return_X_y=True)
    images, n = (pixels / 16).astype(np.float32), config.images
    network = gd.problems.Network((images.shape[1], config.hidden, 10))
    test = (images[n:], labels[n:])
    return gd.problems.decayed(network, (images[:n], labels[:n]), config.decay, test=test)


def volumes(config: Config, problem: gd.Problem, ends, name: str) -> xr.Dataset:
    """Return the volumes of the networks' basins in one kind of coordinates.

    With the full Hessian, only the basins of the first `config.whole` networks are measured.
    """
    count = config.whole if name == "Hessian" else config.seeds
    keys = jax.random.split(jax.random.key(0), config.seeds)

    @jax.jit
    def one(w, key, problem):
        scale = coordinates(config, problem, w, name)
        options = {"level": config.level, "directions": config.directions}
        volume = basin_volume(problem, w, key=key, whitening=scale, **options)
        return {field: getattr(volume, field) for field in FIELDS}

    rows = [one(jax.tree.map(lambda a, i=i: a[i], ends), keys[i], problem) for i in range(count)]
    columns = {field: ("network", [float(row[field]) for row in rows]) for field in FIELDS}
    return xr.Dataset(columns, {"network": np.arange(count)})


def coordinates(config: Config, problem: gd.Problem, w, name: str) -> Whitening:
    """Return the whitening that defines one kind of coordinates.

    The Hessian and its diagonal are damped with the curvature of the weight decay.
    """
    flat, unravel = ravel_pytree(w)
    floor = 2 * config.decay
    if name == "Hessian":
        return hessian_whitening(problem, w, damping=floor)
    if name == "layers":
        sizes = jax.tree.map(lambda a: jnp.full_like(a, jnp.sqrt(jnp.mean(a**2))), w)
        return Whitening(ravel_pytree(sizes)[0])
    if name == "diagonal":
        return Whitening((jnp.abs(diagonal(problem, flat, unravel)) + floor) ** -0.5)
    return Whitening(jnp.ones_like(flat))


def diagonal(problem: gd.Problem, flat, unravel):
    """Return the diagonal of the Hessian, computed from products with unit vectors."""

    def entry(i):
        unit = jnp.zeros_like(flat).at[i].set(1)
        product = gd.curvature.HessianOperator(problem, unravel(flat)).mv(unravel(unit))
        return ravel_pytree(product)[0][i]

    return jax.lax.map(entry, jnp.arange(flat.size), batch_size=64)


def gains(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return paired differences of the log volume from the previous coordinates."""
    return {
        b: paired(dataset.log_volume.sel(known=a).values, dataset.log_volume.sel(known=b).values)
        for a, b in itertools.pairwise(KNOWN)
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return log volumes in nats, and differences between kinds of coordinates."""
    by_known: dict = {}
    for name in KNOWN:
        one = dataset.sel(known=name).dropna("network")
        by_known[name] = {
            "log_volume": mean(one.log_volume.values)[:3],
            "lower_bounds": float(one.lower_bound.mean()),
            "standard_error": float(one.standard_error.median()),
        }
    for name, gain in gains(dataset).items():
        by_known[name]["gain"] = gain[:3]
    return {
        "parameters": dataset.attrs["parameters"],
        "test_accuracy": median(dataset.test_accuracy.values)[:3],
        "known": by_known,
    }


def run(config: Config) -> xr.Dataset:
    """Return log volumes of all basins in all coordinates, NaN if not measured."""
    problem = problem_of(config)
    steps, seeds = config.steps, gd.axes(seed=range(config.seeds))
    adam = optax.adam(optax.cosine_decay_schedule(0.01, steps))
    runs = gd.sweep(problem, seeds, steps, make_optimizer=lambda: adam, record_every=steps)
    ends = ends_of(problem, runs)
    parts = [volumes(config, problem, ends, name) for name in KNOWN]
    measured = xr.concat(parts, xr.Variable("known", list(KNOWN)), join="outer")
    trained = runs[["cost", "test_accuracy"]].isel(step=-1, drop=True).rename(seed="network")
    return measured.merge(trained.drop_attrs()).assign_attrs(
        parameters=problem.network.parameter_count
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw the estimated volumes of basins for each kind of coordinates."""
    log_volume, positions = dataset.log_volume.values, np.arange(len(KNOWN))
    figure = Figure(figsize=(8, 4.6))
    axes = figure.subplots()
    axes.plot(positions, log_volume, color=GREY, linewidth=0.6)
    axes.plot(positions, log_volume, "o", color=BLUE, markersize=4)
    offset: dict = {"xytext": (-6, 6), "textcoords": "offset points", "ha": "right"}
    for position, gain in zip(positions[1:], gains(dataset).values(), strict=True):
        height = np.nanmean(log_volume[position - 1 : position + 1])
        axes.annotate(f"{gain.value:+,.0f}", (position - 0.5, height), **offset)
    axes.set_xticks(positions, KNOWN)
    axes.set_xlim(-0.6, len(KNOWN) - 0.4)
    axes.set_xlabel("information about the basin used by the coordinates")
    axes.set_ylabel("estimated log volume, nats")
    best = KNOWN[int(np.argmax(np.nanmean(log_volume, axis=1)))]
    axes.set_title(f"Information that gives the largest estimated volume: {best}")
    return {"volumes": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
