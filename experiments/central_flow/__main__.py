"""Does a flow predict the average path of descent that oscillates at the edge of stability?

    central flow: dw/dt = -grad [C + <Sigma, H> / 2],   Sigma >= 0 keeps H <= 2 / eta
    rod flow: a center, a direction and an amplitude of the oscillation

    python -m experiments.central_flow           (about 10 min on two cores)

Two measures compare a flow with descent: the deviation of its mean cost from the smoothed cost of
descent, and the relative distance between the centers of the oscillations,

    min over |k| <= window of |c_flow(t) - c_descent(t + k)| / |c_descent(t) - c_descent(0)|

Expected: for the central flow at width 16 and rate 0.1, a median deviation of at most 2 % between
steps 100 and 900, where the gradient flow deviates by tens of percent; this is refuted if its
interval lies above 2 %. The rod flow has the smallest distance at the rates at which the central
flow fails; this is refuted for a case if the interval of the ratio of both distances lies above 1.
"""

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
from scipy.ndimage import gaussian_filter1d

import gdjax as gd
from experiments.shared import command
from experiments.shared.edges import dots_per_start
from experiments.shared.images import image_regression, strided
from experiments.shared.regressions import random_targets
from experiments.shared.trees import datasets, tree_of
from gdjax.base.statistics import median
from gdjax.dynamics import FlowStatus, central_flow, gradient_flow, rod_flow
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION

LABELS = {
    "gradient": ("gradient flow", VERMILLION),
    "central": ("central flow", ORANGE),
    "rod": ("rod flow", BLUE),
    "moved": ("descent, start moved", GREY),
}
AT_EDGE = 1.99  # product of rate and curvature above which a run has reached the edge


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows."""

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)  # learning rates on the published case
    width: int = 16  # number of neurons in each hidden layer of the published network
    widths: tuple[int, ...] = (4, 32)  # neurons in each hidden layer of each of the other networks
    width_rates: tuple[float, ...] = (0.1,)  # learning rates of the other networks
    samples: int = 128  # number of random samples for the published and the other networks
    steps: int = 1000  # number of steps of each descent on random samples
    digits: int = 100  # number of training images of digits
    digit_rates: tuple[float, ...] = (1.0, 3.5)  # learning rates on the digits
    image_data: str = "fashion_mnist"  # name of the data set of images
    images: int = 500  # number of training images of this data set
    image_stride: int = 2  # distance between the pixels of these images that are used
    image_widths: tuple[int, ...] = (16, 16)  # neurons in each hidden layer of the tanh network
    image_init_scale: float = 0.5  # scale of starting weights; at 1, starts are far above the edge
    image_rates: tuple[float, ...] = (0.2,)  # learning rates on these images
    image_steps: int = 200  # number of steps of each descent on digits and on these images
    starts: int = 8  # number of starting points for each rate
    eigenvectors: int = 4  # maximum number of eigenvalues held at 2 / eta by the central flow
    stride: int = 2  # number of steps of descent per interval of the flow, and between records
    smoothing: float = 50.0  # standard deviation of the Gaussian, in steps
    window: int = 5  # records on both sides that are searched for the nearest center of descent
    moved: float = 1e-6  # distance of the second start from the first, relative to its norm
    solver_steps: int = 10  # maximum number of solver steps of a rod flow per step


class Path(NamedTuple):
    """Centers of runs of descent or of a flow; any leading axes index the runs."""

    centers: Float[Array, "... times n"]  # as flat vectors
    cost: Float[Array, "... times"]  # of descent, or the mean cost that the flow predicts
    # amplitude of the oscillation around the center; 0 for the gradient flow
    amplitude: Float[Array, "... times"]
    # rate times the curvatures that determine the growth of the oscillation, NaN if there are fewer
    product: Float[Array, "... times largest"]
    # whether all centers are finite and, for a flow, the solver reached the end
    completed: Bool[Array, "..."]


def cases(config: Config) -> dict[str, tuple]:
    """Return the problem, rates and number of steps of each case."""
    rates = {config.width: config.rates} | dict.fromkeys(config.widths, config.width_rates)
    by_width = {
        f"width {n}": (random_targets(n, config.samples), rates[n], config.steps) for n in rates
    }
    digits = gd.problems.digits("mnist5k", samples=config.digits)
    pixels = strided(gd.data.load(config.image_data), config.image_stride)
    scale = config.image_init_scale
    images = image_regression(pixels, config.image_widths, config.images, init_scale=scale)
    return by_width | {
        "digits": (digits, config.digit_rates, config.image_steps),
        "Fashion-MNIST": (images, config.image_rates, config.image_steps),
    }


def compare(config: Config, problem: gd.Problem, rates, steps: int) -> xr.Dataset:
    """Return descents, and the flows with their distances from descent, for all rates and starts.

    The cost of the first descent is `cost`, and `mean_cost` is that of each model.
    """
    keys = gd.run_keys(0, np.tile(np.arange(config.starts), len(rates)))
    lanes = jnp.repeat(jnp.asarray(rates), config.starts), keys.init, keys.probes

    def every(model: Callable) -> Path:
        program = jax.jit(jax.vmap(model, (0, 0, 0, None)))
        return jax.tree.map(np.asarray, program(*lanes, problem))

    known = every(partial(descent, config, steps, 0.0))
    models: dict[str, Callable] = {
        name: partial(flow, config, steps, name) for name in ("gradient", "central", "rod")
    }
    models["moved"] = partial(descent, config, steps, config.moved)
    paths = [every(model) for model in models.values()]
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
    return xr.Dataset(
        {
            "distance": (dims, shaped(distances)),
            "mean_cost": (dims, shaped([path.cost for path in paths])),
            "amplitude": (dims, shaped([path.amplitude for path in paths])),
            "product": ((*dims, "largest"), shaped([path.product for path in paths])),
            "completed": (dims[:-1], shaped([path.completed for path in paths])),
            "cost": (dims[1:], shaped([known.cost])[0]),
            "descent_amplitude": (dims[1:], shaped([known.amplitude])[0]),
        },
        {
            "model": list(models),
            "learning_rate": list(rates),
            "step": config.stride * np.arange(known.cost.shape[1]),
        },
    )


def descent(config: Config, steps: int, moved: float, rate, key_init, key_probe, problem) -> Path:
    """Return the path of a descent, with NaN as products.

    The amplitude is the length of the alternating part (w_{t-1} - 2 w_t + w_{t+1}) / 4.
    """
    w, unravel = ravel_pytree(problem.init(key_init))
    u = jax.random.normal(key_probe, w.shape, w.dtype)
    w += moved * jnp.linalg.norm(w) * u / jnp.linalg.norm(u)

    def gradient(w):
        return jax.value_and_grad(lambda w: gd.problems.evaluate(problem, unravel(w)))(w)

    def step(_number, points):
        return points[1], points[1] - rate * gradient(points[1])[1]

    def record(points, _):
        before, now = points
        cost, g = gradient(now)
        after = now - rate * g
        center, length = (before + 2 * now + after) / 4, jnp.linalg.norm(before - 2 * now + after)
        return jax.lax.fori_loop(0, config.stride, step, points), (center, cost, length / 4)

    _, second = step(0, (w, w))
    # The point before the start is chosen such that the center at step 0 is (w_0 + w_1) / 2.
    length = steps // config.stride + 1
    _, (centers, costs, amplitudes) = jax.lax.scan(record, (second, w), length=length)
    unknown = jnp.full((length, config.eigenvectors), jnp.nan)
    return Path(centers, costs, amplitudes, unknown, jnp.all(jnp.isfinite(centers)))


def flow(config: Config, steps: int, name: str, rate, key_init, _key_probe, problem) -> Path:
    """Return the path of a flow."""
    w, end_time, intervals = problem.init(key_init), rate * steps, steps // config.stride
    rtol = 1e-4  # relative tolerance of the solver
    options: dict = {"intervals": intervals, "rtol": rtol}
    curvature = jnp.full((intervals + 1, config.eigenvectors), jnp.nan)
    if name == "gradient":
        times = end_time / intervals * jnp.arange(intervals + 1)
        result = gradient_flow(problem, w, times=times, rtol=rtol)
        cost, amplitude = result.cost, jnp.zeros(intervals + 1)
    elif name == "central":
        result = central_flow(
            problem, w, rate, end_time, eigenvectors=config.eigenvectors, **options
        )
        cost, curvature = result.mean_cost, result.eigenvalues
        amplitude = jnp.sqrt(jnp.trace(result.covariance, axis1=1, axis2=2))
    else:
        solver_steps = config.solver_steps * steps
        result = rod_flow(problem, w, rate, end_time, max_steps=solver_steps, **options)
        cost, amplitude = result.mean_cost, result.amplitude
        curvature = curvature.at[:, 0].set(result.curvature)
    centers = jax.vmap(lambda p: ravel_pytree(p)[0])(result.params)
    completed = (result.status == FlowStatus.COMPLETED) & jnp.all(jnp.isfinite(centers))
    return Path(centers, cost, amplitude, rate * curvature, completed)


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
    parts = {name: compare(config, *case) for name, case in cases(config).items() if case[1]}
    return tree_of(parts, smoothing=config.smoothing / config.stride)


def smoothed(values: xr.DataArray, width: float) -> np.ndarray:
    """Return values smoothed over the steps, NaN close to values that are not finite."""
    finite = np.where(np.isfinite(values.values), values.values, np.nan)
    return gaussian_filter1d(finite, width, axis=-1, mode="nearest")


def deviations(part: xr.Dataset, width: float) -> dict[str, np.ndarray]:
    """Return the median over time of |mean cost / cost of descent - 1|, by model, rate and start.

    Both costs are smoothed, and the first and the last tenth of the records are excluded. The
    deviation is +inf for a run with a cost that is not finite.
    """
    off = np.abs(smoothed(part.mean_cost, width) / smoothed(part.cost, width) - 1)
    length = off.shape[-1] - 1
    off = off[..., length // 10 : length - length // 10 + 1]
    off[~np.all(np.isfinite(off), axis=-1)] = np.inf
    return dict(zip(part.model.values.tolist(), np.median(off, axis=-1), strict=True))


def typical(part: xr.Dataset) -> dict[str, np.ndarray]:
    """Return median distances over the second half of the steps, by model, rate and start.

    Distances of NaN are omitted. The medians are +inf for runs that were not completed.
    """
    half = part.distance.isel(step=slice(part.sizes["step"] // 2, None))
    return dict(zip(part.model.values.tolist(), half.median("step").values, strict=True))


def numbers(tree: xr.DataTree) -> dict:
    """Return deviations, distances, their ratios to those of the central flow, and counts.

    The counts are numbers of runs that were completed, reached the edge, or have a distance above
    that of the second descent. For runs that start below the edge, the ratios of the distances of
    the rod flow and the central flow are listed.
    """
    by_case = {}
    for case, part in datasets(tree).items():
        costs, centers = deviations(part, tree.attrs["smoothing"]), typical(part)
        by_rate = {}
        for index, rate in enumerate(part.learning_rate.values):
            at = part.isel(learning_rate=index)
            distance = {model: values[index] for model, values in centers.items()}
            products = at["product"].sel(model="central").values
            from_2 = [a for a in map(at_edge, products[..., 0]) if a is not None]
            below = products[:, 0, 0] < AT_EDGE
            by_rate[f"{rate:g}"] = {
                "model": {
                    model: {
                        "deviation": median(costs[model][index])[:3],
                        "distance": median(distance[model])[:3],
                        "ratio_to_central": ratio(distance[model], distance["central"]),
                        "above_floor": int(np.sum(distance[model] > distance["moved"])),
                        "completed": int(at.completed.sel(model=model).sum()),
                    }
                    for model in LABELS
                },
                "rod_to_central_from_below": (distance["rod"] / distance["central"])[below],
                "at_edge": len(from_2),
                "from_2": max(from_2, default=None),
                "most_at_edge": int(np.max(np.sum(products > AT_EDGE, axis=-1))),
            }
        by_case[case] = {"rate": by_rate}
    return {"case": by_case}


def at_edge(product: np.ndarray) -> float | None:
    """Return the largest |product - 2| after `product` first reaches 2, or None.

    The product is the learning rate times the sharpness. The maximum is over the records from the
    fifth after the first one within 1e-3 of 2 to the last one within 1e-3 of 2. The result is None
    if fewer than 10 records are within 1e-3 of 2.
    """
    indices = np.flatnonzero(np.abs(product - 2) < 1e-3)
    if indices.size < 10:
        return None
    return float(np.max(np.abs(product[indices[0] + 5 : indices[-1] + 1] - 2)))


def ratio(values: np.ndarray, reference: np.ndarray) -> list[float] | None:
    """Return the median of values / reference with its interval, or None without a ratio.

    A ratio is +inf or 0 if only one of its numbers is infinite, and omitted if both are.
    """
    measured = np.isfinite(values) | np.isfinite(reference)
    ratios = values[measured] / reference[measured]
    return list(median(ratios)[:3]) if len(ratios) else None


def flows(run: xr.Dataset, average: np.ndarray, title: str) -> Figure:
    """Draw costs, eigenvalues of the central flow, distances and amplitudes along one descent.

    `average` is the cost of the descent, smoothed over the steps.
    """
    step = run.step.values
    figure = Figure(figsize=(14, 9.4))
    (cost, right), (distance, amplitude) = figure.subplots(2, 2)
    cost.plot(step, run.cost, color=GREY, linewidth=0.5, alpha=0.8, label="descent")
    cost.plot(step, average, color=BLACK, label="descent, smoothed")
    amplitude.plot(step, run.descent_amplitude, color=BLACK, linewidth=0.7, label="descent")
    for model, (label, color) in LABELS.items():
        path = run.sel(model=model)
        if model != "moved":
            cost.plot(step, path.mean_cost, "--", color=color, label=label)
        finite = path.distance.where(np.isfinite(path.distance))
        distance.plot(step, finite, color=color, label=label)
        if model in ("central", "rod"):
            amplitude.plot(step, path.amplitude.where(path.amplitude > 0), color=color, label=label)
    for number, values in enumerate(run["product"].sel(model="central").values.T):
        right.plot(step, values, color=CYCLE[number], label=f"eigenvalue {number + 1}")
    right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
    right.set_ylim(bottom=0)
    right.set_title("Central flow: largest eigenvalues")
    for axes, name in (
        (cost, "mean cost"),
        (right, "learning rate · eigenvalue"),
        (distance, "distance of centers / distance from the start"),
        (amplitude, "amplitude of the oscillation"),
    ):
        axes.set(xlabel="step of descent", ylabel=name)
        axes.legend()
        if axes is not right:
            axes.set_yscale("log")
    cost.set_title(title)
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw one run of the published case with its flows, and both measures of all cases.

    The measures are drawn for each start, with a row for each case and rate.
    """
    parts, width = datasets(tree), tree.attrs["smoothing"]
    name, first = next(iter(parts.items()))
    shown = first.sel(learning_rate=0.1, method="nearest").isel(seed=0)
    title = f"{name.capitalize()}, η = {shown.learning_rate:g}"
    figures = {"flows": flows(shown, smoothed(shown.cost, width), title)}
    for file, measure, label in (
        ("deviations", partial(deviations, width=width), "deviation from the cost of descent"),
        ("distances", typical, "distance of centers / distance from the start"),
    ):
        rows = {
            f"{name}, η = {rate:g}": {model: values[index] for model, values in by_model.items()}
            for name, by_model in ((name, measure(part)) for name, part in parts.items())
            for index, rate in enumerate(parts[name].learning_rate.values)
        }
        figures[file], axes = dots_per_start(rows, LABELS)
        axes.set_xlabel(f"{label}, median over time")
    return figures


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
