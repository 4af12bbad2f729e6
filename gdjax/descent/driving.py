"""A descent from Python: compiled blocks of steps, one after another, until its plan is done.

    plan -> ticks of a block -> (carry, records, snapshots) -> a piece,   again and again

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
from gdjax.descent.block import Carry, Records, Ticks

TICKS = 128  # records a block at most
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
    pace: Pace | None = None,
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
        pace: what earlier descents of the kind have shown about a block's time.
        still: whether nothing will move again; then what is left is recorded without steps.
    """
    pending = deque(plan.records().tolist())
    step, pace = plan.first, pace or Pace()
    moves = False  # the first tick only evaluates: a continuation may have another cost or order
    resting = False
    limit = rows if order is not None else np.iinfo(np.int32).max
    while pending:
        ticks, recorded, kept, spent, base = [], [], [], 0, step - 1
        room = min(pace.steps, limit)
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
        pace.learn(spent, time.perf_counter() - started)
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
