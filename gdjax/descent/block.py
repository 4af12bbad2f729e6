"""A compiled block of steps with its records, called from Python until the descent is done.

    tick:  some steps, then one record            block:  up to `TICKS` ticks

How many steps a tick has and how many ticks a block has are numbers that the program reads, not
shapes: one compilation serves the whole descent and every continuation, its results do not depend
on where blocks end, and blocks can be made to last a fraction of a second, so that progress, Ctrl-C
and saving come between them.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from gdjax.descent.batches import Order
from gdjax.descent.step import State, blank, cost_type, finite
from gdjax.descent.step import step as take_step
from gdjax.problems.blocks import over_blocks
from gdjax.problems.problem import Measure, declared
from gdjax.runs import Program, Slab, over_runs

TICKS = 128  # records a block at most
ROWS = 2048  # mini-batches a block at most
SNAPSHOT_BYTES = 2**26  # memory for the snapshots of one block
SECONDS = 0.25  # what a block should last


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


def start(
    problem_measures: Mapping[str, Measure], optimizer: Callable, params: PyTree, settings: Mapping
) -> Carry:
    """The carry of a run that has not been evaluated yet."""
    transformation = optimizer(**settings["optimizer"])
    # Weak types would make the second call of a program another program.
    strong = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.result_type(a)), tree)  # noqa: E731
    params = strong(params)
    carry = Carry(
        state=blank(transformation, params),
        measures={
            name: measure.init(params, measure.data)
            for name, measure in problem_measures.items()
            if measure.init
        },
        batch_cost=jnp.zeros((), cost_type(params)),
        batches=jnp.zeros((), jnp.int32),
        settled=jnp.zeros((), bool),
    )
    return strong(carry)


def _advance(rule: Rule, carry: Carry, settings, order, shared: Shared, ticks: Ticks):
    """All ticks of a block, for one run."""
    cost = with_settings(rule.cost, settings["cost"], shared.data)
    optimizer = rule.optimizer(**settings["optimizer"])
    whole = lambda function: over_blocks(jax.value_and_grad(function))  # noqa: E731
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
                    over_blocks(cost)(params, shared.data).astype(value.dtype),
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


class Plan(NamedTuple):
    """Which steps are recorded, which are kept as snapshots, and where to begin.

    Args:
        first: steps taken before; a continuation begins there.
        steps: steps to take.
        record_every: steps from record to record.
        snapshot_every: steps from snapshot to snapshot, a multiple of `record_every`; or None.
        cadence: for each measure, records from one measurement to the next.
    """

    first: int
    steps: int
    record_every: int
    snapshot_every: int | None
    cadence: Mapping[str, int]

    @property
    def last(self) -> int:
        return self.first + self.steps

    def records(self) -> np.ndarray:
        """Steps that are recorded: the start (unless it was before), the multiples, the last."""
        every = self.record_every
        begin = 0 if self.first == 0 else (self.first // every + 1) * every
        steps = np.arange(begin, self.last + 1, every)
        missing = self.last > (steps[-1] if len(steps) else self.first)
        return np.append(steps, self.last) if missing else steps

    def is_snapshot(self, step: int | np.ndarray) -> np.ndarray:
        if self.snapshot_every is None:
            return np.zeros(np.shape(step), bool)
        step = np.asarray(step)
        return np.asarray((step % self.snapshot_every == 0) | (step == self.last))


class Piece(NamedTuple):
    """What one call of the compiled block brought: its records, and where the descent now is."""

    carry: Carry
    step: int
    steps: np.ndarray
    records: Records
    snapshot_steps: np.ndarray
    snapshots: PyTree


def drive(
    call: Callable[[Carry, PyTree, Ticks], tuple[Carry, Records, PyTree]],
    carry: Carry,
    plan: Plan,
    order: Callable[[int, int], PyTree] | None,
    *,
    slots: int,
    axis: int,
    rows: int = ROWS,
    seconds: float = SECONDS,
    still: Callable[[Carry], bool] = lambda carry: False,
) -> Iterator[Piece]:
    """Run a plan block by block; each piece is complete when it is handed out.

    Args:
        call: `(carry, order, ticks) -> (carry, records, snapshots)`, a compiled block.
        carry: the run, or the slab of runs, at `plan.first`.
        plan: what to do.
        order: `(first, count) -> sample numbers` of mini-batches, or None for the whole set.
        slots: room for snapshots in a block.
        axis: where ticks stand in the records: 0 for one run, 1 for a slab.
        rows: mini-batches a block at most.
        seconds: how long a block should last. It has no influence on results.
        still: whether nothing will move again; then what is left is recorded without steps.
    """
    pending = deque(plan.records().tolist())
    step, budget = plan.first, 16
    moves = False  # the first tick only evaluates: a continuation may have another cost or order
    resting = False
    limit = rows if order is not None else np.iinfo(np.int32).max
    while pending:
        ticks, recorded, kept, spent, base = [], [], [], 0, step - 1
        room = min(budget, limit)
        while pending and len(ticks) < TICKS and spent < room:
            target = pending[0]
            count = min(target - step, room - spent) if moves else 1
            if resting:
                count, row, arrived = 0, target, target
            else:
                # Evaluation e happens on batch e; the move before it, on batch e - 1.
                row, arrived = (step, step + count) if moves else (step - 1, step)
            done = arrived == target
            keep = done and bool(plan.is_snapshot(target))
            if keep and len(kept) == slots:
                break
            ticks.append(
                (
                    count,
                    row,
                    row + 1,
                    moves,
                    done,
                    target == plan.last,
                    len(kept) if keep else slots,
                )
            )
            if done:
                recorded.append((len(ticks) - 1, pending.popleft()))
            if keep:
                kept.append(target)
            step = arrived
            spent += count
            moves = True
        samples = None if order is None else _rows(order, base, spent + 2, rows)
        started = time.perf_counter()
        carry, records, snapshots = call(carry, samples, _ticks(ticks, base, plan))
        index = np.array([i for i, _ in recorded], int)
        records = jax.tree.map(lambda a, i=index: np.take(np.asarray(a), i, axis), records)
        shots = None
        if kept:
            full = np.arange(len(kept))
            shots = jax.tree.map(lambda a, i=full: np.take(np.asarray(a), i, axis), snapshots)
        took = time.perf_counter() - started
        if took < seconds / 2:
            budget = spent * 2 if budget <= spent * 2 else budget
        elif took > 2 * seconds:
            budget = max(1, spent // 2)
        resting = still(carry)
        yield Piece(
            carry,
            step,
            np.array([s for _, s in recorded], int),
            records,
            np.array(kept, int),
            shots,
        )


def example(plan: Plan, order: Callable | None, rows: int = ROWS) -> tuple[Ticks, PyTree]:
    """Ticks and mini-batch rows of a block that does nothing: what a program is compiled for."""
    ticks = _ticks([(0, 0, 1, True, False, False, 0)], -1, plan)
    return ticks, None if order is None else _rows(order, -1, 2, rows)


def _rows(order, base, count, most):
    """Sample numbers of batches `base`.., padded to the number of rows that the program takes."""
    rows = order(max(base, 0), count if base >= 0 else count - 1)
    spare = [(0, 0)] * (rows.ndim - 2)
    # Before the first batch stands nothing; a row there keeps the numbering the same.
    return np.pad(rows, [*spare, (int(base < 0), most + 2 - count), (0, 0)])


def _ticks(ticks, base, plan):
    columns = list(zip(*ticks, strict=True))
    steps, row, arrives, moves, record, final, slot = (
        np.pad(np.array(c, dtype), (0, TICKS - len(ticks)))
        for c, dtype in zip(
            columns, (np.int32, np.int32, np.int32, bool, bool, bool, np.int32), strict=True
        )
    )
    at = arrives + steps - 1
    measured = {
        name: record & ((at % (plan.record_every * every) == 0) | final)
        for name, every in plan.cadence.items()
    }
    return Ticks(
        count=np.asarray(len(ticks), np.int32),
        steps=steps,
        row=row - np.int32(base),
        arrives=arrives,
        moves=moves,
        record=record,
        final=final,
        slot=slot,
        measured=measured,
    )


def order_rows(order: Order | None) -> Callable[[int, int], np.ndarray] | None:
    """Rows of a single shared stream, for `drive`."""
    return None if order is None else lambda first, count: order.rows(first, count)[0]


def slots_for(params: PyTree, *, runs: int, plan: Plan) -> int:
    """Room for snapshots in a block: as many as its memory takes, and no more than there are."""
    size = runs * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    wanted = int(plan.is_snapshot(plan.records()).sum())
    return max(1, min(TICKS, SNAPSHOT_BYTES // size, wanted))
