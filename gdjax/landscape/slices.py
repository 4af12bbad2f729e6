"""Lines and planes through the cost around a point.

    C(a, b) = C(w_0 + a d_1 + b d_2)

The grid is evaluated in slabs of points that share the data, so their first layers become one
matrix product. The result is an `xarray.Dataset`, which `to_zarr` saves and
`gdjax.plots` draws.

A slice of a network's cost is a slice of a smaller network's cost (`reduced`), since the first
layer is linear in its weights:

    (W + a D_1 + b D_2) x = [1 a b] [W x; D_1 x; D_2 x]

The products are computed once per direction rather than once per point, and are the inputs of the
smaller network: 48 inputs instead of 784 pixels for 16 neurons and two directions. Its parameters
and directions are pytrees like those of the network, and equal coordinates give equal costs.

The functions that return a Dataset compile and run programs themselves and must not be jitted. The
cost may be NaN or infinite at some points. A cost with a model state raises an error, since running
statistics differ between points. `gdjax.problems.frozen(problem, model_state=...)` uses those of
one point for all points, and an `evaluation` that computes statistics of its batch uses those of
each point.
"""

import dataclasses
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, PyTree

from gdjax import slabs
from gdjax.arguments import check_text, is_traced, real_array
from gdjax.curvature.directional_derivatives import averaged
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.errors import InputError
from gdjax.landscape.directions import (
    DIMENSIONS,
    check_directions,
    check_independent,
    check_named,
)
from gdjax.problems.evaluation import deterministic_cost, evaluation_part, with_data, without_data
from gdjax.problems.problem import Metric, Problem, as_problem, check_metric_names
from gdjax.problems.traces import canonical, problem_at
from gdjax.problems.validation import check_like, check_metrics, check_params, check_problem

if TYPE_CHECKING:
    import xarray as xr

# Number of points per device at a time; on a CPU, 16 to 128 are equally fast within measurement
# errors.
WIDTH = 64

MAX_POINTS = 10_000_000  # largest size of a grid
BATCH = 1000  # number of samples whose products are computed at a time

# Costs that passed the check that they use inputs only through the first layer.
_LINEAR: weakref.WeakSet[Callable] = weakref.WeakSet()


def line(
    problem: Problem | Callable,
    params: PyTree,
    direction: PyTree,
    a: ArrayLike | Sequence,
    *,
    name: str = "direction",
    data: PyTree = None,
    metrics: Mapping[str, Metric] | None = None,
) -> "xr.Dataset":
    """Return the cost along a line, C(w_0 + a d).

    Args:
        problem: a Problem or a cost, as in `grid`.
        params: origin w_0 of the line.
        direction: direction d, a pytree like the parameters.
        a: coordinates along the line, in multiples of d.
        name: name of the direction, the label of the axis.
        data: data used instead of the problem's data.
        metrics: further functions to evaluate, as in `grid`.

    Returns:
        A Dataset with `cost` and each metric over the dimension a, as in `grid`.

    Examples:
        >>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2
        >>> line(bowl, jnp.zeros(2), jnp.array([0.0, 1.0]), [0.0, 1.0, 2.0]).cost.values.tolist()
        [0.0, 10.0, 40.0]
    """
    check_text("line: name", name)
    problem = checked_problem(problem, params, data)
    check_like("line: direction", direction, params)
    return _grid("line", problem, params, {name: direction}, {"a": a}, metrics)


def plane(
    problem: Problem | Callable,
    params: PyTree,
    directions: Mapping[str, PyTree],
    a: ArrayLike | Sequence,
    b: ArrayLike | Sequence,
    *,
    data: PyTree = None,
    metrics: Mapping[str, Metric] | None = None,
) -> "xr.Dataset":
    """Return the cost on a plane, C(w_0 + a d_1 + b d_2).

    Args:
        problem: a Problem or a cost, as in `grid`.
        params: origin w_0 of the plane.
        directions: dict `{name: d_1, other name: d_2}` with descriptive names.
        a: coordinates along the first direction, in multiples of d_1.
        b: coordinates along the second direction, in multiples of d_2.
        data: data used instead of the problem's data.
        metrics: further functions to evaluate, as in `grid`.

    Returns:
        A Dataset with `cost` and each metric over the dimensions a and b, as in `grid`.

    Examples:
        A plane through two minima, at a = 0 and a = 1:

        >>> from gdjax import landscape, problems
        >>> himmelblau = problems.from_function("himmelblau")
        >>> first, second = (jnp.array(point.x) for point in problems.find("himmelblau").minima[:2])
        >>> directions = {
        ...     "to the second": landscape.direction_to(first, second),
        ...     "across": jnp.array([0.0, 1.0]),
        ... }
        >>> surface = plane(himmelblau, first, directions, a=[0, 0.5, 1], b=[-1, 0, 1])
        >>> surface.cost.sel(b=0).round(3).values.tolist()
        [0.0, 13.712, 0.0]
    """
    problem = checked_problem(problem, params, data)
    return _grid("plane", problem, params, directions, {"a": a, "b": b}, metrics)


def grid(
    problem: Problem | Callable,
    params: PyTree,
    directions: Mapping[str, PyTree],
    coordinates: Sequence[ArrayLike | Sequence],
    *,
    data: PyTree = None,
    metrics: Mapping[str, Metric] | None = None,
) -> "xr.Dataset":
    """Return the cost, and other metrics, on a grid of points along directions.

        C(c) = C(w_0 + sum_i c_i d_i)

    Args:
        problem: a Problem, which is evaluated as a smaller network if there is one with fewer
            inputs and equal cost; or a cost, `cost(params, batch)` with data, `cost(params)`
            without.
        params: origin w_0 of the grid.
        directions: directions d_i by name; axes are labeled with the names.
        coordinates: one vector of coordinates per direction, in multiples of the direction.
        data: data used instead of the problem's data.
        metrics: further functions to evaluate, such as `problem.metrics` or
            `gradient_norm(problem)`.

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
    problem = checked_problem(problem, params, data)
    if not isinstance(coordinates, Sequence | np.ndarray) or isinstance(coordinates, str):
        raise InputError(
            f"grid: coordinates = {coordinates!r:.80}, expected a list with one vector of "
            f"coordinates per direction"
        )
    vectors = {f"coordinates[{i}]": values for i, values in enumerate(coordinates)}
    return _grid("grid", problem, params, directions, vectors, metrics)


def _grid(caller, problem, params, directions, coordinates, metrics):
    """Return the Dataset of `grid`; error messages name the caller and its arguments."""
    import xarray as xr

    lengths, cosines = check_directions(caller, params, directions)
    check_independent(caller, directions, lengths, cosines)
    axes = _check_axes(caller, directions, coordinates)
    count = math.prod(len(axis) for axis in axes)
    if count > MAX_POINTS:
        raise InputError(
            f"{caller}: {', '.join(coordinates)} = {count:,} points, expected at most "
            f"{MAX_POINTS:,}; take fewer along each direction"
        )
    dims = tuple(DIMENSIONS[: len(axes)])
    metrics = _check_metrics(metrics, params, dims)
    points = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], axis=1)
    cost_at, smaller = on_slice(problem, params, directions)
    columns = {"cost": (cost_at(points), "cost", "1")}
    origin = params, tuple(directions.values())
    for name, m in metrics.items():
        evaluate = partial(_measured, m.function)
        values = over_rows(evaluate, _numbers(points), (origin, m.data))
        columns[name] = values, m.long_name or name.replace("_", " "), m.units
    shape = tuple(len(axis) for axis in axes)
    return xr.Dataset(
        {
            name: (dims, values.reshape(shape), {"long_name": long_name, "units": units})
            for name, (values, long_name, units) in columns.items()
        },
        {
            dim: (dim, axis, {"long_name": name, "units": "1", "length": length})
            for dim, axis, name, length in zip(dims, axes, directions, lengths, strict=True)
        },
        {
            "result": "slice",
            "directions": list(directions),
            "cosines": cosines,
            "samples": problem.samples,
            "evaluated": "as a smaller network" if smaller else "directly",
        },
    )


def gradient_norm(problem: Problem | Callable, *, data: PyTree = None) -> Metric:
    """Return |grad C| over all data as a metric for a grid.

    Its evaluation takes about as long as three evaluations of the cost.

    Args:
        problem: a Problem or a cost (see `grid`).
        data: data used instead of the problem's data.
    """
    problem = as_problem(problem, data)
    function = partial(_gradient_norm, without_data(problem))
    return Metric(function, problem.data, long_name="norm of the gradient")


def _gradient_norm(tree, params, data):
    return optax.tree.norm(value_and_gradient(with_data(tree, data), params)[1])


# -- evaluation


def cost_of(params: PyTree, problem: Problem) -> Array:
    """Return the deterministic cost of parameters."""
    return averaged(problem, lambda cost: cost, params)


def _sliced(coordinates, shared):
    origin, problem = shared
    return cost_of(displaced(*origin, coordinates), problem)


def _measured(function, coordinates, shared):
    origin, data = shared
    with jax.default_matmul_precision("highest"):
        return function(displaced(*origin, coordinates), data)


@lru_cache(maxsize=32)
def _program(function, structure):
    # The structure refers to functions of the problem, so the cache is limited to 32 of them.
    return slabs.Program(jax.vmap(function, (0, None)))


def over_rows(function: Callable, rows: PyTree, shared: PyTree) -> np.ndarray:
    """Return `function(row, shared)` for each row, one slab of rows at a time."""
    rows = jax.tree.map(np.asarray, rows)  # slicing NumPy arrays does not compile a program
    count = jax.tree.leaves(rows)[0].shape[0]
    devices, program = jax.local_devices(), _program(function, jax.tree.structure(shared))
    width = min(WIDTH, -(-count // len(devices)))
    devices_per_memory = len(devices) if devices[0].platform == "cpu" else 1
    limit = min(slabs.memory_limit(device) for device in devices) / devices_per_memory / 2
    while True:
        example = slabs.shapes((slabs.rows_of(rows, 0, width), shared), devices[0])
        memory = program.compile(*example).executable.memory_analysis()
        if width == 1 or memory.temp_size_in_bytes <= limit:
            break
        width //= 2
    return slabs.in_slabs(program, width, rows, (shared,), devices=devices, unit="point")


def on_slice(
    problem: Problem, params: PyTree, directions: Mapping[str, PyTree]
) -> tuple[Callable[..., np.ndarray], bool]:
    """Return the cost on a slice, and whether a smaller network is used.

    The cost is a function of coordinates, [points, directions]. If it depends on the first layer
    other than through its products, the network is evaluated directly.
    """
    small = None
    if reduces_inputs(problem, directions):
        with suppress(InputError):
            small = reduced(problem, params, directions)
    shared = (params, tuple(directions.values())), evaluation_part(problem)
    if small is not None:
        shared = (small.params, tuple(small.directions.values())), evaluation_part(small.problem)

    def cost_at(points):
        return over_rows(_sliced, _numbers(points), shared)

    return cost_at, small is not None


def _numbers(points):
    return np.asarray(points, jnp.zeros(()).dtype)


# -- reduction to a smaller network


class Reduced(NamedTuple):
    """A slice of a network's cost as a slice of a smaller network's cost.

    Args:
        problem: problem of the smaller network, whose inputs are the products of the first layer.
        params: origin of the slice, as parameters of the smaller network.
        directions: directions of the slice by name, for the smaller network.
    """

    problem: Problem
    params: PyTree
    directions: dict[str, PyTree]


def at_coordinates(
    params: PyTree,
    directions: Mapping[str, PyTree],
    coordinates: ArrayLike | Sequence,
) -> PyTree:
    """Return the parameters at a point of a slice: w_0 + sum_i c_i d_i.

    Args:
        params: origin w_0.
        directions: directions d_i by name.
        coordinates: coordinates c, one per direction.
    """
    check_params(params)
    check_named("at_coordinates", params, directions)
    values = real_array(coordinates)
    if not is_traced(coordinates) and (values is None or values.shape != (len(directions),)):
        raise InputError(
            f"at_coordinates: coordinates = {coordinates!r:.80}, expected one number per "
            f"direction, {len(directions)}"
        )
    return displaced(params, tuple(directions.values()), jnp.asarray(coordinates))


@jax.jit
def displaced(params: PyTree, directions: tuple[PyTree, ...], coordinates: Array) -> PyTree:
    """Return `at_coordinates` for a tuple of directions; jit sorts the keys of dicts."""
    for c, direction in zip(coordinates, directions, strict=True):
        params = jax.tree.map(lambda w, d, c=c: w + c.astype(w.dtype) * d, params, direction)
    return params


def reduced(problem: Problem, params: PyTree, directions: Mapping[str, PyTree]) -> Reduced:
    """Return a slice of a network's cost as a slice of a smaller network's cost.

        z = [1 a b] [W x; D_1 x; D_2 x] + bias,   the other layers unchanged

    Inputs may be scaled before the first layer, as by `Network.input_scale`, but not shifted. The
    cost must not depend on the first layer in any other way, such as through weight decay. This is
    checked on a few samples.

    Args:
        problem: problem with a `network`, and with data that are a tuple (inputs, ...).
        params: origin of the slice, the layers of the network.
        directions: directions of the slice by name.

    Raises:
        InputError: if the problem has no network, if parameters or data do not match it, or if
            the smaller network has a different cost.

    Examples:
        >>> from gdjax.problems import digits
        >>> problem = digits("mnist5k", samples=20)
        >>> w, d = (problem.init(jax.random.key(seed)) for seed in (0, 1))
        >>> small = reduced(problem, w, {"random": d})
        >>> small.problem.network.widths
        (32, 16, 16, 10)
        >>> point = at_coordinates(w, {"random": d}, [0.5])
        >>> small_point = at_coordinates(small.params, small.directions, [0.5])
        >>> float(problem.cost(point, problem.data))
        2.597
        >>> float(small.problem.cost(small_point, small.problem.data))
        2.597
    """
    remedy = "take the slice of problem.cost and problem.data instead, which works for any cost"
    network, data = problem.network, problem.data
    if network is None:
        raise InputError(f"reduced: the problem has no network; {remedy}")
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    check_like("reduced: params", params, shapes)
    for name, direction in directions.items():
        check_like(f"reduced: direction {name!r}", direction, params)
    expected = (problem.samples, network.widths[0])
    if not isinstance(data, tuple) or jnp.shape(data[0]) != expected:
        raise InputError(f"reduced: the problem's data are not (inputs {expected}, ...); {remedy}")
    trees = (params, *directions.values())
    weights = jnp.concatenate([tree[0].weights for tree in trees])
    count, width = len(trees), network.widths[1]

    def smaller(number):
        # The weights select the products of one pytree: each neuron uses one product.
        tree, dtype = trees[number], weights.dtype
        share = jnp.asarray(np.kron(np.eye(count)[number : number + 1], np.eye(width)), dtype)
        return (tree[0]._replace(weights=share), *tree[1:])

    small = Reduced(
        dataclasses.replace(
            problem,
            init=lambda key: smaller(0),
            data=(_products(data[0], weights), *data[1:]),
            metrics={},
            network=dataclasses.replace(network, widths=(count * width, *network.widths[1:])),
            provenance=None,
        ),
        smaller(0),
        {name: smaller(number) for number, name in enumerate(directions, start=1)},
    )
    _check_same(problem, params, directions, small, remedy)
    return small


def reduces_inputs(problem: Problem, directions: Mapping[str, PyTree]) -> bool:
    """Return whether a problem has a network whose reduction has fewer inputs."""
    widths = getattr(problem.network, "widths", None)
    return widths is not None and (len(directions) + 1) * widths[1] < widths[0]


@jax.jit
def _products(inputs, weights):
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda x: weights @ x.astype(weights.dtype), inputs, batch_size=BATCH)


def _check_same(problem, params, directions, small, remedy):
    """Check that costs agree at the origin, and a unit along each or all directions."""
    if problem.cost in _LINEAR:
        return
    few, few_products = (
        jax.tree.map(lambda a: jnp.asarray(a[:12]), data)
        for data in (problem.data, small.problem.data)
    )
    cost = deterministic_cost(problem)
    count = len(directions)
    corners = np.concatenate([np.zeros((1, count)), np.eye(count), np.ones((1, count))])
    with jax.default_matmul_precision("highest"):
        for corner in corners:
            full_cost = float(cost(at_coordinates(params, directions, corner), few))
            point = at_coordinates(small.params, small.directions, corner)
            small_cost = float(cost(point, few_products))
            if not np.isclose(full_cost, small_cost, rtol=1e-3, atol=1e-9, equal_nan=True):
                raise InputError(
                    f"reduced: at coordinates {corner.tolist()} the cost is {full_cost:.6g}, but "
                    f"that of the smaller network {small_cost:.6g}; expected inputs that are at "
                    f"most scaled before the first layer, and a cost of the outputs alone; {remedy}"
                )
    _LINEAR.add(problem.cost)


# -- validation


def checked_problem(problem: Problem | Callable, params: PyTree, data: PyTree) -> Problem:
    """Return a Problem whose deterministic cost can be evaluated at the parameters."""
    problem = problem_at(problem, params, data)
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
        axis = real_array(values)
        if axis is None or axis.ndim != 1 or not axis.size or not np.isfinite(axis).all():
            raise InputError(
                f"{caller}: {argument} = {values!r:.80} along {name!r}, expected a vector of "
                f"finite numbers, such as numpy.linspace(-1, 1, 51)"
            )
        axes.append(axis.astype(float))
    return axes


def _check_metrics(metrics, params, dims):
    if metrics is not None:
        check_metric_names("metrics", metrics)
    metrics = dict(metrics or {})
    for name, metric in metrics.items():
        if name == "cost" or name in dims:
            raise InputError(f"metrics: the name {name!r} is already in use; choose another name")
        if not metric.is_of_a_point:
            raise InputError(
                f"metrics: {name!r} is not a number of the parameters alone (it has an init, is an "
                f"array, or declares key, step, model_state or opt_state); pass a metric that "
                f"depends only on the parameters"
            )
    check_metrics(metrics, params)
    return {
        name: dataclasses.replace(
            metric, function=canonical(metric.function, (params, metric.data)).function
        )
        for name, metric in metrics.items()
    }
