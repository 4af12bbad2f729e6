"""Arrays of a sweep: names, dimensions, types, units and coordinates, for a program.

sweep_arrays(program)  ->  cost [*axes, step], outcome [*axes], params.w [*axes, ...], ...
"""

import numpy as np

from gdjax.base.errors import InputError
from gdjax.base.status import flags
from gdjax.descent import block, outcome
from gdjax.problems.optimizers import cost_type
from gdjax.stores.schema import Coordinate, Variable
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.program import Program


def sweep_arrays(program: Program) -> dataset.Arrays:
    """Return the arrays that the sweep would have if all runs had this program."""
    return program_arrays(program, program.sweep.axes)


def run_shapes(program: Program) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return the shape and type of each array of one run."""
    sizes, variables, _ = program_arrays(program, program.axes)
    grid = len(program.axes.shape)
    return {
        name: (tuple(sizes[dim] for dim in v.dims[grid:]), np.dtype(v.dtype))
        for name, v in variables.items()
    }


def program_arrays(program: Program, grid: Axes) -> dataset.Arrays:
    """Return the arrays of a grid of runs of a program, with their units and coordinates."""
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
    sizes = {**grid.sizes, "step": len(steps)}
    coordinates = {"step": _numbers("step", steps, "step of descent")}
    coordinates |= _axis_values(grid, program.sweep.roles)
    variables = {}
    for name in program.record_names:
        metric = metrics.get(name)
        long_name = metric.long_name if metric else dataset.LONG_NAMES[name]
        if name == "cost" and record_samples is not None:
            long_name = f"cost over {record_samples} samples of the training set"
        if name == "cost" and (rows := program.descent.shared.rows) is not None:
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
        ("model_state", program.facts.model_state, (), "final model state"),
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
    for name, value in program.facts.array_metrics.items():
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


def _axis_values(grid, roles):
    coordinates = {}
    for dim, along in grid.dimensions.items():
        for axis, values in along.items():
            coordinate = _numbers(dim, values, axis.replace("_", " ").replace(".", " "))
            if axis in roles and roles[axis].kind == "cost":
                coordinate.attrs["comment"] = dataset.OF_COST
            coordinates[axis] = coordinate
        if dim not in along:
            coordinates[dim] = _numbers(dim, np.arange(grid.sizes[dim]), dim.replace("_", " "))
    return coordinates


def _numbers(dim, values, long_name):
    attrs = {"long_name": long_name, "units": "1"}
    if values.dtype.kind == "U":
        names, values = np.unique(values, return_inverse=True)
        attrs |= {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}
    return Coordinate((dim,), values, attrs)
