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
from gdjax.curvature import sharpness_metric, stability_threshold
from gdjax.plots.style import BLACK, CYCLE, Figure
from gdjax.problems.losses import quadratic
from gdjax.statistics import median, paired


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
    tolerance: float = 0.01  # relative tolerance of the computed sharpness


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
    metrics = {"sharpness": sharpness_metric(problem, rtol=config.tolerance)}
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
    """Return the ratio of the sharpness at the end to its limit, [rates, seeds].

    The ratio is the median over the last quarter of the records; +inf if the run diverged, and NaN
    if no sharpness was found there.
    """
    ratio = (part.sharpness / part.threshold).values
    late = ratio[..., -ratio.shape[-1] // 4 :]
    measured = np.any(~np.isnan(late), axis=-1)
    middle = np.nanmedian(np.where(measured[..., None], late, 0), axis=-1)
    diverged = part.diverged_at.values >= 0
    return np.where(diverged, np.inf, np.where(measured, middle, np.nan))


def late_statistics(part: xr.Dataset) -> dict:
    """Return final sharpness, and the cost after the limit is reached, for each rate."""
    ratios = (part.sharpness / part.threshold).values
    records, last = ratios.shape[-1], ratios.shape[-1] - 1
    rows = []
    for index, (ratio, cost) in enumerate(zip(ratios, part.cost.values, strict=True)):
        late = median(late_ratios(part)[index])
        # The limit can be reached from below or from above, since a start may be above it.
        at_limit = np.abs(ratio - 1) < 0.02
        first = {seed: int(np.argmax(at)) for seed, at in enumerate(at_limit) if at.any()}
        left = [np.min(cost[seed, -records // 10 :]) / cost[seed, at] for seed, at in first.items()]
        rises = [np.mean(np.diff(cost[seed, at:]) > 0) for seed, at in first.items() if at < last]
        rows.append(
            {
                "rates": float(part.learning_rate[index]),
                "threshold": float(part.threshold[index]),
                "late_over_threshold": late.value,
                "late_over_threshold_interval": [late.low, late.high],
                "reached_at_step": _median([part.step.values[at] for at in first.values()]),
                "cost_left_after_it": _median(left),
                "records_with_rising_cost": _median(rises),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _median(values):
    return float(np.median(values)) if values else None


def numbers(tree: xr.DataTree) -> dict:
    """Return statistics of the ratio of sharpness to its limit, for each panel."""
    summary: dict = {}
    for prefix, part in datasets(tree).items():
        summary |= {f"{prefix}_{name}": value for name, value in late_statistics(part).items()}
        summary[f"{prefix}_sharpness_at_start"] = float(part.sharpness.isel(step=0).median())
        summary[f"{prefix}_cost_at_end"] = part.cost.isel(step=-1).median("seed").values.tolist()
    bounded, free = (late_ratios(datasets(tree)[name]) for name in ("digits", "tangent"))
    summary["tangent_minus_digits"] = [
        paired(a, b)[:3] if np.sum(np.isfinite(a) & np.isfinite(b)) > 1 else None
        for a, b in zip(bounded, free, strict=True)
    ]
    return summary


def edge(panels: Mapping[str, xr.Dataset]) -> Figure:
    """Draw sharpness with dashed limits, and the cost below it, of one start per title."""
    figure = Figure(figsize=(1.0 + 4.6 * len(panels), 7.6))
    grid = figure.subplots(
        2, len(panels), sharex="col", squeeze=False, gridspec_kw={"height_ratios": [3, 2]}
    )
    for (top, bottom), (title, panel) in zip(grid.T, panels.items(), strict=True):
        _draw_sharpness(top, panel)
        top.set_title(title)
        rates, limits = panel.learning_rate.values, panel.threshold.values
        for rate, limit, cost, color in zip(rates, limits, panel.cost.values, CYCLE, strict=False):
            label = f"{rate:g}: {limit:.3g}"
            bottom.plot(panel.step, cost, color=color, linewidth=1.2, label=label)
        bottom.set_yscale("log")
        cost = panel.cost.values
        cost = cost[np.isfinite(cost) & (cost > 0)]
        bottom.set_ylim(top=cost.max() * (cost.max() / cost.min()) ** 0.35)  # for the legend
        bottom.yaxis.set_minor_formatter(NullFormatter())
        bottom.xaxis.set_major_locator(MaxNLocator(4))
        bottom.set_xlabel("step")
        look: dict = {"ncols": 2, "handlelength": 1.2, "columnspacing": 1}
        bottom.legend(title="learning rate: limit", loc="upper right", **look)
    grid[0, 0].set_ylabel("sharpness, largest\neigenvalue of the Hessian")
    grid[1, 0].set_ylabel("cost")
    dashes = {"sharpness": "-", "stability limit": "--"}
    handles = [Line2D([], [], color=BLACK, ls=dash, label=name) for name, dash in dashes.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _draw_sharpness(axes, panel):
    """Draw sharpness with its limits, except limits far above the sharpness."""
    sharpnesses, limits = panel.sharpness.values, panel.threshold.values
    # The range of the axis excludes short peaks, such as those at the start.
    high = np.nanmax(np.nanquantile(sharpnesses, 0.97, axis=1))
    top = 1.2 * max(high, np.max(limits[limits < 1.25 * high], initial=0))
    for sharpness, limit, color in zip(sharpnesses, limits, CYCLE, strict=False):
        axes.plot(panel.step, sharpness, color=color, linewidth=1.5)
        if limit < top:
            axes.axhline(limit, color=color, linestyle="--", linewidth=1.5)
    axes.set_ylim(0, top)


def plot(tree: xr.DataTree) -> dict:
    """Draw the panels of the Chebyshev points and of the digits, for the first start."""
    beta = tree.attrs["momentum"]
    titles = {
        "plain": "Plain descent: limit 2/η",
        "heavy": f"Heavy ball {beta:g}: {2 + 2 * beta:.3g}/η",
        "nesterov": f"Nesterov {beta:g}: {(2 + 2 * beta) / (1 + 2 * beta):.3g}/η",
        "digits": "Digit network, full batch: limit 2/η",
        "tangent": "Outputs 1/2 + z/4: limit 2/η",
    }
    panels = {name: (title, datasets(tree)[name].isel(seed=0)) for name, title in titles.items()}
    return {
        "chebyshev": edge(dict([panels["plain"], panels["heavy"], panels["nesterov"]])),
        "digits": edge(dict([panels["digits"], panels["tangent"]])),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
