"""Does a flow predict where descent goes when it oscillates at the edge of stability?

    dw/dt = -grad [C + <Sigma, H> / 2],   Sigma >= 0 keeps H <= 2 / eta;
    mean cost C + <Sigma, H> / 2

Descent with a rate that is too long to settle swings across its valley, and its time average is
not the gradient flow: that runs on into places that are too sharp for the rate. The central flow
(Cohen et al. 2024, arXiv 2410.24206) says what the average is. Cost of descent, smoothed by a
Gaussian of 50 steps, against the flow's mean cost, smoothed alike: on the case that is published
with the flow's own code, a swish network 8-16-16-1 on 128 random samples, over rates and starts; on
narrower and wider ones; and on digits (784-16-16-10, sigmoids), the whole set a step. All rates and
starts of a network are one program.

    python experiments/central_flow.py           (about 4 min on two cores)

Expected: at rate 0.1 a median deviation of at most 2 % and a largest one of at most 6 % between
steps 100 and 900, where the gradient flow is off by tens of per cent; eta times sharpness within
1e-3 of 2 once it is there. Refuted by an interval of the median deviation that lies above 2 %.
"""

import time
from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import central_flow as plots
from scipy.ndimage import gaussian_filter1d
from variants.regressions import random_targets

import gdjax as gd
from gdjax.flows import FlowStatus, central_flow, gradient_flow
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Which descents are foretold.

    Args:
        rates: on the published case.
        starts: of it.
        width: of its hidden layers.
        widths: others.
        width_rates: on them.
        width_starts: of them.
        samples: of all of these.
        steps: of each descent.
        digits: images of the digits.
        digit_rates: on them.
        digit_starts: of them.
        digit_steps: of each.
        eigenvectors: that may be at the edge.
        stride: steps of descent in an interval of the flow.
        smoothing: width of the Gaussian, steps.
        tolerance: of the gradient flow beside it.
    """

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    starts: int = 6
    width: int = 16
    widths: tuple[int, ...] = (4, 32)
    width_rates: tuple[float, ...] = (0.1,)
    width_starts: int = 6
    samples: int = 128
    steps: int = 1000
    digits: int = 100
    digit_rates: tuple[float, ...] = (1.0, 3.5)
    digit_starts: int = 6
    digit_steps: int = 200
    eigenvectors: int = 4
    stride: int = 2
    smoothing: float = 50.0
    tolerance: float = 1e-4


def followed(config: Config, problem: gd.Problem, rates, starts: int, steps: int) -> xr.Dataset:
    """Descents, central flows and gradient flows from all starts at all rates."""
    runs = gd.sweep(problem, gd.axes(learning_rate=rates, seed=range(starts)), steps)
    intervals = steps // config.stride
    keys = gd.streams(0, np.arange(starts)).init

    def one(rate, key, problem):
        start = problem.init(key)
        until = rate * steps
        central = central_flow(
            problem,
            start,
            rate,
            until,
            eigenvectors=config.eigenvectors,
            intervals=intervals,
        )
        kept = (central.cost, central.mean_cost, central.eigenvalues, central.residual)
        return *kept, central.status == FlowStatus.COMPLETED

    def plain(rate, key, problem):
        times = rate * steps / intervals * jnp.arange(intervals + 1)
        start = problem.init(key)
        return gradient_flow(problem, start, times=times, rtol=config.tolerance).cost

    every = (jnp.repeat(jnp.asarray(rates), starts), jnp.tile(keys, len(rates)))
    mapped = jax.jit(jax.vmap(one, (0, 0, None))).lower(*every, problem).compile()
    began = time.process_time()
    center, mean, values, residual, arrived = jax.block_until_ready(mapped(*every, problem))
    seconds = time.process_time() - began
    flat = jax.jit(jax.vmap(plain, (0, 0, None)))(*every, problem)

    def shaped(values):
        return np.asarray(values).reshape(len(rates), starts, *np.shape(values)[1:])

    dims, at = ("learning_rate", "seed"), ("learning_rate", "seed", "step")
    cost = runs.cost.transpose(*at).values[..., :: config.stride]
    return xr.Dataset(
        {
            "cost": (at, cost),
            "center": (at, shaped(center)),
            "mean": (at, shaped(mean)),
            "plain": (at, shaped(flat)),
            "product": ((*at, "largest"), shaped(values) * np.reshape(rates, (-1, 1, 1, 1))),
            "residual": (dims, shaped(residual).max(axis=-1)),
            "arrived": (dims, shaped(arrived)),
            "seconds": seconds,
        },
        {"learning_rate": list(rates), "step": config.stride * np.arange(intervals + 1)},
    )


def cases(config: Config) -> dict[str, tuple]:
    """Problem, rates, starts and steps of each."""
    few = (config.width_rates, config.width_starts, config.steps)
    return {
        f"width {config.width}": (
            random_targets(config.width, config.samples),
            config.rates,
            config.starts,
            config.steps,
        ),
        **{f"width {w}": (random_targets(w, config.samples), *few) for w in config.widths},
        "digits": (
            gd.problems.digits("mnist5k", samples=config.digits),
            config.digit_rates,
            config.digit_starts,
            config.digit_steps,
        ),
    }


def run(config: Config) -> xr.Dataset:
    """Every case, names prefixed by its number."""
    parts = []
    for number, settings in enumerate(cases(config).values()):
        part = followed(config, *settings)
        parts.append(part.rename({str(n): f"{number}_{n}" for n in {*part.variables, *part.dims}}))
    return xr.merge(parts, join="exact", compat="no_conflicts").assign_attrs(
        cases=list(cases(config)), smoothing=config.smoothing / config.stride
    )


def case(dataset: xr.Dataset, number: int) -> xr.Dataset:
    """One case by its own names."""
    start = f"{number}_"
    part = dataset[[n for n in map(str, dataset.data_vars) if n.startswith(start)]]
    every = {*map(str, part.variables), *map(str, part.dims)}
    return part.rename({n: n.removeprefix(start) for n in every})


def smoothed(dataset: xr.Dataset, values: xr.DataArray) -> np.ndarray:
    """Averages over time; a run that left the numbers is NaN from there on."""
    width = dataset.attrs["smoothing"]
    finite = np.where(np.isfinite(values.values), values.values, np.nan)
    return gaussian_filter1d(finite, width, axis=-1, mode="nearest")


def deviation(dataset: xr.Dataset, part: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Median and largest |prediction / descent - 1| after a tenth and before nine tenths."""
    off = np.abs(smoothed(dataset, part[name]) / smoothed(dataset, part.cost) - 1)
    length = off.shape[-1] - 1
    off = off[..., length // 10 : length - length // 10 + 1]
    lost = ~np.all(np.isfinite(off), axis=-1)
    off = np.where(lost[..., None], np.inf, off)
    return np.median(off, axis=-1), np.max(off, axis=-1)


def numbers(dataset: xr.Dataset) -> dict:
    """Deviations with intervals over starts; how near to 2 the edge is kept."""
    found: dict = {}
    for number, name in enumerate(dataset.attrs["cases"]):
        part = case(dataset, number)
        told = {which: deviation(dataset, part, which) for which in ("mean", "center", "plain")}
        top = part["product"].values[..., 0]
        for index, rate in enumerate(part.learning_rate.values):
            label = f"{name.replace(' ', '_')}_rate_{rate:g}"
            for which, (middle, largest) in told.items():
                found[f"{label}_{which}_median"] = list(median(middle[index])[:3])
                found[f"{label}_{which}_largest"] = list(median(largest[index])[:3])
            apart = [at_edge(one) for one in top[index]]
            found[f"{label}_at_edge"] = sum(a is not None for a in apart)
            found[f"{label}_from_2"] = max((a for a in apart if a is not None), default=None)
            found[f"{label}_most_at_edge"] = int(
                np.max(np.sum(part["product"].values[index] > 1.99, axis=-1))
            )
        found[f"{name.replace(' ', '_')}_runs"] = int(top.shape[0] * top.shape[1])
        found[f"{name.replace(' ', '_')}_processor_seconds"] = float(part.seconds)
        found[f"{name.replace(' ', '_')}_arrived"] = int(part.arrived.sum())
        found[f"{name.replace(' ', '_')}_residual"] = float(part.residual.max())
    return found


def at_edge(product: np.ndarray) -> float | None:
    """How far from 2 eta times sharpness is, at most, from five records after it got there on.

    Until it leaves, if it does: from the last record within 1e-3 of 2.
    """
    near = np.flatnonzero(np.abs(product - 2) < 1e-3)
    if near.size < 10:
        return None
    return float(np.max(np.abs(product[near[0] + 5 : near[-1] + 1] - 2)))


def plot(dataset: xr.Dataset) -> dict:
    """One run of the published case beside its flows, and the deviations of all."""
    shown = case(dataset, 0).sel(learning_rate=0.1, method="nearest").isel(seed=0)
    bars = []
    for number, name in enumerate(dataset.attrs["cases"]):
        part = case(dataset, number)
        for index, rate in enumerate(part.learning_rate.values):
            bars.append(
                plots.Deviation(
                    label=f"{name}, η = {rate:g}",
                    central=deviation(dataset, part, "mean")[0][index],
                    plain=deviation(dataset, part, "plain")[0][index],
                )
            )
    return {
        "flows": plots.flows(
            shown.step.values,
            cost=shown.cost.values,
            average=smoothed(dataset, shown.cost),
            mean=shown["mean"].values,
            center=shown.center.values,
            plain=shown.plain.values,
            product=shown["product"].values,
            title=f"Width {dataset.attrs['cases'][0].split()[-1]}, η = {shown.learning_rate:g}",
        ),
        "deviations": plots.deviations(bars),
    }


if __name__ == "__main__":
    common.main("central_flow", Config, run, plot, numbers)
