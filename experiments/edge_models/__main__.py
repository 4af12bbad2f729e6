"""Which flow predicts the center of descent at the edge of stability?

    relative distance at t:  min over |k| <= window of |c_flow(t) - c_descent(t + k)|
                             / |c_descent(t) - c_descent(0)|,   t and k in records

    python -m experiments.edge_models           (about 7 min on two cores)

Expected: the rod flow has the smallest distance at the rates at which the central flow fails. This
is refuted for a case if the interval of the ratio of its distance to that of the central flow lies
above 1, and not established if the interval contains 1.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command
from experiments.shared.edges import dots_per_start
from experiments.shared.images import image_regression, strided
from experiments.shared.regressions import random_targets
from experiments.shared.trees import datasets
from gdjax.base.statistics import median
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.dynamics import FlowStatus, central_flow, edge_flow, gradient_flow, rod_flow
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

LABELS = {
    "gradient": ("gradient flow", VERMILLION),
    "central": ("central flow", ORANGE),
    "rod": ("rod flow", BLUE),
    "edge": ("edge flow", GREEN),
    "moved": ("descent, start moved", GREY),
}
AT_EDGE = 1.99  # product of rate and curvature above which a run has reached the edge
OSCILLATING = {"rod": rod_flow, "edge": edge_flow}
FLOWS = ("gradient", "central", *OSCILLATING)


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows."""

    rates: tuple[float, ...] = (0.2, 0.3)  # learning rates of the swish network
    samples: int = 128  # number of random samples for the swish network
    steps: int = 400  # number of steps of each descent of the swish network
    digits: int = 100  # number of training images of digits
    digit_rates: tuple[float, ...] = (3.5,)  # learning rates on the digits
    digit_steps: int = 200  # number of steps of each descent on the digits
    image_data: str = "fashion_mnist"  # name of the data set of images
    images: int = 500  # number of training images of this data set
    image_stride: int = 2  # distance between the pixels of these images that are used
    image_widths: tuple[int, ...] = (16, 16)  # neurons in each hidden layer of the tanh network
    image_init_scale: float = 0.5  # scale of starting weights; at 1, starts are far above the edge
    image_rates: tuple[float, ...] = (0.2,)  # learning rates on these images
    image_steps: int = 200  # number of steps of each descent on these images
    starts: int = 8  # number of starting points for each rate
    eigenvectors: int = 4  # maximum number of eigenvalues held at 2 / eta by the central flow
    stride: int = 2  # number of steps between records, and in an interval of the central flow
    window: int = 5  # records on both sides that are searched for the nearest center of descent
    moved: float = 1e-6  # distance of the second start from the first, relative to its norm
    solver_steps: int = 10  # maximum number of solver steps of a rod or edge flow per step


class Path(NamedTuple):
    """Centers of runs of descent or of a flow; any leading axes index the runs."""

    centers: Float[Array, "... times n"]  # as flat vectors
    # amplitude of the oscillation around the center; 0 for the gradient flow
    amplitude: Float[Array, "... times"]
    # rate times the curvature that determines the growth of the oscillation; 0 for the gradient
    # flow and NaN for descent
    product: Float[Array, "... times"]
    # whether all centers are finite and, for a flow, the solver reached the end
    completed: Bool[Array, "..."]


def cases(config: Config) -> dict[str, tuple]:
    """Return the problem, rates and number of steps of each case."""
    digits = gd.problems.digits("mnist5k", samples=config.digits)
    pixels, scale = gd.data.load(config.image_data), config.image_init_scale
    pixels = strided(pixels, config.image_stride)
    images = image_regression(pixels, config.image_widths, config.images, init_scale=scale)
    return {
        "swish": (random_targets(16, config.samples), config.rates, config.steps),
        "digits": (digits, config.digit_rates, config.digit_steps),
        "Fashion-MNIST": (images, config.image_rates, config.image_steps),
    }


def compare(config: Config, problem: gd.Problem, rates, steps: int) -> xr.Dataset:
    """Compare all models with descents, for all rates and starts.

    Returns:
        relative distances, amplitudes, products of rate and curvature, whether runs were completed,
        and processor times in seconds.
    """
    keys = gd.run_keys(0, np.tile(np.arange(config.starts), len(rates)))
    lanes = jnp.repeat(jnp.asarray(rates), config.starts), keys.init, keys.probes
    known, _ = timed(partial(descent, config, steps, 0.0), problem, lanes)
    models: list[Callable] = [partial(flow, config, steps, name) for name in FLOWS]
    models.append(partial(descent, config, steps, config.moved))
    paths, seconds = zip(*(timed(model, problem, lanes) for model in models), strict=True)
    distances = [
        [
            np.where(completed, relative_distances(centers, reference, config.window), np.inf)
            for centers, completed, reference in zip(
                path.centers, path.completed, known.centers, strict=True
            )
        ]
        for path in paths
    ]

    def shaped(values):
        values = np.asarray(values)
        return values.reshape(-1, len(rates), config.starts, *values.shape[2:])

    dims = ("model", "learning_rate", "seed", "step")
    steps_recorded = config.stride * np.arange(known.amplitude.shape[1])
    return xr.Dataset(
        {
            "distance": (dims, shaped(distances)),
            "amplitude": (dims, shaped([path.amplitude for path in paths])),
            "product": (dims, shaped([path.product for path in paths])),
            "completed": (dims[:-1], shaped([path.completed for path in paths])),
            "seconds": ("model", list(seconds)),
            "descent_amplitude": (dims[1:], shaped([known.amplitude])[0]),
        },
        {"model": list(LABELS), "learning_rate": list(rates), "step": steps_recorded},
    )


def timed(model: Callable, problem: gd.Problem, lanes: tuple) -> tuple[Path, float]:
    """Return the paths of all lanes, and the processor time in seconds, without compilation.

    The lanes are computed one after another, since in a batch, runs would wait for the one whose
    solver takes the most steps.
    """

    def every(lanes, problem):
        return jax.lax.map(lambda lane: model(*lane, problem), lanes)

    program = jax.jit(every).lower(lanes, problem).compile()
    start = time.process_time()
    paths = jax.block_until_ready(program(lanes, problem))
    seconds = time.process_time() - start
    return jax.tree.map(np.asarray, paths), seconds


def descent(config: Config, steps: int, moved: float, rate, key_init, key_probe, problem) -> Path:
    """Return the path of a descent, with NaN as products.

    The amplitude is the length of the alternating part (w_{t-1} - 2 w_t + w_{t+1}) / 4.
    """
    w, unravel = ravel_pytree(problem.init(key_init))
    u = jax.random.normal(key_probe, w.shape, w.dtype)
    w += moved * jnp.linalg.norm(w) * u / jnp.linalg.norm(u)

    def step(_number, points):
        now = points[1]
        g = ravel_pytree(value_and_gradient(problem, unravel(now))[1])[0]
        return now, now - rate * g

    def record(points, _):
        before, now = points
        _, after = step(0, points)
        outputs = (before + 2 * now + after) / 4, jnp.linalg.norm(before - 2 * now + after) / 4
        return jax.lax.fori_loop(0, config.stride, step, points), outputs

    _, second = step(0, (w, w))
    # The point before the start is chosen such that the center at step 0 is (w_0 + w_1) / 2.
    length = steps // config.stride + 1
    _, (centers, amplitudes) = jax.lax.scan(record, (second, w), length=length)
    bounded = jnp.all(jnp.isfinite(centers))
    return Path(centers, amplitudes, jnp.full(length, jnp.nan), bounded)


def flow(config: Config, steps: int, name: str, rate, key_init, _key_probe, problem) -> Path:
    """Return the path of a flow."""
    w, end_time, intervals = problem.init(key_init), rate * steps, steps // config.stride
    rtol = 1e-4  # relative tolerance of the solver
    options: dict = {"intervals": intervals, "rtol": rtol}
    if name == "gradient":
        times = end_time / intervals * jnp.arange(intervals + 1)
        result = gradient_flow(problem, w, times=times, rtol=rtol)
        amplitude = curvature = jnp.zeros(intervals + 1)
    elif name == "central":
        options |= {"eigenvectors": config.eigenvectors}
        result = central_flow(problem, w, rate, end_time, **options)
        amplitude = jnp.sqrt(jnp.trace(result.covariance, axis1=1, axis2=2))
        curvature = result.eigenvalues[:, 0]
    else:
        options |= {"max_steps": config.solver_steps * steps}
        result = OSCILLATING[name](problem, w, rate, end_time, **options)
        amplitude, curvature = result.amplitude, result.curvature
    centers = jax.vmap(lambda p: ravel_pytree(p)[0])(result.params)
    completed = (result.status == FlowStatus.COMPLETED) & jnp.all(jnp.isfinite(centers))
    return Path(centers, amplitude, rate * curvature, completed)


def relative_distances(
    path: Float[np.ndarray, "times n"], reference: Float[np.ndarray, "times n"], window: int
) -> Float[np.ndarray, " times"]:
    """Return relative distances from the nearest reference points within a window.

    Each distance is divided by the distance of the reference point at the same time from the first
    reference point. The window makes the result tolerant to a difference in phase. The result is
    NaN at the first time and at times without a complete window, and +inf where a point is not
    finite.
    """
    inner = np.arange(max(window, 1), len(reference) - window)
    apart = [
        np.linalg.norm(path[inner] - reference[inner + shift], axis=1)
        for shift in range(-window, window + 1)
    ]
    travelled = np.linalg.norm(reference[inner] - reference[0], axis=1)
    nearest = np.min(apart, axis=0) / travelled
    distances = np.full(len(reference), np.nan)
    distances[inner] = np.where(np.isfinite(nearest), nearest, np.inf)
    return distances


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each case that has learning rates."""
    chosen = {name: case for name, case in cases(config).items() if case[1]}
    return xr.DataTree.from_dict({name: compare(config, *case) for name, case in chosen.items()})


def typical(runs: xr.Dataset) -> dict[str, np.ndarray]:
    """Return median distances over the second half of the steps, by model and start.

    Distances of NaN are omitted. The medians are +inf for runs that were not completed.
    """
    half = runs.distance.isel(step=slice(runs.sizes["step"] // 2, None))
    return dict(zip(LABELS, half.median("step").values, strict=True))


def numbers(tree: xr.DataTree) -> dict:
    """Return distances, their ratios, counts and processor times.

    The ratios are those of a model's distance to that of the central flow, and of the distance of
    the rod flow to the model's. The counts are numbers of runs that were completed, reached the
    edge, or have a distance above that of the second descent. For runs that start below the edge,
    the ratios of the rod flow to the central flow are listed.
    """
    cases = {}
    for name, part in datasets(tree).items():
        rates = {}
        for rate in part.learning_rate.values:
            at = part.sel(learning_rate=rate)
            rows = typical(at)
            below = (at["product"].sel(model="central").isel(step=0) < AT_EDGE).values
            reached = at["product"].sel(model="rod").max("step") > AT_EDGE
            rates[f"{rate:g}"] = {
                "model": {
                    model: {
                        "distance": median(distances)[:3],
                        "ratio_to_central": ratio(distances, rows["central"]),
                        "ratio_of_rod": ratio(rows["rod"], distances),
                        "above_floor": int(np.sum(distances > rows["moved"])),
                        "completed": int(at.completed.sel(model=model).sum()),
                    }
                    for model, distances in rows.items()
                },
                "at_edge": int(reached.sum()),
                "rod_to_central_from_below": (rows["rod"] / rows["central"])[below].tolist(),
            }
        seconds = zip(LABELS, part.seconds.values.tolist(), strict=True)
        cases[name] = {
            "rate": rates,
            "model": {model: {"processor_seconds": each} for model, each in seconds},
        }
    return {"case": cases}


def ratio(values: np.ndarray, reference: np.ndarray) -> list[float] | None:
    """Return the median of values / reference with its interval, or None without a ratio.

    A ratio is +inf or 0 if only one of its numbers is infinite, and omitted if both are.
    """
    measured = np.isfinite(values) | np.isfinite(reference)
    ratios = values[measured] / reference[measured]
    return list(median(ratios)[:3]) if len(ratios) else None


def example(run: xr.Dataset, title: str) -> Figure:
    """Draw distances, amplitudes and curvatures of the models along one descent."""
    step = run.step.values
    figure = Figure(figsize=(16, 5))
    left, middle, right = figure.subplots(1, 3)
    middle.plot(step, run.descent_amplitude, color=BLACK, linewidth=0.7, label="descent")
    for model, (label, color) in LABELS.items():
        path = run.sel(model=model)
        left.plot(step, path.distance.where(np.isfinite(path.distance)), color=color, label=label)
        if model in ("central", "rod", "edge"):
            middle.plot(step, path.amplitude.where(path.amplitude > 0), color=color, label=label)
            right.plot(step, path["product"], color=color, label=label)
    right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
    for axes, name in (
        (left, "distance of centers / distance from the start"),
        (middle, "amplitude of the oscillation"),
        (right, "learning rate · curvature"),
    ):
        axes.set(xlabel="step of descent", ylabel=name)
        axes.legend()
    left.set(yscale="log", title=title)
    middle.set_yscale("log")
    right.set_ylim(0, 3)
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw distances for all starts, and a run of the first case at its last rate."""
    rows = {
        f"{name}, η = {rate:g}": typical(part.sel(learning_rate=rate))
        for name, part in datasets(tree).items()
        for rate in part.learning_rate.values
    }
    figure, axes = dots_per_start(rows, LABELS)
    axes.set_xlabel("distance of centers / distance from the start, median over time")
    name, first = next(iter(datasets(tree).items()))
    shown = first.isel(learning_rate=-1, seed=0)
    title = f"{name} network, η = {shown.learning_rate:g}"
    return {"distances": figure, "example": example(shown, title)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
