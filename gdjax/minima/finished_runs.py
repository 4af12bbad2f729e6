"""Finished runs of a sweep: end points, settings of the cost, and the optimizer of each run.

    sweep -> end points [runs], values of the axes [runs] -> groups of runs with one cost

The cost of a group takes its settings from its data, so that one program serves all groups:

    cost(params, (data, settings)) = C(params, data; settings) + sum of decay_l |params_l|^2 / 2
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PyTree

from gdjax.base import documents
from gdjax.base.errors import InputError, StoreError
from gdjax.base.reprs import fields
from gdjax.problems.evaluation import deterministic_cost, evaluation_microbatch
from gdjax.problems.problem import Problem, require_problem
from gdjax.problems.run_settings import at_unbound
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import AxisValue, axes, axes_along, positions, zip_axes
from gdjax.sweeps.binding import assign_roles, by_role
from gdjax.sweeps.continued.stored import StoredSweep, require_problem_of
from gdjax.sweeps.dataset import from_named, named_leaves
from gdjax.sweeps.factories import optimizer_from

if TYPE_CHECKING:
    import xarray as xr


class FinishedRuns(NamedTuple):
    """End points of finished runs with their settings.

    Args:
        params: parameters at which the runs stopped, NaN for diverged runs.
        along: values by axis, [runs].
        cost: swept settings of the cost, [runs].
        optimizer: swept arguments of the optimizer, [runs].
        make_optimizer: factory of the optimizer; None if the record cannot name it.
    """

    params: PyTree
    along: Mapping[str, np.ndarray]
    cost: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    make_optimizer: Callable | None

    __repr__, _repr_html_ = fields

    @property
    def cost_axes(self) -> dict[str, str]:
        """Names of the axes that set keywords of the cost, by keyword."""
        others = ("init", "optimizer")
        axes = {n.rpartition(".")[2]: n for n in self.along if n.partition(".")[0] not in others}
        return {keyword: axes[keyword] for keyword in self.cost}

    def groups(self, by: Sequence[str]) -> dict[tuple, np.ndarray]:
        """Return the indices of the runs for each combination of values of some axes."""
        count = len(jax.tree.leaves(self.params)[0])
        if unknown := sorted(set(by) - set(self.along)):
            raise InputError(
                f"count_minima: by = {unknown[0]!r:.80}, expected one or more axes of the runs: "
                f"{', '.join(self.along) or 'they have none'}"
            )
        keys = list(zip(*(self.along[axis].tolist() for axis in by), strict=True)) or [()] * count
        groups = {
            key: np.array([i for i, other in enumerate(keys) if other == key])
            for key in dict.fromkeys(keys)
        }
        for keyword, values in self.cost.items():
            mixed = [g for g in groups.values() if len(np.unique(values[g])) > 1]
            if mixed:
                axis = self.cost_axes[keyword]
                raise InputError(
                    f"runs: the cost differs between runs with {axis}, so that their minima cannot "
                    f"be compared; count them for each value, by={axis!r}, or choose one: "
                    f"at={{{axis!r}: {values[0].item()!r}}}"
                )
        return groups


def finished_runs(
    problem: Problem,
    runs: "xr.Dataset",
    at: Mapping[str, AxisValue],
    make_optimizer: Callable | None = None,
) -> FinishedRuns:
    """Return the end points and the settings of the finished runs of a sweep.

    Args:
        problem: problem of the sweep.
        runs: Dataset of the sweep.
        at: values of some axes, by name, to which the runs are restricted.
        make_optimizer: factory of the sweep's optimizer; by default that of its record.
    """
    if "outcome" not in runs:
        raise InputError(
            f"runs = Dataset of {', '.join(map(str, runs.data_vars))}, expected that of gd.sweep"
        )
    recorded = documents.recorded_identity(runs).get("make_optimizer")
    names = {name for along in axes_along(runs).values() for name in along}
    runs = runs.expand_dims([name for name in runs.coords if name in names and not runs[name].ndim])
    along = {
        str(dim): {str(k): c.values.tolist() for k, c in runs.coords.items() if c.dims == (dim,)}
        for dim in runs["outcome"].dims
    }
    grid = axes(**{dim: zip_axes(**values) for dim, values in along.items()})
    chosen = positions(grid, at)
    runs = runs.isel({dim: [index] for dim, index in chosen.items()})
    finished = runs["finished"] > 0 if "finished" in runs else runs["outcome"] >= 0
    indices = np.nonzero(finished.values)
    if not len(indices[0]):
        raise StoreError("runs: no run is finished; resume the sweep first")
    values = grid.values(
        tuple(
            np.full_like(index, chosen[dim]) if dim in chosen else index
            for dim, index in zip(grid.sizes, indices, strict=True)
        )
    )
    if problem.stateful:
        raise InputError(
            "problem: the cost has a model state, which differs between runs; count the minima of "
            "one state by count_minima(gdjax.problems.frozen(problem, model_state=...), params)"
        )
    shapes = jax.eval_shape(partial(problem.init), jax.random.key(0))
    arrays = {name: runs[name].values[indices] for name in named_leaves("params", shapes)}
    params = jax.tree.map(np.asarray, from_named("params", shapes, arrays))
    # The point at which a diverged run was stopped is unrelated to minima.
    diverged = runs["diverged_at"].values[indices] >= 0
    params = select_rows(diverged, jax.tree.map(lambda a: np.full_like(a, np.nan), params), params)
    text = {name: v.astype(object) for name, v in values.items() if v.dtype.kind == "U"}
    if make_optimizer is None and isinstance(recorded, Mapping):
        try:
            make_optimizer = optimizer_from(recorded, "runs")
        except StoreError:
            make_optimizer = None  # a factory of the user; its states are judged without it
    roles = by_role(assign_roles(problem, grid), values)
    return FinishedRuns(params, values | text, roles["cost"], roles["optimizer"], make_optimizer)


def opened(
    problem: Problem | None,
    runs: Any,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
) -> tuple[Problem, Any]:
    """Return the problem and the Dataset of a sweep, after a comparison of the two.

    Args:
        problem: problem of the sweep; None for that which a store records.
        runs: Dataset of the sweep, or path or URL of its store.
        allow_unverified, skip_damaged: as for `StoredSweep`.
    """
    if isinstance(runs, StoreLike):
        stored = StoredSweep(runs, problem, None, allow_unverified, skip_damaged)
        return stored.problem, stored.dataset
    require_problem(problem)
    assert isinstance(problem, Problem)
    identity = documents.recorded_identity(runs)
    if "functions" in identity:
        require_problem_of(problem, identity, "runs", allow_unverified=allow_unverified)
    return problem, runs


def ends_of(
    problem: Problem | None, runs: Any, at: Mapping[str, AxisValue]
) -> tuple[Problem, PyTree]:
    """Return the problem of finished runs at their settings of the cost, and their end points.

    Args:
        problem: problem of the sweep; None for that which a store records.
        runs: Dataset of the sweep, or path or URL of its store.
        at: values of some axes, by name, to which the runs are restricted.
    """
    problem, runs = opened(problem, runs)
    ended = finished_runs(problem, runs, at)
    ended.groups(())  # all runs have one cost
    return at_unbound(problem, {n: v[0].item() for n, v in ended.cost.items()}), ended.params


def with_settings_in_data(
    problem: Problem, settings: Mapping[str, Any], decay: Sequence[float] | None = None
) -> Problem:
    """Return a problem that reads numeric settings of its cost from its data.

    Args:
        problem: problem whose deterministic cost is taken.
        settings: numbers by keyword.
        decay: coefficients d of further terms d |leaf|^2 / 2, one for each leaf of the parameters.
    """
    if not settings and decay is None:
        return problem

    def cost(params, batch):
        data, columns = batch
        values = {name: columns[name][0] for name in settings}
        value = deterministic_cost(problem, **values)(params, data)
        if decay is None:
            return value
        squares = jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)])
        return value + (columns["decay of the optimizer"][0] @ squares).astype(value.dtype) / 2

    rows = max(problem.samples, 1)
    columns = {name: np.full(rows, float(value)) for name, value in settings.items()}
    # The largest number of the data sets the scale of probes, which settings should not change.
    columns["scale of the data"] = np.ones(rows)
    if decay is not None:
        columns["decay of the optimizer"] = np.tile(np.asarray(decay, float), (rows, 1))
    return Problem(
        init=problem.init,
        cost=cost,
        data=(problem.data, columns),
        couples_samples=evaluation_microbatch(problem) is None,
        network=problem.network,
    )


def select_rows(condition: Bool[np.ndarray, " rows"], a: PyTree, b: PyTree) -> PyTree:
    """Return the rows of `a` that satisfy a condition, and the other rows of `b`."""
    return jax.tree.map(
        lambda x, y: np.where(condition.reshape(-1, *[1] * (x.ndim - 1)), x, y), a, b
    )
