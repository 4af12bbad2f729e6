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

from functools import partial

import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import chebyshev
from experiments.shared.trees import datasets, tree_of
from gdjax.descent import Outcome
from gdjax.statistics import median, paired

from . import figures
from .config import Config
from .model import sharpness_records, tangent_outputs


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
    ratio = (part.sharpness / part.threshold).values
    cost = part.cost.values
    records = ratio.shape[-1]
    summary: dict = {"rates": [], "threshold": [], "late_over_threshold": [], "highest": []}
    summary["late_over_threshold_interval"] = []
    summary |= {"reached_at_step": [], "cost_left_after_it": [], "records_with_rising_cost": []}
    for index, rate in enumerate(part.learning_rate.values):
        late = median(late_ratios(part)[index])
        # The limit can be reached from below or from above, since a start may be above it.
        at_limit = np.abs(ratio[index] - 1) < 0.02
        first = [int(np.argmax(n)) if n.any() else -1 for n in at_limit]
        hit = [seed for seed, at in enumerate(first) if at >= 0]
        left = [np.min(cost[index, s, -records // 10 :]) / cost[index, s, first[s]] for s in hit]
        rises = [
            np.mean(np.diff(cost[index, s, first[s] :]) > 0) for s in hit if first[s] < records - 1
        ]
        summary["rates"].append(float(rate))
        summary["threshold"].append(float(part.threshold[index]))
        summary["late_over_threshold"].append(late.value)
        summary["late_over_threshold_interval"].append([late.low, late.high])
        summary["highest"].append(float(np.nanmax(part.sharpness.isel(step=slice(1, None))[index])))
        summary["reached_at_step"].append(
            float(np.median([part.step.values[first[s]] for s in hit])) if hit else None
        )
        summary["cost_left_after_it"].append(float(np.median(left)) if hit else None)
        summary["records_with_rising_cost"].append(float(np.median(rises)) if rises else None)
    return summary


def numbers(tree: xr.DataTree) -> dict:
    """Return statistics of the ratio of sharpness to its limit, for each panel."""
    summary: dict = {}
    for prefix, part in datasets(tree).items():
        summary |= {f"{prefix}_{name}": value for name, value in late_statistics(part).items()}
        for index, name in enumerate(("at_start", "at_first_record")):
            summary[f"{prefix}_sharpness_{name}"] = float(part.sharpness.isel(step=index).median())
        summary[f"{prefix}_cost_at_end"] = [
            float(c) for c in part.cost.isel(step=-1).median("seed").values
        ]
        summary[f"{prefix}_runs_diverged"] = int(np.sum(part.outcome == Outcome.DIVERGED))
        summary[f"{prefix}_sharpness_not_found"] = int(np.sum(np.isnan(part.sharpness.values)))
    bounded, free = (late_ratios(datasets(tree)[name]) for name in ("digits", "tangent"))
    summary["tangent_minus_digits"] = [
        paired(a, b)[:3] if np.sum(np.isfinite(a) & np.isfinite(b)) > 1 else None
        for a, b in zip(bounded, free, strict=True)
    ]
    return summary


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each panel."""
    small, digits = chebyshev(), gd.problems.digits(config.data, samples=config.samples)
    momentum = partial(optax.sgd, momentum=config.momentum)
    small_momentum = (config.seeds, config.momentum_steps)
    of_digits = (config.digit_rates, config.digit_seeds, config.digit_steps, optax.sgd)
    panels = {
        "plain": (small, config.rates, config.seeds, config.steps, optax.sgd),
        "heavy": (small, config.heavy_rates, *small_momentum, momentum),
        "nesterov": (
            small,
            config.nesterov_rates,
            *small_momentum,
            partial(momentum, nesterov=True),
        ),
        "digits": (digits, *of_digits),
        "tangent": (tangent_outputs(digits), *of_digits),
    }
    records = {name: sharpness_records(config, *panel) for name, panel in panels.items()}
    return tree_of(records, momentum=config.momentum)


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
        "chebyshev": figures.edge(dict([panels["plain"], panels["heavy"], panels["nesterov"]])),
        "digits": figures.edge(dict([panels["digits"], panels["tangent"]])),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
