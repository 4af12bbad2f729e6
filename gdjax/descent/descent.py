"""One descent from a starting point to its end, with its records.

    w_{t+1} = w_t - learning_rate * grad C(w_t),   t = 0 .. steps - 1

Recorded are step 0, every `record_every`-th and the last; `cost` is that of the whole training set
*at* the step, before its update. The simplest instance:

>>> import optax
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> run = descend(bowl, optax.sgd(0.25), jnp.array([1.0, 2.0]), 3, key=jax.random.key(0))
>>> run.cost.tolist(), run.outcome
([5.0, 1.25, 0.3125, 0.078125], 'not_converged')
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from gdjax import progress
from gdjax.descent import block, driving, outcome
from gdjax.descent.batches import Order
from gdjax.descent.door import check_counts, check_limits, check_optimizer, first_state, keys_of
from gdjax.descent.records import (
    check_records,
    default_eval_params_fn,
    recorded_rows,
    recorded_samples,
)
from gdjax.errors import InputError
from gdjax.interrupts import interruptible
from gdjax.keys import Streams
from gdjax.problems.checks import check, check_measures
from gdjax.problems.problem import GIVEN_TO_MEASURES, Measure, Problem, given_to
from gdjax.slabs import memory_limit
from gdjax.summaries import short


@dataclass(frozen=True)
class Fixed:
    """An optimiser that is made already, as a factory without settings."""

    optimizer: optax.GradientTransformation

    def __call__(self) -> optax.GradientTransformation:
        return self.optimizer


@dataclass(frozen=True, eq=False)
class Descent:
    """What a descent found, and all that is needed to go on.

    Args:
        params: the parameters at the end, or where the descent was frozen if it diverged; what
            `eval_params_fn` gives for them.
        state: what the cost carries there beside the parameters; None where it carries nothing.
        step: the steps that were recorded.
        cost: over the whole training set at those steps; +inf from divergence on.
        batch_cost: mean of the costs that the steps themselves saw since the record before; NaN
            where those are what is recorded.
        gradient_norm: of the recorded cost's gradient; at the last step only where it is not what
            the step computes anyway.
        measures: the problem's measures that are numbers, by name; NaN where not measured.
        arrays: those that are arrays, by name: at which `steps`, and `values`, one a step.
        snapshot_step: the steps at which parameters were kept.
        snapshots: those parameters, with a leading axis of snapshots, or None.
        outcome: "not_converged", "converged", "stalled" or "diverged" (see
            `gdjax.descent.outcome`).
        diverged_at: the step at which it diverged, or None.
        interrupted: whether Ctrl-C was pressed; it ended the descent early unless it came last.
        seconds: for "compile" and for "run".
        carry: the optimiser's and the measures' memory, for a continuation.
        steps: how many were taken in all, those before a continuation included.
        baseline: the problem's: the cost of the best answer that ignores the input, or None.
    """

    params: PyTree
    state: PyTree
    step: Int[np.ndarray, " records"]
    cost: Float[np.ndarray, " records"]
    batch_cost: Float[np.ndarray, " records"]
    gradient_norm: Float[np.ndarray, " records"]
    measures: Mapping[str, Float[np.ndarray, " records"]]
    arrays: Mapping[str, driving.Kept]
    snapshot_step: Int[np.ndarray, " snapshots"]
    snapshots: PyTree
    outcome: str
    diverged_at: int | None
    interrupted: bool
    seconds: Mapping[str, float]
    carry: Any
    steps: int
    baseline: float | None = None

    def __repr__(self) -> str:
        ends = f"{self.cost[0]:.4g} to {self.cost[-1]:.4g}" if len(self.cost) else "not recorded"
        measured = "".join(
            f", {name} {values[-1]:.4g}" for name, values in self.measures.items() if len(values)
        )
        at = "" if self.diverged_at is None else f" at step {self.diverged_at:,}"
        how = self.outcome + at + ", interrupted" * self.interrupted
        return (
            f"Descent({self.steps:,} steps, {how}; "
            f"cost {ends}{measured}; params: {short(self.params)})"
        )


def descend(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    start: PyTree | Descent,
    steps: int,
    *,
    key: Key[Array, ""] | Streams,
    state: PyTree = None,
    batch_size: int | None = None,
    record_every: int = 1,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    measures: Mapping[str, Measure] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    bound: float = 1e12,
    tolerance: float = 1e-5,
) -> Descent:
    """Descend from `start`, by plain gradient descent or any Optax optimiser.

    The compiled program works on a block of steps at a time. Between blocks a progress bar shows
    the cost (on a terminal or in a notebook, after two seconds), and Ctrl-C ends the descent and
    returns what there is.

    Args:
        problem: what to minimise.
        optimizer: an Optax transformation; `optax.sgd(learning_rate)` is gradient descent.
        start: parameters, or a finished `Descent` to go on with; it keeps its step count, optimiser
            memory and place in the order of mini-batches if key and batch size are the same.
        steps: how many to take, >= 0.
        key: decides the order of mini-batches and what a random cost draws; `gdjax.streams` gives
            the keys that a run of a sweep has. Not used for the whole set of a cost that is not
            random.
        state: what a cost that carries a state begins with: `params, state = problem.begin(key)`.
        batch_size: samples a step; None takes the whole training set, the definition.
        record_every: steps from one record to the next. A record evaluates the whole set, unless
            it is what the step computes anyway.
        record_samples: samples that a record sees, always the same ones; None takes all.
        snapshot_every: steps from one kept copy of the parameters to the next, a multiple of
            `record_every`; None keeps none.
        measures: what to watch besides the cost; the problem's own if None.
        eval_params_fn: `eval_params_fn(opt_state, params) -> params`, the parameters at which to
            record, for an optimizer that keeps two points. None takes
            `optax.contrib.schedule_free_eval_params` where the optimizer's state has a
            `ScheduleFreeState`, and otherwise the parameters of the run.
        bound: a cost above it counts as diverged.
        tolerance: gradient norms up to it count as zero in the outcome.

    Returns:
        The descent: parameters, records, outcome.

    Raises:
        InputError: arguments that cannot work, or a problem that fails `check`. Never for a
            numerical failure: NaN and infinity stop the updates and are recorded with their step.
    """
    check_counts(problem, steps, batch_size, record_every, snapshot_every)
    check_limits(bound, tolerance)
    check_records(problem, record_samples, eval_params_fn, batch_size)
    check_optimizer(optimizer)
    watched = dict(problem.measures if measures is None else measures)
    going_on = isinstance(start, Descent)
    if going_on:
        params, carried = start.carry.state.params, start.carry.state.state
    else:
        params, carried = start, first_state(problem, state)
    check(problem, params, state=carried)
    params, carried = block.strong(params), block.strong(carried)
    opt_state = jax.eval_shape(optimizer.init, params)
    shapes = check_measures(watched, params, state=carried, memory=opt_state)
    if eval_params_fn is None:
        eval_params_fn = default_eval_params_fn(opt_state, params)
    probing = any("key" in given_to(m.function, GIVEN_TO_MEASURES) for m in watched.values())
    keys = keys_of(key, random=problem.random, batched=batch_size is not None, probing=probing)
    settings: dict[str, Any] = {"cost": {}, "optimizer": {}}
    if probing:
        settings["probes"] = keys.probes
    factory = Fixed(optimizer)
    memories = {name: m.init(params, m.data) for name, m in watched.items() if m.init}
    fresh = block.start(factory, params, carried, settings, memories)
    carry = _carried(start, fresh) if going_on else fresh
    plan = driving.Plan(
        first=start.steps if going_on else 0,
        steps=steps,
        record_every=record_every,
        snapshot_every=snapshot_every,
        cadence={name: measure.every for name, measure in watched.items()},
        recorded=going_on and start.steps in start.step[-1:],
    )
    arrays = block.arrays_of(watched, shapes, params)
    slots = driving.slots_for(params, arrays, runs=1, plan=plan)
    room = driving.room_for(plan, 1)
    rule = block.Rule(
        problem=block.bare(problem.cost, problem.evaluation, problem.couples_samples),
        optimizer=factory,
        measures=block.watch(watched),
        batched=batch_size is not None,
        bound=float(bound),
        slots=tuple(slots.items()),
        eval_params_fn=eval_params_fn,
        part=record_samples is not None,
    )
    program = block.program(rule, None, False, False)
    shared = jax.device_put(
        block.Shared(
            problem.data,
            recorded_samples(problem, record_samples, free=rule.free, batch_size=batch_size),
            {name: measure.data for name, measure in watched.items()},
            recorded_rows(problem, record_samples, batch_size),
        )
    )
    carry = _taken_over(carry, shared)
    noise, order = keys.noise, None
    if batch_size is not None:
        order = driving.order_rows(Order((keys.order,), problem.samples, batch_size))
    if problem.couples_samples or problem.stateful:
        agenda, rows = driving.example(plan, order, slots, room)
        _check_memory(program.bytes(carry, settings, rows, noise, shared, agenda).total)
    pieces, compiled, began = [], program.seconds, time.perf_counter()
    with (
        interruptible() as stop,
        progress.bar(total=steps, unit="step") as bar,
    ):
        for piece in driving.drive(
            lambda carry, rows, agenda: program(carry, settings, rows, noise, shared, agenda),
            carry,
            plan,
            order,
            slots=slots,
            room=room,
            axis=0,
        ):
            pieces.append(piece)
            carry = piece.carry
            if len(piece.steps):
                bar.set_postfix(cost=f"{piece.records.cost[-1]:.4g}", refresh=False)
            bar.update(piece.step - plan.first - bar.n)
            if stop.is_set():
                break
    compiled = program.seconds - compiled
    seconds = {"compile": compiled, "run": time.perf_counter() - began - compiled}
    earlier = start.cost if going_on else np.zeros(0)
    found = _collect(problem, pieces, carry, stop.is_set(), seconds, tolerance, watched, earlier)
    if eval_params_fn is None:
        return found
    params = eval_params_fn(carry.state.memory, carry.state.params)
    return dataclasses.replace(found, params=params)


def _check_memory(needed):
    """Check that a cost that is never split into chunks fits in memory."""
    limit = memory_limit(jax.local_devices()[0])
    if needed > limit:
        raise InputError(
            f"problem: its cost takes all samples of a batch at once, since it couples them or has "
            f"a state; that needs {needed / 2**20:,.0f} MiB, and there are "
            f"{limit / 2**20:,.0f}; use mini-batches, batch_size=..., or smaller ones, and fewer "
            f"samples per record, record_samples=..."
        )


def _taken_over(carry, shared):
    """Copies, since donated buffers die, on the device that the caller chose for some array."""
    carry = jax.tree.map(lambda a: jnp.array(a, copy=True), carry)
    chosen = {a.sharding for a in jax.tree.leaves((carry, shared)) if a.committed}
    # A carry that moved there with its first step would be compiled for twice.
    one = len(chosen) == 1 and len(next(iter(chosen)).device_set) == 1
    return jax.device_put(carry, *chosen) if one else carry


def _carried(start, fresh):
    """The carry of a finished descent, measures that are new to it begun afresh."""
    kept, begun = start.carry, fresh.measures
    same = jax.tree.structure(kept.state) == jax.tree.structure(fresh.state)
    if not same or [a.shape for a in jax.tree.leaves(kept.state)] != [
        a.shape for a in jax.tree.leaves(fresh.state)
    ]:
        raise InputError(
            "start: its optimizer's state does not fit this optimizer; go on with the same kind, "
            "or give start.params to begin afresh from there"
        )
    return kept._replace(measures={name: kept.measures.get(name, begun[name]) for name in begun})


def _collect(problem, pieces, carry, interrupted, seconds, tolerance, watched, earlier):
    """One Descent from the pieces of its blocks."""

    def joined(values):
        return np.concatenate(values)

    state = carry.state
    gradient_norm = joined([p.records.gradient_norm for p in pieces])
    cost = joined([p.records.cost for p in pieces])
    # An interrupted descent may end between two records: its gradient is not known.
    known = pieces[-1].steps[-1:].tolist() == [pieces[-1].step]
    last = [] if known else [np.nan]
    code = outcome.classify(
        np.concatenate([earlier, cost, last])[None].astype(cost.dtype),
        np.append(gradient_norm, last)[-1:],
        np.asarray(state.diverged_at)[None],
        problem.baseline,
        tolerance,
    )
    kept = {name: _kept(name, pieces) for name in (block.SNAPSHOTS, *watched)}
    shots = kept.pop(block.SNAPSHOTS)
    diverged_at = int(state.diverged_at)
    return Descent(
        params=state.params,
        state=state.state,
        step=joined([p.steps for p in pieces]),
        cost=cost,
        batch_cost=joined([p.records.batch_cost for p in pieces]),
        gradient_norm=gradient_norm,
        measures={
            name: joined([p.records.measures[name] for p in pieces])
            for name, measure in watched.items()
            if not measure.is_array
        },
        arrays={name: one for name, one in kept.items() if watched[name].is_array},
        snapshot_step=shots.steps,
        snapshots=shots.values,
        outcome=outcome.labels(code)[0],
        diverged_at=diverged_at if diverged_at >= 0 else None,
        interrupted=interrupted,
        seconds=seconds,
        carry=carry,
        steps=pieces[-1].step,
        baseline=problem.baseline,
    )


def _kept(name, pieces):
    """What all pieces kept under a name."""
    found = [piece.kept[name] for piece in pieces if name in piece.kept]
    if not found:
        return driving.Kept(np.zeros(0, int), None)
    return jax.tree.map(lambda *a: np.concatenate(a), *found)
