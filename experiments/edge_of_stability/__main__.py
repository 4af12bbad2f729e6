"""How sharp does the cost become during descent, and how does the learning rate limit that?

    sharpness = largest eigenvalue of H;   descent on a quadratic cost is stable below a limit:
    2 / eta without momentum, (2 + 2b) / eta with heavy-ball momentum b, (2 + 2b) / ((1 + 2b) eta)
    with Nesterov's; for the largest eigenvalue of P^-1 H, P constant: 2 / eta (RMSProp), 38 / eta
    (Adam, b1 = 0.9);   for max over |d| <= 1 of d^T H d: 2 / eta (steps eta |g|_* d, g . d = |g|_*)

    python -m experiments.edge_of_stability           (about 6 min of processor time)

Expected: on the Chebyshev points the sharpness rises to the limit for every rate whose limit it can
reach, and remains within 2 % of the limit (medians over the last quarter of the records), while the
cost continues to decrease, though not monotonically. On 1,000 digits the sharpness later falls far
below its limit; with tangents as outputs it remains at the limit. The explanation by bounded
outputs is refuted if the sharpness falls as far with tangents, that is, if the interval of the
difference, paired over starts, contains 0. Preconditioned sharpness settles within 5 % of its limit
on the Chebyshev points, and a lower bound on the generalized one within 15 % at the larger rates.
This is refuted if the interval of one of these medians lies entirely outside this range.
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
from experiments.shared import command, edges
from experiments.shared.regressions import chebyshev, random_targets
from experiments.shared.trees import datasets, tree_of
from gdjax.base.statistics import median, paired
from gdjax.curvature import (
    Sharpness,
    WarmGeneralizedSharpness,
    dual_gradient_norm,
    preconditioner,
    stability_threshold,
    step_curvature,
)
from gdjax.descent import non_euclidean_descent
from gdjax.plots.style import BLACK, CYCLE, Figure
from gdjax.problems import quadratic

PANELS = ("plain", "heavy", "nesterov", "digits", "tangent")
PRECONDITIONED = {
    "chebyshev_adam": "Adam, Chebyshev points",
    "chebyshev_rmsprop": "RMSProp, Chebyshev points",
    "digits_adam": "Adam, digits",
    "digits_rmsprop": "RMSProp, digits",
}
# Norm of the steps, whether they are scaled by the dual norm of the gradient, and title.
NORMS = {
    "sign_scaled": ("linf", True, "Sign descent, scaled steps"),
    "sign_plain": ("linf", False, "Sign descent, steps of fixed length"),
    "muon_scaled": ("spectral", True, "Muon without momentum, scaled steps"),
    "muon_plain": ("spectral", False, "Muon without momentum, steps of fixed length"),
}


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
    adam_rates: tuple[float, ...] = (0.0005, 0.001, 0.002, 0.004)  # rates on the Chebyshev points
    rmsprop_rates: tuple[float, ...] = (0.0001, 0.0003, 0.001)  # rates on the Chebyshev points
    adaptive_steps: int = 10_000  # number of steps of both optimizers on the Chebyshev points
    digit_adam_rates: tuple[float, ...] = (0.01, 0.03)  # learning rates of Adam on the digits
    digit_rmsprop_rates: tuple[float, ...] = (0.003, 0.01)  # learning rates of RMSProp on digits
    adaptive_digits: int = 200  # number of training images of digits of both optimizers
    adaptive_digit_steps: int = 600  # number of steps of both optimizers on the digits
    digit_records: int = 30  # number of records of both optimizers on the digits
    sign_scaled_rates: tuple[float, ...] = (0.0003, 0.0005, 0.001)  # rates of scaled sign descent
    sign_plain_rates: tuple[float, ...] = (0.001, 0.003, 0.01)  # step lengths of plain sign descent
    muon_scaled_rates: tuple[float, ...] = (0.003, 0.01, 0.03)  # rates of Muon with scaled steps
    muon_plain_rates: tuple[float, ...] = (0.003, 0.01, 0.03)  # step lengths of Muon
    norm_width: int = 16  # number of neurons in each hidden layer for sign descent and Muon
    norm_samples: int = 128  # number of training samples of both
    norm_steps: int = 1600  # number of steps of both
    norm_records: int = 80  # number of records of both


def tangent_outputs(problem: gd.Problem) -> gd.Problem:
    """Return the problem with its output sigmoids replaced by their tangents at 0.

    sigma(z) = 1/2 + z/4 + O(z^3)
    """
    network = dataclasses.replace(problem.network, output_activation="identity")

    def cost(params, batch):
        outputs = 0.5 + network.apply(params, batch[0]) / 4
        return jnp.mean(quadratic(outputs, jnp.asarray(batch[1])))

    return gd.Problem(network.init, cost, problem.data, baseline=problem.baseline)


def swept(
    config: Config, problem: gd.Problem, rates, steps: int, records: int, rule: Callable, **metrics
) -> xr.Dataset:
    """Return the records of descents, by rate, start and step."""
    grid = gd.axes(learning_rate=rates, seed=range(config.seeds))
    options: dict = {"record_every": max(1, steps // records), "metrics": metrics}
    runs = gd.sweep(problem, grid, steps, make_optimizer=rule, **options)
    runs = runs[["cost", "diverged_at", *metrics]].drop_attrs()
    return runs.transpose("learning_rate", "seed", "step")


def sharpness_records(
    config: Config, problem: gd.Problem, rates, steps: int, rule: Callable
) -> xr.Dataset:
    """Return cost, sharpness and stability threshold of descents, by rate and start."""
    metric = Sharpness(rtol=0.01)
    records = swept(config, problem, rates, steps, config.records, rule, sharpness=metric)
    threshold = np.asarray(stability_threshold(records.learning_rate.values, rule))
    return records.assign(threshold=("learning_rate", threshold))


def preconditioned(
    config: Config, problem: gd.Problem, rule: Callable, rates, steps: int, records: int
) -> xr.Dataset:
    """Return cost, preconditioned sharpness, its product with eta, and the limit."""
    metric = Sharpness(preconditioner=preconditioner(rule), rtol=0.01)
    runs = swept(config, problem, rates, steps, records, rule, sharpness=metric)
    after = runs.isel(step=slice(1, None))  # P is undefined before the first step
    product = after.sharpness * after.learning_rate.values[:, None, None]
    return after.assign(product=product, limit=float(stability_threshold(1.0, rule)))


def generalized(config: Config, problem: gd.Problem, case: str, rates) -> xr.Dataset:
    """Return the cost, and the sharpness and step curvature in units of the limit."""
    norm, scaled, _ = NORMS[case]
    metrics: dict = {
        "sharpness": WarmGeneralizedSharpness(norm),
        "step_curvature": partial(step_curvature, norm=norm),
        "dual_norm": partial(dual_gradient_norm, norm=norm),
    }
    rule = partial(non_euclidean_descent, norm=norm, scaled=scaled)
    runs = swept(config, problem, rates, config.norm_steps, config.norm_records, rule, **metrics)
    limit = 2 / runs.learning_rate * (1 if scaled else runs.dual_norm)
    result = (runs[["sharpness", "step_curvature"]] / limit).assign(cost=runs.cost)
    result = result.where(np.isfinite(runs.cost)).transpose("learning_rate", "seed", "step")
    return result.assign(limit=1.0)


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each panel, by kind of sharpness."""
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
    few = gd.problems.digits(config.data, samples=config.adaptive_digits)
    rmsprop = partial(optax.rmsprop, decay=0.99)
    long = config.adaptive_steps, config.records
    short = config.adaptive_digit_steps, config.digit_records
    cases = {
        "chebyshev_adam": (small, optax.adam, config.adam_rates, *long),
        "chebyshev_rmsprop": (small, rmsprop, config.rmsprop_rates, *long),
        "digits_adam": (few, optax.adam, config.digit_adam_rates, *short),
        "digits_rmsprop": (few, rmsprop, config.digit_rmsprop_rates, *short),
    }
    records |= {
        f"preconditioned/{name}": preconditioned(config, *case)
        for name, case in cases.items()
        if case[2]
    }
    targets = random_targets(config.norm_width, config.norm_samples)
    for case in NORMS:
        if rates := getattr(config, f"{case}_rates"):
            records[f"generalized/{case}"] = generalized(config, targets, case, rates)
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
    panels = {name: tree[name].to_dataset() for name in PANELS}
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
    kinds = {"preconditioned": preconditioned_numbers, "generalized": generalized_numbers}
    return {
        "case": cases,
        "tangent_minus_digits": {"rate": differences},
        **{
            kind: {"case": {name: of(part) for name, part in datasets(tree[kind]).items()}}
            for kind, of in kinds.items()
        },
    }


def preconditioned_numbers(part: xr.Dataset) -> dict:
    """Return the numbers of one optimizer and problem, some of them by learning rate."""
    product, late = part["product"].values, edges.late(part["product"])
    by_rate = {
        f"{rate:g}": {
            "late": median(late[index])[:3],
            "highest": float(np.nanmax(product[index])),
            "cost_at_end": float(np.median(part.cost.values[index, :, -1])),
        }
        for index, rate in enumerate(part.learning_rate.values)
    }
    return {
        "limit": float(part.limit),
        "rate": by_rate,
        "all_late": median(late)[:3],
        "not_found": int(np.isnan(product).sum()),
    }


def generalized_numbers(part: xr.Dataset) -> dict:
    """Return final sharpness and step curvature of one norm, in units of the limit."""
    late = {name: edges.late(part[name], np.median) for name in ("sharpness", "step_curvature")}
    return {
        "rate": {
            str(rate): {
                **{name: median(values[index])[:3] for name, values in late.items()},
                "at_start": np.median(part.sharpness[index, :, 0]),
                "cost_at_end": np.median(part.cost[index, :, -1]),
            }
            for index, rate in enumerate(part.learning_rate.values)
        }
    }


def edge(tree: xr.DataTree, titles: Mapping[str, str]) -> Figure:
    """Draw sharpness with dashed limits, and the cost below it, of the first start per panel."""
    figure = Figure(figsize=(1.0 + 4.6 * len(titles), 7.6))
    grid = figure.subplots(2, len(titles), sharex="col", gridspec_kw={"height_ratios": [3, 2]})
    for (top, bottom), (name, title) in zip(grid.T, titles.items(), strict=True):
        panel = tree[name].to_dataset().isel(seed=0)
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
    """Draw sharpness and limits; descents with and without momentum are those of one start."""
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
    adaptive = {"name": "product", "label": "rate · preconditioned sharpness"}
    norms = {"name": "sharpness", "label": "generalized sharpness,\nin units of the limit"}
    titles = {case: title for case, (*_, title) in NORMS.items()}
    parts = {kind: datasets(tree[kind]) for kind in ("preconditioned", "generalized")}
    return {
        "chebyshev": edge(tree, points),
        "digits": edge(tree, digits),
        "adaptive": edges.sharpness_curves(parts["preconditioned"], PRECONDITIONED, **adaptive),
        "norms": edges.sharpness_curves(parts["generalized"], titles, **norms),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
