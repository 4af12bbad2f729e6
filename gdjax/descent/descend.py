"""One descent from a starting point, with its records.

    w_{t+1} = w_t - learning_rate * grad C(w_t),   t = 0 .. num_steps - 1

Step 0, every `record_every`-th step and the last step are recorded. `cost` is the cost over the
whole training set at a step, before its update.
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

from gdjax.base import progress, slabs
from gdjax.base.interrupts import interruptible
from gdjax.base.keys import Streams
from gdjax.base.machine import check_bytes
from gdjax.base.reprs import as_html, short
from gdjax.descent import block, block_loop
from gdjax.descent.arguments import descent_keys, initial_model_state, validate_settings
from gdjax.descent.batches import Order, check_replacement
from gdjax.descent.optimizer_numbers import with_numbers
from gdjax.descent.outcome import Outcome, classify
from gdjax.descent.program import DescentProgram
from gdjax.problems.checks import check_can_run, check_like, check_params
from gdjax.problems.facts import facts_of
from gdjax.problems.mean_check import mean_checks
from gdjax.problems.metrics import Metric, as_metrics
from gdjax.problems.optimizers import check_optimizer
from gdjax.problems.problem import Problem, as_problem


@dataclass(frozen=True, eq=False)
class Descent:
    """Parameters, records and outcome of a descent, and the state for a continuation.

    Args:
        params: parameters at the end, or at divergence, after `eval_params_fn` has been applied.
        model_state: model state at the end; None for a cost without one.
        recorded_steps: numbers of the recorded steps.
        cost: cost over the whole training set, or over `record_samples` samples, at the recorded
            steps; inf from divergence on.
        batch_cost: mean cost of the steps since the previous record; NaN if there are none, or if
            the recorded cost is also the cost that a step minimizes.
        gradient_norm: norm of the gradient of the recorded cost; NaN before the last record, unless
            the recorded cost is also the cost that a step minimizes.
        metrics: scalar metrics by name; NaN where not computed.
        arrays: `steps` and `values` of each array metric, by name.
        snapshot_step: steps at which parameters were kept.
        snapshots: these parameters, in arrays whose leading axis indexes the snapshots; None if
            there are none.
        outcome: outcome of the descent.
        diverged_at: step at which the descent diverged; None if it did not.
        interrupted: whether Ctrl-C was pressed.
        seconds: time in seconds to "compile" and to "run".
        carry: parameters, optimizer state, model state and metric states, for a continuation.
        num_steps: number of steps taken, including those before a continuation.
        baseline: cost of the best prediction that ignores the input; None if unknown.
        earlier_cost: recorded costs of the descents that this one continues, which its outcome also
            depends on.
    """

    params: PyTree
    model_state: PyTree
    recorded_steps: Int[np.ndarray, " records"]
    cost: Float[np.ndarray, " records"]
    batch_cost: Float[np.ndarray, " records"]
    gradient_norm: Float[np.ndarray, " records"]
    metrics: Mapping[str, Float[np.ndarray, " records"]]
    arrays: Mapping[str, block_loop.RecordedArrays]
    snapshot_step: Int[np.ndarray, " snapshots"]
    snapshots: PyTree
    outcome: Outcome
    diverged_at: int | None
    interrupted: bool
    seconds: Mapping[str, float]
    carry: Any
    num_steps: int
    baseline: float | None
    earlier_cost: Float[np.ndarray, " earlier"]

    def __repr__(self) -> str:
        costs = f"{self.cost[0]:.4g} to {self.cost[-1]:.4g}" if len(self.cost) else "not recorded"
        measured = "".join(
            f", {name} {values[-1]:.4g}" for name, values in self.metrics.items() if len(values)
        )
        at = "" if self.diverged_at is None else f" at step {self.diverged_at:,}"
        how = str(self.outcome) + at + ", interrupted" * self.interrupted
        return (
            f"Descent({self.num_steps:,} steps, {how}; "
            f"cost {costs}{measured}; params: {short(self.params)})"
        )

    def _repr_html_(self) -> str:
        return as_html(self, f"A descent of {self.num_steps:,} steps: {self.outcome.label}.")


def descend(
    problem: Problem | Callable[..., Array],
    optimizer: optax.GradientTransformation,
    start: PyTree | Descent,
    num_steps: int,
    *,
    key: Key[Array, ""] | Streams,
    model_state: PyTree = None,
    batch_size: int | None = None,
    replacement: bool = False,
    record_every: int = 1,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    metrics: Mapping[str, Metric | Callable[..., Any]] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    divergence_threshold: float = 1e12,
    gradient_tolerance: float = 1e-5,
) -> Descent:
    """Minimize a cost from a starting point with any Optax optimizer.

        w_{t+1} = w_t + u(grad C(w_t)),   t = 0 .. num_steps - 1

    The compiled program takes a block of steps at a time. Between blocks a progress bar shows the
    cost (on a terminal or in a notebook, after two seconds). Ctrl-C ends the descent after a last
    record and returns the results so far.

    Args:
        problem: a Problem, or a cost function of the parameters alone, `cost(params) -> scalar`.
        optimizer: an Optax transformation; `optax.sgd(learning_rate)` is gradient descent.
        start: parameters, or a finished `Descent` to continue. A continuation keeps the step count
            and the optimizer state and, with the same `key`, `batch_size` and `replacement`, the
            position in the order of mini-batches.
        num_steps: number of steps to take, >= 0.
        key: random key for the order of mini-batches, a random cost and random metrics, or the
            streams of a run of a sweep (`gdjax.run_keys`). It is unused if the descent is
            deterministic.
        model_state: initial model state, for a cost that has one:
            `params, model_state = problem.begin(key)`.
        batch_size: number of samples per step; None uses the whole training set.
        replacement: whether the samples of a mini-batch are drawn independently, with replacement,
            instead of once per pass in a random order.
        record_every: number of steps between records. A record evaluates the whole training set,
            unless it equals the cost that its step computes.
        record_samples: number of samples of a record, which are fixed during a descent; None uses
            all.
        snapshot_every: number of steps between kept copies of the parameters, a multiple of
            `record_every`; None keeps none.
        metrics: measurements to record besides the cost, by name: functions of a problem and
            parameters, or a `Metric`; None records those of the problem.
        eval_params_fn: function `eval_params_fn(opt_state, params) -> params` that gives the
            parameters at which to record, for optimizers with separate evaluation parameters. None
            uses `optax.contrib.schedule_free_eval_params` if the optimizer's state contains a
            `ScheduleFreeState`, and otherwise the parameters of the run.
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norm at or below which the outcome counts a gradient as zero.

    Returns:
        Parameters, records and outcome.

    Examples:
        On C = |w|^2 a learning rate of 0.25 halves the distance to 0:

        >>> import optax
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> run = descend(bowl, optax.sgd(0.25), jnp.array([1.0, 2.0]), 3, key=jax.random.key(0))
        >>> run.cost.tolist(), run.outcome.name
        ([5.0, 1.25, 0.3125, 0.078125], 'NOT_CONVERGED')
    """
    problem = as_problem(problem)
    check_can_run("descend", start, problem.data, key)
    validate_settings(
        problem,
        num_steps=num_steps,
        batch_size=batch_size,
        record_every=record_every,
        record_samples=record_samples,
        snapshot_every=snapshot_every,
        divergence_threshold=divergence_threshold,
        gradient_tolerance=gradient_tolerance,
    )
    check_replacement(replacement, batch_size is not None)
    check_optimizer(optimizer)
    if metrics is not None:
        problem = dataclasses.replace(problem, metrics=as_metrics("metrics", metrics))
    continued = isinstance(start, Descent)
    if continued:
        params, model_state = start.carry.state.params, start.carry.state.model_state
    else:
        check_params(start, "start: ")
        params, model_state = start, initial_model_state(problem, model_state)
    params, model_state = block.strip_weak_types((params, model_state))
    schedule = block_loop.RecordSchedule(
        first=start.num_steps if continued else 0,
        num_steps=num_steps,
        record_every=record_every,
        snapshot_every=snapshot_every,
        metric_every={name: metric.every for name, metric in problem.metrics.items()},
        first_is_recorded=continued and start.num_steps in start.recorded_steps[-1:],
    )
    make_optimizer, numbers = with_numbers(optimizer, params)
    program = _checked_program(
        problem,
        make_optimizer,
        numbers,
        params,
        model_state,
        eval_params_fn,
        schedule,
        batch_size=batch_size,
        record_samples=record_samples,
        divergence_threshold=divergence_threshold,
    )
    problem, make_optimizer = program.problem, program.make_optimizer
    is_drawn = any("key" in metric.needs for metric in problem.metrics.values())
    order_key, noise, probes = descent_keys(key, random=problem.random, probing=is_drawn)
    settings: dict[str, Any] = {"cost": {}, "optimizer": numbers}
    if is_drawn:
        settings["probes"] = probes
    shared = jax.device_put(program.shared)
    metrics_of_run = tuple(program.metrics.items())
    carry = block.initial_carry(
        make_optimizer, params, model_state, settings, metrics_of_run, shared
    )
    if continued:
        carry = _continued_carry(start, carry)
    carry = _copied_to_device(carry, shared)
    order = None
    if batch_size is not None:
        order = Order((order_key,), problem.samples, batch_size, replacement=replacement)
        order = block_loop.shared_order(order)
    if problem.couples_samples or problem.stateful:
        example, rows = block_loop.example_inputs(schedule, order, program.capacity)
        check_bytes(
            "problem: batches, which a cost that couples samples or has a state evaluates at once,",
            program.block.compile(carry, settings, rows, noise, shared, example).nbytes,
            "the device",
            slabs.memory_limit(jax.local_devices()[0]),
            "pass a smaller batch_size and record_samples",
        )

    def run(carry, schedule):
        return block_loop.run_blocks(
            lambda carry, rows, steps: program.block(carry, settings, rows, noise, shared, steps),
            carry,
            schedule,
            order,
            capacity=program.capacity,
            run_axis=False,
        )

    seconds, started = program.block.seconds, time.perf_counter()

    def compiled() -> float:
        return program.block.seconds - seconds

    results, interrupted = _run_with_progress(run, carry, schedule, compiled)
    compile_seconds = compiled()
    run_seconds = time.perf_counter() - started - compile_seconds
    return _collect(
        results,
        problem,
        program.eval_params_fn,
        gradient_tolerance,
        np.append(start.earlier_cost, start.cost) if continued else np.zeros(0),
        interrupted,
        {"compile": compile_seconds, "run": run_seconds},
    )


def _checked_program(
    problem, make_optimizer, numbers, params, model_state, eval_params_fn, schedule, **samples
):
    """Check the functions of a descent, and return its program."""
    facts = facts_of(
        problem,
        {"optimizer": numbers},
        make_optimizer=make_optimizer,
        params=params,
        model_state=model_state,
        batch_size=samples["batch_size"],
        record_samples=samples["record_samples"],
        eval_params_fn=eval_params_fn,
    )
    platform = jax.local_devices()[0].platform
    largest = facts.largest_microbatch(platform, samples["batch_size"])
    mean_checks(facts.problem, params, {}, model_state, largest)()
    return DescentProgram(
        facts.problem,
        facts.make_optimizer,
        facts.eval_params_fn,
        params,
        facts.metrics,
        schedule,
        platform=platform,
        largest_microbatch=largest,
        **samples,
    )


def _run_with_progress(run, carry, schedule, compiled):
    """Run all blocks; return their results, and whether Ctrl-C was pressed."""
    results = []
    with (
        interruptible() as stop,
        progress.bar(
            f"compiling for {schedule.num_steps:,} steps",
            waited=compiled,
            total=schedule.num_steps,
            unit="step",
        ) as bar,
    ):
        for result in run(carry, schedule):
            results.append(result)
            if len(result.recorded_steps):
                bar.set_postfix(cost=f"{result.records.cost[-1]:.4g}", refresh=False)
            bar.update(result.num_steps - schedule.first - bar.n)
            if stop.is_set() and schedule.last > result.num_steps:
                schedule = schedule._replace(first=result.num_steps, num_steps=0)
                results += run(result.carry, schedule)  # the last record
                break
        return results, stop.is_set()


def _copied_to_device(carry, shared):
    """Return copies, for donation, on the device of the caller's arrays."""
    carry = jax.tree.map(lambda a: jnp.array(a, copy=True), carry)
    chosen = {a.sharding for a in jax.tree.leaves((carry, shared)) if a.committed}
    # A carry that moved to that device in its first step would need a second compilation.
    one = len(chosen) == 1 and len(next(iter(chosen)).device_set) == 1
    return jax.device_put(carry, *chosen) if one else carry


def _continued_carry(start, fresh):
    """Return the carry of a finished descent, with initial states of new metrics."""
    carry, initial = start.carry, fresh.metric_states
    remedy = (
        "; pass an optimizer of the same kind, or start.params to start a new descent from its "
        "parameters"
    )
    check_like("start: its state", carry.state, fresh.state, "that of this optimizer", remedy)
    states = {name: carry.metric_states.get(name, initial[name]) for name in initial}
    return carry._replace(metric_states=states)


def _collect(
    results, problem, eval_params_fn, gradient_tolerance, earlier_cost, interrupted, seconds
):
    """Return the Descent made from the results of its blocks."""
    last = results[-1]
    state, recorded_steps = last.carry.state, np.concatenate([r.recorded_steps for r in results])
    records = jax.tree.map(lambda *a: np.concatenate(a), *(r.records for r in results))
    code = classify(
        np.append(earlier_cost, records.cost)[None].astype(records.cost.dtype),
        records.gradient_norm[-1:],
        np.asarray(state.diverged_at)[None],
        problem.baseline,
        gradient_tolerance,
    )
    snapshots = _joined_arrays(block.SNAPSHOTS, results)
    diverged_at, params = int(state.diverged_at), state.params
    return Descent(
        params=params if eval_params_fn is None else eval_params_fn(state.opt_state, params),
        model_state=state.model_state,
        recorded_steps=recorded_steps,
        cost=records.cost,
        batch_cost=records.batch_cost,
        gradient_norm=records.gradient_norm,
        metrics=records.metrics,
        arrays={
            name: _joined_arrays(name, results)
            for name in problem.metrics
            if name not in records.metrics
        },
        snapshot_step=snapshots.steps,
        snapshots=None if snapshots.values is None else snapshots.values[0],
        outcome=Outcome(int(code[0])),
        diverged_at=diverged_at if diverged_at >= 0 else None,
        interrupted=interrupted,
        seconds=seconds,
        carry=last.carry,
        num_steps=last.num_steps,
        baseline=problem.baseline,
        earlier_cost=earlier_cost,
    )


def _joined_arrays(name, results):
    """Return the snapshots, or the values of an array metric, of all blocks."""
    arrays = [result.arrays[name] for result in results if name in result.arrays]
    if not arrays:
        return block_loop.RecordedArrays(np.zeros(0, int), None)
    return jax.tree.map(lambda *a: np.concatenate(a), *arrays)
