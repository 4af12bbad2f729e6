"""Slab programs: compiled programs, inputs of each run, and the resulting arrays.

    run (seed, data_seed, noise_seed, settings) -> keys from streams of the root seed, numbers

All slabs of a program run the same compiled block. The inputs of a run depend only on its settings,
not on those of other runs in the slab. A tile is a box of the grid. Tiles at the edge of the grid
are padded with copies of their last runs, which are cropped when the tile is written.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop
from gdjax.descent.batches import Order
from gdjax.keys import key_type, streams
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to
from gdjax.sweeps import checkpoint, dataset
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.binding import by_role, numeric_roles
from gdjax.sweeps.checkpoint import SlabCheckpoint
from gdjax.sweeps.spec import ProgramSpec

MAX_ORDER_NUMBERS = 2**22  # maximum number of sample indices per block, with separate orders

Positions = tuple[np.ndarray, ...]
"""Positions in the grid of the runs of a slab, one array per dimension."""

Values = Mapping[str, np.ndarray]
"""Values of the runs of a slab, by axis name."""


@dataclasses.dataclass(frozen=True, eq=False)
class SlabProgram:
    """Program of a sweep, for slabs of a fixed width.

    Args:
        spec: specification of the program.
        slab: width and devices of a slab.
        tile_shape: number of runs of a tile along each dimension of the grid.
        initial_carry: function `initial_carry(program, positions) -> SlabCheckpoint | None` that
            replaces the initial state of runs, for example by the state of a stored run; None for
            no replacement.
    """

    spec: ProgramSpec
    slab: slabs.Slab
    tile_shape: tuple[int, ...]
    initial_carry: Callable[["SlabProgram", Positions], SlabCheckpoint | None] | None = None

    @property
    def slabs_per_tile(self) -> int:
        """Number of slabs of a tile, computed one after another."""
        return -(-math.prod(self.tile_shape) // self.slab.runs)

    def positions(self, tile: tuple[int, ...], number: int = 0) -> Positions:
        """Return the positions in the grid of the runs of one slab of a tile."""
        first = number * self.slab.runs
        slot = np.arange(first, first + self.slab.runs)
        within = np.unravel_index(np.minimum(slot, math.prod(self.tile_shape) - 1), self.tile_shape)
        shape = self.spec.axes.shape
        return tuple(
            np.minimum(i * length + w, size - 1)
            for i, length, w, size in zip(tile, self.tile_shape, within, shape, strict=True)
        )

    # Inputs

    @property
    def has_own_order(self) -> bool:
        """Whether each run has a separate order of mini-batches."""
        return self.spec.batch_size is not None and "data_seed" in self.spec.roles

    @property
    def has_own_noise(self) -> bool:
        """Whether each run has separate random numbers in the cost."""
        roles = self.spec.roles.keys()
        return self.spec.problem.random and not roles.isdisjoint(("seed", "noise_seed"))

    @cached_property
    def host_arrays(self) -> block.Shared:
        """Arrays that all runs share, on the host."""
        spec = self.spec
        return block.shared_arrays(
            spec.problem,
            spec.metrics,
            spec.block_config,
            batch_size=spec.batch_size,
            record_samples=spec.sweep.record_samples,
        )

    @cached_property
    def shared(self) -> block.Shared:
        """Arrays that all runs share, on the devices."""
        return self.slab.share(jax.tree.map(jnp.asarray, self.host_arrays))

    def release(self) -> None:
        """Free the shared arrays on the devices; they are recreated if needed."""
        self.__dict__.pop("shared", None)

    @property
    def has_probes(self) -> bool:
        """Whether a metric has random keys."""
        metrics = self.spec.metrics.values()
        return any("key" in given_to(metric.function, GIVEN_TO_METRICS) for metric in metrics)

    def starts(self, values: Values) -> tuple[PyTree, PyTree]:
        """Return the initialization keys and the settings of a slab of runs."""
        seeds = values.get("seed", np.zeros(self.slab.runs, np.int64))
        keys = streams(self.spec.sweep.root_seed, seed=seeds)
        return self.slab.place((keys.init, self._settings(values, keys.probes)))

    def _settings(self, values, probes):
        roles = self.spec.roles
        numeric = {a: v for a, v in values.items() if a in numeric_roles(roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in numeric.items()}
        return {**by_role(roles, cast), **({"probes": probes} if self.has_probes else {})}

    def noise(self, values: Values) -> Key[Array, "*runs"] | None:
        """Return the keys of a random cost, one for all runs or per run; None if unused."""
        root_seed = self.spec.sweep.root_seed
        if not self.spec.problem.random:
            return None
        if not self.has_own_noise:
            return self.slab.share(streams(root_seed).noise)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        return self.slab.place(streams(root_seed, seed=seed, noise_seed=noise_seed).noise)

    @property
    def batch_capacity(self) -> int:
        """Maximum number of mini-batches of a block."""
        batch_size = self.spec.batch_size
        if batch_size is None or not self.has_own_order:
            return block_loop.MAX_BLOCK_BATCHES
        fitting = MAX_ORDER_NUMBERS // (self.slab.runs * batch_size)
        return min(max(fitting, 64), block_loop.MAX_BLOCK_BATCHES)

    def samples(self) -> jax.ShapeDtypeStruct | None:
        """Return the shape of the sample indices of a block; None for all samples."""
        if self.spec.batch_size is None:
            return None
        run_shape = (self.slab.runs,) if self.has_own_order else ()
        sharding = self.slab.sharding(slabs.RUNS) if self.has_own_order else None
        shape = (*run_shape, self.batch_capacity, self.spec.batch_size)
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Return the function that gives `run_blocks` the indices of mini-batches."""
        batch_size, samples = self.spec.batch_size, self.spec.problem.samples
        root_seed, replacement = self.spec.sweep.root_seed, self.spec.sweep.replacement
        if batch_size is None:
            return None
        if not self.has_own_order:
            keys = (streams(root_seed).order,)
            order = Order(keys, samples, batch_size, replacement=replacement)
            return block_loop.shared_order(order)
        seeds, stream = np.unique(values["data_seed"], return_inverse=True)
        keys = list(streams(root_seed, data_seed=seeds).order)
        order = Order(keys, samples, batch_size, replacement=replacement)
        return lambda first, count: order.rows(first, count)[stream]

    # Compiled programs

    @cached_property
    def capacity(self) -> block_loop.BlockCapacity:
        """Capacities of the arrays of a block."""
        schedule, runs, shapes = self.spec.schedule, self.slab.width, self.spec.shapes
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                shapes.params, shapes.array_metrics, runs=runs, schedule=schedule
            ),
            batches=self.batch_capacity,
            chunk_steps=block_loop.chunk_steps(
                schedule.record_every, self.slab.devices[0].platform
            ),
        )

    @cached_property
    def start_program(self) -> slabs.Program:
        """Program that maps keys, settings and shared arrays to initial carries."""
        problem = self.spec.problem
        inits = tuple(block.metric_inits(self.spec.metrics).items())
        return initial_carry_program(
            problem.init, problem.stateful, self.spec.make_optimizer, inits, self.slab
        )

    @cached_property
    def block_program(self) -> slabs.Program:
        """Block of steps, compiled once for all slabs."""
        buffers, chunk_steps = tuple(self.capacity.buffers.items()), self.capacity.chunk_steps
        config = self.spec.block_config._replace(buffers=buffers, chunk_steps=chunk_steps)
        return block.block_program(config, self.slab, self.has_own_order, self.has_own_noise)

    @cached_property
    def start_example(self) -> tuple[PyTree, ...]:
        """Arguments of `start_program`, as shapes."""
        keys = jax.ShapeDtypeStruct((self.slab.runs,), key_type())
        values = self.spec.axes.values(self.positions((0,) * len(self.tile_shape)))
        runs = keys, self._settings(values, keys)
        shared = self.slab.shapes(self.host_arrays, slabs.SHARED)
        return *self.slab.shapes(runs, slabs.RUNS), shared

    @cached_property
    def block_example(self) -> tuple[PyTree, ...]:
        """Arguments of `block_program`, as shapes except for the schedule."""
        keys, settings, shared = self.start_example
        carry = self.slab.shapes(self.start_program.results(*self.start_example), slabs.RUNS)
        schedule, _ = block_loop.example_inputs(self.spec.schedule, None, self.capacity)
        noise = None
        if self.has_own_noise:
            noise = keys
        elif self.spec.problem.random:
            noise = self.slab.shapes(jax.ShapeDtypeStruct((), key_type()), slabs.SHARED)
        return carry, settings, self.samples(), noise, shared, schedule

    @cached_property
    def compiled_block(self) -> slabs.Compiled:
        """Compiled block of this slab."""
        return self.block_program.compile(*self.block_example)

    @cached_property
    def controller(self) -> block_loop.BlockLengthController:
        """Controller of the block length, kept across slabs."""
        return block_loop.BlockLengthController()

    # Results

    @cached_property
    def carry_shapes(self) -> PyTree:
        """Shapes and types of the carry of one run, including metric states."""
        carry = self.block_example[0]
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), carry)

    @cached_property
    def run_shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of each variable of one run."""
        sizes, variables, _ = self.arrays(self.spec.axes)
        grid = len(self.tile_shape)
        return {
            name: (tuple(sizes[dim] for dim in v.dims[grid:]), np.dtype(v.dtype))
            for name, v in variables.items()
        }

    def fits(self, state: SlabCheckpoint, first_record: int | None = None) -> bool:
        """Return whether a checkpoint, which is untrusted input, matches this program.

        Args:
            state: checkpoint.
            first_record: first step of its records; None for that of the program.
        """
        _, records, arrays = self.block_program.results(*self.block_example)
        schedule, carry = self.spec.schedule, self.block_example[0]
        first = self.spec.first_record if first_record is None else first_record
        return checkpoint.fits(state, schedule, carry, records, arrays, first)

    @cached_property
    def sweep_arrays(self) -> dataset.Arrays:
        """Arrays that the sweep would have if all runs had this program."""
        return self.arrays(self.spec.sweep.axes)

    def arrays(self, axes: Axes) -> dataset.Arrays:
        """Return the arrays of runs of this program, with their names, units and coordinates.

        Args:
            axes: grid of the runs.
        """
        spec, shapes, rows = self.spec, self.spec.shapes, self.host_arrays.rows
        return dataset.sweep_arrays(
            axes,
            spec.schedule,
            shapes.params,
            shapes.model_state,
            spec.metrics,
            shapes.array_metrics,
            record_equals_step=spec.block_config.record_equals_step,
            record_samples=spec.sweep.record_samples,
            record_batches=None if rows is None else rows.shape,
            first_record=spec.sweep.first_record(axes),
            carry=self.carry_shapes if spec.sweep.continuable else None,
        )


@lru_cache(maxsize=16)
def initial_carry_program(
    init: Callable,
    stateful: bool,
    make_optimizer: Callable,
    metric_inits: tuple[tuple[str, Callable], ...],
    slab: slabs.Slab,
) -> slabs.Program:
    """Return a program that maps keys, settings and shared arrays to initial carries."""

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, model_state = made if stateful else (made, None)
        inits = dict(metric_inits)
        return block.initial_carry(
            make_optimizer, params, model_state, settings, inits, shared.metrics
        )

    return slabs.Program(slabs.over_runs(begin, slab, (0, 0, None)), once=True)
