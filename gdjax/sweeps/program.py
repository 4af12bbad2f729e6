"""Programs of a sweep: compiled programs, inputs of each run, and the resulting arrays.

    programs_of(sweep, devices)  ->  one Program for each combination of static values

Static values are batch sizes, steps of branches, booleans and names. All slabs of a program run the
same compiled block, of a width that depends on the program alone. The inputs of a run (keys from
streams of the root seed, and numbers) depend only on its settings, not on those of other runs in
the slab. Therefore the bits of a run's results do not depend on the other runs or on its place in
the grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial, wraps
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key, PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop
from gdjax.descent.batches import Order
from gdjax.descent.functions import with_functions
from gdjax.descent.step import default_eval_params_fn
from gdjax.keys import key_type, run_keys
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to
from gdjax.problems.problem import Problem
from gdjax.problems.traces import Traced
from gdjax.problems.validation import check_metrics, check_params
from gdjax.sweeps import checkpoint, dataset
from gdjax.sweeps.axes import BATCH_SIZE, Axes
from gdjax.sweeps.binding import AxisTrace, Role, by_role, numeric_roles, trace_axes, with_settings
from gdjax.sweeps.checkpoint import SlabCheckpoint
from gdjax.sweeps.spec import Sweep, number_shape, with_arguments

MAX_ORDER_NUMBERS = 2**22  # maximum number of sample indices per block, with separate orders
MAX_KNOWN_PROGRAMS = 64  # number of programs of a problem whose shapes are kept between sweeps

Positions = tuple[np.ndarray, ...]
"""Positions of the runs of a slab in the grid of the sweep, one array per dimension."""

Tile = tuple[int, ...]
"""Index of a tile along each dimension of the grid."""

Values = Mapping[str, np.ndarray]
"""Values of the runs of a slab, by axis name."""

Result = TypeVar("Result")


@runtime_checkable
class Start(Protocol):
    """States from which runs start in place of their initial states."""

    def __call__(self, program: "Program", positions: Positions) -> SlabCheckpoint | None:
        """Return the state of runs; None for their initial state."""
        ...

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return the descriptions of the writers that computed the first steps of runs."""
        ...


def remembered(compute: "Callable[[Program], Result]") -> "Callable[[Program], Result]":
    """Share the result of a function among equal programs of a problem, also of other sweeps.

    Without this, half of the fixed time of a sweep would be spent on tracing the same functions.
    """

    @wraps(compute)
    def recall(program):
        if compute not in program.known:
            program.known[compute] = compute(program)
        return program.known[compute]

    return recall


@dataclass(frozen=True, eq=False)
class Program:
    """Program of a sweep, for a subgrid in which no static axis varies.

    Args:
        sweep: the sweep.
        axes: axes of the subgrid.
        functions: traced functions of the user for this subgrid.
        devices: devices of one kind that compute slabs.
        start: states from which runs start; None for their initial states.
        keeps_carry: whether the state for further steps is part of the results.
        width: number of runs that a device computes together; `fit` chooses it.
    """

    sweep: Sweep
    axes: Axes
    functions: Mapping[str, Traced]
    devices: tuple[jax.Device, ...]
    start: Start | None = None
    keeps_carry: bool = False
    width: int = 1

    @property
    def roles(self) -> dict[str, Role]:
        """Role of each axis: the keyword that it sets."""
        return self.sweep.roles

    @cached_property
    def _static_settings(self):
        first = self.axes.first_values
        static = {axis: first[axis] for axis, role in self.roles.items() if role.is_static}
        return by_role(self.roles, static)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Values of the first run for keywords that are program inputs, by role."""
        first, numeric = self.axes.first_values, numeric_roles(self.roles)
        return by_role(self.roles, {axis: first[axis] for axis in first if axis in numeric})

    @cached_property
    def problem(self) -> Problem:
        """Problem with its static settings, the metrics of the sweep and canonical functions."""
        problem = with_settings(self.sweep.measured_problem, **self._static_settings)
        return with_functions(problem, self.functions)

    @cached_property
    def make_optimizer(self) -> Callable[..., optax.GradientTransformation]:
        """Optimizer factory with static settings."""
        if "optimizer" in self.functions:
            return self.functions["optimizer"].function
        return with_arguments(self.sweep.make_optimizer, self._static_settings["optimizer"])

    @property
    def batch_size(self) -> int | None:
        """Number of samples per step; None for all."""
        return self.axes.first_values.get(BATCH_SIZE, self.sweep.batch_size)

    @cached_property
    def known(self) -> dict[Any, Any]:
        """Results that equal programs of the problem share, by function (see `remembered`)."""
        key = (
            tuple(self.roles.items()),
            tuple((axis, v.dtype, v[0].item()) for axis, v in self.axes.by_name.items()),
            tuple((name, traced.function) for name, traced in self.functions.items()),
            tuple((name, m.every, m.dims, m.dtype) for name, m in self.problem.metrics.items()),
            (self.batch_size, self.sweep.root_seed),
        )
        programs = self.sweep.problem._known_shapes
        if key not in programs and len(programs) >= MAX_KNOWN_PROGRAMS:
            programs.clear()
        return programs.setdefault(key, {})

    # Shapes of one run

    @property
    @remembered
    def initial(self) -> AxisTrace:
        """Shapes of initial parameters and model state, and axes without effect on them."""

        def start(stream, **settings):
            params, model_state = self.problem.begin(stream, **settings)
            check_params(params, "init: ")
            return params, model_state

        return trace_axes(start, "init", self.roles, self.axes, run_keys(self.sweep.root_seed).init)

    @property
    def params(self) -> PyTree:
        """Shapes of the parameters."""
        return self.initial.shapes[0]

    @property
    def model_state(self) -> PyTree:
        """Shapes of the model state; None if the cost has none."""
        return self.initial.shapes[1]

    @property
    @remembered
    def initial_carry(self) -> block.Carry:
        """Shapes of the initial carry, without metric states."""
        settings = jax.tree.map(number_shape, self.settings)
        initial_carry = partial(block.initial_carry, self.make_optimizer)
        return jax.eval_shape(initial_carry, self.params, self.model_state, settings)

    @property
    def opt_state(self) -> PyTree:
        """Shapes of the optimizer state."""
        return self.initial_carry.state.opt_state

    @property
    @remembered
    def array_metrics(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each array-valued metric."""
        metrics = self.problem.metrics
        shapes = check_metrics(
            metrics,
            self.params,
            self.settings["cost"],
            model_state=self.model_state,
            opt_state=self.opt_state,
        )
        return block.array_shapes(metrics, shapes, self.params)

    @cached_property
    def eval_params_fn(self) -> Callable[[PyTree, PyTree], PyTree] | None:
        """Function that gives the evaluation parameters; None for those of the run."""
        if "eval_params_fn" in self.functions:
            return self.functions["eval_params_fn"].function
        return default_eval_params_fn(self.opt_state, self.params)

    @cached_property
    def block_config(self) -> block.BlockConfig:
        """Static configuration of the blocks, without buffers."""
        sweep = self.sweep
        return block.block_config(
            self.problem,
            self.make_optimizer,
            self.problem.metrics,
            batch_size=self.batch_size,
            record_samples=sweep.record_samples,
            divergence_threshold=sweep.divergence_threshold,
            stop_tolerance=sweep.gradient_tolerance if sweep.stop_when_converged else None,
            eval_params_fn=self.eval_params_fn,
        )

    @cached_property
    def schedule(self) -> block_loop.RecordSchedule:
        """Schedule of steps, records, snapshots and array metrics."""
        return block_loop.RecordSchedule(
            first=0,
            num_steps=self.sweep.num_steps,
            record_every=self.sweep.record_every,
            snapshot_every=self.sweep.snapshot_every,
            metric_every={name: metric.every for name, metric in self.problem.metrics.items()},
        )

    @property
    def first_record(self) -> int:
        """First recorded step."""
        return self.sweep.first_record(self.axes)

    # Inputs

    @property
    def has_own_order(self) -> bool:
        """Whether each run has a separate order of mini-batches."""
        return self.batch_size is not None and "data_seed" in self.roles

    @property
    def has_own_noise(self) -> bool:
        """Whether each run has separate random numbers in the cost."""
        roles = self.roles.keys()
        return self.problem.random and not roles.isdisjoint(("seed", "noise_seed"))

    @cached_property
    def host_arrays(self) -> block.Shared:
        """Arrays that all runs share, on the host."""
        return block.shared_arrays(
            self.problem,
            self.problem.metrics,
            self.block_config,
            batch_size=self.batch_size,
            record_samples=self.sweep.record_samples,
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
        metrics = self.problem.metrics.values()
        return any("key" in given_to(metric.function, GIVEN_TO_METRICS) for metric in metrics)

    def starts(self, values: Values, device: jax.Device) -> tuple[PyTree, PyTree]:
        """Return the initialization keys and the settings of a slab of runs."""
        seeds = values.get("seed", np.zeros(self.width, np.int64))
        keys = run_keys(self.sweep.root_seed, seed=seeds)
        return slabs.place((keys.init, self._settings(values, keys.probes)), device)

    def _settings(self, values, probes):
        roles = self.roles
        numeric = {a: v for a, v in values.items() if a in numeric_roles(roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in numeric.items()}
        return {**by_role(roles, cast), **({"probes": probes} if self.has_probes else {})}

    def noise(self, values: Values, device: jax.Device) -> Key[Array, "*runs"] | None:
        """Return the keys of a random cost, one for all runs or per run; None if unused."""
        root_seed = self.sweep.root_seed
        if not self.problem.random:
            return None
        if not self.has_own_noise:
            return jax.device_put(run_keys(root_seed).noise, device)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        keys = run_keys(root_seed, seed=seed, noise_seed=noise_seed).noise
        return slabs.place(keys, device)

    @property
    def batch_capacity(self) -> int:
        """Maximum number of mini-batches of a block."""
        batch_size = self.batch_size
        if batch_size is None or not self.has_own_order:
            return block_loop.MAX_BLOCK_BATCHES
        fitting = MAX_ORDER_NUMBERS // (self.width * batch_size)
        return min(max(fitting, 64), block_loop.MAX_BLOCK_BATCHES)

    def samples(self, device: jax.Device) -> jax.ShapeDtypeStruct | None:
        """Return the shape of the sample indices of a block; None for all samples."""
        if self.batch_size is None:
            return None
        run_shape = (self.width,) if self.has_own_order else ()
        samples = jax.ShapeDtypeStruct((*run_shape, self.batch_capacity, self.batch_size), np.int32)
        return slabs.shapes(samples, device) if self.has_own_order else samples

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Return the function that gives `run_blocks` the indices of mini-batches."""
        batch_size, samples = self.batch_size, self.problem.samples
        root_seed, replacement = self.sweep.root_seed, self.sweep.replacement
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
        schedule, runs = self.schedule, self.width
        return block_loop.BlockCapacity(
            records=block_loop.record_capacity(schedule, runs),
            buffers=block_loop.buffer_capacity(
                self.params, self.array_metrics, runs=runs, schedule=schedule
            ),
            batches=self.batch_capacity,
            chunk_steps=block_loop.chunk_steps(schedule.record_every, self.devices[0].platform),
        )

    @cached_property
    def start_program(self) -> slabs.Program:
        """Program that maps keys, settings and shared arrays to initial carries."""
        problem = self.problem
        inits = tuple(block.metric_inits(self.problem.metrics).items())
        return initial_carry_program(problem.init, problem.stateful, self.make_optimizer, inits)

    @cached_property
    def block_program(self) -> slabs.Program:
        """Block of steps, compiled once for all slabs."""
        buffers, chunk_steps = tuple(self.capacity.buffers.items()), self.capacity.chunk_steps
        config = self.block_config._replace(
            buffers=buffers, chunk_steps=chunk_steps, platform=self.devices[0].platform
        )
        return block.block_program(config, True, self.has_own_order, self.has_own_noise)

    def start_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `start_program`, as shapes."""
        keys = jax.ShapeDtypeStruct((self.width,), key_type())
        first = {axis: values[:1] for axis, values in self.axes.by_name.items()}
        values = {axis: np.repeat(value, self.width) for axis, value in first.items()}
        return slabs.shapes((keys, self._settings(values, keys), self.host_arrays), device)

    def block_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `block_program`, as shapes except for the schedule."""
        example = self.start_example(device)
        keys, settings, shared = example
        carry = slabs.shapes(self.start_program.results(*example), device)
        schedule, _ = block_loop.example_inputs(self.schedule, None, self.capacity)
        noise = None
        if self.has_own_noise:
            noise = keys
        elif self.problem.random:
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
        sizes, variables, _ = self.arrays(self.axes)
        grid = len(self.axes.shape)
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
        schedule, carry = self.schedule, example[0]
        first = self.first_record if first_record is None else first_record
        return checkpoint.fits(state, schedule, carry, records, arrays, first)

    @cached_property
    def sweep_arrays(self) -> dataset.Arrays:
        """Arrays that the sweep would have if all runs had this program."""
        return self.arrays(self.sweep.axes)

    def arrays(self, axes: Axes) -> dataset.Arrays:
        """Return the arrays of runs of this program, with their names, units and coordinates.

        Args:
            axes: grid of the runs.
        """
        rows = self.host_arrays.rows
        return dataset.sweep_arrays(
            axes,
            self.schedule,
            self.params,
            self.model_state,
            self.problem.metrics,
            self.array_metrics,
            record_equals_step=self.block_config.record_equals_step,
            record_samples=self.sweep.record_samples,
            record_batches=None if rows is None else rows.shape,
            first_record=self.sweep.first_record(axes),
            carry=self.carry_shapes if self.keeps_carry else None,
        )


def programs_of(
    sweep: Sweep,
    devices: Sequence[jax.Device],
    start: Start | None = None,
    *,
    keeps_carry: bool = False,
) -> tuple[Program, ...]:
    """Return the programs of a sweep, one for each combination of static values."""
    pairs = zip(sweep.axes.boxes(), sweep.functions, strict=True)
    return tuple(
        Program(sweep, box, functions, tuple(devices), start, keeps_carry)
        for box, functions in pairs
    )


def tree_nbytes(tree: PyTree) -> int:
    """Return the size of the arrays of a pytree of shapes, in bytes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


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
