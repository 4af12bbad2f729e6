"""Which learning rate, and why: the curvature's bound, and what a small sweep finds.

    bound = c / (largest eigenvalue of the Hessian),   c = 2 for plain descent

With momentum c is larger (`stability_threshold`). The bound is necessary near a minimum and only
there: steps above it can lead to flatter places, and steps below it can be thrown about by
mini-batches. So the rates are tried, too.

>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: w[0] ** 2 / 2 + 5 * w[1] ** 2)
>>> found = advise(bowl, num_steps=50)
>>> round(found.bound_at_start, 3), found.learning_rate
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
from gdjax.curvature.sharpness import sharpness
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

RECORDS = 20  # of the cost along each run
ESTIMATES = 5  # of the sharpness along each run, besides the one at the start
TOLERANCE = 0.02  # of the sharpness; advice does not need more
DOUBLINGS = 6  # of the rates, on both sides of the bound at the start


@dataclass(frozen=True, eq=False)
class Advice:
    """A learning rate with its reason, and what both rest on.

    Args:
        learning_rate: the recommended one; None where none of those tried works.
        reason: in words.
        limit: what learning rate times sharpness must stay below on a quadratic cost, 2 for plain
            descent, 38 for Adam; 2 as well where the optimizer's own is not known. For Adam, AdamW
            and RMSProp the sharpness is the preconditioned one.
        bound_at_start: limit / sharpness, median over starts; infinite where nothing bends
            upwards, NaN for those three, whose P begins with the first step.
        bound_along: limit / the largest sharpness after the start at the recommended rate (at the
            lowest rate if there is none), median over starts; NaN where it is not known.
        learning_rates: those tried, ascending.
        diverged: share of starts that diverged at each.
        stalled: share of starts that stopped without getting below the baseline at each.
        works: whether every start lowered its cost at each, and none diverged or stalled.
        cost: median over starts of the cost at the end, for each.
        runs: the sweep, an `xarray.Dataset` over learning_rate, seed and step, with `sharpness`.
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
    """Recommend a learning rate, from curvature and from trying.

    From a few starts, the problem is descended for a short time at rates from far below to far
    above limit / sharpness, the limit being 2 for plain descent, (2 + 2 b) for heavy ball and so on
    (`stability_threshold`); for one whose limit is not known, or not one of the sharpness at the
    start as for Adam, from 1e-5 to 10. Recommended is the rate with the lowest median cost at the
    end among those at which every start came down, and none diverged or stalled. It is the best one
    for so many steps: longer descents may do better with another, and more starts may find one that
    fails.

    Args:
        problem: what to minimise.
        num_steps: of each descent, >= 1.
        batch_size: samples a step; None takes the whole training set.
        seeds: how many starting points, >= 1.
        learning_rates: to try, > 0; None takes the median bound at the start times 2^-6 to 2^6,
            where there is none 13 rates from 1e-5 to 10.
        samples: at most so many, drawn at random, are used for the sharpness.
        root_seed: seed of the whole study, as for `sweep`.
        make_optimizer: factory that takes a `learning_rate`, as for `sweep`.

    Returns:
        The advice; `print` it for its reason.

    Raises:
        InputError: arguments that cannot work.
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
    limit, read = _limit(make_optimizer)
    product = 2.0 if limit is None else limit
    record_every = max(1, num_steps // RECORDS)
    every = max(1, num_steps // record_every // ESTIMATES)
    few = _of_few(problem, samples, root_seed)
    metric = sharpness(few, every=every, rtol=TOLERANCE, preconditioner=read)
    bound = np.nan if read else _bound(_at_start(problem, metric, seeds, root_seed), product)
    rates = _rates(given, None if limit is None or read else bound)
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
    middle = medians(cost[..., -1])[0]
    choice = int(np.argmin(np.where(works, middle, np.inf))) if works.any() else None
    along = _largest_along(runs.sharpness.values)
    bound_along = _bound(along[choice or 0], product)
    found = Advice(
        learning_rate=None if choice is None else float(rates[choice]),
        reason="",
        limit=product,
        bound_at_start=bound,
        bound_along=bound_along,
        learning_rates=rates,
        diverged=diverged,
        stalled=stalled,
        works=works,
        cost=middle,
        runs=runs,
    )
    if limit is None:
        curvature = _none_known(make_optimizer)
    else:
        curvature = _curvature(found, choice, "preconditioned sharpness" if read else "sharpness")
    return dataclasses.replace(found, reason=_reason(found, choice, batch_size, curvature))


def _of_few(problem, samples, root):
    """The problem with no more samples than the sharpness needs."""
    if problem.data is None or problem.samples <= samples:
        return problem
    chosen = jax.random.permutation(streams(root).probes, problem.samples)[:samples]
    return dataclasses.replace(
        problem, data=jax.tree.map(lambda a: jnp.asarray(a)[chosen], problem.data), metrics={}
    )


def _at_start(problem, metric, seeds, root):
    """The sharpness at each starting point."""

    def one(key, data):
        params, model_state = problem.begin(key)
        given = {"model_state": model_state} if "model_state" in given_to(metric.function) else {}
        return metric.function(params, data, metric.init(params, data), **given)[0]

    keys = streams(root, np.arange(seeds)).init
    return np.asarray(jax.jit(jax.vmap(one, (0, None)))(keys, metric.data))


def _limit(optimizer) -> tuple[float | None, Preconditioner | None]:
    """What learning rate times sharpness must stay below, None if not known; how P is read."""
    try:
        factory, settings = known(optimizer)
        read = preconditioner(optimizer) if factory in ADAPTIVE else None
    except InputError:
        return None, None
    # Decay takes from the limit in proportion to the rate, which is small.
    without = {"weight_decay": 0.0} if "weight_decay" in settings else {}
    return float(stability_threshold(1.0, optimizer, **without)), read


def _bound(sharpnesses, limit):
    """`limit` over the median sharpness; NaN if none is known, infinite if it is not positive."""
    known = sharpnesses[np.isfinite(sharpnesses)]
    if not known.size:
        return float("nan")
    middle = median(known).value
    return limit / middle if middle > 0 else float("inf")


def _largest_along(sharpnesses):
    """The largest sharpness after the start, for each run; NaN where none is known."""
    later = sharpnesses[..., 1:]
    largest = np.max(np.where(np.isfinite(later), later, -np.inf), axis=-1)
    return np.where(np.isfinite(largest), largest, np.nan)


def _rates(given, bound):
    if given is None and bound is None:
        return np.geomspace(1e-5, 10, 2 * DOUBLINGS + 1)
    if given is None:
        # Where nothing bends upwards at the start there is no scale to begin with.
        center = bound if np.isfinite(bound) else 1.0
        return center * 2.0 ** np.arange(-DOUBLINGS, DOUBLINGS + 1)
    return np.unique(given.astype(float))


def _reason(found: Advice, choice: int | None, batch_size: int | None, curvature: str) -> str:
    """What was found, in words."""
    rates, ends = found.learning_rates, found.runs.cost.values[..., -1]
    starts, steps = ends.shape[1], int(found.runs.step.values[-1])
    tried = f"{len(rates)} rates from {rates[0]:.3g} to {rates[-1]:.3g}"
    how = "whole training set" if batch_size is None else f"mini-batches of {batch_size}"
    if choice is None:
        return (
            f"None of {tried} works for all of {starts} starts in {steps} steps ({how}): "
            f"{_failures(found, 0)} at the lowest. Try lower ones, or look at the start. "
            + curvature
        )
    words = [
        f"Learning rate {rates[choice]:.3g}: of {tried}, the lowest median cost after {steps} "
        f"steps ({found.cost[choice]:.3g}; {ends[choice].min():.3g} to {ends[choice].max():.3g} "
        f"over {starts} starts, {how}). No start diverged or stalled there."
    ]
    if choice + 1 < len(rates):
        words.append(
            f"At {rates[choice + 1]:.3g}, the next one up, {_failures(found, choice + 1)}."
        )
    else:
        words.append("It is the highest one tried: higher ones may be better.")
    if choice == 0:
        words.append("It is the lowest one tried: lower ones may be better.")
    words.append(curvature)
    return " ".join(words)


def _failures(found, index):
    """How runs at one rate failed."""
    ends = found.runs.cost.values[index]
    starts = len(ends)
    stalled, diverged = round(found.stalled[index] * starts), round(found.diverged[index] * starts)
    parts = [
        f"{count} of {starts} {what}"
        for count, what in ((diverged, "diverged"), (stalled, "stalled"))
        if count
    ]
    if parts:
        return " and ".join(parts)
    above = int(np.sum(~(ends[:, -1] < ends[:, 0])))
    if above:
        return f"{above} of {starts} ended no lower than it began"
    return f"the median is {found.cost[index]:.3g}"


def _none_known(optimizer):
    name = getattr(getattr(optimizer, "func", optimizer), "__name__", "this optimizer")
    return (
        f"2 / sharpness is a bound for plain gradient descent; for {name}, as it was given, none "
        f"follows from the sharpness alone."
    )


def _curvature(found, choice, sharp):
    """The two bounds, and where the rate stands to them."""
    plain = sharp == "sharpness"
    if plain and np.isnan(found.bound_at_start):
        return "The sharpness at the start could not be found."
    if np.isinf(found.bound_at_start):
        return "At the start no direction bends upwards, so curvature sets no bound there."
    words = f"On a quadratic cost, descent is stable below {found.limit:.3g} / {sharp}"
    words += f": {found.bound_at_start:.3g} at the start" if plain else ""
    if not np.isfinite(found.bound_along):
        return words + "."
    where = "the lowest rate" if choice is None else "this rate"
    words += f"{',' if plain else ':'} {found.bound_along:.3g} "
    words += f"at the sharpest place along the way at {where}"
    if choice is None:
        return words + "."
    ratio = found.learning_rate / found.bound_along
    if ratio > 1.2:
        return words + "; above that, the cost may go up and down before it settles."
    if ratio > 0.8:
        return (
            words + "; that is the edge of stability, where the rate itself limits the sharpness."
        )
    return words + "; well below that, so that descent is smooth."
