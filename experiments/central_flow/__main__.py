"""Does a flow predict the average path of descent that oscillates at the edge of stability?

    dw/dt = -grad [C + <Sigma, H> / 2],   Sigma >= 0 keeps H <= 2 / eta;
    mean cost C + <Sigma, H> / 2

    python -m experiments.central_flow           (about 4 min on two cores)

Expected: at rate 0.1 a median deviation of at most 2 % and a largest deviation of at most 6 %
between steps 100 and 900, where the gradient flow deviates by tens of percent; eta times sharpness
within 1e-3 of 2 once it has reached 2. This is refuted if the interval of the median deviation lies
above 2 %.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

import gdjax as gd
from experiments.shared import command
from experiments.shared.edges import dots_per_start
from experiments.shared.regressions import random_targets
from experiments.shared.trees import datasets, tree_of
from gdjax.base.statistics import median
from gdjax.dynamics import FlowStatus, central_flow, gradient_flow
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, VERMILLION


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows."""

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)  # learning rates on the published case
    starts: int = 6  # number of starting points of each case
    width: int = 16  # number of neurons in each hidden layer of the published network
    widths: tuple[int, ...] = (4, 32)  # neurons in each hidden layer of each of the other networks
    width_rates: tuple[float, ...] = (0.1,)  # learning rates of the other networks
    samples: int = 128  # number of random samples for the published and the other networks
    steps: int = 1000  # number of steps of each descent
    digits: int = 100  # number of training images of digits
    digit_rates: tuple[float, ...] = (1.0, 3.5)  # learning rates on the digits
    digit_steps: int = 200  # number of steps of each descent on the digits
    eigenvectors: int = 4  # maximum number of eigenvalues held at 2 / eta by the central flow
    stride: int = 2  # number of steps of descent per interval of the flow, and between records
    smoothing: float = 50.0  # standard deviation of the Gaussian, in steps


def compare(config: Config, problem: gd.Problem, rates, steps: int) -> xr.Dataset:
    """Return descents, central flows and gradient flows, for all rates and starts."""
    starts, intervals = config.starts, steps // config.stride
    grid = gd.axes(learning_rate=rates, seed=range(starts))
    runs = gd.sweep(problem, grid, steps, record_every=config.stride)
    keys = gd.run_keys(0, np.arange(starts)).init

    def central(rate, key, problem):
        start = problem.init(key)
        options = {"eigenvectors": config.eigenvectors, "intervals": intervals}
        flow = central_flow(problem, start, rate, rate * steps, **options)
        ended = flow.status == FlowStatus.COMPLETED
        return flow.cost, flow.mean_cost, flow.eigenvalues, ended

    def plain(rate, key, problem):
        times = rate * steps / intervals * jnp.arange(intervals + 1)
        return gradient_flow(problem, problem.init(key), times=times, rtol=1e-4).cost

    every = (jnp.repeat(jnp.asarray(rates), starts), jnp.tile(keys, len(rates)))
    center, mean, values, ended = jax.jit(jax.vmap(central, (0, 0, None)))(*every, problem)
    flat = jax.jit(jax.vmap(plain, (0, 0, None)))(*every, problem)

    def shaped(values):
        return np.asarray(values).reshape(len(rates), starts, *np.shape(values)[1:])

    at = ("learning_rate", "seed", "step")
    return xr.Dataset(
        {
            "cost": runs.cost.transpose(*at).drop_attrs(),
            "center": (at, shaped(center)),
            "mean": (at, shaped(mean)),
            "plain": (at, shaped(flat)),
            "product": ((*at, "largest"), shaped(values) * np.reshape(rates, (-1, 1, 1, 1))),
            "arrived": (at[:2], shaped(ended)),
        }
    )


def smoothed(values: xr.DataArray, width: float) -> np.ndarray:
    """Return values smoothed over the steps, NaN close to values that are not finite."""
    finite = np.where(np.isfinite(values.values), values.values, np.nan)
    return gaussian_filter1d(finite, width, axis=-1, mode="nearest")


def deviation(part: xr.Dataset, name: str, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the largest |prediction / descent - 1|.

    The first and the last tenth of the records are excluded. Both values are +inf for a run with a
    cost that is not finite.
    """
    off = np.abs(smoothed(part[name], width) / smoothed(part.cost, width) - 1)
    length = off.shape[-1] - 1
    off = off[..., length // 10 : length - length // 10 + 1]
    diverged = ~np.all(np.isfinite(off), axis=-1)
    off = np.where(diverged[..., None], np.inf, off)
    return np.median(off, axis=-1), np.max(off, axis=-1)


def numbers(tree: xr.DataTree) -> dict:
    """Return deviations with intervals over starts, and distances from the limit 2."""
    width, by_case = tree.attrs["smoothing"], {}
    for case, part in datasets(tree).items():
        flows = {name: deviation(part, name, width) for name in ("mean", "plain")}
        by_rate = {}
        for index, rate in enumerate(part.learning_rate.values):
            product = part["product"].values[index]
            distances = [a for a in map(at_edge, product[..., 0]) if a is not None]
            by_rate[f"{rate:g}"] = {
                name: {"median": median(middle[index])[:3], "largest": median(largest[index])[:3]}
                for name, (middle, largest) in flows.items()
            } | {
                "at_edge": len(distances),
                "from_2": max(distances, default=None),
                "most_at_edge": int(np.max(np.sum(product > 1.99, axis=-1))),
            }
        arrived = part.arrived
        by_case[case] = {"rate": by_rate, "runs": arrived.size, "arrived": int(arrived.sum())}
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


def flows(run: xr.Dataset, average: np.ndarray, title: str) -> Figure:
    """Draw costs on the left, and rate times largest eigenvalues on the right.

    `average` is the cost of the descent, smoothed over the steps.
    """
    step = run.step.values
    figure = Figure(figsize=(14, 5))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.plot(step, run.cost, color=GREY, linewidth=0.5, alpha=0.8, label="descent")
    left.plot(step, average, color=BLACK, label="descent, smoothed")
    left.plot(step, run["mean"], "--", color=ORANGE, label="central flow, mean cost")
    left.plot(step, run.center, ":", color=BLUE, label="central flow, center")
    left.plot(step, run.plain, color=VERMILLION, linewidth=1.2, label="gradient flow")
    left.set(yscale="log", xlabel="step of descent", ylabel="cost", title=title)
    left.legend()
    for number, values in enumerate(run["product"].values.T):
        right.plot(step, values, color=CYCLE[number], label=f"eigenvalue {number + 1}")
    right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
    right.set_ylim(bottom=0)
    right.set(xlabel="step of descent", ylabel="learning rate · eigenvalue")
    right.set_title("Central flow: largest eigenvalues")
    right.legend(loc="lower right")
    return figure


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each case that has learning rates."""
    rates = {config.width: config.rates} | dict.fromkeys(config.widths, config.width_rates)
    cases = {
        f"width {n}": (random_targets(n, config.samples), rates[n], config.steps) for n in rates
    }
    digits = gd.problems.digits("mnist5k", samples=config.digits)
    cases["digits"] = (digits, config.digit_rates, config.digit_steps)
    parts = {name: compare(config, *case) for name, case in cases.items() if case[1]}
    return tree_of(parts, smoothing=config.smoothing / config.stride)


def plot(tree: xr.DataTree) -> dict:
    """Draw one run of the published case with its flows, and deviations of all cases.

    The deviations are drawn for each start, with a row for each case and rate.
    """
    width = tree.attrs["smoothing"]
    name, first = next(iter(datasets(tree).items()))
    shown = first.sel(learning_rate=0.1, method="nearest").isel(seed=0)
    title = f"{name.capitalize()}, η = {shown.learning_rate:g}"
    labels = {"plain": ("gradient flow", VERMILLION), "mean": ("central flow", BLUE)}
    rows = {}
    for name, part in datasets(tree).items():
        middle = {flow: deviation(part, flow, width)[0] for flow in labels}
        for index, rate in enumerate(part.learning_rate.values):
            rows[f"{name}, η = {rate:g}"] = {flow: middle[flow][index] for flow in labels}
    figure, axes = dots_per_start(rows, labels)
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.axvline(0.02, color=GREY, linestyle=":")
    axes.set_xlabel("deviation from the smoothed cost of descent, median over time")
    return {"flows": flows(shown, smoothed(shown.cost, width), title), "deviations": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
