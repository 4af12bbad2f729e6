"""Projections of descents onto lines and planes, and the plane of largest motion.

    path_t = argmin_c |w_t - w(c)|,   w(c) = w_0 + sum_i c_i d_i,   off_t = the minimum

In general, a descent of many parameters does not lie in a plane, so the Dataset contains its
distance from the plane and its cost besides the cost of the nearest point in the plane.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import ArrayLike, PyTree

from gdjax.base.arguments import MAX_COUNT, check_limits, check_numbers, check_whole
from gdjax.base.arrays import Array, as_dataset, quantities
from gdjax.base.errors import InputError
from gdjax.base.limits import NotNegative
from gdjax.landscape.components import principal_components, project
from gdjax.landscape.directions import DIMENSIONS, check_directions
from gdjax.landscape.slices import checked_problem, cost_of, on_slice, over_rows, plane
from gdjax.problems.checks import check_points
from gdjax.problems.evaluation import evaluation_part
from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem

if TYPE_CHECKING:
    import xarray as xr

# Smallest ratio of the sides of a plane, so that the plane is not too narrow for straight descents.
SQUARE = 0.6

PATH = quantities(
    "snapshot_step",
    path_off="distance from the slice",
    path_cost="cost",
    path_cost_in_slice="cost of the nearest point in the slice",
)
"""Quantities of a projected descent, in addition to its coordinates."""


def descent_on_slice(
    problem: Problem | Callable,
    params: PyTree,
    directions: Mapping[str, PyTree],
    snapshots: PyTree,
    *,
    step: Sequence | ArrayLike | None = None,
) -> "xr.Dataset":
    """Return the projections of snapshots onto a slice, their distances and costs.

    A figure shows the cost of the nearest point in the slice, which differs from the cost of the
    snapshot unless the snapshot lies in the slice. The Dataset contains both costs.

    Args:
        problem: a Problem or a cost (see `grid`).
        params: origin of the slice.
        directions: directions of the slice by name.
        snapshots: parameters of the descent, in arrays whose leading axis indexes the snapshots.
        step: step of each snapshot; None means 0, 1, 2, ...

    Returns:
        A Dataset over `snapshot_step`: `path_a`, `path_b`, ... are the coordinates of the nearest
        point in the slice, `path_off` is the distance from it, `path_cost` the cost of the
        snapshot, and `path_cost_in_slice` the cost of the nearest point.

    Examples:
        >>> bowl, snapshots = lambda w: jnp.sum(w**2), jnp.array([[2.0, 1.0], [1.0, 0.0]])
        >>> descent = descent_on_slice(bowl, jnp.zeros(2), {"x": jnp.array([1.0, 0.0])}, snapshots)
        >>> descent.path_cost.values.tolist(), descent.path_cost_in_slice.values.tolist()
        ([5.0, 1.0], [4.0, 1.0])
    """
    check_points("descent_on_slice: snapshots", snapshots, params)
    problem = checked_problem(problem, params)
    check_directions("descent_on_slice", params, directions)
    projection = project(snapshots, params, directions)
    count = len(projection.distance)
    steps = _steps("descent_on_slice", step, count)
    cost_at, _ = on_slice(problem, params, directions)
    snapshot_cost = over_rows(cost_of, snapshots, evaluation_part(problem))
    names = dict(zip(DIMENSIONS, directions, strict=False))
    paths = quantities("snapshot_step", **{f"path_{axis}": n for axis, n in names.items()})
    coordinates = np.asarray(projection.coordinates)
    values = dict(zip(paths, coordinates.T, strict=True)) | {
        "path_off": np.asarray(projection.distance),
        "path_cost": snapshot_cost,
        "path_cost_in_slice": cost_at(coordinates),
    }
    declared = paths | PATH | {"snapshot_step": _step_quantity(step)}
    return as_dataset(declared, values, {"snapshot_step": steps})


def trajectory_plane(
    problem: Problem | Callable,
    snapshots: PyTree,
    *,
    step: Sequence | ArrayLike | None = None,
    points: int = 51,
    margin: float = 0.2,
    metrics: Mapping[str, Metric] | None = None,
) -> "xr.Dataset":
    """Return the cost on the plane in which a descent moves most, through its end.

    Args:
        problem: a Problem or a cost (see `grid`).
        snapshots: parameters of the descent, in arrays whose leading axis indexes the snapshots;
            snapshots that are not finite are omitted.
        step: step of each snapshot; None means 0, 1, 2, ...
        points: number of points along each side.
        margin: margin of the plane around the descent, as a fraction of its extent. The shorter
            side is at least 0.6 times the longer one.
        metrics: further functions to evaluate (see `grid`).

    Returns:
        A Dataset that combines the results of `plane` and `descent_on_slice`, and `explained`, the
        share of the sum of squared distances from the end along each of at most ten principal
        components. The origin of the plane is the end of the descent.

    Examples:
        The descent lies in a plane, so the costs of its points and of the nearest points in the
        plane are equal:

        >>> bowl = lambda w: w[0] ** 2 + 10 * w[1] ** 2 + w[2] ** 2
        >>> snapshots = jnp.array([[4, 1, 0], [3, 0.1, 0], [2, 0, 0], [1, 0, 0]])
        >>> dataset = trajectory_plane(bowl, snapshots, points=5)
        >>> float(dataset.path_off.max()) < 1e-6
        True
        >>> float(abs(dataset.path_cost - dataset.path_cost_in_slice).max()) < 1e-4
        True
    """
    import xarray as xr

    check_points("trajectory_plane: snapshots", snapshots)
    finite = np.all(
        [np.isfinite(a).reshape(len(a), -1).all(1) for a in jax.tree.leaves(snapshots)], 0
    )
    if finite.sum() < 3:
        raise InputError(
            f"trajectory_plane: snapshots has {finite.sum()} finite points, expected at least 3; "
            f"keep more of them with snapshot_every, or lower the learning rate"
        )
    check_whole("trajectory_plane: points", points, 2, MAX_COUNT)
    check_limits("trajectory_plane: margin", margin, NotNegative)
    steps = _steps("trajectory_plane", step, len(finite))
    snapshots = jax.tree.map(lambda a: jnp.asarray(a)[finite], snapshots)
    origin = jax.tree.map(lambda a: a[-1], snapshots)
    size = ravel_pytree(origin)[0].size
    if size < 2:
        raise InputError("trajectory_plane: a single parameter has no plane; use `line`")
    components = principal_components(snapshots, min(10, size, int(finite.sum())), center=origin)
    if not float(jnp.ptp(components.coordinates[:, 0])) > 0:
        raise InputError(
            "trajectory_plane: snapshots are all equal, expected snapshots that differ"
        )
    directions = components.named_directions(2)
    descent = descent_on_slice(problem, origin, directions, snapshots, step=steps[finite])
    descent.snapshot_step.attrs.update(_step_quantity(step).attributes)
    middle, extent = zip(*(_span(descent[f"path_{axis}"].values) for axis in "ab"), strict=True)
    extent = [max(side, SQUARE * max(extent)) * (1 + 2 * margin) for side in extent]
    sides = [np.linspace(m - e / 2, m + e / 2, points) for m, e in zip(middle, extent, strict=True)]
    surface = plane(problem, origin, directions, *sides, metrics=metrics)
    share = xr.DataArray(
        np.asarray(components.explained),
        {"component": np.arange(1, len(components.explained) + 1)},
        attrs={"long_name": "share of the squared distance from the end", "units": "1"},
    )
    return xr.merge([surface, descent, share.rename("explained")]).assign_attrs(
        surface.attrs, result="trajectory_plane", snapshots_left_out=int((~finite).sum())
    )


def _steps(caller, step, count):
    if step is not None:
        check_numbers(f"{caller}: step", step, shape=(count,))
    return np.arange(count) if step is None else np.asarray(step)


def _step_quantity(step):
    """Declare the steps of snapshots; snapshots without steps are numbered."""
    name = "snapshot" if step is None else "step"
    return Array(name, ("snapshot_step",), f"{name}s")


def _span(values):
    """Return the center and the length of the range of values."""
    low, high = float(values.min()), float(values.max())
    return (low + high) / 2, high - low
