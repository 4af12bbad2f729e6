"""A compiled block: several steps of one run, with their records.

    block:  evaluate, record if due, update;   repeated for each step

Step numbers and recorded steps are inputs of the program and do not determine its shapes. One
compilation is therefore sufficient for a descent and its continuations, and results do not depend
on where blocks end.
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
from gdjax.problems.evaluation import evaluation_microbatch, evaluation_of
from gdjax.problems.keywords import GIVEN_TO_METRICS, accepted, given_to
from gdjax.problems.microbatches import cost_microbatch, in_microbatches, over_batches
from gdjax.problems.problem import Metric, Problem
from gdjax.slabs import Program

SNAPSHOTS = "snapshots"
"""Name of the buffer of parameters that are kept along a descent."""


class Carry(NamedTuple):
    """State of one run between two blocks.

    Args:
        state: parameters, optimizer state, model state and step of divergence.
        metric_states: states of the metrics that have one, by name.
        batch_cost_sum: sum of the costs of the steps since the last record.
        batch_count: number of these steps.
        stopped: whether the run takes no further steps because it has converged.
    """

    state: State
    metric_states: Mapping[str, PyTree]
    batch_cost_sum: Float[Array, ""]
    batch_count: Int[Array, ""]
    stopped: Bool[Array, ""]


class Records(NamedTuple):
    """Values of a run at its records; NaN where not recorded.

    Costs and the gradient norm are inf from divergence on.
    """

    cost: Float[Array, "*records"]
    batch_cost: Float[Array, "*records"]
    gradient_norm: Float[Array, "*records"]
    metrics: Mapping[str, Float[Array, "*records"]]


class BlockSchedule(NamedTuple):
    """Steps of one block, and the records due in it.

    Each row of the arrays is a record. Rows after the last record have step -1, which matches no
    step.

    Args:
        first: number of the first step.
        count: number of steps.
        last: last step of the descent, which evaluates the cost without an update.
        step: step of each record.
        buffer_index: row in its buffer at which each record is kept, for snapshots and array
            metrics, by name. Values that are not recorded are written to a dummy last row.
        is_measured: whether each metric is computed at each record, by name.
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
        name: name of the metric.
        function: function that computes the metric; see `Metric`.
        has_state: whether the metric has a state that it updates.
        is_array: whether the metric is an array, which is kept in a separate buffer.
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
        metrics: metrics by name.
        shapes: shapes of all metrics by name, from `check_metrics`.
        params: parameters; arrays without a `dtype` have the type of the cost.
    """
    return {
        name: jax.ShapeDtypeStruct(shapes[name], metric.dtype or cost_type(params))
        for name, metric in metrics.items()
        if metric.is_array
    }


class BlockConfig(NamedTuple):
    """Static configuration of a block: the settings of a descent except arrays.

    Args:
        problem: cost and evaluation, without data (see `without_data`).
        make_optimizer: factory `make_optimizer(**settings)` of the optimizer.
        metrics: metrics to record besides the cost.
        batched: whether a step uses a mini-batch instead of the whole training set.
        divergence_threshold: cost above which a run counts as diverged.
        buffers: name and number of rows of each buffer: `SNAPSHOTS`, and array metrics.
        stop_tolerance: gradient norm at or below which a run takes no further steps, if every
            record has the gradient; None never stops a run.
        eval_params_fn: function `eval_params_fn(opt_state, params) -> params` that gives the
            parameters at which to record; None uses those of the run.
        records_part: whether records use a subset of the samples.
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
        """Whether the recorded cost is the one that its step computes for the update."""
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
    """Return the static configuration of the blocks of a descent, without buffers."""
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
    """Arrays that all runs share.

    Args:
        data: training set.
        recorded: samples of the records; None if a record needs no separate samples.
        metrics: data of each metric, by name.
        rows: sample indices of the batches of a record, [batches, batch], if a record is a mean
            over batches; None otherwise.
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
    """Return the arrays that all runs of a descent share."""
    rows = recorded_rows(problem, record_samples, batch_size)
    recorded = None
    if rows is None and not config.record_equals_step:
        recorded = recorded_samples(problem, record_samples)
    return Shared(problem.data, recorded, {name: m.data for name, m in metrics.items()}, rows)


@lru_cache(maxsize=64)
def without_data(cost: Callable, evaluation: Callable | None, couples_samples: bool) -> Problem:
    """Return the static part of a problem, cached so that compilations are shared."""
    return Problem(
        init=without_data, cost=cost, evaluation=evaluation, couples_samples=couples_samples
    )


def strip_weak_types(tree: PyTree) -> PyTree:
    """Return arrays without weak types, which would cause a second compilation."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)


def initial_carry(
    make_optimizer: Callable,
    params: PyTree,
    model_state: PyTree,
    settings: Mapping[str, Any],
    metric_inits: Mapping[str, Callable] = MappingProxyType({}),
    metric_data: Mapping[str, PyTree] = MappingProxyType({}),
) -> Carry:
    """Return the carry of a run before its first step.

    Args:
        make_optimizer: factory of the optimizer.
        params: starting point.
        model_state: initial model state.
        settings: keyword arguments of the factory, under "optimizer".
        metric_inits: `init` function of each metric that has a state, by name.
        metric_data: data of the metrics, by name.
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
            microbatch=None if config.batched else cost_microbatch(problem),
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
            # Values that are not recorded are written to a dummy last row.
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

        # This loop of at most one iteration replaces a branch, which would copy its results at
        # every step.
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
    # The NaN is computed from the carry, so that under `vmap` it has the axis of runs from the
    # start and the loop is traced only once.
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
    """Return the carry after a record, the record of one step, and its arrays.

    A record is computed between the evaluation and the update of its step.
    """
    state, dtype = carry.state, carry.batch_cost_sum.dtype
    point = _eval_params(config, state)
    if config.record_equals_step:
        value, norm = info.cost, _norm(info.gradient, dtype)
    else:
        evaluated = evaluation_of(
            config.problem, model_state=state.model_state, step=at, **settings["cost"]
        )
        if shared.rows is None:
            mean = partial(in_microbatches, microbatch=evaluation_microbatch(config.problem))
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
        # The cost over the whole training set may diverge before that of any mini-batch.
        late = (state.diverged_at < 0) & ~finite(value, state.params, config.divergence_threshold)
        state = state._replace(diverged_at=jnp.where(late, at, state.diverged_at))
    diverged = state.diverged_at >= 0
    batch_cost = jnp.full((), jnp.nan, dtype)
    if not config.record_equals_step:
        # 0 / 0 = NaN if there was no step since the last record
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
    result = metric.function(point, shared.metrics[metric.name], *before, **keywords)
    value, *after = result if metric.has_state else (result,)
    return jnp.asarray(value).astype(metric.dtype or carry.batch_cost_sum.dtype), *after


def _norm(gradient, dtype):
    return optax.tree.norm(jax.tree.map(lambda a: a.astype(dtype), gradient))


@lru_cache(maxsize=16)
def block_program(config: BlockConfig, run_axis: bool, own_order: bool, own_noise: bool) -> Program:
    """Return the compiled block, for one run or for a slab of runs.

    Args:
        config: static configuration of the block.
        run_axis: whether the block is mapped over a slab of runs.
        own_order: whether each run has a separate order of mini-batches.
        own_noise: whether each run has a separate stream of random numbers.

    Returns:
        A program whose arguments are carries, settings (under `cost` and `optimizer`, and a key
        under `probes` if a metric declares one), sample indices, keys of a random cost, arrays that
        all runs share, and a `BlockSchedule`. It returns carries, records, and buffers by name.
    """
    block: Callable = partial(_block, config)
    if run_axis:
        run_axes = (0 if own_order else None, 0 if own_noise else None)
        block = jax.vmap(block, (0, 0, *run_axes, None, None))
    return Program(block, donate=(0,))
