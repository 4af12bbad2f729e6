"""Recommendation of a learning rate for any optimizer, from descents at several rates.

    center = rate at which the optimizer's first step reaches the lowest cost along its direction
    rates around it -> short descents -> rates around the best one -> longer descents -> recommended

Each round compares median costs of several starts, and counts the descents that fail.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from gdjax.base.arguments import MAX_COUNT, check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import run_keys
from gdjax.base.limits import Count
from gdjax.base.reprs import fields
from gdjax.base.slabs import RecentlyUsed
from gdjax.base.status import Status
from gdjax.curvature.critical_sharpness import (
    CriticalSharpness,
    CriticalSharpnessStatus,
    critical_sharpness,
    update_direction,
)
from gdjax.curvature.eigenpairs import extreme_eigenpairs
from gdjax.curvature.stability_limits import relative_stability
from gdjax.descent.outcome import Outcome
from gdjax.problems.evaluation import evaluate, frozen
from gdjax.problems.facts import facts_of
from gdjax.problems.keywords import given_to
from gdjax.problems.problem import NOTHING, Problem
from gdjax.sweeps.axes import Axes, axes, zip_axes
from gdjax.sweeps.binding import factory_arguments
from gdjax.sweeps.spec import Sweep
from gdjax.sweeps.sweep import params_of, sweep

NUM_RATES = 7  # number of rates per round
COARSE_RATIO, FINE_RATIO = 4.0, 2.0  # ratios of adjacent rates of the first and the last round
BELOW = 4  # number of rates below the center; longer descents usually need lower rates
SHORT = 16  # ratio of the horizon to the number of steps of the first round
MIN_STEPS = 4  # minimum number of steps of a round
MAX_SHIFTS = 4  # maximum number of sweeps per round, repeated while the best rate is outermost
MAX_SAMPLES = 1000  # maximum number of samples for the critical sharpness
GRADIENT, HESSIAN_PRODUCT = 3, 6  # computational cost of each, in evaluations of the cost


class LearningRateStatus(Status):
    """Status of a recommended learning rate.

    FOUND: a rate is recommended. NO_WORKING_RATE: at each rate of the last round, a start diverged,
    stalled or did not lower its cost. NO_MINIMUM: the cost seems to be unbounded below. It has
    no minimum along the first step from any start, and one of the following holds as well: no
    rate works, the largest tested rate is the best, or the cost at the best rate decreases without
    slowing down. NOT_A_DESCENT_DIRECTION: the optimizer's first step is not a descent direction at
    more than half of the starts. COST_NOT_FINITE, UPDATE_NOT_FINITE: cost or gradient, or the
    optimizer's first update, is not finite at a start.
    """

    FOUND = 0
    NO_WORKING_RATE = 1
    NO_MINIMUM = 2
    NOT_A_DESCENT_DIRECTION = 3
    COST_NOT_FINITE = 4
    UPDATE_NOT_FINITE = 5


@dataclass(frozen=True, eq=False)
class LearningRateResult:
    """Recommended learning rate with the measurements that support it.

    Args:
        learning_rate: recommended rate; NaN unless the status is FOUND.
        low: smallest good rate. A rate is good if it works, its median final cost is at most the
            highest final cost over starts at the rate with the lowest median, and both conditions
            are satisfied by all tested rates between it and that rate.
        high: largest good rate.
        status: a `LearningRateStatus`.
        reason: explanation of the recommendation or the status, as text.
        critical_rate: median over starts of the rate above which the first step raises the cost;
            this rate is infinite for starts from which it never does.
        num_steps: number of steps of the longest descents; 0 if there were none.
        num_evaluations: computational cost of the search, in evaluations of the cost of a batch; a
            gradient counts as 3.
        learning_rates: rates of the last round, ascending; empty if there was none.
        works: whether every start lowered its cost and none diverged or stalled, per rate.
        cost: median final cost over starts, per rate.
        runs: Datasets of the sweeps, in order, repetitions of a round included.
        stability: sharpness at the end of the longest descents at the recommended rate, relative to
            the stability limit of the optimizer, per start: above 1, the descent cannot stay there.
            Empty if the limit is not known, as for adaptive optimizers.
    """

    learning_rate: float
    low: float
    high: float
    status: LearningRateStatus
    reason: str
    critical_rate: float
    num_steps: int
    num_evaluations: int
    learning_rates: Float[np.ndarray, " rates"]
    works: Bool[np.ndarray, " rates"]
    cost: Float[np.ndarray, " rates"]
    runs: tuple[Any, ...]
    stability: Float[np.ndarray, " starts"]

    __repr__, _repr_html_ = fields

    def __str__(self) -> str:
        return self.reason


def find_learning_rate(
    problem: Problem,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    *,
    root_seed: int = 0,
    num_starts: int = 4,
    horizon: int = 256,
    batch_size: int | None = None,
    replacement: bool = False,
) -> LearningRateResult:
    """Recommend a learning rate for any optimizer, from descents at several rates.

    The search is centered at the median over starts of the rate at which the optimizer's first step
    reaches the lowest cost along its direction (`critical_sharpness`). The first round consists of
    descents of 1/16 of the horizon at 7 rates, with a ratio of 4 between adjacent rates. The last
    round consists of descents of the whole horizon, but at least 4 steps, at 7 rates around the
    best rate, with a ratio of 2. A round is repeated at other rates if its best rate is the
    smallest or the largest. A rate works if every start lowered its cost and none diverged or
    stalled. The recommended rate is the middle one of the good rates: those around the rate with
    the lowest median final cost that work, and whose medians do not exceed the highest final cost
    of a start at that rate.

    The best rate of longer descents may differ: for optimizers whose steps do not shrink with the
    gradient (Lion, Muon, sign descent), it is often half as large for twice as many steps. At the
    recommended rate, descents from other starts may diverge or stall.

    Args:
        problem: problem to minimize.
        make_optimizer: factory that accepts a `learning_rate`, as in `sweep`.
        root_seed: seed of the starts and of the orders of mini-batches.
        num_starts: number of starting points, each with a separate order of mini-batches, >= 1.
        horizon: number of steps of the training in which the rate will be used, >= 1.
        batch_size: number of samples per step; None for the whole training set.
        replacement: whether samples are drawn with replacement, as in `sweep`.

    Returns:
        Recommendation with a status. `print` shows its reason, and `gd.plot` draws the failures and
        final costs of its last round.

    Examples:
        With curvatures 1 and 10, the best rate of gradient descent is 2 / (1 + 10):

        >>> from gdjax import problems
        >>> bowl = problems.bowl([1.0, 10.0])
        >>> result = find_learning_rate(bowl, optax.sgd, horizon=100)
        >>> result.status.name, 0.5 < result.learning_rate / (2 / 11) < 2
        ('FOUND', True)
    """
    check_whole("find_learning_rate: num_starts", num_starts, 1, MAX_COUNT)
    check_limits("find_learning_rate: horizon", horizon, Count)
    if "learning_rate" not in factory_arguments(make_optimizer):
        raise InputError(
            f"find_learning_rate: make_optimizer = {make_optimizer!r:.80} takes no learning_rate, "
            f"expected a factory such as optax.adam"
        )
    starts: dict[str, Any] = {"seed": range(num_starts)}
    if batch_size is not None:
        starts = {"start": zip_axes(seed=range(num_starts), data_seed=range(num_starts))}
    spec = Sweep(
        problem,
        axes(learning_rate=[1.0], **starts),
        horizon,
        make_optimizer=make_optimizer,
        batch_size=batch_size,
        replacement=replacement,
        metrics={},
        root_seed=root_seed,
    )
    first = _first_steps(spec, num_starts)
    refusal = _refusal(first)
    rounds = [] if refusal else _search_rates(spec, _center(first))
    return _result(spec, first, rounds, refusal)


def _search_rates(spec, center):
    """Run rounds around a rate, each repeated at other rates while its best rate is outermost."""
    limits = np.finfo(np.float32)
    rounds = []
    for ratio, share in ((COARSE_RATIO, SHORT), (FINE_RATIO, 1)):
        num_steps = max(MIN_STEPS, -(-spec.num_steps // share))
        rates = center * ratio ** (np.arange(NUM_RATES) - float(BELOW))
        for _ in range(MAX_SHIFTS):
            last = _run_round(spec, rates, num_steps)
            rounds.append(last)
            if 0 < last.best < NUM_RATES - 1:
                break
            shifted = rates * ratio ** (NUM_RATES - 2 if last.best else 2 - NUM_RATES)
            if shifted[0] < limits.tiny or shifted[-1] > limits.max:
                break
            rates = shifted
        center = last.rates[last.best]
    return rounds


def _run_round(spec, rates, num_steps):
    """Run descents from all starts at each rate, and keep their records."""
    along = {**spec.axes.dimensions, "learning_rate": {"learning_rate": rates}}
    record_every = max(1, num_steps // 2)
    spec = replace(spec, axes=Axes(along), num_steps=num_steps, record_every=record_every)
    runs = sweep(**spec.settings)
    return _Round(rates, num_steps, runs.transpose("learning_rate", ..., "step"))


@dataclass(frozen=True, eq=False)
class _Round:
    """Records of one round of descents."""

    rates: np.ndarray
    num_steps: int
    runs: Any

    @cached_property
    def costs(self) -> np.ndarray:
        """Recorded costs for each rate and start; infinite after divergence.

        They are in float64, since the median of two large costs may overflow in float32.
        """
        costs = self.runs.cost.values.astype(np.float64)
        return np.where(np.isnan(costs), np.inf, costs)

    @property
    def cost(self) -> np.ndarray:
        """Final cost for each rate and start."""
        return self.costs[..., -1]

    def share(self, outcome: Outcome) -> np.ndarray:
        """Return the fraction of starts with an outcome, per rate."""
        return np.mean(self.runs.outcome.values == outcome, axis=1)

    @property
    def works(self) -> np.ndarray:
        """Whether every start lowered its cost and none diverged or stalled, per rate."""
        failed = self.share(Outcome.DIVERGED) + self.share(Outcome.STALLED)
        return np.all(self.cost < self.costs[..., 0], axis=1) & (failed == 0)

    @property
    def best(self) -> int:
        """Index of the working rate with the lowest median cost.

        If none works, it is the index of the rate with the lowest median cost, of the largest such
        rate if several are equal, and of the smallest rate if all costs are infinite.
        """
        median = np.median(self.cost, axis=1)
        if self.works.any():
            return int(np.argmin(np.where(self.works, median, np.inf)))
        return 0 if np.all(np.isinf(median)) else len(median) - 1 - int(np.argmin(median[::-1]))

    @property
    def good(self) -> tuple[int, int]:
        """Indices of the smallest and largest good rate."""
        is_good = self.works & (np.median(self.cost, axis=1) <= np.max(self.cost[self.best]))
        bad = np.flatnonzero(~is_good)
        below, above = bad[bad < self.best], bad[bad > self.best]
        return int(max(below, default=-1)) + 1, int(min(above, default=len(self.rates))) - 1

    @property
    def recommended(self) -> int:
        """Index of the middle of the good rates; of two in the middle, of that of lower cost."""
        low, high = self.good
        return min((low + high) // 2, (low + high + 1) // 2, key=lambda i: np.median(self.cost[i]))

    @property
    def falls_endlessly(self) -> bool:
        """Whether the cost at the best rate seems to decrease without bound.

        This is the case if from all starts the cost decreased by more than 10 |C(w_0)|, and by at
        least 0.99 times as much in the second half of the records as in the first. A cost that is
        bounded from below by 0 decreases by at most C(w_0).
        """
        costs = self.costs[self.best]
        first, middle, last = costs[:, 0], costs[:, costs.shape[-1] // 2], costs[:, -1]
        falls = (first - last > 10 * np.abs(first)) & (middle - last >= 0.99 * (first - middle))
        return bool(np.all(falls))


class _FirstSteps(NamedTuple):
    """The optimizer's first step at each start.

    `sharpness` is the critical sharpness along the step, or along the gradient if the step is 0;
    `cost_is_finite` refers to the gradient, too.
    """

    sharpness: CriticalSharpness
    cost_is_finite: Bool[Array, "*starts"]
    step_is_finite: Bool[Array, "*starts"]


def _first_steps(spec, num_starts) -> _FirstSteps:
    keys = run_keys(spec.root_seed, np.arange(num_starts)).init
    problem = replace(_subsampled(spec.problem, spec.root_seed), metrics=NOTHING)
    settings = {"optimizer": {"learning_rate": 1.0}}
    facts = facts_of(problem, settings, make_optimizer=spec.make_optimizer)
    steps = _compiled_steps(facts.problem, keys, make_optimizer=facts.make_optimizer)
    return jax.tree.map(np.asarray, steps)


def _steps_of(problem, keys, make_optimizer):
    def of_start(key):
        params, model_state = problem.begin(key)
        step = 0 if "step" in given_to(problem.cost) else None
        at = frozen(problem, model_state=model_state, step=step)
        direction = update_direction(make_optimizer, at, params)
        gradient = update_direction(optax.sgd, at, params)
        cost = evaluate(at, params)
        # The first step of an optimizer with warm-up may be 0.
        norm = optax.tree.norm(direction)
        direction = jax.tree.map(lambda a, b: jnp.where(norm == 0, b, a), direction, gradient)
        return _FirstSteps(
            critical_sharpness(at, params, direction),
            cost_is_finite=jnp.isfinite(cost) & jnp.isfinite(optax.tree.norm(gradient)),
            step_is_finite=jnp.isfinite(norm),
        )

    return jax.vmap(of_start)(keys)


_compiled_steps = RecentlyUsed(_steps_of, static_argnames=("make_optimizer",))


def _subsampled(problem, root_seed):
    """Return the problem with at most `MAX_SAMPLES` randomly chosen samples."""
    if problem.data is None or problem.samples <= MAX_SAMPLES:
        return problem
    chosen = jax.random.permutation(run_keys(root_seed).probes, problem.samples)[:MAX_SAMPLES]
    return replace(problem, data=jax.tree.map(lambda a: jnp.asarray(a)[chosen], problem.data))


def _count_evaluations(spec, first, rounds):
    """Return the computational cost of a search, in evaluations of a batch."""
    per_start = 3 * GRADIENT + HESSIAN_PRODUCT + (1 + GRADIENT) * first.sharpness.num_evaluations
    samples = min(spec.problem.samples, MAX_SAMPLES)
    batches = samples / spec.batch_size if spec.batch_size else 1
    steps = sum(last.num_steps * last.runs.outcome.size for last in rounds)
    return math.ceil(np.sum(per_start) * batches) + GRADIENT * steps


def _refusal(first):
    """Return status and reason if the first steps show that no rate works; None otherwise."""
    starts = len(first.cost_is_finite)
    if not np.all(first.cost_is_finite):
        count = int(np.sum(~first.cost_is_finite))
        return LearningRateStatus.COST_NOT_FINITE, (
            f"Cost or gradient is not finite at {count} of {starts} starts. Check the problem."
        )
    if not np.all(first.step_is_finite):
        count = int(np.sum(~first.step_is_finite))
        return LearningRateStatus.UPDATE_NOT_FINITE, (
            f"The first update of the optimizer is not finite at {count} of {starts} starts, where "
            f"cost and gradient are. Check the optimizer."
        )
    uphill = first.sharpness.status == CriticalSharpnessStatus.NOT_A_DESCENT_DIRECTION
    if np.mean(uphill) <= 0.5:
        return None
    return LearningRateStatus.NOT_A_DESCENT_DIRECTION, (
        f"The first step of the optimizer is not a descent direction at "
        f"{int(np.sum(first.sharpness.slope <= 0))} of {starts} starts. Check the sign of its "
        f"updates: gradient descent adds minus the learning rate times the gradient. A start may "
        f"also be a critical point."
    )


def _center(first):
    """Return the median over starts of the rate of lowest cost along the first step."""
    rates = np.stack([first.sharpness.line_minimizer, first.sharpness.quadratic_minimizer])
    usable = np.where(np.isfinite(rates) & (rates > 0), rates, np.nan)
    rates = np.where(np.isnan(usable[0]), usable[1], usable[0])
    finite = rates[np.isfinite(rates)]
    return float(np.exp(np.median(np.log(finite)))) if finite.size else 1.0


def _result(spec, first, rounds, refusal):
    """Return the result of a search that was refused or has ended after some rounds."""
    rate = first.sharpness.learning_rate
    critical_rate = float(np.median(np.where(np.isnan(rate), np.inf, rate)))
    num_evaluations = _count_evaluations(spec, first, rounds)
    none = np.zeros(0)
    if refusal:
        return LearningRateResult(
            *(np.nan, np.nan, np.nan, *refusal, critical_rate, 0, num_evaluations),
            *(none, none.astype(bool), none, (), none),
        )
    last = rounds[-1]
    status, reason = _conclusion(spec, first, rounds, critical_rate)
    rate, low, high = np.nan, np.nan, np.nan
    if status == LearningRateStatus.FOUND:
        rate, low, high = (float(last.rates[i]) for i in (last.recommended, *last.good))
    stability = np.zeros(0)
    if status == LearningRateStatus.FOUND:
        stability, num_products = _stability(spec, last, rate)
        num_evaluations += num_products * HESSIAN_PRODUCT
        reason = " ".join(filter(None, [reason, _of_stability(stability, rate)]))
    return LearningRateResult(
        learning_rate=rate,
        low=low,
        high=high,
        status=status,
        reason=reason,
        critical_rate=critical_rate,
        num_steps=last.num_steps,
        num_evaluations=num_evaluations,
        learning_rates=last.rates,
        works=last.works,
        cost=np.median(last.cost, axis=1),
        runs=tuple(r.runs for r in rounds),
        stability=stability,
    )


def _stability(spec, last, rate):
    """Return the relative sharpness at the ends of descents at a rate, and the products it took."""
    known = relative_stability(spec.make_optimizer, {"learning_rate": rate}, np.ones(1))
    if np.isnan(known).any() or spec.problem.stateful:
        return np.zeros(0), 0
    key = run_keys(spec.root_seed).probes
    like = jax.eval_shape(partial(spec.problem.init), key)
    ends = params_of(last.runs, like, {"learning_rate": rate})
    pairs = [
        extreme_eigenpairs(spec.problem, jax.tree.map(lambda leaf, k=k: leaf[k], ends), key=key)
        for k in range(last.cost.shape[1])
    ]
    sharpness = np.array([float(pair.values[0]) for pair in pairs])
    return sharpness * known, sum(int(pair.num_hvps) for pair in pairs)


def _of_stability(stability, rate):
    """Return a sentence on the ends that a rate can hold; empty if the limit is not known."""
    if not len(stability):
        return ""
    held, starts = int(np.sum(stability <= 1)), len(stability)
    text = (
        f"The sharpness at the ends of the descents is {np.median(stability):.3g} times the "
        f"stability limit (median): this rate can hold {held} of {starts} ends."
    )
    if held < starts:
        text += f" Rates below {rate / np.max(stability):.3g} can hold all of them."
    return text


def _conclusion(spec, first, rounds, critical_rate):
    """Return the status of a search after its rounds, and the reason."""
    last = rounds[-1]
    rates, cost, best = last.rates, last.cost, last.best
    starts, batches = cost.shape[1], spec.batch_size
    how = "whole training set" if batches is None else f"mini-batches of {batches}"
    tested = np.concatenate([r.rates for r in rounds])
    tried = f"{len(tested)} rates from {tested.min():.3g} to {tested.max():.3g}"
    is_inside = last.works.any() and best < NUM_RATES - 1
    has_no_minimum = np.all(np.isinf(first.sharpness.line_minimizer))
    if has_no_minimum and (not is_inside or last.falls_endlessly):
        return LearningRateStatus.NO_MINIMUM, (
            f"No rate is recommended: from all starts, the cost has no minimum along the first "
            f"step, and none of {tried} is best: {_failures(last, best)} at {rates[best]:.3g}. The "
            f"cost seems to have no minimum."
        )
    if not last.works.any():
        return LearningRateStatus.NO_WORKING_RATE, (
            f"None of {tried} works for all of {starts} starts in {last.num_steps} steps ({how}): "
            f"{_failures(last, 0)} at {rates[0]:.3g}."
        )
    (low, high), chosen = last.good, last.recommended
    sentences = [
        f"Learning rate {rates[chosen]:.3g}: its median cost after {last.num_steps} steps is "
        f"{np.median(cost[chosen]):.3g} ({cost[chosen].min():.3g} to {cost[chosen].max():.3g} over "
        f"{starts} starts, {how}). No start diverged or stalled.",
        f"Of {tried}, {rates[best]:.3g} has the lowest median cost, {np.median(cost[best]):.3g}; "
        f"those from {rates[low]:.3g} to {rates[high]:.3g} are equally good within the spread over "
        f"starts, and the middle one is recommended.",
    ]
    if high + 1 < len(rates):
        above = f"{rates[high + 1]:.3g}, {_failures(last, high + 1)}"
        sentences.append(f"At the next higher rate, {above}.")
    first_step = "The first step lowers the cost at any rate."
    if np.isfinite(critical_rate):
        first_step = f"At rates above {critical_rate:.3g}, the first step raises the cost."
    longer = f"In more than {last.num_steps} steps, the best rate may differ."
    return LearningRateStatus.FOUND, " ".join([*sentences, first_step, longer])


def _failures(last, index):
    """Return a description of the failures at one rate."""
    cost, starts = last.cost[index], last.cost.shape[1]
    counts = {
        str(outcome): round(last.share(outcome)[index] * starts)
        for outcome in (Outcome.DIVERGED, Outcome.STALLED)
    }
    parts = [f"{count} of {starts} {outcome}" for outcome, count in counts.items() if count]
    if parts:
        return " and ".join(parts)
    above = int(np.sum(~(cost < last.costs[index, :, 0])))
    if above:
        return f"{above} of {starts} ended with a cost no lower than at the start"
    return f"the median is {np.median(cost):.3g}"
