"""The loop over compiled blocks, for a descent and for each slab of a sweep.

    for each block:  carry, records, arrays = block(carry, order, chunks)

A block lasts a fraction of a second. Progress, Ctrl-C and checkpoints are handled between blocks.
Results are bitwise independent of where blocks end.
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
from gdjax.descent.block import SNAPSHOTS, Carry, Chunks, Records

MAX_CHUNK_STEPS = 32  # maximum number of steps of a chunk on an accelerator
MIN_BLOCK_RECORDS = 128  # minimum number of rows of a block's records, even for fewer records
MAX_BLOCK_RECORDS = 1024  # maximum number of rows of a block's records
MAX_SLAB_RECORDS = 2**16  # approximate maximum of the number of rows times that of runs per device
MAX_BLOCK_BATCHES = 2048  # maximum number of mini-batches of a block
MAX_BUFFER_BYTES = 2**26  # maximum memory of a block's snapshots, or of one of its array metrics
BLOCK_SECONDS = 0.25  # target duration of a block


@dataclass
class BlockLengthController:
    """Number of steps of a block, adapted to the durations of earlier blocks.

    The number of steps does not affect results.
    """

    num_steps: int = 16
    target_seconds: float = BLOCK_SECONDS

    def update(self, num_steps: int, seconds: float) -> None:
        """Double the number of steps after a short block, and halve it after a long one."""
        if seconds < self.target_seconds / 2:
            self.num_steps = max(self.num_steps, 2 * num_steps)
        elif seconds > 2 * self.target_seconds:
            self.num_steps = max(1, num_steps // 2)


class RecordSchedule(NamedTuple):
    """Recorded steps of a descent, and the records that have snapshots and metrics."""

    first: int
    num_steps: int
    record_every: int
    snapshot_every: int | None
    metric_every: Mapping[str, int]
    first_is_recorded: bool = False

    @property
    def last(self) -> int:
        """The last step, which evaluates the cost without an update."""
        return self.first + self.num_steps

    def recorded_steps(self) -> np.ndarray:
        """Return the recorded steps: the multiples of `record_every`, and the last step.

        The first step is omitted if it has already been recorded.
        """
        every = self.record_every
        steps = np.arange(-(-self.first // every) * every, self.last + 1, every)
        steps = steps[steps > self.first] if self.first_is_recorded else steps
        return steps if len(steps) and steps[-1] == self.last else np.append(steps, self.last)

    def is_kept(self, name: str, step: np.ndarray) -> np.ndarray:
        """Return whether recorded steps have snapshots, or a value of a metric."""
        if name != SNAPSHOTS:
            every = self.record_every * self.metric_every[name]
        elif self.snapshot_every is not None:
            every = self.snapshot_every
        else:
            return np.zeros(step.shape, bool)
        return np.asarray((step % every == 0) | (step == self.last))


class BlockCapacity(NamedTuple):
    """Numbers of rows of the arrays of a block, for which it is compiled."""

    records: int
    buffers: Mapping[str, int]
    batches: int = MAX_BLOCK_BATCHES
    chunk_steps: int | None = None


class RecordedArrays(NamedTuple):
    """Snapshots or values of an array metric, with their steps."""

    steps: np.ndarray
    values: PyTree


class BlockResult(NamedTuple):
    """Records of one block, and the carry after it.

    Args:
        carry: carry from which the descent continues.
        num_steps: number of steps taken so far. A record at this step is still due, unless
            `is_last`.
        is_last: whether the descent is finished.
        recorded_steps: steps of the records.
        records: values of the records.
        arrays: new snapshots and values of array metrics, by name; empty ones are omitted.
    """

    carry: Carry
    num_steps: int
    is_last: bool
    recorded_steps: np.ndarray
    records: Records
    arrays: Mapping[str, RecordedArrays]


def run_blocks(
    block: Callable[[Carry, PyTree, Chunks], tuple[Carry, Records, PyTree]],
    carry: Carry,
    schedule: RecordSchedule,
    order: Callable[[int, int], PyTree] | None,
    *,
    capacity: BlockCapacity,
    run_axis: bool,
    controller: BlockLengthController | None = None,
    stops_early: bool = False,
    pause_at: int | None = None,
    before_last: Callable[[Carry], None] | None = None,
) -> Iterator[BlockResult]:
    """Run a descent block by block, and yield the result of each block.

    Args:
        block: compiled function `(carry, order, chunks) -> (carry, records, buffers)`.
        carry: carry of the run, or of the slab of runs, at `schedule.first`.
        schedule: steps to take and steps to record.
        order: function `(first, count) -> sample indices` of mini-batches; None uses the whole
            training set.
        capacity: numbers of rows of the arrays of a block.
        run_axis: whether the leading axis of arrays indexes the runs.
        controller: controller of the number of steps of a block, which can be reused for the next
            descent; None for a new one.
        stops_early: whether, once all runs have stopped, to evaluate only the last step and repeat
            its record for the remaining records.
        pause_at: step at which a new block begins.
        before_last: function called with the carry before the last step is evaluated.
    """
    pending = deque(schedule.recorded_steps().tolist())
    step, controller = schedule.first, controller or BlockLengthController()
    max_batches = capacity.batches if order is not None else np.iinfo(np.int32).max
    pause_at = schedule.last if before_last is not None else pause_at
    axis, stopped = int(run_axis), False
    while pending:
        if stopped:
            step, parts = schedule.last, [(schedule.last, 0, True)]
        else:
            limit = min(controller.num_steps, max_batches)
            if pause_at is not None and step < pause_at:
                limit = min(limit, pause_at - step)
            parts = _next_chunks(pending, schedule, step, limit, capacity)
        due = [first for first, _, is_due in parts if is_due]
        num_steps = sum(count or 1 for _, count, _ in parts)
        rows = None if order is None else _padded_rows(order, step, num_steps, capacity.batches)
        if before_last is not None and step == schedule.last:
            before_last(carry)
        started = time.perf_counter()
        carry, records, buffers = block(carry, rows, _padded_chunks(schedule, parts, capacity))
        records = _rows(records, np.flatnonzero([is_due for *_, is_due in parts]), axis)
        arrays = {}
        for name in capacity.buffers:
            steps = _kept_steps(schedule, name, due)
            if len(steps):
                values = _rows(buffers[name], np.arange(len(steps)), axis)
                arrays[name] = RecordedArrays(steps, values)
        controller.update(num_steps, time.perf_counter() - started)
        if stopped:
            due = list(pending)
            records, arrays = _repeated(schedule, due, records, arrays, axis)
        for _ in due:
            pending.popleft()
        step = min(step + num_steps, schedule.last)
        ended_at = np.maximum(carry.state.diverged_at, carry.stopped_at)
        stopped = stops_early and bool(np.all(ended_at >= 0))
        yield BlockResult(carry, step, not pending, np.array(due, int), records, arrays)


def _rows(tree, index, axis):
    """Return rows of arrays, on the host."""
    return jax.tree.map(lambda a: np.take(np.asarray(a), index, axis), tree)


def _kept_steps(schedule, name, due):
    steps = np.array(due, int)
    return steps[schedule.is_kept(name, steps)]


def _next_chunks(pending, schedule, step, limit, capacity):
    """Return the chunks of the block that begins at `step`: (first, count, is_due) of each."""
    chunks, counts = [], dict.fromkeys(capacity.buffers, 0)
    targets, end = iter(pending), step + limit
    target = next(targets)
    while step < end and len(chunks) < capacity.records:
        is_due = step == target
        if is_due:
            for name in counts:
                counts[name] += bool(schedule.is_kept(name, np.asarray(target)))
            if any(counts[name] > rows for name, rows in capacity.buffers.items()):
                break  # the remaining records are due in a later block
            target = next(targets, None)
        if target is None:
            chunks.append((step, 0, is_due))  # the last step only evaluates the cost
            break
        count = min(target, end, step + (capacity.chunk_steps or limit)) - step
        chunks.append((step, count, is_due))
        step += count
    return chunks


def _repeated(schedule, due, records, arrays, axis):
    """Return the last record and arrays, repeated for all remaining records."""

    def repeat(tree, times):
        return jax.tree.map(lambda array: np.repeat(array, times, axis), tree)

    steps = np.array(due, int)
    records = repeat(records, len(due))
    metrics = {
        name: np.where(schedule.is_kept(name, steps), values, np.nan).astype(values.dtype)
        for name, values in records.metrics.items()
    }
    kept_steps = {name: _kept_steps(schedule, name, due) for name in arrays}
    arrays = {
        name: RecordedArrays(at, repeat(arrays[name].values, len(at)))
        for name, at in kept_steps.items()
    }
    return records._replace(metrics=metrics), arrays


def example_inputs(
    schedule: RecordSchedule, order: Callable | None, capacity: BlockCapacity
) -> tuple[Chunks, PyTree]:
    """Return chunks and sample indices of a block without steps, for compilation."""
    rows = None if order is None else _padded_rows(order, 0, 1, capacity.batches)
    return _padded_chunks(schedule, [], capacity), rows


def block_inputs(
    schedule: RecordSchedule,
    pending: deque[int],
    order: Callable | None,
    num_steps: int,
    capacity: BlockCapacity,
) -> tuple[Chunks, PyTree]:
    """Return chunks and sample indices of a first block that measures no metrics."""
    parts = _next_chunks(pending, schedule, schedule.first, num_steps, capacity)
    count = sum(count or 1 for _, count, _ in parts)
    rows = None if order is None else _padded_rows(order, schedule.first, count, capacity.batches)
    chunks = _padded_chunks(schedule, parts, capacity)
    unmeasured = {name: np.zeros_like(due) for name, due in chunks.is_measured.items()}
    return chunks._replace(is_measured=unmeasured), rows


def _padded_rows(order, first, count, batches):
    """Return the sample indices of `count` batches, padded to `batches` rows."""
    rows = order(first, count)
    spare = [(0, 0)] * (rows.ndim - 2)
    return np.pad(rows, [*spare, (0, batches - count), (0, 0)])


def _padded_chunks(schedule, chunks, capacity):
    """Return the chunks of a block as arrays with a row for each possible chunk."""
    table = np.full((3, capacity.records), -1, np.int32)
    table[:, : len(chunks)] = np.reshape(np.array(chunks, np.int32), (-1, 3)).T
    first, count, is_due = table[0], table[1], table[2] > 0
    names = {*capacity.buffers, *schedule.metric_every}
    kept = {name: is_due & schedule.is_kept(name, first) for name in names}
    return Chunks(
        first=first,
        count=count,
        batch=first - first[0],
        record=(is_due + (is_due & (first == schedule.last)).astype(np.int32)),
        is_measured={name: kept[name] for name in schedule.metric_every},
        buffer_index={n: (np.cumsum(kept[n]) - kept[n]).astype(np.int32) for n in capacity.buffers},
    )


def chunk_steps(record_every: int, platform: str) -> int | None:
    """Return the number of steps of a chunk that a block is compiled for; None for any number.

    Examples:
        >>> [chunk_steps(every, "gpu") for every in (1, 30, 100, 997)]
        [1, 30, 25, 32]
        >>> [chunk_steps(every, "cpu") for every in (1, 30)]
        [1, None]
    """
    if platform == "cpu" and record_every > 1:
        return None
    parts = -(-record_every // MAX_CHUNK_STEPS)
    return -(-record_every // parts)


def shared_order(order: Order) -> Callable[[int, int], np.ndarray]:
    """Return the function `order` of `run_blocks` for a single stream."""
    return lambda first, count: order.rows(first, count)[0]


def record_capacity(schedule: RecordSchedule, runs: int) -> int:
    """Return the number of rows for a block's records, limited by memory.

    It is a power of two, so that a few more steps need no new compilation.
    """
    records = len(schedule.recorded_steps())
    limit = min(MAX_BLOCK_RECORDS, MAX_SLAB_RECORDS // runs, records)
    return max(MIN_BLOCK_RECORDS, 2 ** max(limit - 1, 1).bit_length())


def buffer_capacity(
    params: PyTree, arrays: Mapping[str, PyTree], *, runs: int, schedule: RecordSchedule
) -> dict[str, int]:
    """Return the number of rows of each buffer of a block, limited by memory."""
    snapshots = {SNAPSHOTS: params} if schedule.snapshot_every is not None else {}
    rows = {}
    for name, tree in {**snapshots, **arrays}.items():
        leaves = jax.tree.leaves(tree)
        size = runs * sum(math.prod(a.shape) * a.dtype.itemsize for a in leaves)
        needed = int(schedule.is_kept(name, schedule.recorded_steps()).sum())
        rows[name] = max(1, min(MIN_BLOCK_RECORDS, MAX_BUFFER_BYTES // size, needed))
    return rows
