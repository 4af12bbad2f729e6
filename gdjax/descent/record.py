"""A record of a run: cost, gradient norm, metrics and arrays at the first step of a chunk."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree, ScalarLike

from gdjax.descent.block_values import SNAPSHOTS, BlockConfig, Carry, Chunks, Records, Shared
from gdjax.descent.step import finite, norm
from gdjax.problems.evaluation import deterministic_cost, evaluation_microbatch
from gdjax.problems.keywords import GIVEN_TO_METRICS, accepted, given_to
from gdjax.problems.microbatches import in_microbatches, over_batches
from gdjax.problems.problem import Metric


def take_record(
    config: BlockConfig, settings: Mapping[str, Any], shared: Shared, chunk: Chunks, carry: Carry
) -> tuple[Carry, Records, dict[str, PyTree]]:
    """Return the carry after a record, the record at the start of a chunk, and its arrays.

    If the record equals the cost of its step, cost and gradient norm are NaN until that step.
    """
    state, dtype = carry.state, carry.batch_cost_sum.dtype
    at, is_due = chunk.first, chunk.record > 0
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
            microbatch = evaluation_microbatch(config.problem, config.platform)
            mean, samples = partial(in_microbatches, microbatch=microbatch), shared.recorded
        else:
            mean, samples = partial(over_batches, rows=shared.rows), shared.data

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
        diverges = ~finite(value, norm(state.params), config.divergence_threshold)
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
        step = last_step(config, carry, at)
        compute = partial(measure, name, metric, settings, shared, step, point, carry)
        nothing = jnp.full((), jnp.nan, dtype)
        if metric.is_array:
            like = jax.eval_shape(compute)[0]
            nothing = jnp.zeros(like.shape, like.dtype)
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
    arrays = values | {SNAPSHOTS: point}
    return carry._replace(metric_states=metric_states), row, arrays


def measure(
    name: str,
    metric: Metric,
    settings: Mapping[str, Any],
    shared: Shared,
    at: ScalarLike,
    point: PyTree,
    carry: Carry,
) -> tuple:
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
    keywords |= {each: supplied[each] for each in needed}
    before = (carry.metric_states[name],) if metric.init else ()
    result = metric.function(point, shared.metrics[name], *before, **keywords)
    value, *after = result if metric.init else (result,)
    return jnp.asarray(value).astype(metric.dtype or carry.batch_cost_sum.dtype), *after


def last_step(config: BlockConfig, carry: Carry, at: ScalarLike) -> ScalarLike:
    """Return the step that functions of a run receive: its last one, once it has stopped.

    Then a run whose neighbors have not stopped repeats its last record.
    """
    if config.stop_tolerance is None:
        return at
    ended_at = jnp.where(carry.stopped_at >= 0, carry.stopped_at, carry.state.diverged_at)
    return jnp.where(ended_at >= 0, jnp.minimum(ended_at, at), at)
