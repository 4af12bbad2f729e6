"""Lines and planes through the cost around a point.

    C(a, b) = C(w_0 + a d_1 + b d_2)

The grid is evaluated in slabs of points that share the data, so their first layers become one
matrix product. The result is an `xarray.Dataset`, which `to_zarr` saves and
`gdjax.plots` draws.

If possible, a network is evaluated as a smaller network (`gdjax.landscape.reduction.reduced`).

The functions that return a Dataset compile and run programs themselves and must not be jitted. The
cost may be NaN or infinite at some points. A cost with a model state raises an error, since running
statistics differ between points. `gdjax.problems.frozen(problem, model_state=...)` uses those of
one point for all points, and an `evaluation` that computes statistics of its batch uses those of
each point.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from gdjax.base import arrays, slabs
from gdjax.base.arguments import check_numbers, check_text, check_type
from gdjax.base.arrays import as_dataset
from gdjax.base.errors import InputError
from gdjax.base.limits import Real
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.landscape.directions import DIMENSIONS, check_directions, displaced
from gdjax.landscape.reduction import reduced
from gdjax.problems.checks import check_like
from gdjax.problems.evaluation import evaluation_part
from gdjax.problems.facts import check_problem, problem_at, traced_metric
from gdjax.problems.measurement import from_start
from gdjax.problems.metrics import Metric, as_metrics, described, named_parts
from gdjax.problems.problem import Problem

if TYPE_CHECKING:
    import xarray as xr

# Number of points per device at a time; on a CPU, 16 to 128 are equally fast within measurement
# errors.
WIDTH = 64

MAX_POINTS = 10_000_000  # largest size of a grid


def line(
    problem: Problem | Callable,
    params: PyTree,
    direction: PyTree,
    a: ArrayLike | Sequence,
    *,
    name: str = "direction",
    metrics: Mapping[str, Metric | Callable] | None = None,
) -> "xr.Dataset":
    """Return the cost along a line, C(w_0 + a d).

    Args:
        problem, metrics: as for `grid`.
        params: origin w_0 of the line.
        direction: direction d, a pytree like the parameters.
        a: coordinates along the line, in multiples of d.
        name: name of the direction, the label of the axis.

    Returns:
        A Dataset with `cost` and each metric over the dimension a, as in `grid`.

    Examples:
        >>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2
        >>> line(bowl, jnp.zeros(2), jnp.array([0.0, 1.0]), [0.0, 1.0, 2.0]).cost.values.tolist()
        [0.0, 10.0, 40.0]
    """
    check_text("line: name", name)
    problem = checked_problem(problem, params)
    check_like("line: direction", direction, params)
    return _grid("line", problem, params, {name: direction}, {"a": a}, metrics)


def plane(
    problem: Problem | Callable,
    params: PyTree,
    directions: Mapping[str, PyTree],
    a: ArrayLike | Sequence,
    b: ArrayLike | Sequence,
    *,
    metrics: Mapping[str, Metric | Callable] | None = None,
) -> "xr.Dataset":
    """Return the cost on a plane, C(w_0 + a d_1 + b d_2).

    Args:
        problem, metrics: as for `grid`.
        params: origin w_0 of the plane.
        directions: dict `{name: d_1, other name: d_2}` with descriptive names.
        a: coordinates along the first direction, in multiples of d_1.
        b: coordinates along the second direction, in multiples of d_2.

    Returns:
        A Dataset with `cost` and each metric over the dimensions a and b, as in `grid`.

    Examples:
        A plane through two minima, at a = 0 and a = 1:

        >>> from gdjax import landscape, problems
        >>> himmelblau = problems.from_function("himmelblau")
        >>> minima = problems.FUNCTIONS["himmelblau"].minima
        >>> first, second = (jnp.array(point.x) for point in minima[:2])
        >>> directions = {
        ...     "to the second": landscape.direction_to(first, second),
        ...     "across": jnp.array([0.0, 1.0]),
        ... }
        >>> surface = plane(himmelblau, first, directions, a=[0, 0.5, 1], b=[-1, 0, 1])
        >>> surface.cost.sel(b=0).round(3).values.tolist()
        [0.0, 13.712, 0.0]
    """
    problem = checked_problem(problem, params)
    return _grid("plane", problem, params, directions, {"a": a, "b": b}, metrics)


def grid(
    problem: Problem | Callable,
    params: PyTree,
    directions: Mapping[str, PyTree],
    coordinates: Sequence[ArrayLike | Sequence],
    *,
    metrics: Mapping[str, Metric | Callable] | None = None,
) -> "xr.Dataset":
    """Return the cost, and other metrics, on a grid of points along directions.

        C(c) = C(w_0 + sum_i c_i d_i)

    Args:
        problem: a Problem, which is evaluated as a smaller network if there is one with fewer
            inputs and equal cost; or a cost `cost(params)`.
        params: origin w_0 of the grid.
        directions: directions d_i by name; axes are labeled with the names.
        coordinates: one vector of coordinates per direction, in multiples of the direction.
        metrics: further measurements `(problem, params) -> value`, such as `gradient_norm`,
            or `problem.metrics`.

    Returns:
        A Dataset with `cost` and each metric, over dimensions a, b, ..., one per direction. The
        coordinates have the name and the length of their direction as attributes. Attributes of the
        Dataset contain the `cosines` of each pair of directions and the method of evaluation.

    Examples:
        >>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2
        >>> directions = {"flat": jnp.array([1.0, 0.0]), "steep": jnp.array([0.0, 1.0])}
        >>> grid(bowl, jnp.zeros(2), directions, [[0.0, 1.0], [0.0, 2.0]]).cost.values.tolist()
        [[0.0, 40.0], [1.0, 41.0]]
    """
    problem = checked_problem(problem, params)
    expected = "a list with one vector of coordinates per direction"
    check_type("grid: coordinates", coordinates, list | tuple | range | np.ndarray, expected)
    vectors = {f"coordinates[{i}]": values for i, values in enumerate(coordinates)}
    return _grid("grid", problem, params, directions, vectors, metrics)


def _grid(caller, problem, params, directions, coordinates, metrics):
    """Return the Dataset of `grid`; error messages name the caller and its arguments."""
    lengths, cosines = check_directions(caller, params, directions)
    axes = _check_axes(caller, directions, coordinates)
    count = math.prod(len(axis) for axis in axes)
    if count > MAX_POINTS:
        raise InputError(
            f"{caller}: {', '.join(coordinates)} = {count:,} points, expected at most "
            f"{MAX_POINTS:,}; take fewer along each direction"
        )
    dims = tuple(DIMENSIONS[: len(axes)])
    metrics = as_metrics("metrics", metrics or {})
    for name, metric in metrics.items():
        if name in ("cost", *dims):
            raise InputError(f"metrics: the name {name!r} is already in use; choose another name")
        if metric.needs:
            raise InputError(
                f"metrics: {name!r} declares {metric.needs[0]}, which points of a slice do not "
                f"have; pass functools.partial(measure, {metric.needs[0]}=...)"
            )
    points = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)
    cost_at, smaller = on_slice(problem, params, directions)
    quantities = {"cost": arrays.Array("cost", dims)}
    values = {"cost": cost_at(points)}
    origin = params, tuple(directions.values())
    measured_problem = dataclasses.replace(problem, metrics=metrics)
    for name, m in metrics.items():
        static = traced_metric(name, measured_problem, params)[1]
        data = problem.data if m.data is None else m.data
        value = over_rows(partial(_measured, static), _numbers(points), (origin, data))
        values |= named_parts(name, value)
        for part, array in m.arrays(name, static.value).items():
            quantities[part] = array._replace(dims=(*dims, *array.dims))
    quantities |= {
        dim: arrays.Array(name, (dim,)) for dim, name in zip(dims, directions, strict=True)
    }
    shape = tuple(len(axis) for axis in axes)
    values = {n: np.reshape(a, (*shape, *np.shape(a)[1:])) for n, a in values.items()}
    dataset = as_dataset(quantities, values, dict(zip(dims, axes, strict=True)))
    for dim, length in zip(dims, lengths, strict=True):
        dataset[dim].attrs["length"] = length
    return dataset.assign_attrs(
        result="slice",
        directions=list(directions),
        cosines=cosines,
        samples=problem.samples,
        evaluated="as a smaller network" if smaller else "directly",
    )


@described(long_name="norm of the gradient")
def gradient_norm(problem: Problem | Callable, params: PyTree) -> Float[Array, ""]:
    """Return |grad C| over all data, a measurement for slices, descents and `gd.measure`.

    Its evaluation takes about as long as three evaluations of the cost.

    Args:
        problem: a Problem or a cost (see `grid`).
        params: parameters at which to evaluate.

    Examples:
        >>> metrics = {"slope": gradient_norm}
        >>> w, d = jnp.array(0.0), jnp.array(1.0)
        >>> line(lambda w: w**2, w, d, [0, 1, 2], metrics=metrics).slope.values.tolist()
        [0.0, 2.0, 4.0]
    """
    return optax.tree.norm(value_and_gradient(problem, params)[1])


# -- evaluation


def cost_of(params: PyTree, problem: Problem) -> Array:
    """Return the deterministic cost of parameters."""
    return averaged(problem, lambda cost: cost, params)


def _sliced(coordinates, shared):
    origin, problem = shared
    return cost_of(displaced(*origin, coordinates), problem)


def _measured(metric, coordinates, shared):
    origin, data = shared
    params = displaced(*origin, coordinates)
    value = from_start(metric.init, metric.function, params, data, step=jnp.int32(0))[0]
    return metric.recorded(value)


def over_rows(
    function: Callable,
    rows: PyTree,
    shared: PyTree,
    *,
    width: int = WIDTH,
    devices: Sequence[jax.Device] | None = None,
    unit: str = "point",
) -> PyTree:
    """Return `function(row, shared)` for each row, one slab of rows at a time.

    Args:
        function: function of one row; equal functions share a program.
        rows: arrays whose leading axis indexes the rows.
        shared: arrays that all rows share.
        width: largest number of rows of a slab, which is halved until a slab fits into memory.
        devices: devices that take slabs in turn; None means all local devices.
        unit: name of a row in the progress bar.
    """
    # Slicing NumPy arrays does not compile a program.
    rows = jax.tree.map(
        lambda a: a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else np.asarray(a), rows
    )
    count = jax.tree.leaves(rows)[0].shape[0]
    devices = jax.local_devices() if devices is None else devices
    key = ("rows", function, jax.tree.structure(shared))
    program = slabs.CompiledFunction(jax.vmap(function, (0, None)), key=key)
    width = min(width, -(-count // len(devices)))
    devices_per_memory = len(devices) if devices[0].platform == "cpu" else 1
    limit = min(slabs.memory_limit(device) for device in devices) / devices_per_memory / 2
    while True:
        example = slabs.shapes((slabs.rows_of(rows, 0, width), shared), devices[0])
        memory = program.compile(*example).executable.memory_analysis()
        if width == 1 or memory.temp_size_in_bytes <= limit:
            break
        width //= 2
    return slabs.in_slabs(program, width, rows, (shared,), devices=devices, unit=unit)


def on_slice(
    problem: Problem, params: PyTree, directions: Mapping[str, PyTree]
) -> tuple[Callable[..., np.ndarray], bool]:
    """Return the cost on a slice, and whether a smaller network is used.

    The cost is a function of coordinates, [points, directions]. If it depends on the first layer
    other than through its products, the network is evaluated directly.
    """
    small = reduced(problem, params, directions)
    if small is not None:
        problem, params, directions = small
    shared = (params, tuple(directions.values())), evaluation_part(problem)

    def cost_at(points):
        return over_rows(_sliced, _numbers(points), shared)

    return cost_at, small is not None


def _numbers(points):
    return np.asarray(points, jnp.zeros(()).dtype)


# -- validation


def checked_problem(problem: Problem | Callable, params: PyTree) -> Problem:
    """Return a Problem whose deterministic cost can be evaluated at the parameters."""
    problem = problem_at(problem, params)
    check_problem(problem, params)
    return problem


def _check_axes(caller, directions, coordinates):
    if len(coordinates) != len(directions):
        raise InputError(
            f"{caller}: directions = {', '.join(map(repr, directions))}, expected "
            f"{len(coordinates)}, one for each of {', '.join(coordinates)}"
        )
    axes = []
    for name, (argument, values) in zip(directions, coordinates.items(), strict=True):
        remedy = f" along {name!r}, such as numpy.linspace(-1, 1, 51)"
        check_numbers(f"{caller}: {argument}", values, Real, ndim=1, remedy=remedy)
        axes.append(np.asarray(values, float))
    return axes
