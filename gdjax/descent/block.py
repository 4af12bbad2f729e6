"""A compiled block of steps with its records: what `drive` calls until the descent is done.

    tick:  some steps, then one record            block:  some ticks

How many steps a tick has and how many ticks a block has are numbers that the program reads, not
shapes: one compilation serves the whole descent and every continuation, and its results do not
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

from gdjax.descent.step import State, blank, cost_type, finite
from gdjax.descent.step import step as take_step
from gdjax.problems.chunks import in_chunks
from gdjax.problems.problem import declared
from gdjax.runs import Program, Slab, over_runs


class Carry(NamedTuple):
    """One run between two blocks: its state, its measures' states, batch costs since a record."""

    state: State
    measures: Mapping[str, PyTree]
    batch_cost: Float[Array, ""]
    batches: Int[Array, ""]
    settled: Bool[Array, ""]


class Records(NamedTuple):
    """What one run shows at a record. NaN means not recorded; a diverged run's costs are +inf."""

    cost: Float[Array, "*ticks"]
    batch_cost: Float[Array, "*ticks"]
    gradient_norm: Float[Array, "*ticks"]
    measures: Mapping[str, Float[Array, "*ticks"]]


class Ticks(NamedTuple):
    """The plan of one block, a row a tick; rows beyond `count` are not looked at."""

    count: Int[np.ndarray, ""]
    steps: Int[np.ndarray, " ticks"]
    row: Int[np.ndarray, " ticks"]
    arrives: Int[np.ndarray, " ticks"]
    moves: Bool[np.ndarray, " ticks"]
    record: Bool[np.ndarray, " ticks"]
    final: Bool[np.ndarray, " ticks"]
    slot: Int[np.ndarray, " ticks"]
    measured: Mapping[str, Bool[np.ndarray, " ticks"]]


class Rule(NamedTuple):
    """What a block is compiled for: everything about a descent that is not an array.

    Args:
        cost: `cost(params, batch, **settings)`, or `cost(params, **settings)` without data.
        optimizer: `optimizer(**settings) -> GradientTransformation`.
        measures: name, function, whether it carries a state, for each measure.
        batched: mini-batches from an order, instead of the whole set.
        bound: a cost above it counts as diverged.
        slots: room for snapshots in a block; 0 takes none.
        settle: a whole-set run whose gradient norm is at or below it at a record takes no further
            steps; None lets it go on.
    """

    cost: Callable
    optimizer: Callable[..., optax.GradientTransformation]
    measures: tuple[tuple[str, Callable, bool], ...]
    batched: bool
    bound: float
    slots: int
    settle: float | None = None


class Shared(NamedTuple):
    """Arrays that all runs see: the training set, and each measure's own data."""

    data: PyTree
    measures: Mapping[str, PyTree]


def with_settings(cost: Callable, settings: Mapping[str, Any], data: PyTree) -> Callable:
    """`cost` as `(params, batch) -> scalar`, its settings given, with or without data."""
    if data is None:
        return lambda params, _batch: cost(params, **settings)
    return lambda params, batch: cost(params, batch, **settings)


def _subset(function, settings):
    return {name: settings[name] for name in declared(function) if name in settings}


def strong(tree: PyTree) -> PyTree:
    """Arrays without weak types, which would make the second call of a program another program."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)


def start(
    optimizer: Callable,
    params: PyTree,
    settings: Mapping,
    memories: Mapping[str, PyTree] = MappingProxyType({}),
) -> Carry:
    """The carry of a run that has not been evaluated yet.

    Args:
        optimizer: factory.
        params: the starting point.
        settings: values of the factory's keywords, under "optimizer".
        memories: what measures begin with, by name.
    """
    params = strong(params)
    carry = Carry(
        state=blank(optimizer(**settings["optimizer"]), params),
        measures=dict(memories),
        batch_cost=jnp.zeros((), cost_type(params)),
        batches=jnp.zeros((), jnp.int32),
        settled=jnp.zeros((), bool),
    )
    return strong(carry)


def _advance(rule: Rule, carry: Carry, settings, order, shared: Shared, ticks: Ticks):
    """All ticks of a block, for one run."""
    cost = with_settings(rule.cost, settings["cost"], shared.data)
    optimizer = rule.optimizer(**settings["optimizer"])
    whole = lambda function: in_chunks(jax.value_and_grad(function))  # noqa: E731
    evaluate = jax.value_and_grad if rule.batched else whole

    def batch(row):
        if not rule.batched:
            return shared.data
        samples = order[row]
        return jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), shared.data)

    def move(index, steps_done, carry):
        row = ticks.row[index] + steps_done
        state, info = take_step(
            cost,
            optimizer,
            carry.state,
            batch(row),
            batch(row + 1),
            active=ticks.moves[index] & ~carry.settled,
            at=ticks.arrives[index] + steps_done,
            bound=rule.bound,
            evaluate=evaluate,
        )
        if not rule.batched:
            return carry._replace(state=state)
        return carry._replace(
            state=state,
            batch_cost=carry.batch_cost + jnp.where(info.moved, info.cost, 0),
            batches=carry.batches + info.moved,
        )

    def look(index, carry):
        state = carry.state
        value, norm = state.cost, _norm(state.gradient, state.cost.dtype)
        if rule.batched:
            value, norm = jax.lax.cond(
                ticks.final[index],
                lambda params: _value_and_norm(whole(cost), params, shared, value.dtype),
                lambda params: (
                    in_chunks(cost)(params, shared.data).astype(value.dtype),
                    jnp.full_like(norm, jnp.nan),
                ),
                state.params,
            )
            # What no single mini-batch has shown, the whole set may.
            late = (state.diverged_at < 0) & ~finite(value, state.params, rule.bound)
            arrived = ticks.arrives[index] + ticks.steps[index] - 1
            state = state._replace(diverged_at=jnp.where(late, arrived, state.diverged_at))
        diverged = state.diverged_at >= 0
        seen = carry.batch_cost / carry.batches  # 0 / 0 = NaN: nothing seen since the last record
        measured, states = {}, dict(carry.measures)
        for name, function, carries in rule.measures:
            extra = _subset(function, settings["cost"])
            if carries:

                def take(memory, function=function, name=name, extra=extra):
                    found, memory = function(state.params, shared.measures[name], memory, **extra)
                    return jnp.asarray(found).astype(value.dtype), memory

                measured[name], states[name] = jax.lax.cond(
                    ticks.measured[name][index],
                    take,
                    lambda memory: (jnp.full((), jnp.nan, value.dtype), memory),
                    states[name],
                )
            else:

                def take_plain(params, function=function, name=name, extra=extra):
                    found = function(params, shared.measures[name], **extra)
                    return jnp.asarray(found).astype(value.dtype)

                measured[name] = jax.lax.cond(
                    ticks.measured[name][index],
                    take_plain,
                    lambda params: jnp.full((), jnp.nan, value.dtype),
                    state.params,
                )
        records = Records(
            cost=jnp.where(diverged, jnp.inf, value),
            batch_cost=jnp.where(diverged, jnp.inf, seen),
            gradient_norm=jnp.where(diverged, jnp.inf, norm),
            measures=measured,
        )
        none = jnp.zeros_like(carry.batch_cost)
        settled = carry.settled
        if rule.settle is not None and not rule.batched:
            settled = settled | (norm <= rule.settle)
        return Carry(state, states, none, jnp.zeros_like(carry.batches), settled), records

    def skip(index, carry):
        blank = jnp.full((), jnp.nan, carry.state.cost.dtype)
        return carry, Records(blank, blank, blank, {name: blank for name, *_ in rule.measures})

    def tick(index, loop):
        carry, records, snapshots = loop
        carry = jax.lax.fori_loop(
            0, ticks.steps[index], lambda done, carry: move(index, done, carry), carry
        )
        carry, seen = jax.lax.cond(ticks.record[index], look, skip, index, carry)
        records = jax.tree.map(lambda kept, new: kept.at[index].set(new), records, seen)
        if rule.slots:
            # The slot after the last takes what nobody asked for.
            snapshots = jax.tree.map(
                lambda kept, new: kept.at[ticks.slot[index]].set(new),
                snapshots,
                carry.state.params,
            )
        return carry, records, snapshots

    empty = jnp.full((ticks.steps.shape[0],), jnp.nan, carry.state.cost.dtype)
    records = Records(empty, empty, empty, {name: empty for name, *_ in rule.measures})
    snapshots = None
    if rule.slots:
        snapshots = jax.tree.map(
            lambda a: jnp.zeros((rule.slots + 1, *a.shape), a.dtype), carry.state.params
        )
    return jax.lax.fori_loop(0, ticks.count, tick, (carry, records, snapshots))


def _value_and_norm(evaluate, params, shared, dtype):
    value, gradient = evaluate(params, shared.data)
    return value.astype(dtype), _norm(gradient, dtype)


def _norm(gradient, dtype):
    return optax.tree.norm(jax.tree.map(lambda a: a.astype(dtype), gradient))


@lru_cache(maxsize=16)
def program(rule: Rule, slab: Slab | None, own_order: bool) -> Program:
    """The compiled block: for one run, or with a slab for many.

    Args:
        rule: what is compiled.
        slab: width and devices; None for a single run on the default device.
        own_order: whether each run has its own order of mini-batches.
    """

    advance: Callable = partial(_advance, rule)
    if slab is not None:
        advance = over_runs(advance, slab, (0, 0, 0 if own_order else None, None, None))
    return Program(advance, donate=(0,))
