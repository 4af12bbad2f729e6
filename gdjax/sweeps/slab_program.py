"""Slab programs: compiled programs, inputs of each run, and the resulting arrays.

    run (seed, data_seed, noise_seed, settings) -> keys from streams of the root seed, numbers

All slabs of a program run the same compiled block, of a width that depends on the program alone.
The inputs of a run depend only on its settings, not on those of other runs in the slab. Therefore
the bits of a run's results do not depend on the other runs or on its place in the grid.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop
from gdjax.descent.batches import Order
from gdjax.keys import key_type, run_keys
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to
from gdjax.sweeps import checkpoint, dataset
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.binding import by_role, numeric_roles
from gdjax.sweeps.checkpoint import SlabCheckpoint
from gdjax.sweeps.spec import ProgramSpec

MAX_ORDER_NUMBERS = 2**22  # maximum number of sample indices per block, with separate orders

Positions = tuple[np.ndarray, ...]
"""Positions of the runs of a slab in the grid of the sweep, one array per dimension."""

Tile = tuple[int, ...]
"""Index of a tile along each dimension of the grid."""

Values = Mapping[str, np.ndarray]
"""Values of the runs of a slab, by axis name."""


@runtime_checkable
class Start(Protocol):
    """State from which runs start in place of their initial state."""

    def __call__(self, program: "SlabProgram", positions: Positions) -> SlabCheckpoint | None:
        """Return the state of runs; None for their initial state."""
        ...

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return the descriptions of the writers that computed the first steps of runs."""
        ...


# Widths of slabs, each with the maximum number of bytes of a run (`ProgramSpec.step_nbytes`).
# They are multiples of 16, the number of float32 numbers of a vector register of AVX-512, since
# with 4 runs the position of a run in the slab changed its bits. Microseconds per run-step on two
# cores, at widths 16 and 64: digits at batch size 32 in a shared order (130 KB per run) 13.4 and
# 10.3, in separate orders (230 KB) 17.5 and 23.8, on the whole set 664 and 653; under load, widths
# 16, 32 and 64 differed by 5 % in a shared order. Seconds for 10,000 runs with two parameters and
# 1,000 steps, at widths 16, 64, 256 and 1,024: 3.44, 3.58, 0.28 and 0.12. Widths of accelerators
# have not been measured.
CPU_WIDTHS = ((256, 2**10), (32, 5 * 2**15), (16, 2**26))
ACCELERATOR_WIDTHS = ((4096, 2**10), (512, 5 * 2**15), (64, 2**26))
MAX_RECORD_NBYTES = 2**28  # size of a run while it is recorded, above which its width is 1


def width_for(run_nbytes: int, widths: Sequence[tuple[int, int]]) -> int:
    """Return the width of the slabs of a program, from the size of a run; 1 if none fits.

    Examples:
        >>> width_for(50, CPU_WIDTHS), width_for(10**5, CPU_WIDTHS), width_for(10**9, CPU_WIDTHS)
        (256, 32, 1)
    """
    return next((width for width, most in widths if run_nbytes <= most), 1)


@dataclasses.dataclass(frozen=True, eq=False)
class SlabProgram:
    """Program of a sweep, for slabs of a fixed width.

    Args:
        spec: specification of the program.
        devices: devices of one kind that compute slabs.
        initial_carry: replacement of the initial state of runs, for example by the state of a
            stored run; None for no replacement.
    """

    spec: ProgramSpec
    devices: tuple[jax.Device, ...]
    initial_carry: "Start | None" = None

    @cached_property
    def width(self) -> int:
        """Number of runs that a device computes together."""
        is_cpu = self.devices[0].platform == "cpu"
        if self.spec.record_nbytes > MAX_RECORD_NBYTES:
            return 1
        return width_for(self.spec.step_nbytes, CPU_WIDTHS if is_cpu else ACCELERATOR_WIDTHS)

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
    def _shared(self) -> dict[jax.Device, block.Shared]:
        return {}

    def shared(self, device: jax.Device) -> block.Shared:
        """Return the arrays that all runs share, on a device."""
        if device not in self._shared:
            arrays = jax.tree.map(jnp.asarray, self.host_arrays)
            self._shared[device] = jax.device_put(arrays, device)
        return self._shared[device]

    def release(self) -> None:
        """Free the shared arrays on the devices; they are recreated if needed."""
        self._shared.clear()

    @property
    def has_probes(self) -> bool:
        """Whether a metric has random keys."""
        metrics = self.spec.metrics.values()
        return any("key" in given_to(metric.function, GIVEN_TO_METRICS) for metric in metrics)

    def starts(self, values: Values, device: jax.Device) -> tuple[PyTree, PyTree]:
        """Return the initialization keys and the settings of a slab of runs."""
        seeds = values.get("seed", np.zeros(self.width, np.int64))
        keys = run_keys(self.spec.sweep.root_seed, seed=seeds)
        return slabs.place((keys.init, self._settings(values, keys.probes)), device)

    def _settings(self, values, probes):
        roles = self.spec.roles
        numeric = {a: v for a, v in values.items() if a in numeric_roles(roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in numeric.items()}
        return {**by_role(roles, cast), **({"probes": probes} if self.has_probes else {})}

    def noise(self, values: Values, device: jax.Device) -> Key[Array, "*runs"] | None:
        """Return the keys of a random cost, one for all runs or per run; None if unused."""
        root_seed = self.spec.sweep.root_seed
        if not self.spec.problem.random:
            return None
        if not self.has_own_noise:
            return jax.device_put(run_keys(root_seed).noise, device)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        keys = run_keys(root_seed, seed=seed, noise_seed=noise_seed).noise
        return slabs.place(keys, device)

    @property
    def batch_capacity(self) -> int:
        """Maximum number of mini-batches of a block."""
        batch_size = self.spec.batch_size
        if batch_size is None or not self.has_own_order:
            return block_loop.MAX_BLOCK_BATCHES
        fitting = MAX_ORDER_NUMBERS // (self.width * batch_size)
        return min(max(fitting, 64), block_loop.MAX_BLOCK_BATCHES)

    def samples(self, device: jax.Device) -> jax.ShapeDtypeStruct | None:
        """Return the shape of the sample indices of a block; None for all samples."""
        if self.spec.batch_size is None:
            return None
        run_shape = (self.width,) if self.has_own_order else ()
        samples = jax.ShapeDtypeStruct(
            (*run_shape, self.batch_capacity, self.spec.batch_size), np.int32
        )
        return slabs.shapes(samples, device) if self.has_own_order else samples

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Return the function that gives `run_blocks` the indices of mini-batches."""
        batch_size, samples = self.spec.batch_size, self.spec.problem.samples
        root_seed, replacement = self.spec.sweep.root_seed, self.spec.sweep.replacement
        if batch_size is None:
            return None
        if not self.has_own_order:
            keys = (run_keys(root_seed).order,)
            order = Order(keys, samples, batch_size, replacement=replacement)
            return block_loop.shared_order(order)
        seeds, stream = np.unique(values["data_seed"], return_inverse=True)
        keys = list(run_keys(root_seed, data_seed=seeds).order)
        order = Order(keys, samples, batch_size, replacement=replacement)
        return lambda first, count: order.rows(first, count)[stream]

    # Compiled programs

    @cached_property
    def capacity(self) -> block_loop.BlockCapacity:
        """Capacities of the arrays of a block."""
        schedule, runs, shapes = self.spec.schedule, self.width, self.spec.shapes
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                shapes.params, shapes.array_metrics, runs=runs, schedule=schedule
            ),
            batches=self.batch_capacity,
            chunk_steps=block_loop.chunk_steps(schedule.record_every, self.devices[0].platform),
        )

    @cached_property
    def start_program(self) -> slabs.Program:
        """Program that maps keys, settings and shared arrays to initial carries."""
        problem = self.spec.problem
        inits = tuple(block.metric_inits(self.spec.metrics).items())
        return initial_carry_program(
            problem.init, problem.stateful, self.spec.make_optimizer, inits
        )

    @cached_property
    def block_program(self) -> slabs.Program:
        """Block of steps, compiled once for all slabs."""
        buffers, chunk_steps = tuple(self.capacity.buffers.items()), self.capacity.chunk_steps
        config = self.spec.block_config._replace(
            buffers=buffers, chunk_steps=chunk_steps, platform=self.devices[0].platform
        )
        return block.block_program(config, True, self.has_own_order, self.has_own_noise)

    def start_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `start_program`, as shapes."""
        keys = jax.ShapeDtypeStruct((self.width,), key_type())
        first = {axis: values[:1] for axis, values in self.spec.axes.by_name.items()}
        values = {axis: np.repeat(value, self.width) for axis, value in first.items()}
        return slabs.shapes((keys, self._settings(values, keys), self.host_arrays), device)

    def block_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `block_program`, as shapes except for the schedule."""
        example = self.start_example(device)
        keys, settings, shared = example
        carry = slabs.shapes(self.start_program.results(*example), device)
        schedule, _ = block_loop.example_inputs(self.spec.schedule, None, self.capacity)
        noise = None
        if self.has_own_noise:
            noise = keys
        elif self.spec.problem.random:
            noise = slabs.shapes(jax.ShapeDtypeStruct((), key_type()), device)
        return carry, settings, self.samples(device), noise, shared, schedule

    @cached_property
    def compiled_block(self) -> slabs.Compiled:
        """Compiled block of this slab on the first device."""
        return self.block_program.compile(*self.block_example(self.devices[0]))

    @cached_property
    def controller(self) -> block_loop.BlockLengthController:
        """Controller of the block length, kept across slabs and shared by devices."""
        return block_loop.BlockLengthController()

    # Results

    @cached_property
    def carry_shapes(self) -> PyTree:
        """Shapes and types of the carry of one run, including metric states."""
        carry = self.block_example(self.devices[0])[0]
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), carry)

    @cached_property
    def run_shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of each variable of one run."""
        sizes, variables, _ = self.arrays(self.spec.axes)
        grid = len(self.spec.axes.shape)
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
        example = self.block_example(self.devices[0])
        _, records, arrays = self.block_program.results(*example)
        schedule, carry = self.spec.schedule, example[0]
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
) -> slabs.Program:
    """Return a program that maps keys, settings and shared arrays to initial carries."""

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, model_state = made if stateful else (made, None)
        inits = dict(metric_inits)
        return block.initial_carry(
            make_optimizer, params, model_state, settings, inits, shared.metrics
        )

    return slabs.Program(jax.vmap(begin, (0, 0, None)), once=True)
