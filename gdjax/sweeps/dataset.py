"""Arrays of a sweep: names, dimensions, types and units.

    cost[axes, step],   outcome[axes],   params.0.weights[axes, 0.weights[0], 0.weights[1]]

The name of a parameter is its path in the pytree:

>>> named_leaves("params", {"a": [1.0, 2.0]})
{'params.a.0': 1.0, 'params.a.1': 2.0}
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree

from gdjax.descent import outcome
from gdjax.descent.block import SNAPSHOTS
from gdjax.descent.block_loop import RecordSchedule
from gdjax.descent.step import cost_type
from gdjax.errors import InputError
from gdjax.flags import flags
from gdjax.problems.problem import Metric
from gdjax.stores.schema import Coordinate, Layout, Variable
from gdjax.sweeps.axes import Axes

LONG_NAMES = {
    "cost": "cost over the whole training set",
    "batch_cost": "mean cost of the steps since the previous record",
    "gradient_norm": "norm of the recorded cost's gradient",
}
RECORDED = (*LONG_NAMES, "outcome", "diverged_at")
PREFIXES = ("params", "model_state", "snapshots", "carry")  # prefixes of the names of pytree leaves
KNOWN = "_known"  # suffix of the name of a metric's mask


def record_names(metrics: Mapping[str, Metric], *, record_equals_step: bool) -> tuple[str, ...]:
    """Return the names of the scalars of a record: costs, gradient norm and metrics."""
    numbers = [name for name, metric in metrics.items() if not metric.is_array]
    return ("cost", *(() if record_equals_step else ("batch_cost",)), "gradient_norm", *numbers)


def known_masks(
    array_metrics: Mapping[str, jax.ShapeDtypeStruct],
    schedule: RecordSchedule,
    diverged_at: Int[np.ndarray, " runs"],
    first_record: int = 0,
) -> dict[str, Bool[np.ndarray, "runs records"]]:
    """Return masks for metrics whose type has no NaN: True before a run diverges."""
    masks = {}
    for name, value in array_metrics.items():
        if value.dtype.kind != "f":
            before = _steps(schedule, name, first_record)[None] < diverged_at[:, None]
            masks[name + KNOWN] = before | (diverged_at < 0)[:, None]
    return masks


def _steps(schedule, name, first_record):
    steps = schedule.recorded_steps()
    return steps[schedule.is_kept(name, steps) & (steps >= first_record)]


class Arrays(NamedTuple):
    """Arrays of a sweep.

    Args:
        sizes: length of each dimension.
        variables: results of the runs, by name.
        coordinates: coordinates, by name.
    """

    sizes: dict[str, int]
    variables: dict[str, Variable]
    coordinates: dict[str, Coordinate]


def sweep_arrays(
    grid: Axes,
    schedule: RecordSchedule,
    params: PyTree,
    model_state: PyTree,
    metrics: Mapping[str, Metric],
    array_metrics: Mapping[str, jax.ShapeDtypeStruct],
    *,
    record_equals_step: bool,
    record_samples: int | None = None,
    record_batches: tuple[int, ...] | None = None,
    first_record: int = 0,
    carry: PyTree = None,
) -> Arrays:
    """Return the arrays of a sweep, with their names, units and coordinates.

    Args:
        grid: grid of runs.
        schedule: schedule of steps, records and snapshots.
        params: shapes of the parameters of one run.
        model_state: shapes of the model state of one run.
        metrics: recorded metrics besides the cost.
        array_metrics: shape and type of each array-valued metric.
        record_equals_step: whether the recorded cost and gradient are those that a step computes
            for its update.
        record_samples: number of samples per record; None for all.
        record_batches: number and size of the fixed batches over which a record averages, or None.
        first_record: first recorded step.
        carry: shapes of the carry of one run, if it is kept.
    """
    steps = schedule.recorded_steps()
    steps = steps[steps >= first_record]
    snapshots = steps[schedule.is_kept(SNAPSHOTS, steps)]
    dims = tuple(grid.sizes)
    sizes = {**grid.sizes, "step": len(steps)}
    coordinates = {"step": _numbers("step", steps, "step of descent"), **_axis_values(grid)}
    variables = {}
    for name in record_names(metrics, record_equals_step=record_equals_step):
        metric = metrics.get(name)
        long_name = metric.long_name if metric else LONG_NAMES[name]
        if name == "cost" and record_samples is not None:
            long_name = f"cost over {record_samples} samples of the training set"
        if name == "cost" and record_batches is not None:
            count, size = record_batches
            long_name = f"mean cost over {count} fixed batches of {size} samples"
        attrs = {
            "long_name": long_name or name.replace("_", " "),
            "units": metric.units if metric else "1",
        }
        variables[name] = Variable((*dims, "step"), np.dtype(cost_type(params)), attrs)
    attrs = {"long_name": "outcome of the run", **flags(outcome.Outcome)}
    variables["outcome"] = Variable(dims, np.int8, attrs, fill_value=-1)
    attrs = {"long_name": "step of divergence, -1 if the run did not diverge", "units": "1"}
    variables["diverged_at"] = Variable(dims, np.int32, attrs, fill_value=-2)
    trees = [
        ("params", params, (), "final parameters"),
        ("model_state", model_state, (), "final model state"),
        ("carry", carry, (), "state for further steps"),
    ]
    if len(snapshots):
        sizes["snapshot_step"] = len(snapshots)
        coordinates["snapshot_step"] = _numbers("snapshot_step", snapshots, "step of the snapshot")
        trees.append(("snapshots", params, ("snapshot_step",), "parameters along the descent"))
    for prefix, tree, extra_dims, long_name in trees:
        for name, leaf in named_leaves(prefix, tree).items():
            plain = _plain_shape(leaf.shape, leaf.dtype)
            is_params = prefix in ("params", "snapshots")  # their arrays share dimensions
            path = name.removeprefix(prefix).removeprefix(".") if is_params else name
            inner = tuple(f"{path or 'params'}[{i}]" for i in range(len(plain.shape)))
            sizes |= dict(zip(inner, plain.shape, strict=True))
            shown = name.replace("snapshots", "params", 1)
            attrs = {"long_name": f"{long_name}: {shown}", "units": "1"}
            if plain.dtype != leaf.dtype:
                attrs["comment"] = f"computed as {leaf.dtype}"
            dtype = np.dtype(plain.dtype)
            variables[name] = Variable(
                (*dims, *extra_dims, *inner), dtype, attrs, _fill_value(dtype)
            )
    for name, value in array_metrics.items():
        metric, along = metrics[name], metric_step(name, metrics[name])
        extra_dims = dict(zip(metric.dims, value.shape, strict=True))
        _check_dims(name, extra_dims, sizes, {*coordinates, *dims})
        sizes |= extra_dims
        if along != "step":
            times = _steps(schedule, name, first_record)
            _check_dims(name, {along: len(times)}, {}, {*sizes, *coordinates})
            sizes[along] = len(times)
            coordinates[along] = _numbers(along, times, f"step of {name.replace('_', ' ')}")
        variables |= _metric_variables(name, metric, (*dims, along), np.dtype(value.dtype))
    return Arrays(sizes, variables, coordinates)


def metric_step(name: str, metric: Metric) -> str:
    """Return the step dimension of an array-valued metric."""
    return "step" if metric.every == 1 else f"{name}_step"


def _metric_variables(name, metric, along, dtype):
    """Return the variables of an array metric, with a mask if its type has no NaN."""
    long_name = metric.long_name or name.replace("_", " ")
    attrs = {"long_name": long_name, "units": metric.units}
    made = {name: Variable((*along, *metric.dims), dtype, attrs, _fill_value(dtype))}
    if dtype.kind != "f":
        attrs = {"long_name": f"whether {long_name} was recorded before divergence", "units": "1"}
        made[name + KNOWN] = Variable(along, np.bool_, attrs)
    return made


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


def pad_before(array: np.ndarray, shape: Sequence[int], fill_value: Any) -> np.ndarray:
    """Return an array with fill values prepended to reach a trailing shape."""
    inner = array.shape[array.ndim - len(shape) :]
    if inner == tuple(shape):
        return array
    fill = (np.nan if array.dtype.kind == "f" else 0) if fill_value is None else fill_value
    before = [(0, 0)] * (array.ndim - len(shape))
    before += [(size - length, 0) for size, length in zip(shape, inner, strict=True)]
    return np.pad(array, before, constant_values=fill)


def nbytes(arrays: Arrays | Layout, names: Iterable[str]) -> int:
    """Return the total size of some variables, in bytes."""
    variables = (arrays.variables[name] for name in names)
    return sum(
        math.prod(arrays.sizes[d] for d in v.dims) * np.dtype(v.dtype).itemsize for v in variables
    )


def named_leaves(prefix: str, tree: PyTree) -> dict[str, Any]:
    """Return the leaves of a pytree by name: the keys of their path, joined by dots.

    Names are valid file names, also on case-insensitive file systems. Characters other than
    letters, digits, `_` and `-` are written as `%` and two hexadecimal digits per byte, and so are
    capitals in names that would otherwise differ only by case. Different paths have different
    names.

    Examples:
        >>> named_leaves("params", {"mlp/~/linear_0": {"w": 1.0, "b": 2.0}})
        {'params.mlp%2f%7e%2flinear_0.b': 2.0, 'params.mlp%2f%7e%2flinear_0.w': 1.0}
        >>> named_leaves("params", {"W": 1.0, "w": 2.0, "Dense_0": 3.0})
        {'params.Dense_0': 3.0, 'params.%57': 1.0, 'params.w': 2.0}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    plain = [_name(prefix, path, _UNSAFE) for path, _ in leaves]
    times = Counter(name.lower() for name in plain)
    return {
        name if times[name.lower()] == 1 else _name(prefix, path, _UNSAFE_OR_CAPITAL): leaf
        for name, (path, leaf) in zip(plain, leaves, strict=True)
    }


_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_UNSAFE_OR_CAPITAL = re.compile(r"[^a-z0-9_-]")


def stored_name(name: str, *, params_are_final: bool) -> str:
    """Return the name of the stored array that equals an array of the carry.

    The stored carry is that before the last evaluation. Its model state and parameters are the
    final ones, which are stored only once.

    Args:
        name: name of an array.
        params_are_final: whether the stored parameters are those of the carry, as they are without
            separate evaluation parameters.

    Examples:
        >>> stored_name("carry.state.params.weights", params_are_final=True)
        'params.weights'
        >>> stored_name("carry.state.params.weights", params_are_final=False)
        'carry.state.params.weights'
    """
    final = ("model_state", "params") if params_are_final else ("model_state",)
    inner = name.removeprefix("carry.state.")
    return inner if inner != name and inner.split(".")[0] in final else name


def _hexadecimal(match):
    return "".join(f"%{byte:02x}" for byte in match[0].encode(errors="surrogatepass"))


def _name(prefix, path, escaped):
    """Return the name of a path; an empty key becomes `%`."""
    keys = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    coded = [escaped.sub(_hexadecimal, key) for key in keys]
    return ".".join([*filter(None, [prefix]), *(key or "%" for key in coded)])


def from_named(prefix: str, like: PyTree, stored: Any) -> PyTree:
    """Return a pytree from arrays named by `named_leaves`; leading axes are kept.

    Args:
        prefix: prefix of the names, as in `named_leaves`.
        like: pytree of arrays, or of their shapes, with the same structure.
        stored: arrays by name, as a mapping, a Dataset of one run, or an opened `.npz` file.

    Examples:
        >>> from_named("params", {"a": np.zeros(2)}, {"params.a": [[1, 2]]})["a"].tolist()
        [[1.0, 2.0]]
    """
    leaves = []
    for name, leaf in named_leaves(prefix, like).items():
        expected = np.shape(leaf)
        values = np.asarray(stored[name]) if name in stored else None
        if values is None or values.shape[values.ndim - len(expected) :] != expected:
            problem = "is missing" if values is None else f"has shape {values.shape}"
            raise InputError(
                f"{name} {problem}, expected an array of shape {expected}; pass parameters of the "
                f"same problem"
            )
        leaves.append(jnp.asarray(values, jnp.result_type(leaf)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def as_numbers(array: Any) -> Any:
    """Return an array unchanged, or the key data of a random key."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def storable(array: Any) -> np.ndarray:
    """Return a NumPy array: float32 for bfloat16, and key data for random keys."""
    return np.asarray(_plain(array))


def _plain(array):
    array = as_numbers(array)
    # Float types that NumPy and most Zarr readers lack fit into float32 without rounding.
    return array.astype(np.float32) if np.dtype(array.dtype).kind not in "biuf" else array


@lru_cache  # one trace per array would dominate the fixed time of a sweep
def _plain_shape(shape, dtype):
    return jax.eval_shape(_plain, jax.ShapeDtypeStruct(shape, dtype))


def _fill_value(dtype):
    """Return the fill value of integer arrays; None for other types."""
    kind = np.dtype(dtype).kind
    if kind not in "iu":
        return None
    limits = np.iinfo(dtype)
    return limits.min if kind == "i" else limits.max
