"""A descent from Python: compiled blocks of steps, one after another, until its plan is done.

    plan -> agenda of a block -> (carry, records, what is kept) -> a piece,   again and again

Blocks are made to last a fraction of a second, so that progress, Ctrl-C and saving come between
them; where they end changes no bit of the results.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.descent.batches import Order
from gdjax.descent.block import SNAPSHOTS, Agenda, Carry, Records

RECORDS = 128  # records that a block has room for at least,
MOST_RECORDS = 1024  # and at most, where there are as many,
SLAB_RECORDS = 2**16  # and so few runs
ROWS = 2048  # mini-batches a block at most
KEPT_BYTES = 2**26  # memory for the snapshots of one block, and for those of a measure's arrays
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
        due = (step % (self.record_every * self.cadence[name]) == 0) | (step == self.last)
        return np.asarray(due)

    def keeps(self, name: str, step: np.ndarray) -> np.ndarray:
        """Whether a snapshot, or a measure that is an array, is kept at steps that are recorded."""
        return self.is_snapshot(step) if name == SNAPSHOTS else self.measured(name, step)


class Kept(NamedTuple):
    """Snapshots, or values of a measure that is an array: at which steps, and what."""

    steps: np.ndarray
    values: PyTree


class Piece(NamedTuple):
    """What one call of the compiled block brought: its records, and where the descent now is.

    Args:
        carry: from what to go on.
        step: how many steps were taken; the record of this one is still due, unless `done`.
        done: whether the plan is.
        steps: those that were recorded.
        records: what was recorded.
        kept: snapshots and measures that are arrays, by name; none of which there are no new ones.
    """

    carry: Carry
    step: int
    done: bool
    steps: np.ndarray
    records: Records
    kept: Mapping[str, Kept]


def drive(
    call: Callable[[Carry, PyTree, Agenda], tuple[Carry, Records, PyTree]],
    carry: Carry,
    plan: Plan,
    order: Callable[[int, int], PyTree] | None,
    *,
    slots: Mapping[str, int],
    axis: int,
    room: int = RECORDS,
    rows: int = ROWS,
    pace: Pace | None = None,
    still: Callable[[Carry], bool] = lambda carry: False,
    pause: int | None = None,
) -> Iterator[Piece]:
    """Run a plan block by block; each piece is complete when it is handed out.

    Args:
        call: `(carry, order, agenda) -> (carry, records, kept)`, a compiled block.
        carry: the run, or the slab of runs, at `plan.first`.
        plan: what to do.
        order: `(first, count) -> sample numbers` of mini-batches, or None for the whole set.
        slots: room in a block for what is kept, by name.
        axis: where records stand in their arrays: 0 for one run, 1 for a slab.
        room: records of a block at most, as for `example`.
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
            most = min(pace.steps, limit)
            if pause is not None and step < pause:
                most = min(most, pause - step)
            due, count = _due(pending, plan, step, most, room, slots)
        samples = None if order is None else _rows(order, step, count, rows)
        started = time.perf_counter()
        agenda = _agenda(plan, step, count, due, room, slots)
        carry, records, arrays = call(carry, samples, agenda)
        records = _first(records, len(due), axis)
        kept = {}
        for name in slots:
            steps = _kept(plan, name, due)
            if len(steps):
                kept[name] = Kept(steps, _first(arrays[name], len(steps), axis))
        pace.learn(count, time.perf_counter() - started)
        if resting:
            due = list(pending)
            records, kept = _repeated(plan, due, records, kept, axis)
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
            kept,
        )


def _first(tree, count, axis):
    """The first rows of arrays, on the host."""
    return jax.tree.map(lambda a: np.take(np.asarray(a), np.arange(count), axis), tree)


def _kept(plan, name, due):
    steps = np.array(due, int)
    return steps[plan.keeps(name, steps)]


def _due(pending, plan, step, most, room, slots):
    """The records of the block that begins at `step`, and how many steps it has, at most `most`."""
    due, kept = [], dict.fromkeys(slots, 0)
    for target in pending:
        for name in slots:
            kept[name] += bool(plan.keeps(name, np.asarray(target)))
        full = any(kept[name] > slot for name, slot in slots.items())
        if target - step >= most or len(due) == room or full:
            # What there is no room for is due in a later block.
            return due, min(most, target - step)
        due.append(target)
    return due, plan.last - step + 1


def _repeated(plan, due, records, kept, axis):
    """Records, and what is kept, of runs that move no more: the last ones, again and again."""

    def again(tree, times):
        return jax.tree.map(lambda array: np.repeat(array, times, axis), tree)

    steps = np.array(due, int)
    records = again(records, len(due))
    measures = {
        name: np.where(plan.measured(name, steps), values, np.nan).astype(values.dtype)
        for name, values in records.measures.items()
    }
    late = {name: _kept(plan, name, due) for name in kept}
    arrays = {name: Kept(at, again(kept[name].values, len(at))) for name, at in late.items()}
    return records._replace(measures=measures), arrays


def example(
    plan: Plan, order: Callable | None, slots: Mapping[str, int], room: int, rows: int = ROWS
) -> tuple[Agenda, PyTree]:
    """Agenda and mini-batch rows of a block that does nothing: what a program is compiled for."""
    agenda = _agenda(plan, plan.first, 0, [], room, slots)
    return agenda, None if order is None else _rows(order, 0, 1, rows)


def _rows(order, first, count, most):
    """Sample numbers of batches `first`.., padded to the number of rows that the program takes."""
    rows = order(first, count)
    spare = [(0, 0)] * (rows.ndim - 2)
    return np.pad(rows, [*spare, (0, most - count), (0, 0)])


def _agenda(plan, first, count, due, room, slots):
    def padded(values, fill, dtype):
        values = np.asarray(values, dtype)
        return np.pad(values, (0, room - len(values)), constant_values=fill)

    steps = np.asarray(due, int)

    def slot(name, spare):
        keep = np.asarray(plan.keeps(name, steps))
        return padded(np.where(keep, np.cumsum(keep) - 1, spare), spare, np.int32)

    return Agenda(
        first=np.asarray(first, np.int32),
        count=np.asarray(count, np.int32),
        last=np.asarray(plan.last, np.int32),
        step=padded(steps, -1, np.int32),
        slot={name: slot(name, spare) for name, spare in slots.items()},
        measured={name: padded(plan.measured(name, steps), False, bool) for name in plan.cadence},
    )


def order_rows(order: Order | None) -> Callable[[int, int], np.ndarray] | None:
    """Rows of a single shared stream, for `drive`."""
    return None if order is None else lambda first, count: order.rows(first, count)[0]


def room_for(plan: Plan, runs: int) -> int:
    """Records that a block has room for: as many as there are, and as its memory takes.

    A power of two, so that a few steps more need no other program.

    Args:
        plan: what is recorded when.
        runs: that a device computes at a time.
    """
    most = min(MOST_RECORDS, SLAB_RECORDS // runs, len(plan.records()))
    return max(RECORDS, 2 ** max(most - 1, 1).bit_length())


def slots_for(
    params: PyTree, arrays: Mapping[str, PyTree], *, runs: int, plan: Plan
) -> dict[str, int]:
    """Room in a block for what is kept: as much as its memory takes, and no more than there is.

    Args:
        params: of a snapshot, where the plan has any.
        arrays: what measures that are arrays give, by name, as shapes.
        runs: that a device computes at a time.
        plan: what is kept when.
    """
    kept = {SNAPSHOTS: params} if plan.snapshot_every is not None else {}
    slots = {}
    for name, tree in {**kept, **arrays}.items():
        leaves = jax.tree.leaves(tree)
        size = runs * sum(math.prod(a.shape) * a.dtype.itemsize for a in leaves)
        wanted = int(plan.keeps(name, plan.records()).sum())
        slots[name] = max(1, min(RECORDS, KEPT_BYTES // size, wanted))
    return slots
