"""One tile of a sweep: a box of the grid of runs, computed as one slab.

    tile (i, j) = runs [i m : (i + 1) m] x [j n : (j + 1) n],   m n <= width * devices

Every tile runs the same compiled program. A box at the edge of the grid is filled up with copies of
its last run, which are cropped when the tile is written.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop
from gdjax.stores.schema import Layout
from gdjax.sweeps import arrays, collected
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.branching import branched
from gdjax.sweeps.collected import Collected, from_host, joined, split, to_host
from gdjax.sweeps.inputs import Inputs, beginning
from gdjax.sweeps.outputs import variables
from gdjax.sweeps.specification import Specification

SAVE_SECONDS = 30.0  # how often a tile that takes longer saves its state


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """All that is needed to compute any tile of a sweep.

    Args:
        sweep: what is swept.
        slab: width and devices.
        box: length of a tile along each dimension of the grid.
        earlier: state of some runs of a smaller sweep, by position, that this one extends: what
            `Collected.packed` gives, or None.
    """

    sweep: Specification
    slab: slabs.Slab
    box: tuple[int, ...]
    earlier: Callable[["Work", tuple[np.ndarray, ...]], Any] | None = None

    @cached_property
    def inputs(self) -> Inputs:
        """What its runs are given."""
        return Inputs(self.sweep, self.slab)

    @property
    def free(self) -> bool:
        """Whether a record is what its step computes anyway."""
        return self.sweep.block_config.record_equals_step

    @property
    def plan(self) -> block_loop.RecordSchedule:
        """Steps and records."""
        return self.sweep.plan

    @cached_property
    def capacity(self) -> block_loop.BlockCapacity:
        """Rows of the arrays of a block."""
        schedule, runs, form = self.plan, self.slab.width, self.sweep.form
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                form.params, form.measured, runs=runs, schedule=schedule
            ),
            batches=self.inputs.rows,
        )

    def memory(self) -> slabs.Bytes:
        """What a slab needs on each of its devices. Compiles the program, and what begins runs."""
        self._begin.ahead(*self._started)
        return self.program.bytes(*self._example)

    def program_hash(self) -> str:
        """Hash of the lowered program, 16 hex digits."""
        return self.program.hash(*self._example)

    @property
    def _values(self):
        """Values of the first tile's runs, by axis."""
        return self.sweep.axes.values(self.positions(tuple(0 for _ in self.box)))

    @cached_property
    def _started(self):
        """Arguments of the program that begins runs, for the first tile; data without memory."""
        shared = self.slab.shapes(self.inputs.on_host, slabs.SHARED)
        return *self.inputs.placed(self._values), shared

    @cached_property
    def _example(self):
        """Arguments of the program for the first tile, large ones without their memory."""
        given = self.inputs
        _, settings, shared = self._started
        carry = jax.eval_shape(self._begin.jitted, *self._started)
        schedule, _ = block_loop.example_inputs(self.plan, None, self.capacity)
        settings, noise = slabs.shapes((settings, given.noise(self._values)))
        carry = self.slab.shapes(carry, slabs.RUNS)
        return carry, settings, given.samples(), noise, shared, schedule

    def positions(self, tile: tuple[int, ...], number: int = 0) -> tuple[np.ndarray, ...]:
        """For each slot of a tile's slab, where in the grid its run stands."""
        first = number * self.slab.runs
        slot = np.minimum(np.arange(first, first + self.slab.runs), math.prod(self.box) - 1)
        within = np.unravel_index(slot, self.box)
        return tuple(
            np.minimum(i * length + w, size - 1)
            for i, length, w, size in zip(
                tile, self.box, within, self.sweep.axes.shape, strict=True
            )
        )

    @cached_property
    def _begin(self) -> slabs.Program:
        inits = tuple(block.metric_inits(self.sweep.watched).items())
        problem = self.sweep.problem
        return beginning(
            problem.init, problem.stateful, self.sweep.make_optimizer, inits, self.slab
        )

    @cached_property
    def program(self) -> slabs.Program:
        """The compiled block of steps that all tiles share."""
        buffers = tuple(self.capacity.buffers.items())
        config = self.sweep.block_config._replace(buffers=buffers)
        inputs = self.inputs
        return block.block_program(config, self.slab, inputs.own_order, inputs.own_noise)

    @cached_property
    def _controller(self):
        """Number of steps of a block, kept from tile to tile."""
        return block_loop.BlockLengthController()

    @cached_property
    def carry(self) -> PyTree:
        """Shapes and types of all that one run carries from step to step."""
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), self._example[0])

    def carry_at(self, positions: tuple[np.ndarray, ...], step: int) -> list[np.ndarray]:
        """The carries of a slab of runs before a step, on the host."""
        values = self.sweep.axes.values(positions)
        if step == 0:
            carry = self._begin(*self.inputs.placed(values), self.inputs.shared)
        else:
            pieces = self.pieces(values, pause=step)
            carry = next(piece.carry for piece in pieces if piece.num_steps == step)
        return [to_host(a) for a in jax.tree.leaves(carry)]

    def _origin(self, values):
        """Carries to go on from and their step; None for runs that begin at their own start."""
        what = self.sweep
        if what.trunk is not None:
            return branched(what, values, self._trunk, self.carry), what.since
        return None

    @cached_property
    def _trunk(self) -> list[np.ndarray]:
        """What the run carries that is branched from."""
        what = self.sweep.of_trunk
        dims = len(what.axes.shape)
        trunk = dataclasses.replace(self, sweep=what, box=(1,) * dims)
        leaves = trunk.carry_at((np.zeros(self.slab.runs, int),) * dims, self.sweep.since)
        return [np.asarray(leaf[0]) for leaf in leaves]

    def pieces(
        self,
        values: Mapping[str, np.ndarray],
        saved: tuple[list[np.ndarray], int] | None = None,
        *,
        pause: int | None = None,
        ends: Callable[[PyTree], None] | None = None,
    ) -> Iterator[block_loop.BlockResult]:
        """Descend a slab of runs, piece by piece.

        Args:
            values: of the runs, by axis.
            saved: carries and their step; None begins at the start.
            pause: a step at which a block begins in any case.
            ends: called with the carry before the last step is evaluated.
        """
        given = self.inputs
        keys, settings = given.placed(values)
        noise = given.noise(values)
        carry = self._begin(keys, settings, given.shared)
        plan = self.plan
        if saved is not None:
            leaves, first = saved
            carry = jax.tree.unflatten(
                jax.tree.structure(carry),
                [
                    from_host(a, like)
                    for a, like in zip(leaves, jax.tree.leaves(carry), strict=True)
                ],
            )
            carry = self.slab.place(carry)
            plan = plan._replace(first=first, num_steps=plan.last - first)
        place = self.slab.place if given.own_order else (lambda rows: rows)

        def run_block(carry, rows, schedule):
            return self.program(carry, settings, place(rows), noise, given.shared, schedule)

        yield from block_loop.run_blocks(
            run_block,
            carry,
            plan,
            given.order(values),
            capacity=self.capacity,
            run_axis=True,
            controller=self._controller,
            stops_early=self.sweep.stop_when_converged,
            pause_at=pause,
            before_last=ends,
        )

    @property
    def slabs(self) -> int:
        """Slabs of a tile, computed one after another."""
        return -(-math.prod(self.box) // self.slab.runs)

    def compute(
        self,
        tile: tuple[int, ...],
        *,
        load: Callable = lambda: None,
        save: Callable = lambda arrays, meta: None,
        watch: Callable[[float], None] = lambda share: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, np.ndarray] | None:
        """All variables of a tile, of the tile's full shape; None if it was stopped.

        Args:
            tile: its index along each dimension.
            load: what `save` kept of this tile, or None.
            save: as for `descend`.
            watch: is told which share of the tile is done.
            stop: asked after every piece.
        """
        done, begun = split(load(), self.layout().run_shapes, self.slab.runs, self.slabs)
        saved_at = time.monotonic()
        while len(done) < self.slabs:
            number = len(done)
            found = self.descend(
                self.positions(tile, number),
                load=lambda begun=begun: begun,
                save=lambda arrays, meta, number=number: save(
                    joined(done) | arrays, {**meta, "slabs": number}
                ),
                watch=lambda piece, number=number: watch(
                    (number + piece.num_steps / max(self.plan.last, 1)) / self.slabs
                ),
                stop=stop,
            )
            if found is None:
                return None
            done.append(found)
            begun = None
            if len(done) == self.slabs:
                break
            stopping = stop()
            if stopping or time.monotonic() - saved_at > SAVE_SECONDS:
                save(joined(done), {"slabs": len(done)})
                saved_at = time.monotonic()
            if stopping:
                return None
        count = math.prod(self.box)
        return {
            name: a[:count].reshape(*self.box, *a.shape[1:])
            for name, a in joined(done, prefix="").items()
        }

    def descend(
        self,
        positions: tuple[np.ndarray, ...],
        *,
        load: Callable = lambda: None,
        save: Callable = lambda arrays, meta: None,
        watch: Callable[[block_loop.BlockResult], None] = lambda piece: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, np.ndarray] | None:
        """All variables of a slab of runs, [runs, ...]; None if it was stopped.

        Args:
            positions: where in the grid each run stands, one array a dimension.
            load: what `save` kept of these runs, or None.
            save: keeps arrays and numbers from which the descent can be continued; called every
                30 s and when it is stopped.
            watch: is shown every piece.
            stop: asked after every piece.
        """
        kept = load()
        kept = kept if kept is not None and self.fits(kept) else None
        if kept is None and self.earlier is not None:
            kept = self.earlier(self, positions)
        done = Collected(kept, since=self.sweep.since)
        values = self.sweep.axes.values(positions)
        saved = self._origin(values) if done.saved is None else done.saved
        ends = done.end if self.sweep.continuable else None
        saved_at = time.monotonic()
        for piece in self.pieces(values, saved, ends=ends):
            done.add(piece)
            watch(piece)
            if piece.is_last:
                break
            stopping = stop()
            if stopping or time.monotonic() - saved_at > SAVE_SECONDS:
                save(*done.packed())
                saved_at = time.monotonic()
            if stopping:
                return None
        form = self.sweep.form
        return variables(self.sweep, done, form.params, form.measured, free=self.free)

    def fits(self, kept) -> bool:
        """Whether a checkpoint, which may be a stranger's, is one of this sweep."""
        _, records, arrays = jax.eval_shape(self.program.jitted, *self._example)
        return collected.fits(kept, self.plan, self._example[0], records, arrays, self.sweep.since)

    def layout(self, axes: Axes | None = None, since: int | None = None) -> Layout:
        """Return the arrays of the sweep, with their names, units and coordinates.

        Args:
            axes: those of a larger sweep of which this one is the part of one program.
            since: step at which its records begin.
        """
        rows = self.inputs.on_host.rows
        return arrays.layout(
            self.sweep.axes if axes is None else axes,
            self.box,
            self.plan,
            *self.sweep.form.begun.shapes,
            self.sweep.watched,
            self.sweep.form.measured,
            free=self.free,
            samples=self.sweep.record_samples,
            batches=None if rows is None else rows.shape,
            since=self.sweep.since if since is None else since,
            carry=self.carry if self.sweep.continuable else None,
        )
