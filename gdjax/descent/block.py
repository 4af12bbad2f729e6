"""A compiled block of steps with its records: what `drive` calls until the descent is done.

    block:  evaluate, record where it is due, move;   again and again

Which steps a block takes and which of them are recorded are numbers that the program reads, not
shapes: one compilation serves the whole descent and every continuation, and its results do not
depend on where blocks end.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from gdjax.descent.step import State, cost_type, evaluate, finite, init, move, objective
from gdjax.problems.chunks import in_chunks, over_batches
from gdjax.problems.evaluation import cost_chunk, evaluation_chunk, evaluation_of
from gdjax.problems.problem import GIVEN_TO_MEASURES, Measure, Problem, declared, given_to
from gdjax.slabs import Program, Slab, over_runs


class Carry(NamedTuple):
    """One run between two blocks: its state, its measures' memories, step costs since a record."""

    state: State
    measures: Mapping[str, PyTree]
    batch_cost: Float[Array, ""]
    batches: Int[Array, ""]
    settled: Bool[Array, ""]


class Records(NamedTuple):
    """What one run shows at a record. NaN means not recorded; a diverged run's costs are +inf."""

    cost: Float[Array, "*records"]
    batch_cost: Float[Array, "*records"]
    gradient_norm: Float[Array, "*records"]
    measures: Mapping[str, Float[Array, "*records"]]


class Agenda(NamedTuple):
    """What one block does: `count` steps from `first` on, and the records due among them.

    The rows of its arrays are records. What stands behind the last of them has step -1, which never
    comes. Step `last` is evaluated, but moves no more. Snapshots and measures that are arrays have
    slots, which say where a record's is kept.
    """

    first: Int[np.ndarray, ""]
    count: Int[np.ndarray, ""]
    last: Int[np.ndarray, ""]
    step: Int[np.ndarray, " records"]
    slot: Mapping[str, Int[np.ndarray, " records"]]
    measured: Mapping[str, Bool[np.ndarray, " records"]]


class Watched(NamedTuple):
    """A measure as a block is compiled for it.

    Args:
        name: of the measure.
        function: see `Measure`.
        remembers: whether it carries something of its own from one time to the next.
        is_array: whether it is kept in slots, not among the numbers of a record.
        dtype: type of an array; None: that of the cost.
    """

    name: str
    function: Callable
    remembers: bool
    is_array: bool = False
    dtype: np.dtype | None = None


def watch(measures: Mapping[str, Measure]) -> tuple[Watched, ...]:
    """Measures as a block is compiled for them, without their data."""
    return tuple(
        Watched(name, m.function, m.init is not None, m.is_array, m.dtype)
        for name, m in measures.items()
    )


def arrays_of(
    measures: Mapping[str, Measure], shapes: Mapping[str, tuple[int, ...]], params: PyTree
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and type of what each measure that is an array gives.

    Args:
        measures: what is watched.
        shapes: of all of them, from `check_measures`.
        params: whose cost has the type of arrays that name none.
    """
    return {
        name: jax.ShapeDtypeStruct(shapes[name], m.dtype or cost_type(params))
        for name, m in measures.items()
        if m.is_array
    }


class Rule(NamedTuple):
    """What a block is compiled for: everything about a descent that is not an array.

    Args:
        problem: cost and evaluation, without data (see `bare`).
        optimizer: `optimizer(**settings) -> GradientTransformation`.
        measures: what is watched.
        batched: mini-batches from an order, instead of the whole set.
        bound: a cost above it counts as diverged.
        slots: names of what is kept in slots, and how many each has in a block: `SNAPSHOTS`, and
            the measures that are arrays.
        settle: a run whose gradient norm is at or below it at a record takes no further steps,
            where every record knows the gradient; None lets it go on.
        eval_params_fn: `eval_params_fn(opt_state, params) -> params`, the parameters at which
            records evaluate; None for those of the run.
        part: records see other samples than a step on the whole set.
    """

    problem: Problem
    optimizer: Callable[..., optax.GradientTransformation]
    measures: tuple[Watched, ...]
    batched: bool
    bound: float
    slots: tuple[tuple[str, int], ...] = ()
    settle: float | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    part: bool = False

    @property
    def free(self) -> bool:
        """Whether a record is what its step computes anyway."""
        return not self.part and self.eval_params_fn is None and free(self.problem, self.batched)


SNAPSHOTS = "snapshots"
"""Name under which parameters along the way are kept."""


def free(problem: Problem, batched: bool) -> bool:
    """Whether the cost that is recorded is the one that each step computes."""
    return not batched and problem.evaluation is None and not problem.random


class Shared(NamedTuple):
    """Arrays that all runs see.

    Args:
        data: training set.
        recorded: samples of the records.
        measures: each metric's own data.
        rows: sample numbers of the batches of the records, where a cost couples samples.
    """

    data: PyTree
    recorded: PyTree
    measures: Mapping[str, PyTree]
    rows: PyTree = None


@lru_cache(maxsize=64)
def bare(cost: Callable, evaluation: Callable | None, couples_samples: bool) -> Problem:
    """One Problem for all that differ in nothing a program is compiled for."""
    return Problem(init=bare, cost=cost, evaluation=evaluation, couples_samples=couples_samples)


def strong(tree: PyTree) -> PyTree:
    """Arrays without weak types, which would make the second call of a program another program."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)


def start(
    optimizer: Callable,
    params: PyTree,
    state: PyTree,
    settings: Mapping,
    memories: Mapping[str, PyTree] = MappingProxyType({}),
) -> Carry:
    """The carry of a run that has not been evaluated yet.

    Args:
        optimizer: factory.
        params: the starting point.
        state: what the cost carries at first.
        settings: values of the factory's keywords, under "optimizer".
        memories: what measures begin with, by name.
    """
    params = strong(params)
    carry = Carry(
        state=init(optimizer(**settings["optimizer"]), params, state),
        measures=dict(memories),
        batch_cost=jnp.zeros((), cost_type(params)),
        batches=jnp.zeros((), jnp.int32),
        settled=jnp.zeros((), bool),
    )
    return strong(carry)


def _advance(rule: Rule, carry: Carry, settings, order, noise, shared: Shared, agenda: Agenda):
    """All steps of a block, for one run."""
    problem = rule.problem
    cost = partial(problem.cost, **settings["cost"]) if settings["cost"] else problem.cost
    optimizer = rule.optimizer(**settings["optimizer"])
    dtype = carry.batch_cost.dtype

    def advance(done, loop):
        carry, index, records, kept = loop
        at = agenda.first + done
        minimised = objective(
            cost,
            _batch(rule, order, shared, done),
            key=None if noise is None else jax.random.fold_in(noise, at),
            step=at,
            state=carry.state.state,
            chunk=None if rule.batched else cost_chunk(problem),
        )
        state, info, carried = evaluate(minimised, carry.state, at=at, bound=rule.bound)
        carry = carry._replace(state=state)
        due = at == agenda.step[index]

        def record(loop):
            _, carry, records, kept = loop
            carry, row, arrays = _look(rule, settings, shared, agenda, index, at, carry, info)
            if SNAPSHOTS in kept:
                arrays[SNAPSHOTS] = _read_out(rule, state)
            # The slot after the last takes what nobody asked for.
            kept = {
                name: jax.tree.map(
                    lambda a, new, slot=agenda.slot[name][index]: a.at[slot].set(new),
                    slots,
                    arrays[name],
                )
                for name, slots in kept.items()
            }
            row = jnp.stack(jax.tree.leaves(row))
            records = jax.lax.dynamic_update_index_in_dim(records, row, index, 0)
            return jnp.zeros_like(due), carry, records, kept

        # A loop of one trip or none: a branch would copy what it returns, at every step.
        _, carry, records, kept = jax.lax.while_loop(
            lambda loop: loop[0], record, (due, carry, records, kept)
        )
        go = (carry.state.diverged_at < 0) & ~carry.settled & (at < agenda.last)
        carry = carry._replace(state=move(optimizer, minimised, carry.state, info, carried, go=go))
        if not rule.free:
            carry = carry._replace(
                batch_cost=carry.batch_cost + jnp.where(go, info.cost, 0),
                batches=carry.batches + go,
            )
        return carry, index + due, records, kept

    one = jnp.full((), jnp.nan, dtype)
    numbers = {m.name: one for m in rule.measures if not m.is_array}
    form = jax.tree.structure(Records(one, one, one, numbers))
    # Of the carry, so that `vmap` sees at once what has an axis of runs, and need not trace again.
    nothing = jnp.nan * carry.batch_cost
    records = jnp.broadcast_to(nothing, (agenda.step.shape[0], form.num_leaves))
    kept = _empty(rule, carry, settings, shared)
    loop = (carry, jnp.zeros((), jnp.int32), records, kept)
    carry, _, records, kept = jax.lax.fori_loop(0, agenda.count, advance, loop)
    return carry, jax.tree.unflatten(form, list(records.T)), kept


def _empty(rule, carry, settings, shared):
    """Slots in which nothing is kept yet."""
    like = {SNAPSHOTS: carry.state.params}
    for m in rule.measures:
        if m.is_array:
            take = partial(_taken, m, settings, shared, 0, carry.state.params)
            like[m.name] = jax.eval_shape(take, carry)[0]
    return {
        name: jax.tree.map(lambda a, n=slots: jnp.zeros((n + 1, *a.shape), a.dtype), like[name])
        for name, slots in rule.slots
    }


def _batch(rule, order, shared, done):
    if not rule.batched:
        return shared.data
    samples = order[done]
    return jax.tree.map(lambda a: a.at[samples].get(mode="promise_in_bounds"), shared.data)


def _read_out(rule, state):
    if rule.eval_params_fn is None:
        return state.params
    return rule.eval_params_fn(state.memory, state.params)


def _look(rule, settings, shared, agenda, index, at, carry, info):
    """The record of one step, between its evaluation and its move, and its arrays."""
    state, dtype = carry.state, carry.batch_cost.dtype
    point = _read_out(rule, state)
    if rule.free:
        value, norm = info.cost, _norm(info.gradient, dtype)
    else:
        evaluated = evaluation_of(rule.problem, state=state.state, step=at, **settings["cost"])
        if shared.rows is None:
            mean = partial(in_chunks, chunk=evaluation_chunk(rule.problem))
            samples = shared.recorded
        else:
            mean, samples = partial(over_batches, rows=shared.rows), shared.data

        def with_gradient(point):
            value, gradient = mean(jax.value_and_grad(evaluated))(point, samples)
            return value.astype(dtype), _norm(gradient, dtype)

        def alone(point):
            value = mean(evaluated)(point, samples)
            return value.astype(dtype), jnp.full((), jnp.nan, dtype)

        value, norm = jax.lax.cond(at == agenda.last, with_gradient, alone, point)
        # What no single mini-batch has shown, the whole set may.
        late = (state.diverged_at < 0) & ~finite(value, state.params, rule.bound)
        state = state._replace(diverged_at=jnp.where(late, at, state.diverged_at))
    diverged = state.diverged_at >= 0
    # 0 / 0 = NaN: nothing since the last record
    since = jnp.full((), jnp.nan, dtype) if rule.free else carry.batch_cost / carry.batches
    taken, own = {}, dict(carry.measures)
    for measure in rule.measures:
        name = measure.name
        seen = carry._replace(state=state)
        take = partial(_taken, measure, settings, shared, at, point, seen)
        nothing = jnp.full((), jnp.nan, dtype)
        if measure.is_array:
            form = jax.eval_shape(take)[0]
            nothing = jnp.zeros(form.shape, form.dtype)
        taken[name], *after = jax.lax.cond(
            agenda.measured[name][index],
            lambda *_, take=take: take(),
            lambda *before, nothing=nothing: (nothing, *before),
            *([own[name]] if measure.remembers else []),
        )
        if measure.remembers:
            own[name] = after[0]
    row = Records(
        cost=jnp.where(diverged, jnp.inf, value),
        batch_cost=jnp.where(diverged, jnp.inf, since),
        gradient_norm=jnp.where(diverged, jnp.inf, norm),
        measures={m.name: taken[m.name] for m in rule.measures if not m.is_array},
    )
    settled = carry.settled
    if rule.settle is not None and rule.free:
        settled = settled | (norm <= rule.settle)
    arrays = {m.name: taken[m.name] for m in rule.measures if m.is_array}
    carry = carry._replace(state=state, measures=own, settled=settled)
    if not rule.free:
        none = jnp.zeros_like(carry.batch_cost)
        carry = carry._replace(batch_cost=none, batches=jnp.zeros_like(carry.batches))
    return carry, row, arrays


def _taken(measure, settings, shared, at, point, carry):
    """What a measure gives at a point, and its own memory after that if it has one."""
    state = carry.state
    given = {k: v for k, v in settings["cost"].items() if k in declared(measure.function)}
    needed = given_to(measure.function, GIVEN_TO_MEASURES)
    filled = {"step": jnp.asarray(at, jnp.int32), "state": state.state, "memory": state.memory}
    if "key" in needed:
        filled["key"] = jax.random.fold_in(settings["probes"], at)
    given |= {name: filled[name] for name in needed}
    own = (carry.measures[measure.name],) if measure.remembers else ()
    found = measure.function(point, shared.measures[measure.name], *own, **given)
    value, *own = found if measure.remembers else (found,)
    return jnp.asarray(value).astype(measure.dtype or carry.batch_cost.dtype), *own


def _norm(gradient, dtype):
    return optax.tree.norm(jax.tree.map(lambda a: a.astype(dtype), gradient))


@lru_cache(maxsize=16)
def program(rule: Rule, slab: Slab | None, own_order: bool, own_noise: bool) -> Program:
    """The compiled block: for one run, or with a slab for many.

    Args:
        rule: what is compiled.
        slab: width and devices; None for a single run on the default device.
        own_order: whether each run has its own order of mini-batches.
        own_noise: whether each run has its own stream of random numbers.

    Called with carries, settings (of `cost` and `optimizer`, and under `probes` a key where a
    measure declares one), sample numbers, keys of what a cost draws, what all runs see, an agenda;
    it returns carries, records, and by name what is kept in slots.
    """
    advance: Callable = partial(_advance, rule)
    if slab is not None:
        own = (0 if own_order else None, 0 if own_noise else None)
        advance = over_runs(advance, slab, (0, 0, *own, None, None))
    return Program(advance, donate=(0,))
