"""How sharp does the cost become during descent, and how does the learning rate limit that?

    sharpness = largest eigenvalue of the Hessian;   on a quadratic cost descent needs it below
    2 / eta,   with momentum b (2 + 2b) / eta,   with Nesterov's (2 + 2b) / ((1 + 2b) eta)

On many networks the sharpness rises along descent until it reaches the limit of the learning rate,
and stays there (Cohen et al. 2021, arXiv 2103.00065). Looked at twice. First on the small case of
their code: 20 points of the Chebyshev polynomial of degree 5, a 1-100-1 tanh network that starts
as PyTorch's layers do, the whole set a step; with plain descent, heavy ball and Nesterov's
momentum. Their cost has a half: their learning rate is twice ours, their sharpness half of ours,
and both limits are the same place. Then on the digit network (784-16-16-10, sigmoids, quadratic
cost), the whole training set of mnist5k a step. There the sharpness falls below its limit later on.
Is that because its outputs are bounded? The contrast changes that and nothing else: the sigmoids of
the last layer are replaced by their tangent, 1/2 + z/4, with the same starts, rates and data, so
that values and slopes agree where outputs are near 1/2. Every panel is one sweep, its sharpness
estimated at every record from the eigenvector before. Last, what `gd.advise` makes of the digits
with mini-batches.

    python experiments/edge_of_stability.py           (about 2.5 min of processor time)

Expected: on the Chebyshev points the sharpness rises to the limit of every rate that can reach it
and stays within 2 % of it (medians over the last quarter), while the cost goes on falling, not
monotonically. On 1,000 digits it falls far below its limit later on, with tangents at the outputs
it stays there. That bounded outputs are why would be refuted by tangents that fall as far: the
interval of the difference, paired over starts, would hold 0.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import common
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import edge_of_stability as plots
from variants.regressions import chebyshev

import gdjax as gd
from gdjax.curvature import sharpness, stability_threshold
from gdjax.descent import Outcome
from gdjax.plots import stability
from gdjax.problems.costs import quadratic
from gdjax.statistics import median, paired

PANELS = ("plain", "heavy", "nesterov", "digits", "tangent")


@dataclass(frozen=True)
class Config:
    """Which descents are watched.

    Args:
        rates: of plain descent on the Chebyshev points.
        steps: of it.
        heavy_rates: with heavy-ball momentum.
        nesterov_rates: with Nesterov's.
        momentum: of both.
        momentum_steps: of both.
        seeds: starting points of each.
        data: name of the data set of digits.
        samples: images of it; None takes all.
        digit_rates: of plain descent on it, with sigmoids at the outputs and with their tangent.
        digit_steps: of both.
        digit_seeds: starting points of both.
        records: of each descent, about so many; the whole set's digits swing with period 2, so an
            odd number of steps from one to the next shows more.
        tolerance: of the sharpness.
        batch_size: images a step for the advice.
        advice_steps: of the descents that the advice rests on.
        advice_seeds: starting points of them.
    """

    rates: tuple[float, ...] = (0.025, 0.03, 0.04, 0.06)
    steps: int = 40_000
    heavy_rates: tuple[float, ...] = (0.03, 0.04, 0.05, 0.06)
    nesterov_rates: tuple[float, ...] = (0.01, 0.015, 0.02, 0.03)
    momentum: float = 0.9
    momentum_steps: int = 12_000
    seeds: int = 8
    data: str = "mnist5k"
    samples: int | None = 1000
    digit_rates: tuple[float, ...] = (1.0, 3.5, 5.0)
    digit_steps: int = 1_500
    digit_seeds: int = 8
    records: int = 100
    tolerance: float = 0.01
    batch_size: int = 32
    advice_steps: int = 250
    advice_seeds: int = 4


def tangent_outputs(problem: gd.Problem) -> gd.Problem:
    """The digits read by the same network, its last sigmoids replaced by their tangent at 0.

    sigma(z) = 1/2 + z/4 + O(z^3)
    """
    network = dataclasses.replace(problem.network, output_activation="identity")

    def cost(params, batch):
        outputs = 0.5 + network.apply(params, batch[0]) / 4
        return jnp.mean(quadratic(outputs, jnp.asarray(batch[1])))

    return gd.Problem(network.init, cost, problem.data, baseline=problem.baseline)


def watched(
    config: Config, problem: gd.Problem, rates, seeds: int, steps: int, optimizer: Callable
) -> xr.Dataset:
    """Cost and sharpness of descents at all rates from all starts, one sweep."""
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(seeds)),
        steps,
        record_every=max(1, steps // config.records),
        metrics={"sharpness": sharpness(problem, rtol=config.tolerance)},
        make_optimizer=optimizer,
    )
    threshold = stability_threshold(runs.learning_rate.values, optimizer)
    return runs[["cost", "sharpness", "outcome", "diverged_at"]].assign(
        threshold=("learning_rate", np.asarray(threshold))
    )


def advised(config: Config, problem: gd.Problem) -> xr.Dataset:
    """What `gd.advise` says of the digits, and what it rests on."""
    found = gd.advise(
        problem,
        num_steps=config.advice_steps,
        batch_size=config.batch_size,
        seeds=config.advice_seeds,
    )
    runs = found.runs
    return xr.Dataset(
        {
            "cost": (("learning_rate", "seed"), runs.cost.values[..., -1]),
            "along": (
                ("learning_rate", "seed"),
                runs.sharpness.isel(step=slice(1, None)).max("step").values,
            ),
            "diverged": ("learning_rate", found.diverged),
            "stalled": ("learning_rate", found.stalled),
            "limit": found.limit,
            "bound_at_start": found.bound_at_start,
            "recommended": np.nan if found.learning_rate is None else found.learning_rate,
        },
        {"learning_rate": found.learning_rates, "seed": runs.seed.values},
        {"reason": found.reason},
    )


def run(config: Config) -> xr.Dataset:
    """All panels, names prefixed by them."""
    small, digits = chebyshev(), gd.problems.digits(config.data, samples=config.samples)
    momentum = partial(optax.sgd, momentum=config.momentum)
    of_small = (config.seeds, config.momentum_steps)
    parts = {
        "plain": watched(config, small, config.rates, config.seeds, config.steps, optax.sgd),
        "heavy": watched(config, small, config.heavy_rates, *of_small, momentum),
        "nesterov": watched(
            config, small, config.nesterov_rates, *of_small, partial(momentum, nesterov=True)
        ),
        "digits": watched(
            config, digits, config.digit_rates, config.digit_seeds, config.digit_steps, optax.sgd
        ),
        "tangent": watched(
            config,
            tangent_outputs(digits),
            config.digit_rates,
            config.digit_seeds,
            config.digit_steps,
            optax.sgd,
        ),
        "advice": advised(config, digits),
    }
    reason = parts["advice"].attrs["reason"]
    return xr.merge(
        [
            part.drop_attrs().rename({name: f"{prefix}_{name}" for name in names(part)})
            for prefix, part in parts.items()
        ]
    ).assign_attrs(reason=reason, momentum=config.momentum)


def names(dataset: xr.Dataset) -> list[str]:
    """Of variables, coordinates and dimensions."""
    return sorted({*map(str, dataset.variables), *map(str, dataset.dims)})


def panel(dataset: xr.Dataset, prefix: str) -> xr.Dataset:
    """One part by its own names."""
    part = dataset[[name for name in map(str, dataset.data_vars) if name.startswith(f"{prefix}_")]]
    return part.rename({name: name.removeprefix(f"{prefix}_") for name in names(part)})


def late_ratios(part: xr.Dataset) -> np.ndarray:
    """Sharpness over its limit, median of the last quarter: [rates, seeds]; +inf if diverged."""
    ratio = (part.sharpness / part.threshold).transpose("learning_rate", "seed", "step").values
    late = ratio[..., -ratio.shape[-1] // 4 :]
    known = np.any(~np.isnan(late), axis=-1)
    middle = np.nanmedian(np.where(known[..., None], late, 0), axis=-1)
    diverged = part.diverged_at.transpose("learning_rate", "seed").values >= 0
    return np.where(diverged, np.inf, np.where(known, middle, np.nan))


def settled(part: xr.Dataset) -> dict:
    """For each rate: where its sharpness is in the end, and what the cost does from there on."""
    ratio = (part.sharpness / part.threshold).transpose("learning_rate", "seed", "step").values
    cost = part.cost.transpose("learning_rate", "seed", "step").values
    records = ratio.shape[-1]
    found: dict = {"rates": [], "threshold": [], "late_over_threshold": [], "highest": []}
    found["late_over_threshold_interval"] = []
    found |= {"reached_at_step": [], "cost_left_after_it": [], "records_with_rising_cost": []}
    for index, rate in enumerate(part.learning_rate.values):
        late = median(late_ratios(part)[index])
        # From the start on it may be above; reached is reached from below, or from above.
        near = np.abs(ratio[index] - 1) < 0.02
        first = [int(np.argmax(n)) if n.any() else -1 for n in near]
        hit = [seed for seed, at in enumerate(first) if at >= 0]
        left = [np.min(cost[index, s, -records // 10 :]) / cost[index, s, first[s]] for s in hit]
        rises = [
            np.mean(np.diff(cost[index, s, first[s] :]) > 0) for s in hit if first[s] < records - 1
        ]
        found["rates"].append(float(rate))
        found["threshold"].append(float(part.threshold[index]))
        found["late_over_threshold"].append(late.value)
        found["late_over_threshold_interval"].append([late.low, late.high])
        found["highest"].append(float(np.nanmax(part.sharpness.isel(step=slice(1, None))[index])))
        found["reached_at_step"].append(
            float(np.median([part.step.values[first[s]] for s in hit])) if hit else None
        )
        found["cost_left_after_it"].append(float(np.median(left)) if hit else None)
        found["records_with_rising_cost"].append(float(np.median(rises)) if rises else None)
    return found


def numbers(dataset: xr.Dataset) -> dict:
    """How near to their limits sharpnesses stay, and what the advice is."""
    found: dict = {}
    for prefix in PANELS:
        part = panel(dataset, prefix)
        found |= {f"{prefix}_{name}": value for name, value in settled(part).items()}
        for place, name in enumerate(("at_start", "at_first_record")):
            found[f"{prefix}_sharpness_{name}"] = float(part.sharpness.isel(step=place).median())
        found[f"{prefix}_cost_at_end"] = [
            float(c) for c in part.cost.isel(step=-1).median("seed").values
        ]
        found[f"{prefix}_runs_diverged"] = int(np.sum(part.outcome == Outcome.DIVERGED))
        found[f"{prefix}_sharpness_not_found"] = int(np.sum(np.isnan(part.sharpness.values)))
    bounded, free = (late_ratios(panel(dataset, name)) for name in ("digits", "tangent"))
    found["tangent_minus_digits"] = [
        paired(a, b)[:3] if np.sum(np.isfinite(a) & np.isfinite(b)) > 1 else None
        for a, b in zip(bounded, free, strict=True)
    ]
    return found | {
        "advice": dataset.attrs["reason"],
        "advice_learning_rate": float(dataset.advice_recommended),
        "advice_bound_at_start": float(dataset.advice_bound_at_start),
    }


def plot(dataset: xr.Dataset) -> dict:
    """The Chebyshev panels beside each other, the digits, and the advice."""
    beta = dataset.attrs["momentum"]
    titles = {
        "plain": "Plain descent: limit 2/η",
        "heavy": f"Heavy ball {beta:g}: {2 + 2 * beta:.3g}/η",
        "nesterov": f"Nesterov {beta:g}: {(2 + 2 * beta) / (1 + 2 * beta):.3g}/η",
        "digits": "Digit network, whole set: limit 2/η",
        "tangent": "Outputs 1/2 + z/4: limit 2/η",
    }

    def first(prefix):
        part = panel(dataset, prefix).isel(seed=0)
        return plots.Edge(
            title=titles[prefix],
            step=part.step.values,
            learning_rate=part.learning_rate.values,
            sharpness=part.sharpness.transpose("learning_rate", "step").values,
            threshold=part.threshold.values,
            cost=part.cost.transpose("learning_rate", "step").values,
        )

    advice = panel(dataset, "advice")
    recommended = float(advice.recommended)
    return {
        "chebyshev": plots.edge([first("plain"), first("heavy"), first("nesterov")]),
        "digits": plots.edge([first("digits"), first("tangent")]),
        "advice": stability.learning_rates(
            advice.learning_rate.values,
            diverged=advice.diverged.values,
            stalled=advice.stalled.values,
            cost=advice.cost.transpose("learning_rate", "seed").values,
            sharpness=advice.along.transpose("learning_rate", "seed").values,
            limit=float(advice.limit),
            bound_at_start=float(advice.bound_at_start),
            recommended=None if np.isnan(recommended) else recommended,
            title="Which learning rate for the digits, and why",
        ),
    }


if __name__ == "__main__":
    common.main("edge_of_stability", Config, run, plot, numbers)
