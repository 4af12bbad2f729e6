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
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key, PyTree

from gdjax.base import slabs
from gdjax.base.errors import InputError
from gdjax.base.keys import key_type, run_keys
from gdjax.base.status import flags
from gdjax.descent import block, block_loop, outcome
from gdjax.descent.batches import Order
from gdjax.descent.functions import with_functions
from gdjax.descent.step import cost_type, default_eval_params_fn
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to
from gdjax.problems.problem import Problem
from gdjax.problems.traces import Traced
from gdjax.problems.validation import check_metrics, check_params
from gdjax.stores.schema import Coordinate, Variable
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import BATCH_SIZE, Axes
from gdjax.sweeps.binding import AxisTrace, Role, by_role, numeric_roles, trace_axes, with_settings
from gdjax.sweeps.checkpoint import SlabCheckpoint, Start, described, named_records
from gdjax.sweeps.spec import Sweep, number_shape, with_arguments

MAX_ORDER_NUMBERS = 2**22  # maximum number of sample indices per block, with separate orders
MAX_KNOWN_PROGRAMS = 64  # number of programs of a problem whose shapes are kept between sweeps


Tile = tuple[int, ...]
"""Index of a tile along each dimension of the grid."""

Values = Mapping[str, np.ndarray]
"""Values of the runs of a slab, by axis name."""

Result = TypeVar("Result")


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
    def supplied(self) -> dict[str, Any]:
        """Examples of the arguments that the cost declares besides parameters and samples."""
        key, step = run_keys(0).noise, np.int32(0)
        available = {"key": key, "step": step, "model_state": self.model_state}
        return {name: available[name] for name in given_to(self.problem.cost)}

    def cost(self, params: PyTree, data: PyTree, supplied: PyTree, /, **settings: Any) -> PyTree:
        """Return the cost at a batch, or of a problem without data."""
        sample = () if self.problem.data is None else (data,)
        return self.problem.cost(params, *sample, **supplied, **settings)

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
        return self.problem.random and not {"seed", "noise_seed"}.isdisjoint(self.roles)

    @cached_property
    def host_arrays(self) -> block.Shared:
        """Arrays that all runs share, on the host."""
        return block.shared_arrays(
            self.problem,
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

    def initial_inputs(self, values: Values, device: jax.Device) -> tuple[PyTree, PyTree]:
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
    def initial_program(self) -> slabs.CompiledFunction:
        """Program that maps keys, settings and shared arrays to initial carries."""
        problem = self.problem
        inits = tuple(block.metric_inits(self.problem.metrics).items())
        return initial_carry_program(problem.init, problem.stateful, self.make_optimizer, inits)

    @cached_property
    def block_program(self) -> slabs.CompiledFunction:
        """Block of steps, compiled once for all slabs."""
        buffers, chunk_steps = tuple(self.capacity.buffers.items()), self.capacity.chunk_steps
        config = self.block_config._replace(
            buffers=buffers, chunk_steps=chunk_steps, platform=self.devices[0].platform
        )
        return block.block_program(config, True, self.has_own_order, self.has_own_noise)

    def initial_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `initial_program`, as shapes."""
        keys = jax.ShapeDtypeStruct((self.width,), key_type())
        first = {axis: values[:1] for axis, values in self.axes.by_name.items()}
        values = {axis: np.repeat(value, self.width) for axis, value in first.items()}
        return slabs.shapes((keys, self._settings(values, keys), self.host_arrays), device)

    def block_example(self, device: jax.Device) -> tuple[PyTree, ...]:
        """Return the arguments of `block_program`, as shapes except for the schedule."""
        example = self.initial_example(device)
        _, settings, shared = example
        carry = slabs.shapes(self.initial_program.results(*example), device)
        schedule, _ = block_loop.example_inputs(self.schedule, None, self.capacity)
        key = jax.ShapeDtypeStruct((self.width,) if self.has_own_noise else (), key_type())
        noise = slabs.shapes(key, device) if self.problem.random else None
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

    @property
    def record_names(self) -> tuple[str, ...]:
        """Names of the scalars of a record: costs, gradient norm and metrics."""
        numbers = [name for name, metric in self.problem.metrics.items() if not metric.is_array]
        batch_cost = () if self.block_config.record_equals_step else ("batch_cost",)
        return ("cost", *batch_cost, "gradient_norm", *numbers)

    @cached_property
    def carry_shapes(self) -> PyTree:
        """Shapes and types of the carry of one run, including metric states."""
        carry = self.block_example(self.devices[0])[0]
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), carry)

    @cached_property
    def run_shapes(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of each variable of one run."""
        sizes, variables, _ = program_arrays(self, self.axes)
        grid = len(self.axes.shape)
        return {
            name: (tuple(sizes[dim] for dim in v.dims[grid:]), np.dtype(v.dtype))
            for name, v in variables.items()
        }

    def state_shapes(self, step: int, first_record: int) -> SlabCheckpoint:
        """Return shapes and types of the state of a slab at a step, with records from another."""
        carry, *inputs = self.block_example(self.devices[0])
        _, records, arrays = self.block_program.results(carry, *inputs)
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

    @cached_property
    def sweep_arrays(self) -> dataset.Arrays:
        """Arrays that the sweep would have if all runs had this program."""
        return program_arrays(self, self.sweep.axes)


def program_arrays(program: Program, grid: Axes) -> dataset.Arrays:
    """Return the arrays of a grid of runs of a program, with their units and coordinates."""
    schedule, params, metrics = program.schedule, program.params, program.problem.metrics
    first_record, record_samples = program.sweep.first_record(grid), program.sweep.record_samples
    steps = schedule.recorded_steps()
    steps = steps[steps >= first_record]
    snapshots = steps[schedule.is_kept(block.SNAPSHOTS, steps)]
    dims = tuple(grid.sizes)
    sizes = {**grid.sizes, "step": len(steps)}
    coordinates = {"step": _numbers("step", steps, "step of descent"), **_axis_values(grid)}
    variables = {}
    for name in program.record_names:
        metric = metrics.get(name)
        long_name = metric.long_name if metric else dataset.LONG_NAMES[name]
        if name == "cost" and record_samples is not None:
            long_name = f"cost over {record_samples} samples of the training set"
        if name == "cost" and (rows := program.host_arrays.rows) is not None:
            count, size = rows.shape
            long_name = f"mean cost over {count} fixed batches of {size} samples"
        attrs = {
            "long_name": long_name or name.replace("_", " "),
            "units": metric.units if metric else "1",
        }
        variables[name] = Variable((*dims, "step"), np.dtype(cost_type(params)), attrs)
    attrs = {"long_name": "outcome of the run", **flags(outcome.Outcome, not_finished=-1)}
    variables["outcome"] = Variable(dims, np.int8, attrs, fill_value=-1)
    attrs = {"long_name": "step of divergence, -1 if the run did not diverge", "units": "1"}
    variables["diverged_at"] = Variable(dims, np.int32, attrs, fill_value=-2)
    carry = program.carry_shapes if program.keeps_carry else None
    trees = [
        ("params", params, (), "final parameters"),
        ("model_state", program.model_state, (), "final model state"),
        ("carry", carry, (), "state for further steps"),
    ]
    if len(snapshots):
        sizes["snapshot_step"] = len(snapshots)
        coordinates["snapshot_step"] = _numbers("snapshot_step", snapshots, "step of the snapshot")
        trees.append(("snapshots", params, ("snapshot_step",), "parameters along the descent"))
    for prefix, tree, extra_dims, long_name in trees:
        for name, leaf in dataset.named_leaves(prefix, tree).items():
            plain = dataset.plain_shape(leaf.shape, leaf.dtype)
            is_params = prefix in ("params", "snapshots")  # their arrays share dimensions
            path = name.removeprefix(prefix).removeprefix(".") if is_params else name
            inner = tuple(f"{path or 'params'}[{i}]" for i in range(len(plain.shape)))
            sizes |= dict(zip(inner, plain.shape, strict=True))
            shown = name.replace("snapshots", "params", 1)
            attrs = {"long_name": f"{long_name}: {shown}", "units": "1"}
            if plain.dtype != leaf.dtype:
                attrs["comment"] = f"computed as {leaf.dtype}"
            variables[name] = Variable((*dims, *extra_dims, *inner), np.dtype(plain.dtype), attrs)
    for name, value in program.array_metrics.items():
        metric = metrics[name]
        along = "step" if metric.every == 1 else f"{name}_step"
        extra_dims = dict(zip(metric.dims, value.shape, strict=True))
        _check_dims(name, extra_dims, sizes, {*coordinates, *dims})
        sizes |= extra_dims
        if along != "step":
            times = steps[schedule.is_kept(name, steps)]
            _check_dims(name, {along: len(times)}, {}, {*sizes, *coordinates})
            sizes[along] = len(times)
            coordinates[along] = _numbers(along, times, f"step of {name.replace('_', ' ')}")
        variables |= _metric_variables(name, metric, (*dims, along), np.dtype(value.dtype))
    return dataset.Arrays(sizes, variables, coordinates)


def _metric_variables(name, metric, along, dtype):
    """Return the variables of an array metric, with a mask if its type has no NaN."""
    long_name = metric.long_name or name.replace("_", " ")
    attrs = {"long_name": long_name, "units": metric.units}
    variables = {name: Variable((*along, *metric.dims), dtype, attrs)}
    if dtype.kind != "f":
        attrs = {"long_name": f"whether {long_name} was recorded before divergence", "units": "1"}
        variables[name + dataset.KNOWN] = Variable(along, np.bool_, attrs)
    return variables


def _check_dims(name, lengths, sizes, taken):
    """Check that dimensions of a metric are new or match those of another metric."""
    for dim, length in lengths.items():
        if dim in taken:
            raise InputError(
                f"metrics: {name!r} has the dimension {dim!r}, which the sweep already has; rename "
                f"it"
            )
        if sizes.get(dim, length) != length:
            raise InputError(
                f"metrics: {name!r} has length {length} along {dim!r}, but another array has "
                f"length {sizes[dim]}; rename one of the two dimensions"
            )


def _axis_values(grid):
    coordinates = {}
    for dim, along in grid.dimensions.items():
        for axis, values in along.items():
            coordinates[axis] = _numbers(dim, values, axis.replace("_", " ").replace(".", " "))
        if dim not in along:
            coordinates[dim] = _numbers(dim, np.arange(grid.sizes[dim]), dim.replace("_", " "))
    return coordinates


def _numbers(dim, values, long_name):
    attrs = {"long_name": long_name, "units": "1"}
    if values.dtype.kind == "U":
        names, values = np.unique(values, return_inverse=True)
        attrs |= {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}
    return Coordinate((dim,), values, attrs)


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
) -> slabs.CompiledFunction:
    """Return a program that maps keys, settings and shared arrays to initial carries."""

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, model_state = made if stateful else (made, None)
        inits = dict(metric_inits)
        return block.initial_carry(
            make_optimizer, params, model_state, settings, inits, shared.metrics
        )

    return slabs.CompiledFunction(jax.vmap(begin, (0, 0, None)), once=True)
