"""A descent from Python: compiled blocks of steps, one after another, until its plan is done.

    plan -> agenda of a block -> (carry, records, snapshots) -> a piece,   again and again

Blocks are made to last a fraction of a second, so that progress, Ctrl-C and saving come between
them; where they end changes no bit of the results.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.descent.batches import Order
from gdjax.descent.block import Agenda, Carry, Records

RECORDS = 128  # records a block at most
ROWS = 2048  # mini-batches a block at most
SNAPSHOT_BYTES = 2**26  # memory for the snapshots of one block
SECONDS = 0.25  # what a block should last


@dataclass
class Pace:
    """How many steps a block should have, learnt from how long blocks took.

    It has no influence on results.
    """

    steps: int = 16
    seconds: float = SECONDS

    def learn(self, spent: int, took: float) -> None:
        """Twice as many after a block that was short, half as many after one that was long."""
        if took < self.seconds / 2:
            self.steps = max(self.steps, 2 * spent)
        elif took > 2 * self.seconds:
            self.steps = max(1, spent // 2)


class Plan(NamedTuple):
    """Which steps are recorded, which are kept as snapshots, and where to begin.

    Args:
        first: steps taken before; a continuation begins there.
        steps: steps to take.
        record_every: steps from record to record.
        snapshot_every: steps from snapshot to snapshot, a multiple of `record_every`; or None.
        cadence: for each measure, records from one measurement to the next.
        recorded: whether the step `first` is recorded already.
    """

    first: int
    steps: int
    record_every: int
    snapshot_every: int | None
    cadence: Mapping[str, int]
    recorded: bool = False

    @property
    def last(self) -> int:
        return self.first + self.steps

    def records(self) -> np.ndarray:
        """Steps that are recorded: the start (unless it was before), the multiples, the last."""
        every = self.record_every
        steps = np.arange(-(-self.first // every) * every, self.last + 1, every)
        steps = steps[steps > self.first] if self.recorded else steps
        return steps if len(steps) and steps[-1] == self.last else np.append(steps, self.last)

    def is_snapshot(self, step: int | np.ndarray) -> np.ndarray:
        if self.snapshot_every is None:
            return np.zeros(np.shape(step), bool)
        step = np.asarray(step)
        return np.asarray((step % self.snapshot_every == 0) | (step == self.last))

    def measured(self, name: str, step: np.ndarray) -> np.ndarray:
        """Whether a measure is taken at steps that are recorded."""
        return (step % (self.record_every * self.cadence[name]) == 0) | (step == self.last)


class Piece(NamedTuple):
    """What one call of the compiled block brought: its records, and where the descent now is.

    Args:
        carry: from what to go on.
        step: how many steps were taken; the record of this one is still due, unless `done`.
        done: whether the plan is.
        steps: those that were recorded.
        records: what was recorded.
        snapshot_steps: those whose parameters were kept.
        snapshots: those parameters.
    """

    carry: Carry
    step: int
    done: bool
    steps: np.ndarray
    records: Records
    snapshot_steps: np.ndarray
    snapshots: PyTree


def drive(
    call: Callable[[Carry, PyTree, Agenda], tuple[Carry, Records, PyTree]],
    carry: Carry,
    plan: Plan,
    order: Callable[[int, int], PyTree] | None,
    *,
    slots: int,
    axis: int,
    rows: int = ROWS,
    pace: Pace | None = None,
    still: Callable[[Carry], bool] = lambda carry: False,
    pause: int | None = None,
) -> Iterator[Piece]:
    """Run a plan block by block; each piece is complete when it is handed out.

    Args:
        call: `(carry, order, agenda) -> (carry, records, snapshots)`, a compiled block.
        carry: the run, or the slab of runs, at `plan.first`.
        plan: what to do.
        order: `(first, count) -> sample numbers` of mini-batches, or None for the whole set.
        slots: room for snapshots in a block.
        axis: where records stand in their arrays: 0 for one run, 1 for a slab.
        rows: mini-batches a block at most.
        pace: what earlier descents of the kind have shown about a block's time.
        still: whether nothing will move again; then the last record stands for those before it.
        pause: a step at which a block begins in any case.
    """
    pending = deque(plan.records().tolist())
    step, pace = plan.first, pace or Pace()
    limit = rows if order is not None else np.iinfo(np.int32).max
    resting = False
    while pending:
        if resting:
            due, step, count = [plan.last], plan.last, 1
        else:
            room = min(pace.steps, limit)
            if pause is not None and step < pause:
                room = min(room, pause - step)
            due, count = _due(pending, plan, step, room, slots)
        kept = [s for s in due if plan.is_snapshot(s)]
        samples = None if order is None else _rows(order, step, count, rows)
        started = time.perf_counter()
        agenda = _agenda(plan, step, count, due, slots)
        carry, records, snapshots = call(carry, samples, agenda)
        index = np.arange(len(due))
        records = jax.tree.map(lambda a, i=index: np.take(np.asarray(a), i, axis), records)
        shots = None
        if kept:
            full = np.arange(len(kept))
            shots = jax.tree.map(lambda a, i=full: np.take(np.asarray(a), i, axis), snapshots)
        pace.learn(count, time.perf_counter() - started)
        if resting:
            due = list(pending)
            kept = [s for s in due if plan.is_snapshot(s)]
            records, shots = _repeated(plan, due, kept, records, shots, axis)
        for _ in due:
            pending.popleft()
        step = min(step + count, plan.last)
        resting = still(carry)
        yield Piece(
            carry,
            step,
            not pending,
            np.array(due, int),
            records,
            np.array(kept, int),
            shots,
        )


def _due(pending, plan, step, room, slots):
    """The records of the block that begins at `step`, and how many steps it has."""
    due, kept = [], 0
    for target in pending:
        kept += bool(plan.is_snapshot(target))
        if target - step >= room or len(due) == RECORDS or kept > slots:
            # What there is no room for is due in a later block.
            return due, min(room, target - step)
        due.append(target)
    return due, plan.last - step + 1


def _repeated(plan, due, kept, records, shots, axis):
    """Records and snapshots of runs that move no more: the last ones, again and again."""

    def again(array, times):
        return np.repeat(array, times, axis)

    steps = np.array(due, int)
    records = jax.tree.map(lambda a: again(a, len(due)), records)
    measures = {
        name: np.where(plan.measured(name, steps), values, np.nan).astype(values.dtype)
        for name, values in records.measures.items()
    }
    shots = jax.tree.map(lambda a: again(a, len(kept)), shots)
    return records._replace(measures=measures), shots


def example(plan: Plan, order: Callable | None, rows: int = ROWS) -> tuple[Agenda, PyTree]:
    """Agenda and mini-batch rows of a block that does nothing: what a program is compiled for."""
    agenda = _agenda(plan, plan.first, 0, [], 0)
    return agenda, None if order is None else _rows(order, 0, 1, rows)


def _rows(order, first, count, most):
    """Sample numbers of batches `first`.., padded to the number of rows that the program takes."""
    rows = order(first, count)
    spare = [(0, 0)] * (rows.ndim - 2)
    return np.pad(rows, [*spare, (0, most - count), (0, 0)])


def _agenda(plan, first, count, due, slots):
    def padded(values, fill, dtype):
        values = np.asarray(values, dtype)
        return np.pad(values, (0, RECORDS - len(values)), constant_values=fill)

    steps = np.asarray(due, int)
    keep = np.asarray(plan.is_snapshot(steps))
    slot = np.where(keep, np.cumsum(keep) - 1, slots)
    return Agenda(
        first=np.asarray(first, np.int32),
        count=np.asarray(count, np.int32),
        last=np.asarray(plan.last, np.int32),
        step=padded(steps, -1, np.int32),
        slot=padded(slot, slots, np.int32),
        measured={name: padded(plan.measured(name, steps), False, bool) for name in plan.cadence},
    )


def order_rows(order: Order | None) -> Callable[[int, int], np.ndarray] | None:
    """Rows of a single shared stream, for `drive`."""
    return None if order is None else lambda first, count: order.rows(first, count)[0]


def slots_for(params: PyTree, *, runs: int, plan: Plan) -> int:
    """Room for snapshots in a block: as many as its memory takes, and no more than there are."""
    size = runs * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    wanted = int(plan.is_snapshot(plan.records()).sum())
    return max(1, min(RECORDS, SNAPSHOT_BYTES // size, wanted))
