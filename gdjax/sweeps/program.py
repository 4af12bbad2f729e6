"""Programs of a sweep: shapes, inputs and executables of the slabs of a subgrid.

    programs_of(sweep, devices)  ->  one Program for each combination of static values

Static values are batch sizes, steps of branches, booleans and names. All slabs of a program run the
same compiled block, of a width that depends on the program alone. The inputs of a run (keys from
streams of the root seed, and numbers) depend only on its settings, not on those of other runs in
the slab. Therefore the bits of a run's results do not depend on the other runs or on its place in
the grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.base import slabs
from gdjax.base.keys import key_type
from gdjax.descent import block, block_loop
from gdjax.descent.program import DescentProgram
from gdjax.problems.facts import Facts
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import BATCH_SIZE, Axes
from gdjax.sweeps.binding import Role
from gdjax.sweeps.checkpoint import SlabCheckpoint, Start, described, named_records
from gdjax.sweeps.inputs import SlabInputs
from gdjax.sweeps.spec import Sweep

Tile = tuple[int, ...]
"""Index of a tile along each dimension of the grid."""


@dataclass(frozen=True, eq=False)
class Program:
    """Program of a sweep, for a subgrid in which no static axis varies.

    Args:
        sweep: the sweep.
        axes: axes of the subgrid.
        facts: facts of the functions of the user for this subgrid.
        devices: devices of one kind that compute slabs.
        start: states from which runs start; None for their initial states.
        keeps_carry: whether the state for further steps is part of the results.
        width: number of runs that a device computes together; `fit` chooses it.
        fast_compilation: whether blocks are compiled with fewer optimizations; `fit` chooses it.
        bits_checked: whether a check found that bits do not depend on the slab; None before it.
    """

    sweep: Sweep
    axes: Axes
    facts: Facts
    devices: tuple[jax.Device, ...]
    start: Start | None = None
    keeps_carry: bool = False
    width: int = 1
    fast_compilation: bool = False
    bits_checked: bool | None = None

    @property
    def roles(self) -> dict[str, Role]:
        """Role of each axis: the keyword that it sets."""
        return self.sweep.roles

    @property
    def batch_size(self) -> int | None:
        """Number of samples per step; None for all."""
        return self.axes.first_values.get(BATCH_SIZE, self.sweep.batch_size)

    @cached_property
    def schedule(self) -> block_loop.RecordSchedule:
        """Schedule of steps, records, snapshots and array metrics."""
        return block_loop.RecordSchedule(
            first=0,
            num_steps=self.sweep.num_steps,
            record_every=self.sweep.record_every,
            snapshot_every=self.sweep.snapshot_every,
            metric_every={
                name: metric.every for name, metric in self.facts.problem.metrics.items()
            },
        )

    def work(self, step: int) -> float:
        """Return the approximate work before a step, in steps; a cost is a third of a gradient."""
        samples = self.sweep.record_samples or self.facts.problem.samples or 1
        of_record = samples / (3 * (self.batch_size or samples))
        return step + of_record * -(-step // self.schedule.record_every)

    @property
    def first_record(self) -> int:
        """First recorded step."""
        return self.sweep.first_record(self.axes)

    @property
    def largest_microbatch(self) -> int:
        """Maximum number of samples that are evaluated together."""
        return self.facts.largest_microbatch(self.devices[0].platform, self.batch_size)

    @property
    def num_slabs(self) -> int:
        """Number of slabs that hold all runs."""
        return -(-self.axes.runs // self.width)

    @property
    def num_copies(self) -> int:
        """Number of copies of runs that fill the last slab."""
        return self.num_slabs * self.width - self.axes.runs

    @cached_property
    def inputs(self) -> SlabInputs:
        """Inputs of the runs of a slab."""
        return SlabInputs(self.sweep, self.facts.problem, self.batch_size)

    # Compiled programs

    @cached_property
    def _shared(self) -> dict[jax.Device, block.Shared]:
        return {}

    def shared(self, device: jax.Device) -> block.Shared:
        """Return the arrays that all runs share, on a device."""
        if device not in self._shared:
            arrays = jax.tree.map(jnp.asarray, self.descent.shared)
            self._shared[device] = jax.device_put(arrays, device)
        return self._shared[device]

    def release(self) -> None:
        """Free the shared arrays on the devices; they are recreated if needed."""
        self._shared.clear()

    @cached_property
    def descent(self) -> DescentProgram:
        """Compiled blocks of a slab of runs."""
        sweep, facts = self.sweep, self.facts
        return DescentProgram(
            facts.problem,
            facts.make_optimizer,
            facts.eval_params_fn,
            facts.params,
            facts.metrics,
            self.schedule,
            batch_size=self.batch_size,
            record_samples=sweep.record_samples,
            divergence_threshold=sweep.divergence_threshold,
            stop_tolerance=sweep.gradient_tolerance if sweep.stop_when_converged else None,
            platform=self.devices[0].platform,
            largest_microbatch=self.largest_microbatch,
            width=self.width,
            has_own_order=self.inputs.has_own_order,
            has_own_noise=self.inputs.has_own_noise,
            fast_compilation=self.fast_compilation,
        )

    @cached_property
    def initial_program(self) -> slabs.CompiledFunction:
        """Program that maps keys, settings and shared arrays to initial carries."""
        facts, problem = self.facts, self.facts.problem
        metrics = tuple(facts.metrics.items())
        return initial_carry_program(problem.init, problem.stateful, facts.make_optimizer, metrics)

    def initial_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `initial_program`, as shapes."""
        keys = jax.ShapeDtypeStruct((self.width,), key_type())
        first = {axis: values[:1] for axis, values in self.axes.by_name.items()}
        values = {axis: np.repeat(value, self.width) for axis, value in first.items()}
        settings = self.inputs.settings(values, keys)
        return slabs.shapes((keys, settings, self.descent.shared), device)

    def block_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of a compiled block, as shapes except for the schedule."""
        example = self.initial_example(device)
        _, settings, shared = example
        carry = slabs.shapes(self.initial_program.results(*example), device)
        schedule, _ = block_loop.example_inputs(self.schedule, None, self.descent.capacity)
        key = jax.ShapeDtypeStruct((self.width,) if self.inputs.has_own_noise else (), key_type())
        noise = slabs.shapes(key, device) if self.facts.problem.random else None
        return carry, settings, self.descent.samples(device), noise, shared, schedule

    @cached_property
    def compiled_block(self) -> slabs.Compiled:
        """Compiled block of this slab on the first device."""
        return self.descent.block.compile(*self.block_example(self.devices[0]))

    @cached_property
    def controller(self) -> block_loop.BlockLengthController:
        """Controller of the block length, kept across slabs and shared by devices."""
        return block_loop.BlockLengthController()

    # Results

    @property
    def record_names(self) -> tuple[str, ...]:
        """Names of the scalars of a record: costs, gradient norm and metrics."""
        numbers = [name for name, metric in self.facts.metrics.items() if not metric.is_array]
        batch_cost = () if self.descent.config.record_equals_step else ("batch_cost",)
        return ("cost", *batch_cost, "gradient_norm", *numbers)

    @cached_property
    def carry_shapes(self) -> PyTree:
        """Shapes and types of the carry of one run, including metric states."""
        carry = self.block_example(self.devices[0])[0]
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), carry)

    def state_shapes(self, step: int, first_record: int) -> SlabCheckpoint:
        """Return shapes and types of the state of a slab at a step, with records from another."""
        carry, *inputs = self.block_example(self.devices[0])
        _, records, arrays = self.descent.block.results(carry, *inputs)
        steps = self.schedule.recorded_steps()
        # The record that is due at this step is part of the next block.
        steps = steps[(steps >= first_record) & (steps < step)]
        counts = {name: int(self.schedule.is_kept(name, steps).sum()) for name in arrays}

        def rows(count, array):
            return jax.ShapeDtypeStruct((array.shape[0], count, *array.shape[2:]), array.dtype)

        return SlabCheckpoint(
            step,
            dataset.number_leaves(carry),
            {name: rows(len(steps), a) for name, a in named_records(records).items()},
            {
                name: [rows(counts[name], leaf) for leaf in jax.tree.leaves(tree)]
                for name, tree in arrays.items()
                if counts[name]
            },
        )

    def fits(self, state: SlabCheckpoint) -> bool:
        """Return whether a state matches this program."""
        expected = self.state_shapes(state.step, self.first_record)
        return described(state.named()) == described(expected.named())


def programs_of(
    sweep: Sweep,
    devices: Sequence[jax.Device],
    start: Start | None = None,
    *,
    keeps_carry: bool = False,
) -> tuple[Program, ...]:
    """Return the programs of a sweep, one for each combination of static values."""
    pairs = zip(sweep.axes.boxes(), sweep.facts, strict=True)
    return tuple(
        Program(sweep, box, facts, tuple(devices), start, keeps_carry) for box, facts in pairs
    )


def tree_nbytes(tree: PyTree) -> int:
    """Return the size of the arrays of a pytree of shapes, in bytes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def initial_carry_program(
    init: Callable,
    stateful: bool,
    make_optimizer: Callable,
    metrics: block.Metrics,
) -> slabs.CompiledFunction:
    """Return a program that maps keys, settings and shared arrays to initial carries."""

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, model_state = made if stateful else (made, None)
        return block.initial_carry(make_optimizer, params, model_state, settings, metrics, shared)

    key = ("initial carry", init, stateful, make_optimizer, metrics)
    return slabs.CompiledFunction(jax.vmap(begin, (0, 0, None)), key=key, fast_compilation=True)
