"""A compiled block: several steps of one run, with their records.

    block:  for each chunk:  record if due;   for each step of the chunk:  evaluate, update

Step numbers and recorded steps are inputs of the program and do not determine its shapes. One
compilation is therefore sufficient for a descent and its continuations, and results do not depend
on where blocks and chunks end.

On an accelerator a chunk has a constant number of steps, of which those after its end change
nothing. If the compiler did not know this number, the device would wait for the host before each
step. On a CPU the number of steps of a chunk varies, unless it is always 1.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gdjax.base.slabs import CompiledFunction
from gdjax.descent.block_values import SNAPSHOTS, BlockConfig, Carry, Chunks, Records, Shared
from gdjax.descent.step import evaluate, init, is_within_limits, move, norm, objective
from gdjax.problems.evaluation import deterministic_cost, evaluation_microbatch
from gdjax.problems.measurement import StaticMetric, settings_by_role
from gdjax.problems.microbatches import cost_microbatch, in_microbatches, over_batches
from gdjax.problems.optimizers import cost_type

Metrics = tuple[tuple[str, StaticMetric], ...]


def strip_weak_types(tree: PyTree) -> PyTree:
    """Return arrays without weak types, which would cause a second compilation."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)


def initial_carry(
    make_optimizer: Callable,
    params: PyTree,
    model_state: PyTree,
    settings: Mapping[str, Any],
    metrics: Metrics = (),
    shared: Shared | None = None,
) -> Carry:
    """Return the carry of a run before its first step."""
    params, model_state = strip_weak_types((params, model_state))
    state = init(make_optimizer(**settings["optimizer"]), params, model_state)
    metric_states = {}
    for name, metric in metrics:
        if metric.init is not None and shared is not None:
            supplied = _supplied(metric, settings, jnp.int32(settings.get("step", 0)), state)
            supplied = {n: v for n, v in supplied.items() if n not in ("key", "opt_state")}
            metric_states[name] = metric.init(params, _data(name, shared), **supplied)
    carry = Carry(
        state=state,
        metric_states=metric_states,
        batch_cost_sum=jnp.zeros((), cost_type(params)),
        batch_count=jnp.zeros((), jnp.int32),
        stopped_at=jnp.full((), -1, jnp.int32),
    )
    return strip_weak_types(carry)


def _block(
    config: BlockConfig,
    carry: Carry,
    settings: Mapping[str, Any],
    order: PyTree,
    noise: PyTree,
    shared: Shared,
    chunks: Chunks,
) -> tuple[Carry, Records, dict[str, PyTree]]:
    """Take all steps of a block, for one run."""
    problem = config.problem
    cost = partial(problem.cost, **settings["cost"]) if settings["cost"] else problem.cost
    optimizer = config.make_optimizer(**settings["optimizer"])
    microbatch = None if config.batched else cost_microbatch(problem, config.largest_microbatch)

    def take_step(chunk, index, loop):
        carry, first_cost, first_norm = loop
        at = _first(settings, chunk) + jnp.int32(index)
        minimized = objective(
            cost,
            _batch(config, order, shared, chunk.batch + index),
            key=None if noise is None else jax.random.fold_in(noise, at),
            step=_last_step(config, carry, at),
            model_state=carry.state.model_state,
            microbatch=microbatch,
            weight=problem.weight,
        )
        state, info, model_state = evaluate(
            minimized, carry.state, step=at, divergence_threshold=config.divergence_threshold
        )
        if config.chunk_steps not in (None, 1):
            # Steps after the end of a chunk, which has at least one evaluation, change nothing.
            is_evaluated = index < jnp.maximum(chunk.count, 1)
            diverged_at = jnp.where(is_evaluated, state.diverged_at, carry.state.diverged_at)
            state = state._replace(diverged_at=diverged_at)
        if config.record_equals_step:
            first_cost = jnp.where(index == 0, info.cost, first_cost)
            first_norm = jnp.where(index == 0, info.gradient_norm, first_norm)
            if config.stop_tolerance is not None:
                stops = (chunk.record > 0) & (index == 0) & (carry.stopped_at < 0)
                stops &= info.gradient_norm <= config.stop_tolerance
                carry = carry._replace(stopped_at=jnp.where(stops, at, carry.stopped_at))
        moves = (state.diverged_at < 0) & (carry.stopped_at < 0) & (index < chunk.count)
        state = move(optimizer, minimized, state, info, model_state, moves=moves)
        carry = carry._replace(state=state)
        if not config.record_equals_step:
            carry = carry._replace(
                batch_cost_sum=carry.batch_cost_sum + jnp.where(moves, info.cost, 0),
                batch_count=carry.batch_count + moves,
            )
        return carry, first_cost, first_norm

    def take_chunk(number, loop):
        carry, records, buffers = loop
        metric_states = carry.metric_states
        chunk = jax.tree.map(
            lambda a: jax.lax.dynamic_index_in_dim(a, number, keepdims=False), chunks
        )
        carry, row, arrays = _record(config, settings, shared, chunk, carry)
        buffers = {
            name: jax.tree.map(
                lambda a, new, row=chunk.buffer_index[name]: a.at[row].set(new),
                buffer,
                arrays[name],
            )
            for name, buffer in buffers.items()
        }
        steps = (carry, row.cost, row.gradient_norm)
        if config.chunk_steps == 1:
            steps = take_step(chunk, 0, steps)
        else:
            count = config.chunk_steps or jnp.maximum(chunk.count, 1)
            steps = jax.lax.fori_loop(0, count, partial(take_step, chunk), steps)
        carry, cost, gradient_norm = steps
        if config.stop_tolerance is not None:
            # The states of metrics, too, stay those of the last record.
            has_ended = _last_step(config, carry, chunk.first + 1) <= chunk.first
            carry = carry._replace(
                metric_states=jax.tree.map(
                    partial(jnp.where, has_ended), metric_states, carry.metric_states
                )
            )
        diverged_at = carry.state.diverged_at
        diverged = (diverged_at >= 0) & (diverged_at <= _first(settings, chunk))
        row = Records(
            cost=jnp.where(diverged, jnp.inf, cost),
            batch_cost=jnp.where(diverged, jnp.inf, row.batch_cost),
            gradient_norm=jnp.where(diverged, jnp.inf, gradient_norm),
            metrics=row.metrics,
        )
        row = jnp.stack(jax.tree.leaves(row))
        return carry, jax.lax.dynamic_update_index_in_dim(records, row, number, 0), buffers

    nan = jnp.full((), jnp.nan, carry.batch_cost_sum.dtype)
    numbers = {name: nan for name, metric in config.metrics if not metric.is_array}
    structure = jax.tree.structure(Records(nan, nan, nan, numbers))
    # The NaN is computed from the carry, so that under `vmap` it has the axis of runs from the
    # start and the loop is traced only once.
    nothing = jnp.nan * carry.batch_cost_sum
    records = jnp.broadcast_to(nothing, (chunks.first.shape[0], structure.num_leaves))
    buffers = _empty_buffers(config, carry)
    carry, records, buffers = jax.lax.fori_loop(
        0, jnp.sum(chunks.first >= 0, dtype=jnp.int32), take_chunk, (carry, records, buffers)
    )
    return carry, jax.tree.unflatten(structure, list(records.T)), buffers


def _empty_buffers(config, carry):
    at = carry.state.params, carry.state.model_state
    like = {SNAPSHOTS: at, **{name: m.value for name, m in config.metrics}}
    return {
        name: jax.tree.map(lambda a, n=rows: jnp.zeros((n + 1, *a.shape), a.dtype), like[name])
        for name, rows in config.buffers
    }


def _batch(config, order, shared, done):
    if not config.batched:
        return shared.data
    samples = jax.lax.dynamic_index_in_dim(order, done, keepdims=False)
    return jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), shared.data)


def _record(config, settings, shared, chunk, carry):
    """Return the carry after a record, the record at the start of a chunk, and its arrays.

    If the recorded cost is that of the next step, it and its gradient norm are NaN until that step.
    """
    state, dtype = carry.state, carry.batch_cost_sum.dtype
    at, is_due = _first(settings, chunk), chunk.record > 0
    point = state.params
    if config.eval_params_fn is not None:
        point = config.eval_params_fn(state.opt_state, state.params)
    nan = jnp.nan * carry.batch_cost_sum
    value = gradient_norm = batch_cost = nan
    if not config.record_equals_step:
        evaluated = deterministic_cost(
            config.problem, model_state=state.model_state, step=at, **settings["cost"]
        )
        if shared.rows is None:
            microbatch = evaluation_microbatch(config.problem, config.largest_microbatch)
            mean, samples = partial(in_microbatches, microbatch=microbatch), shared.recorded
        else:
            mean, samples = partial(over_batches, rows=shared.rows), shared.data
        mean = partial(mean, weight=config.problem.weight)

        def with_gradient(point):
            value, gradient = mean(jax.value_and_grad(evaluated))(point, samples)
            return value.astype(dtype), norm(gradient).astype(dtype)

        def alone(point):
            return mean(evaluated)(point, samples).astype(dtype), nan

        value, gradient_norm = jax.lax.switch(
            chunk.record,
            (lambda point: (nan, nan), alone, with_gradient),
            point,
        )
        # The cost over the whole training set may diverge before that of any mini-batch.
        diverges = ~is_within_limits(value, norm(state.params), config.divergence_threshold)
        late = is_due & diverges & (state.diverged_at < 0)
        state = state._replace(diverged_at=jnp.where(late, at, state.diverged_at))
        # 0 / 0 = NaN if there was no step since the last record
        batch_cost = carry.batch_cost_sum / carry.batch_count
        carry = carry._replace(
            state=state,
            batch_cost_sum=jnp.where(is_due, 0, carry.batch_cost_sum),
            batch_count=jnp.where(is_due, 0, carry.batch_count),
        )
    values, metric_states = {}, dict(carry.metric_states)
    for name, metric in config.metrics:
        step = _last_step(config, carry, at)
        compute = partial(_measure, name, metric, settings, shared, step, point, carry)
        fill = 0 if metric.is_array else jnp.nan
        nothing = jax.tree.map(lambda a, f=fill: jnp.full(a.shape, f, a.dtype), metric.value)
        values[name], *after = jax.lax.cond(
            chunk.is_measured[name],
            lambda *_, compute=compute: compute(),
            lambda *before, nothing=nothing: (nothing, *before),
            *([metric_states[name]] if metric.init else []),
        )
        if metric.init:
            metric_states[name] = after[0]
    row = Records(
        cost=value,
        batch_cost=batch_cost,
        gradient_norm=gradient_norm,
        metrics={name: values[name] for name, metric in config.metrics if not metric.is_array},
    )
    arrays = values | {SNAPSHOTS: (point, state.model_state)}
    return carry._replace(metric_states=metric_states), row, arrays


def _measure(name, metric, settings, shared, at, point, carry):
    """Return the value of a metric, and its next state if it has one."""
    before = (carry.metric_states[name],) if metric.init else ()
    keywords = _supplied(metric, settings, at, carry.state)
    value, *after = metric.function(point, _data(name, shared), *before, **keywords)
    return metric.recorded(value), *after


def _supplied(metric, settings, at, state):
    """Return the keywords of a metric at a step."""
    supplied = {"step": jnp.asarray(at, jnp.int32), **settings_by_role(settings)}
    if state.model_state is not None:
        supplied["model_state"] = state.model_state
    if "opt_state" in metric.needs:
        supplied["opt_state"] = state.opt_state
    if "key" in metric.needs:
        supplied["key"] = jax.random.fold_in(settings["probes"], at)
    return supplied


def _data(name, shared):
    """Return the data of a metric: its own, or the training set."""
    return shared.metrics.get(name, shared.data)


def _first(settings, chunk):
    """Return the first step of a chunk of a run, which may begin at a step of its own."""
    return chunk.first + settings["step"] if "step" in settings else chunk.first


def _last_step(config, carry, at):
    """Return the step that functions of a run receive: its last one, once it has stopped.

    Then a run whose neighbors have not stopped repeats its last record.
    """
    if config.stop_tolerance is None:
        return at
    ended_at = jnp.where(carry.stopped_at >= 0, carry.stopped_at, carry.state.diverged_at)
    return jnp.where(ended_at >= 0, jnp.minimum(ended_at, at), at)


def block_program(
    config: BlockConfig,
    run_axis: bool,
    own_order: bool,
    own_noise: bool,
    fast_compilation: bool = False,
) -> CompiledFunction:
    """Return the compiled block, for one run or for a slab of runs.

    Returns:
        A program whose arguments are carries, settings (under `cost` and `optimizer`, and a key
        under `probes` if a metric declares one), sample indices, keys of a random cost, arrays that
        all runs share, and `Chunks`. It returns carries, records (a row per chunk), and buffers by
        name.
    """
    block: Callable = partial(_block, config)
    if run_axis:
        run_axes = (0 if own_order else None, 0 if own_noise else None)
        block = jax.vmap(block, (0, 0, *run_axes, None, None))
    key = ("block", config, run_axis, own_order, own_noise, fast_compilation)
    return CompiledFunction(block, key=key, donate=(0,), fast_compilation=fast_compilation)
