"""Arrays of a sweep: names, dimensions, types, units and coordinates, for a program.

sweep_arrays(program)  ->  cost [*axes, step], outcome [*axes], params.w [*axes, ...], ...
"""

import numpy as np

from gdjax.base.arrays import Array, Schema, codes_of
from gdjax.base.errors import InputError
from gdjax.descent import block, outcome
from gdjax.problems.metrics import named_parts
from gdjax.problems.optimizers import cost_type
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.program import Program


def sweep_arrays(program: Program) -> Schema:
    """Return the arrays that the sweep would have if all runs had this program."""
    return program_arrays(program, program.sweep.axes)


def run_shapes(program: Program) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return the shape and type of each array of one run."""
    schema, grid = program_arrays(program, program.axes), len(program.axes.shape)
    return {
        name: (schema.shape(array)[grid:], np.dtype(array.dtype))
        for name, array in schema.arrays.items()
    }


def program_arrays(program: Program, grid: Axes) -> Schema:
    """Return the arrays of a grid of runs of a program, as one tile, with their coordinates."""
    schedule, params, metrics = (
        program.schedule,
        program.facts.params,
        program.facts.problem.metrics,
    )
    first_record, record_samples = program.sweep.first_record(grid), program.sweep.record_samples
    steps = schedule.recorded_steps()
    steps = steps[steps >= first_record]
    snapshots = steps[schedule.is_kept(block.SNAPSHOTS, steps)]
    dims = tuple(grid.sizes)
    sizes = dict(grid.sizes)
    coordinates: dict[str, Array] = {}
    values: dict[str, np.ndarray] = {}

    def add_steps(dim, times, long_name):
        sizes[dim], coordinates[dim], values[dim] = len(times), Array(long_name, (dim,)), times

    add_steps("step", steps, "step of descent")
    axis_coordinates, axis_values = _axis_values(grid, program.sweep.roles)
    coordinates |= axis_coordinates
    values |= axis_values
    arrays = {}
    for name in program.record_names:
        metric = metrics.get(name)
        long_name = metric.long_name if metric else dataset.LONG_NAMES[name]
        if name == "cost" and record_samples is not None:
            long_name = f"cost over {record_samples} samples of the training set"
        if name == "cost" and (rows := program.descent.shared.rows) is not None:
            count, size = rows.shape
            long_name = f"mean cost over {count} fixed batches of {size} samples"
        arrays[name] = Array(
            long_name or name.replace("_", " "),
            (*dims, "step"),
            metric.units if metric else "1",
            dtype=cost_type(params),
        )
    codes = codes_of(outcome.Outcome, not_finished=-1)
    arrays["outcome"] = Array("outcome of the run", dims, codes=codes, dtype=np.int8, fill=-1)
    long_name = "step of divergence, -1 if the run did not diverge"
    arrays["diverged_at"] = Array(long_name, dims, dtype=np.int32, fill=-2)
    carry = program.carry_shapes if program.keeps_carry else None
    trees = [
        ("params", params, (), "final parameters"),
        ("model_state", program.facts.model_state, (), "final model state"),
        ("carry", carry, (), "state for further steps"),
    ]
    if len(snapshots):
        add_steps("snapshot_step", snapshots, "step of the snapshot")
        along = ("snapshot_step",)
        trees.append(("snapshots", params, along, "parameters along the descent"))
        state = program.facts.model_state
        trees.append(("snapshot_model_state", state, along, "model state along the descent"))
    for prefix, tree, extra_dims, long_name in trees if program.sweep.KEEPS_PARAMS else ():
        for name, leaf in dataset.named_leaves(prefix, tree).items():
            plain = dataset.plain_shape(leaf.shape, leaf.dtype)
            is_params = prefix in ("params", "snapshots")  # their arrays share dimensions
            path = name.removeprefix(prefix).removeprefix(".") if is_params else name
            inner = tuple(f"{path or 'params'}[{i}]" for i in range(len(plain.shape)))
            sizes |= dict(zip(inner, plain.shape, strict=True))
            shown = name.replace("snapshots", "params", 1)
            arrays[name] = Array(
                f"{long_name}: {shown}",
                (*dims, *extra_dims, *inner),
                comment=f"computed as {leaf.dtype}" if plain.dtype != leaf.dtype else "",
                dtype=plain.dtype,
            )
    for name, value in program.facts.array_metrics.items():
        metric = metrics[name]
        along = "step" if metric.every == 1 else f"{name}_step"
        parts = named_parts(name, value)
        own = metric.arrays(name, value)
        for part, array in own.items():
            extra_dims = dict(zip(array.dims, parts[part].shape, strict=True))
            _check_dims(name, extra_dims, sizes, {*coordinates, *dims})
            sizes |= extra_dims
        if along != "step":
            times = steps[schedule.is_kept(name, steps)]
            _check_dims(name, {along: len(times)}, {}, {*sizes, *coordinates})
            add_steps(along, times, f"step of {name.replace('_', ' ')}")
        for part, array in own.items():
            if part in arrays:
                raise InputError(f"metrics: {part!r} of {name!r} is the name of another array")
            arrays[part] = array._replace(dims=(*dims, along, *array.dims))
            if np.dtype(array.dtype).kind != "f":
                known = f"whether {array.long_name} was recorded before divergence"
                arrays[part + dataset.KNOWN] = Array(known, (*dims, along), dtype=np.bool_)
    return Schema(sizes, grid.sizes, arrays, coordinates, values)


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


def _axis_values(grid, roles):
    """Return the coordinates of the axes and their values; names are codes with meanings."""
    coordinates, given = {}, {}
    for dim, along in grid.dimensions.items():
        for axis, values in along.items():
            of_cost = axis in roles and roles[axis].kind == "cost"
            codes, given[axis] = None, values
            if values.dtype.kind == "U":
                names, given[axis] = np.unique(values, return_inverse=True)
                codes = {str(name): code for code, name in enumerate(names)}
            long_name = axis.replace("_", " ").replace(".", " ")
            comment = dataset.OF_COST if of_cost else ""
            coordinates[axis] = Array(long_name, (dim,), codes=codes, comment=comment)
        if dim not in along:
            coordinates[dim] = Array(dim.replace("_", " "), (dim,))
            given[dim] = np.arange(grid.sizes[dim])
    return coordinates, given
