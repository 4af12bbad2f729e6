"""Recommendation of a learning rate from the curvature and a small sweep.

    bound = c / (largest eigenvalue of the Hessian),   c = 2 for plain descent

With momentum, c is larger (`stability_threshold`). The bound is necessary only near a minimum:
larger steps may lead to flatter regions, and mini-batches may make smaller steps unstable. The
rate is therefore chosen by a sweep.

>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: w[0] ** 2 / 2 + 5 * w[1] ** 2)
>>> advice = advise(bowl, num_steps=50)
>>> round(advice.bound_at_start, 3), advice.learning_rate
(0.2, 0.1)
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float

from gdjax.arguments import check_whole, real_array
from gdjax.curvature.sharpness import sharpness_metric
from gdjax.curvature.stability_limits import (
    ADAPTIVE,
    Preconditioner,
    known,
    preconditioner,
    stability_threshold,
)
from gdjax.descent.outcome import OUTCOMES
from gdjax.errors import InputError
from gdjax.keys import streams
from gdjax.problems.keywords import given_to
from gdjax.problems.problem import Problem, check_problem
from gdjax.statistics import median, medians
from gdjax.sweeps.axes import axes
from gdjax.sweeps.binding import factory_arguments
from gdjax.sweeps.sweep import sweep

COST_RECORDS = 20  # cost records per run
SHARPNESS_ESTIMATES = 5  # sharpness estimates per run, in addition to the one at the start
SHARPNESS_RTOL = 0.02  # relative tolerance of the sharpness
RATE_DOUBLINGS = 6  # doublings of the rate above and below the bound at the start


@dataclass(frozen=True, eq=False)
class Advice:
    """Recommended learning rate with the measurements that support it.

    Args:
        learning_rate: recommended learning rate; None if no tested rate works.
        reason: explanation of the recommendation, as text.
        limit: stability limit of learning rate times sharpness on a quadratic cost: 2 for plain
            descent, 38 for Adam, and 2 if the limit of the optimizer is unknown. For Adam, AdamW
            and RMSProp, the sharpness is preconditioned.
        bound_at_start: median over starts of limit / sharpness at the start; infinite if no
            curvature is positive, NaN for Adam, AdamW and RMSProp, whose preconditioner is
            undefined before the first step.
        bound_along: median over starts of limit / largest sharpness after the start, at the
            recommended rate (the lowest rate if there is none); NaN if unknown.
        learning_rates: tested rates, ascending.
        diverged: fraction of starts that diverged, per rate.
        stalled: fraction of starts that stalled, per rate.
        works: whether every start lowered its cost and none diverged or stalled, per rate.
        cost: median final cost over starts, per rate.
        runs: result of the sweep, a Dataset over learning_rate, seed and step, with `sharpness`.
    """

    learning_rate: float | None
    reason: str
    limit: float
    bound_at_start: float
    bound_along: float
    learning_rates: Float[np.ndarray, " rates"]
    diverged: Float[np.ndarray, " rates"]
    stalled: Float[np.ndarray, " rates"]
    works: Bool[np.ndarray, " rates"]
    cost: Float[np.ndarray, " rates"]
    runs: Any

    def __str__(self) -> str:
        return self.reason


def advise(
    problem: Problem,
    *,
    num_steps: int = 250,
    batch_size: int | None = None,
    seeds: int = 4,
    learning_rates: Sequence[float] | Float[np.ndarray, " rates"] | None = None,
    samples: int = 1000,
    root_seed: int = 0,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
) -> Advice:
    """Recommend a learning rate from the curvature and a small sweep.

    Short descents from a few starts are run at rates from far below to far above limit / sharpness.
    The limit is 2 for plain descent and 2 + 2 b for heavy ball (`stability_threshold`). For Adam,
    and if the limit is unknown, the rates range from 1e-5 to 10. The recommended rate has the
    lowest median final cost among the rates at which every start lowered its cost and none diverged
    or stalled. The recommendation holds for this number of steps and these starts: another rate may
    be better for longer descents, and additional starts may fail.

    Args:
        problem: problem to minimize.
        num_steps: number of steps of each descent, >= 1.
        batch_size: samples per step; None for the whole training set.
        seeds: number of starting points, >= 1.
        learning_rates: rates to test, > 0; None for the median bound at the start times 2^-6 to
            2^6, or 13 rates from 1e-5 to 10 if there is no bound.
        samples: maximum number of randomly drawn samples for the sharpness.
        root_seed: seed of the whole study, as in `sweep`.
        make_optimizer: factory that accepts a `learning_rate`, as in `sweep`.

    Returns:
        The recommendation; `print` shows its reason.

    Raises:
        InputError: if an argument has an invalid type or value.
    """
    check_problem(problem)
    for name, value in (("seeds", seeds), ("num_steps", num_steps), ("samples", samples)):
        check_whole(f"advise: {name}", value, 1)
    given = None if learning_rates is None else real_array(learning_rates)
    if learning_rates is not None and not (
        given is not None and given.ndim == 1 and given.size and np.all(given > 0)
    ):
        raise InputError(
            f"advise: learning_rates = {learning_rates!r:.80}, expected a list of numbers above 0"
        )
    keywords = factory_arguments(make_optimizer)
    if "learning_rate" not in keywords:
        raise InputError(
            f"advise: make_optimizer = {make_optimizer!r:.80} takes no learning_rate, expected a "
            f"factory such as optax.adam"
        )
    limit, preconditioned_by = _limit(make_optimizer)
    product = 2.0 if limit is None else limit
    record_every = max(1, num_steps // COST_RECORDS)
    every = max(1, num_steps // record_every // SHARPNESS_ESTIMATES)
    metric = sharpness_metric(
        _subsampled(problem, samples, root_seed),
        every=every,
        rtol=SHARPNESS_RTOL,
        preconditioner=preconditioned_by,
    )
    bound = np.nan
    if preconditioned_by is None:
        bound = _bound(_sharpness_at_start(problem, metric, seeds, root_seed), product)
    rates = _rates(given, None if limit is None or preconditioned_by else bound)
    runs = sweep(
        problem,
        axes(learning_rate=rates, seed=range(seeds)),
        int(num_steps),
        batch_size=batch_size,
        make_optimizer=make_optimizer,
        record_every=record_every,
        metrics={"sharpness": metric},
        root_seed=root_seed,
    )
    cost = runs.cost.values
    diverged, stalled = (
        np.mean(runs.outcome.values == OUTCOMES.index(name), axis=1)
        for name in ("diverged", "stalled")
    )
    works = np.all(cost[..., -1] < cost[..., 0], axis=1) & (diverged == 0) & (stalled == 0)
    median_cost = medians(cost[..., -1])[0]
    choice = int(np.argmin(np.where(works, median_cost, np.inf))) if works.any() else None
    along = _largest_along(runs.sharpness.values)
    bound_along = _bound(along[choice or 0], product)
    advice = Advice(
        learning_rate=None if choice is None else float(rates[choice]),
        reason="",
        limit=product,
        bound_at_start=bound,
        bound_along=bound_along,
        learning_rates=rates,
        diverged=diverged,
        stalled=stalled,
        works=works,
        cost=median_cost,
        runs=runs,
    )
    if limit is None:
        curvature = _without_limit(make_optimizer)
    else:
        curvature = _curvature(
            advice, choice, "preconditioned sharpness" if preconditioned_by else "sharpness"
        )
    return dataclasses.replace(advice, reason=_reason(advice, choice, batch_size, curvature))


def _subsampled(problem, samples, root):
    """Return the problem with at most `samples` randomly chosen samples."""
    if problem.data is None or problem.samples <= samples:
        return problem
    chosen = jax.random.permutation(streams(root).probes, problem.samples)[:samples]
    return dataclasses.replace(
        problem, data=jax.tree.map(lambda a: jnp.asarray(a)[chosen], problem.data), metrics={}
    )


def _sharpness_at_start(problem, metric, seeds, root):
    """Return the sharpness at each starting point."""

    def one(key, data):
        params, model_state = problem.begin(key)
        given = {"model_state": model_state} if "model_state" in given_to(metric.function) else {}
        return metric.function(params, data, metric.init(params, data), **given)[0]

    keys = streams(root, np.arange(seeds)).init
    return np.asarray(jax.jit(jax.vmap(one, (0, None)))(keys, metric.data))


def _limit(optimizer) -> tuple[float | None, Preconditioner | None]:
    """Return the stability limit, or None if unknown, and the preconditioner, if any."""
    try:
        factory, settings = known(optimizer)
        read = preconditioner(optimizer) if factory in ADAPTIVE else None
    except InputError:
        return None, None
    # Weight decay lowers the limit only slightly, in proportion to the learning rate.
    without = {"weight_decay": 0.0} if "weight_decay" in settings else {}
    return float(stability_threshold(1.0, optimizer, **without)), read


def _bound(sharpnesses, limit):
    """Return limit / median sharpness; NaN if unknown, infinite if not positive."""
    known = sharpnesses[np.isfinite(sharpnesses)]
    if not known.size:
        return float("nan")
    middle = median(known).value
    return limit / middle if middle > 0 else float("inf")


def _largest_along(sharpnesses):
    """Return the largest sharpness of each run after the start; NaN if unknown."""
    later = sharpnesses[..., 1:]
    largest = np.max(np.where(np.isfinite(later), later, -np.inf), axis=-1)
    return np.where(np.isfinite(largest), largest, np.nan)


def _rates(given, bound):
    if given is None and bound is None:
        return np.geomspace(1e-5, 10, 2 * RATE_DOUBLINGS + 1)
    if given is None:
        # Without positive curvature at the start, there is no natural scale for the rate.
        center = bound if np.isfinite(bound) else 1.0
        return center * 2.0 ** np.arange(-RATE_DOUBLINGS, RATE_DOUBLINGS + 1)
    return np.unique(given.astype(float))


def _reason(advice: Advice, choice: int | None, batch_size: int | None, curvature: str) -> str:
    """Return the reason for the recommendation as text."""
    rates, ends = advice.learning_rates, advice.runs.cost.values[..., -1]
    starts, steps = ends.shape[1], int(advice.runs.step.values[-1])
    tried = f"{len(rates)} rates from {rates[0]:.3g} to {rates[-1]:.3g}"
    how = "whole training set" if batch_size is None else f"mini-batches of {batch_size}"
    if choice is None:
        return (
            f"None of {tried} works for all of {starts} starts in {steps} steps ({how}): "
            f"{_failures(advice, 0)} at the lowest. Try lower ones, or look at the start. "
            + curvature
        )
    sentences = [
        f"Learning rate {rates[choice]:.3g}: of {tried}, the lowest median cost after {steps} "
        f"steps ({advice.cost[choice]:.3g}; {ends[choice].min():.3g} to {ends[choice].max():.3g} "
        f"over {starts} starts, {how}). No start diverged or stalled there."
    ]
    if choice + 1 < len(rates):
        sentences.append(
            f"At {rates[choice + 1]:.3g}, the next one up, {_failures(advice, choice + 1)}."
        )
    else:
        sentences.append("It is the highest one tried: higher ones may be better.")
    if choice == 0:
        sentences.append("It is the lowest one tried: lower ones may be better.")
    sentences.append(curvature)
    return " ".join(sentences)


def _failures(advice, index):
    """Return a description of the failures at one rate."""
    ends = advice.runs.cost.values[index]
    starts = len(ends)
    shares = {"diverged": advice.diverged[index], "stalled": advice.stalled[index]}
    counts = {outcome: round(share * starts) for outcome, share in shares.items()}
    parts = [f"{count} of {starts} {outcome}" for outcome, count in counts.items() if count]
    if parts:
        return " and ".join(parts)
    above = int(np.sum(~(ends[:, -1] < ends[:, 0])))
    if above:
        return f"{above} of {starts} ended no lower than it began"
    return f"the median is {advice.cost[index]:.3g}"


def _without_limit(optimizer):
    name = getattr(getattr(optimizer, "func", optimizer), "__name__", "this optimizer")
    return (
        f"2 / sharpness is a bound for plain gradient descent; for {name}, with these settings, no "
        f"bound follows from the sharpness alone."
    )


def _curvature(advice, choice, sharp):
    """Return a description of the two bounds and of the rate relative to them."""
    plain = sharp == "sharpness"
    if plain and np.isnan(advice.bound_at_start):
        return "The sharpness at the start could not be computed."
    if np.isinf(advice.bound_at_start):
        return "At the start no curvature is positive, so it gives no bound there."
    words = f"On a quadratic cost, descent is stable below {advice.limit:.3g} / {sharp}"
    words += f": {advice.bound_at_start:.3g} at the start" if plain else ""
    if not np.isfinite(advice.bound_along):
        return words + "."
    where = "the lowest rate" if choice is None else "this rate"
    words += f"{',' if plain else ':'} {advice.bound_along:.3g} "
    words += f"at the sharpest record at {where}"
    if choice is None:
        return words + "."
    ratio = advice.learning_rate / advice.bound_along
    if ratio > 1.2:
        return words + "; above that, the cost may oscillate before it converges."
    if ratio > 0.8:
        return (
            words + "; that is the edge of stability, where the rate itself limits the sharpness."
        )
    return words + "; well below that, so that descent is smooth."
