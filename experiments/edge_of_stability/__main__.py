"""How sharp does the cost become during descent, and how does the learning rate limit that?

    sharpness = largest eigenvalue of the Hessian;   descent on a quadratic cost is stable
    below a limit: 2 / eta without momentum, (2 + 2b) / eta with heavy-ball momentum b,
    (2 + 2b) / ((1 + 2b) eta) with Nesterov's momentum b

    python -m experiments.edge_of_stability           (about 2.5 min of processor time)

Expected: on the Chebyshev points the sharpness rises to the limit for every rate whose limit it can
reach, and remains within 2 % of the limit (medians over the last quarter of the records), while the
cost continues to decrease, though not monotonically. On 1,000 digits the sharpness later falls far
below its limit; with tangents as outputs it remains at the limit. The explanation by bounded
outputs is refuted if the sharpness falls as far with tangents, that is, if the interval of the
difference, paired over starts, contains 0.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import chebyshev
from experiments.shared.trees import datasets, tree_of
from gdjax.base.statistics import median, paired
from gdjax.curvature import Sharpness, stability_threshold
from gdjax.plots.style import BLACK, CYCLE, Figure
from gdjax.problems import quadratic


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded."""

    rates: tuple[float, ...] = (0.025, 0.03, 0.04, 0.06)  # learning rates on the Chebyshev points
    steps: int = 40_000  # number of steps of plain descent on the Chebyshev points
    heavy_rates: tuple[float, ...] = (0.03, 0.04, 0.05, 0.06)  # rates with heavy-ball momentum
    nesterov_rates: tuple[float, ...] = (0.01, 0.015, 0.02, 0.03)  # rates with Nesterov's momentum
    momentum: float = 0.9  # coefficient of both kinds of momentum
    momentum_steps: int = 12_000  # number of steps with both kinds of momentum
    seeds: int = 8  # number of starting points of each descent
    data: str = "mnist5k"  # name of the data set of digits
    samples: int | None = 1000  # number of training images of digits; None uses all
    digit_rates: tuple[float, ...] = (1.0, 3.5, 5.0)  # learning rates on the digits, both outputs
    digit_steps: int = 1_500  # number of steps on the digits
    # approximate number of records of each descent. An odd number of steps between records resolves
    # the oscillation of period 2 of full-batch descent on the digits
    records: int = 100


def tangent_outputs(problem: gd.Problem) -> gd.Problem:
    """Return the problem with its output sigmoids replaced by their tangents at 0.

    sigma(z) = 1/2 + z/4 + O(z^3)
    """
    network = dataclasses.replace(problem.network, output_activation="identity")

    def cost(params, batch):
        outputs = 0.5 + network.apply(params, batch[0]) / 4
        return jnp.mean(quadratic(outputs, jnp.asarray(batch[1])))

    return gd.Problem(network.init, cost, problem.data, baseline=problem.baseline)


def sharpness_records(
    config: Config, problem: gd.Problem, rates, steps: int, optimizer: Callable
) -> xr.Dataset:
    """Return cost, sharpness and stability threshold of descents, by rate and start."""
    grid = gd.axes(learning_rate=rates, seed=range(config.seeds))
    metrics = {"sharpness": Sharpness(rtol=0.01)}
    options: dict = {"record_every": max(1, steps // config.records), "metrics": metrics}
    runs = gd.sweep(problem, grid, steps, make_optimizer=optimizer, **options)
    threshold = stability_threshold(runs.learning_rate.values, optimizer)
    records = runs[["cost", "sharpness", "diverged_at"]].drop_attrs()
    return records.assign(threshold=("learning_rate", np.asarray(threshold))).transpose(
        "learning_rate", "seed", "step"
    )


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each panel."""
    small, digits = chebyshev(), gd.problems.digits(config.data, samples=config.samples)
    momentum = partial(optax.sgd, momentum=config.momentum)
    nesterov = partial(momentum, nesterov=True)
    of_digits = (config.digit_rates, config.digit_steps, optax.sgd)
    panels = {
        "plain": (small, config.rates, config.steps, optax.sgd),
        "heavy": (small, config.heavy_rates, config.momentum_steps, momentum),
        "nesterov": (small, config.nesterov_rates, config.momentum_steps, nesterov),
        "digits": (digits, *of_digits),
        "tangent": (tangent_outputs(digits), *of_digits),
    }
    records: dict = {name: sharpness_records(config, *panel) for name, panel in panels.items()}
    return tree_of(records, momentum=config.momentum)


def late_ratios(part: xr.Dataset) -> np.ndarray:
    """Return the ratio of the sharpness at the end to its limit, by rate and start.

    The ratio is the median over the last quarter of the records; +inf if the run diverged, and NaN
    if no sharpness was found there.
    """
    late = part.sharpness.isel(step=slice(-part.sizes["step"] // 4, None)) / part.threshold
    return late.median("step").where(part.diverged_at < 0, np.inf).values


def statistics(part: xr.Dataset) -> dict:
    """Return final sharpness, and the cost after the limit is reached, for one rate."""
    steps = part.step.values
    # The limit can be reached from below or from above, since a start may be above it.
    at_limit = (abs(part.sharpness / part.threshold - 1) < 0.02).values
    reaches = at_limit.any(axis=1)
    costs, first = part.cost.values[reaches], at_limit[reaches].argmax(axis=1)
    after = [cost[at:] for cost, at in zip(costs, first, strict=True) if at < len(steps) - 1]
    least = costs[:, -len(steps) // 10 :].min(axis=1)
    return {
        "threshold": float(part.threshold),
        "late_over_threshold": median(late_ratios(part))[:3],
        "reached_at_step": _median(steps[first]),
        "cost_left_after_it": _median(least / costs[np.arange(len(first)), first]),
        "records_with_rising_cost": _median([np.mean(np.diff(cost) > 0) for cost in after]),
        "cost_at_end": float(np.median(part.cost[:, -1])),
    }


def _median(values):
    return float(np.median(values)) if len(values) else None


def numbers(tree: xr.DataTree) -> dict:
    """Return statistics of the ratio of sharpness to its limit, for each panel and rate."""
    panels = datasets(tree)
    cases: dict = {
        name: {
            "sharpness_at_start": float(panel.sharpness.isel(step=0).median()),
            "rate": {
                f"{rate:g}": statistics(panel.sel(learning_rate=rate))
                for rate in panel.learning_rate.values
            },
        }
        for name, panel in panels.items()
    }
    bounded, free = (late_ratios(panels[name]) for name in ("digits", "tangent"))
    differences = {
        rate: paired(a, b)[:3] if np.sum(np.isfinite(a) & np.isfinite(b)) > 1 else None
        for rate, a, b in zip(cases["digits"]["rate"], bounded, free, strict=True)
    }
    return {"case": cases, "tangent_minus_digits": {"rate": differences}}


def edge(tree: xr.DataTree, titles: Mapping[str, str]) -> Figure:
    """Draw sharpness with dashed limits, and the cost below it, of the first start per panel."""
    figure = Figure(figsize=(1.0 + 4.6 * len(titles), 7.6))
    grid = figure.subplots(2, len(titles), sharex="col", gridspec_kw={"height_ratios": [3, 2]})
    for (top, bottom), (name, title) in zip(grid.T, titles.items(), strict=True):
        panel = datasets(tree)[name].isel(seed=0)
        limits, costs = panel.threshold.values, panel.cost.values
        # The range of the axis excludes short peaks, such as those at the start, and limits far
        # above the sharpness.
        high = np.nanmax(np.nanquantile(panel.sharpness, 0.97, axis=1))
        highest = 1.2 * max(high, np.max(limits[limits < 1.25 * high], initial=0))
        for rate, limit, color in zip(panel.learning_rate.values, limits, CYCLE, strict=False):
            run = panel.sel(learning_rate=rate)
            top.plot(run.step, run.sharpness, color=color, linewidth=1.5)
            if limit < highest:
                top.axhline(limit, color=color, linestyle="--", linewidth=1.5)
            label = f"{rate:g}: {limit:.3g}"
            bottom.plot(run.step, run.cost, color=color, linewidth=1.2, label=label)
        top.set(ylim=(0, highest), title=title)
        costs = costs[np.isfinite(costs) & (costs > 0)]
        bottom.set(xlabel="step", yscale="log")
        bottom.set_ylim(top=costs.max() * (costs.max() / costs.min()) ** 0.35)  # for the legend
        bottom.yaxis.set_minor_formatter(NullFormatter())
        bottom.xaxis.set_major_locator(MaxNLocator(4))
        look: dict = {"ncols": 2, "handlelength": 1.2, "columnspacing": 1}
        bottom.legend(title="learning rate: limit", loc="upper right", **look)
    grid[0, 0].set_ylabel("sharpness, largest\neigenvalue of the Hessian")
    grid[1, 0].set_ylabel("cost")
    dashes = {"sharpness": "-", "stability limit": "--"}
    handles = [Line2D([], [], color=BLACK, ls=dash, label=name) for name, dash in dashes.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw the panels of the Chebyshev points and of the digits, for the first start."""
    beta = tree.attrs["momentum"]
    points = {
        "plain": "Plain descent: limit 2/η",
        "heavy": f"Heavy ball {beta:g}: {2 + 2 * beta:.3g}/η",
        "nesterov": f"Nesterov {beta:g}: {(2 + 2 * beta) / (1 + 2 * beta):.3g}/η",
    }
    digits = {
        "digits": "Digit network, full batch: limit 2/η",
        "tangent": "Outputs 1/2 + z/4: limit 2/η",
    }
    return {"chebyshev": edge(tree, points), "digits": edge(tree, digits)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
