"""A compiled block: several steps of one run with their records.

    block:  evaluate, record if due, update;   again and again

Which steps a block takes, and which of them are recorded, are numbers that the program reads, not
shapes. So one compilation serves the whole descent and every continuation, and results do not
depend on where blocks end.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from gdjax.descent.batches import recorded_rows, recorded_samples
from gdjax.descent.step import State, cost_type, evaluate, finite, init, move, objective
from gdjax.problems.chunks import in_chunks, over_batches
from gdjax.problems.evaluation import cost_chunk, evaluation_chunk, evaluation_of
from gdjax.problems.keywords import GIVEN_TO_METRICS, accepted, given_to
from gdjax.problems.problem import Metric, Problem
from gdjax.slabs import Program, Slab, over_runs

SNAPSHOTS = "snapshots"
"""Name of the parameters that are kept along a descent."""


class Carry(NamedTuple):
    """One run between two blocks.

    Args:
        state: parameters, optimizer state, model state.
        metric_states: by name, of the metrics that have one.
        batch_cost_sum: sum of the costs of steps since the last record.
        batch_count: number of these steps.
        stopped: whether it takes no further steps, since it converged.
    """

    state: State
    metric_states: Mapping[str, PyTree]
    batch_cost_sum: Float[Array, ""]
    batch_count: Int[Array, ""]
    stopped: Bool[Array, ""]


class Records(NamedTuple):
    """Numbers of one run at its records. NaN means not recorded; a diverged run's costs are inf."""

    cost: Float[Array, "*records"]
    batch_cost: Float[Array, "*records"]
    gradient_norm: Float[Array, "*records"]
    metrics: Mapping[str, Float[Array, "*records"]]


class BlockSchedule(NamedTuple):
    """The steps of one block, and the records due among them.

    Rows of the arrays are records. Rows after the last record have step -1, which never comes.

    Args:
        first: number of the first step.
        count: number of steps.
        last: the last step of the descent, which is evaluated but does not move.
        step: step of each record.
        buffer_index: for snapshots and metrics that are arrays, by name, where in its buffer each
            record is kept. Values that are not recorded go to a last row that nobody reads.
        is_measured: for each metric, the records at which it is computed.
    """

    first: Int[np.ndarray, ""]
    count: Int[np.ndarray, ""]
    last: Int[np.ndarray, ""]
    step: Int[np.ndarray, " records"]
    buffer_index: Mapping[str, Int[np.ndarray, " records"]]
    is_measured: Mapping[str, Bool[np.ndarray, " records"]]


class CompiledMetric(NamedTuple):
    """A metric without its data.

    Args:
        name: of the metric.
        function: see `Metric`.
        has_state: whether it has a state of its own that it updates.
        is_array: whether it is kept in a buffer of its own, not among the numbers of a record.
        dtype: type of an array; None for that of the cost.
    """

    name: str
    function: Callable
    has_state: bool
    is_array: bool = False
    dtype: np.dtype | None = None


def array_shapes(
    metrics: Mapping[str, Metric], shapes: Mapping[str, tuple[int, ...]], params: PyTree
) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shape and type of each metric that is an array.

    Args:
        metrics: by name.
        shapes: of all of them, from `check_metrics`.
        params: parameters, whose cost has the type of arrays without a `dtype`.
    """
    return {
        name: jax.ShapeDtypeStruct(shapes[name], metric.dtype or cost_type(params))
        for name, metric in metrics.items()
        if metric.is_array
    }


class BlockConfig(NamedTuple):
    """What a block is compiled for: everything about a descent that is not an array.

    Args:
        problem: cost and evaluation, without data (see `without_data`).
        make_optimizer: `make_optimizer(**settings) -> GradientTransformation`.
        metrics: what is recorded besides the cost.
        batched: whether a step sees a mini-batch instead of the whole set.
        divergence_threshold: cost above which a run counts as diverged.
        buffers: rows of each buffer of a block, by name: `SNAPSHOTS`, and metrics that are arrays.
        stop_tolerance: a run whose gradient norm is at most this at a record takes no further
            steps, if every record has the gradient; None never stops a run.
        eval_params_fn: `eval_params_fn(opt_state, params) -> params`, the parameters at which
            records evaluate; None for those of the run.
        records_part: whether records see other samples than a step on the whole set.
    """

    problem: Problem
    make_optimizer: Callable[..., optax.GradientTransformation]
    metrics: tuple[CompiledMetric, ...]
    batched: bool
    divergence_threshold: float
    buffers: tuple[tuple[str, int], ...] = ()
    stop_tolerance: float | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    records_part: bool = False

    @property
    def record_equals_step(self) -> bool:
        """Whether a record is what its step computes anyway."""
        deterministic = self.problem.evaluation is None and not self.problem.random
        whole = not self.batched and not self.records_part
        return whole and deterministic and self.eval_params_fn is None


def block_config(
    problem: Problem,
    make_optimizer: Callable[..., optax.GradientTransformation],
    metrics: Mapping[str, Metric],
    *,
    batch_size: int | None,
    record_samples: int | None,
    divergence_threshold: float,
    stop_tolerance: float | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> BlockConfig:
    """Return what the blocks of a descent are compiled for, its buffers still empty."""
    return BlockConfig(
        problem=without_data(problem.cost, problem.evaluation, problem.couples_samples),
        make_optimizer=make_optimizer,
        metrics=tuple(
            CompiledMetric(name, m.function, m.init is not None, m.is_array, m.dtype)
            for name, m in metrics.items()
        ),
        batched=batch_size is not None,
        divergence_threshold=float(divergence_threshold),
        stop_tolerance=stop_tolerance,
        eval_params_fn=eval_params_fn,
        records_part=record_samples is not None,
    )


class Shared(NamedTuple):
    """Arrays that all runs see.

    Args:
        data: training set.
        recorded: samples of the records; None where a record needs none of its own.
        metrics: each metric's own data, by name.
        rows: sample numbers of the batches of a record, where it is the mean over batches.
    """

    data: PyTree
    recorded: PyTree
    metrics: Mapping[str, PyTree]
    rows: PyTree = None


def shared_arrays(
    problem: Problem,
    metrics: Mapping[str, Metric],
    config: BlockConfig,
    *,
    batch_size: int | None,
    record_samples: int | None,
) -> Shared:
    """Return the arrays that all runs of a descent see."""
    rows = recorded_rows(problem, record_samples, batch_size)
    recorded = None
    if rows is None and not config.record_equals_step:
        recorded = recorded_samples(problem, record_samples)
    return Shared(problem.data, recorded, {name: m.data for name, m in metrics.items()}, rows)


@lru_cache(maxsize=64)
def without_data(cost: Callable, evaluation: Callable | None, couples_samples: bool) -> Problem:
    """Return the cached static part of a problem, so that equal problems share a compilation."""
    return Problem(
        init=without_data, cost=cost, evaluation=evaluation, couples_samples=couples_samples
    )


def strip_weak_types(tree: PyTree) -> PyTree:
    """Return arrays without weak types, for which a program would be compiled a second time."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)


def initial_carry(
    make_optimizer: Callable,
    params: PyTree,
    model_state: PyTree,
    settings: Mapping[str, Any],
    metric_inits: Mapping[str, Callable] = MappingProxyType({}),
    metric_data: Mapping[str, PyTree] = MappingProxyType({}),
) -> Carry:
    """Return the carry of a run that has not been evaluated yet.

    Args:
        make_optimizer: factory of the optimizer.
        params: starting point.
        model_state: initial model state.
        settings: values of the factory's keywords, under "optimizer".
        metric_inits: `init` of each metric that has a state.
        metric_data: data of the metrics.
    """
    params, model_state = strip_weak_types((params, model_state))
    carry = Carry(
        state=init(make_optimizer(**settings["optimizer"]), params, model_state),
        metric_states={name: f(params, metric_data[name]) for name, f in metric_inits.items()},
        batch_cost_sum=jnp.zeros((), cost_type(params)),
        batch_count=jnp.zeros((), jnp.int32),
        stopped=jnp.zeros((), bool),
    )
    return strip_weak_types(carry)


def metric_inits(metrics: Mapping[str, Metric]) -> dict[str, Callable]:
    """Return the `init` of each metric that has a state, by name."""
    return {name: metric.init for name, metric in metrics.items() if metric.init}


def _block(
    config: BlockConfig,
    carry: Carry,
    settings: Mapping[str, Any],
    order: PyTree,
    noise: PyTree,
    shared: Shared,
    schedule: BlockSchedule,
) -> tuple[Carry, Records, dict[str, PyTree]]:
    """Take all steps of a block, for one run."""
    problem = config.problem
    cost = partial(problem.cost, **settings["cost"]) if settings["cost"] else problem.cost
    optimizer = config.make_optimizer(**settings["optimizer"])
    dtype = carry.batch_cost_sum.dtype

    def advance(done, loop):
        carry, index, records, buffers = loop
        at = schedule.first + done
        minimized = objective(
            cost,
            _batch(config, order, shared, done),
            key=None if noise is None else jax.random.fold_in(noise, at),
            step=at,
            model_state=carry.state.model_state,
            chunk=None if config.batched else cost_chunk(problem),
        )
        state, info, model_state = evaluate(
            minimized, carry.state, at=at, divergence_threshold=config.divergence_threshold
        )
        carry = carry._replace(state=state)
        due = at == schedule.step[index]

        def record(loop):
            _, carry, records, buffers = loop
            carry, row, arrays = _record(config, settings, shared, schedule, index, at, carry, info)
            if SNAPSHOTS in buffers:
                arrays[SNAPSHOTS] = _eval_params(config, state)
            # Values that are not recorded go to a dummy last row.
            buffers = {
                name: jax.tree.map(
                    lambda a, new, row=schedule.buffer_index[name][index]: a.at[row].set(new),
                    buffer,
                    arrays[name],
                )
                for name, buffer in buffers.items()
            }
            row = jnp.stack(jax.tree.leaves(row))
            records = jax.lax.dynamic_update_index_in_dim(records, row, index, 0)
            return jnp.zeros_like(due), carry, records, buffers

        # A loop of one trip or none: a branch would copy what it returns, at every step.
        _, carry, records, buffers = jax.lax.while_loop(
            lambda loop: loop[0], record, (due, carry, records, buffers)
        )
        moves = (carry.state.diverged_at < 0) & ~carry.stopped & (at < schedule.last)
        state = move(optimizer, minimized, carry.state, info, model_state, moves=moves)
        carry = carry._replace(state=state)
        if not config.record_equals_step:
            carry = carry._replace(
                batch_cost_sum=carry.batch_cost_sum + jnp.where(moves, info.cost, 0),
                batch_count=carry.batch_count + moves,
            )
        return carry, index + due, records, buffers

    nan = jnp.full((), jnp.nan, dtype)
    numbers = {m.name: nan for m in config.metrics if not m.is_array}
    structure = jax.tree.structure(Records(nan, nan, nan, numbers))
    # Of the carry, so that `vmap` sees at once what has an axis of runs, and need not trace again.
    nothing = jnp.nan * carry.batch_cost_sum
    records = jnp.broadcast_to(nothing, (schedule.step.shape[0], structure.num_leaves))
    buffers = _empty_buffers(config, carry, settings, shared)
    loop = (carry, jnp.zeros((), jnp.int32), records, buffers)
    carry, _, records, buffers = jax.lax.fori_loop(0, schedule.count, advance, loop)
    return carry, jax.tree.unflatten(structure, list(records.T)), buffers


def _empty_buffers(config, carry, settings, shared):
    like = {SNAPSHOTS: carry.state.params}
    for metric in config.metrics:
        if metric.is_array:
            compute = partial(_compute, metric, settings, shared, 0, carry.state.params)
            like[metric.name] = jax.eval_shape(compute, carry)[0]
    return {
        name: jax.tree.map(lambda a, n=rows: jnp.zeros((n + 1, *a.shape), a.dtype), like[name])
        for name, rows in config.buffers
    }


def _batch(config, order, shared, done):
    if not config.batched:
        return shared.data
    samples = order[done]
    return jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), shared.data)


def _eval_params(config, state):
    if config.eval_params_fn is None:
        return state.params
    return config.eval_params_fn(state.opt_state, state.params)


def _record(config, settings, shared, schedule, index, at, carry, info):
    """Return the record of one step, between its evaluation and its update, and its arrays."""
    state, dtype = carry.state, carry.batch_cost_sum.dtype
    point = _eval_params(config, state)
    if config.record_equals_step:
        value, norm = info.cost, _norm(info.gradient, dtype)
    else:
        evaluated = evaluation_of(
            config.problem, model_state=state.model_state, step=at, **settings["cost"]
        )
        if shared.rows is None:
            mean = partial(in_chunks, chunk=evaluation_chunk(config.problem))
            samples = shared.recorded
        else:
            mean, samples = partial(over_batches, rows=shared.rows), shared.data

        def with_gradient(point):
            value, gradient = mean(jax.value_and_grad(evaluated))(point, samples)
            return value.astype(dtype), _norm(gradient, dtype)

        def alone(point):
            value = mean(evaluated)(point, samples)
            return value.astype(dtype), jnp.full((), jnp.nan, dtype)

        value, norm = jax.lax.cond(at == schedule.last, with_gradient, alone, point)
        # The whole set may show a divergence that no single mini-batch has shown.
        late = (state.diverged_at < 0) & ~finite(value, state.params, config.divergence_threshold)
        state = state._replace(diverged_at=jnp.where(late, at, state.diverged_at))
    diverged = state.diverged_at >= 0
    batch_cost = jnp.full((), jnp.nan, dtype)
    if not config.record_equals_step:
        # 0 / 0 = NaN: no step since the last record
        batch_cost = carry.batch_cost_sum / carry.batch_count
    values, metric_states = {}, dict(carry.metric_states)
    for metric in config.metrics:
        name = metric.name
        compute = partial(
            _compute, metric, settings, shared, at, point, carry._replace(state=state)
        )
        nothing = jnp.full((), jnp.nan, dtype)
        if metric.is_array:
            like = jax.eval_shape(compute)[0]
            nothing = jnp.zeros(like.shape, like.dtype)
        values[name], *after = jax.lax.cond(
            schedule.is_measured[name][index],
            lambda *_, compute=compute: compute(),
            lambda *before, nothing=nothing: (nothing, *before),
            *([metric_states[name]] if metric.has_state else []),
        )
        if metric.has_state:
            metric_states[name] = after[0]
    row = Records(
        cost=jnp.where(diverged, jnp.inf, value),
        batch_cost=jnp.where(diverged, jnp.inf, batch_cost),
        gradient_norm=jnp.where(diverged, jnp.inf, norm),
        metrics={m.name: values[m.name] for m in config.metrics if not m.is_array},
    )
    stopped = carry.stopped
    if config.stop_tolerance is not None and config.record_equals_step:
        stopped = stopped | (norm <= config.stop_tolerance)
    arrays = {m.name: values[m.name] for m in config.metrics if m.is_array}
    carry = carry._replace(state=state, metric_states=metric_states, stopped=stopped)
    if not config.record_equals_step:
        zero = jnp.zeros_like(carry.batch_cost_sum)
        carry = carry._replace(batch_cost_sum=zero, batch_count=jnp.zeros_like(carry.batch_count))
    return carry, row, arrays


def _compute(metric, settings, shared, at, point, carry):
    """Return the value of a metric, and its next state if it has one."""
    state = carry.state
    keywords = accepted(metric.function, settings["cost"])
    needed = given_to(metric.function, GIVEN_TO_METRICS)
    supplied = {
        "step": jnp.asarray(at, jnp.int32),
        "model_state": state.model_state,
        "opt_state": state.opt_state,
    }
    if "key" in needed:
        supplied["key"] = jax.random.fold_in(settings["probes"], at)
    keywords |= {name: supplied[name] for name in needed}
    before = (carry.metric_states[metric.name],) if metric.has_state else ()
    found = metric.function(point, shared.metrics[metric.name], *before, **keywords)
    value, *after = found if metric.has_state else (found,)
    return jnp.asarray(value).astype(metric.dtype or carry.batch_cost_sum.dtype), *after


def _norm(gradient, dtype):
    return optax.tree.norm(jax.tree.map(lambda a: a.astype(dtype), gradient))


@lru_cache(maxsize=16)
def block_program(
    config: BlockConfig, slab: Slab | None, own_order: bool, own_noise: bool
) -> Program:
    """Return the compiled block: for one run, or with a slab for many.

    Args:
        config: what is compiled.
        slab: width and devices; None for a single run on the default device.
        own_order: whether each run has its own order of mini-batches.
        own_noise: whether each run has its own stream of random numbers.

    Returns:
        A program of carries, settings (of `cost` and `optimizer`, and under `probes` a key where a
        metric declares one), sample numbers, keys of a random cost, arrays that all runs see, and a
        `BlockSchedule`. It returns carries, records, and buffers by name.
    """
    block: Callable = partial(_block, config)
    if slab is not None:
        own = (0 if own_order else None, 0 if own_noise else None)
        block = over_runs(block, slab, (0, 0, *own, None, None))
    return Program(block, donate=(0,))
