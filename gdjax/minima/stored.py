"""The census of a stored sweep, from its record alone.

    store -> problem, as recorded;  final parameters of all runs -> census

>>> import tempfile
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = sweep(
...         problems.function("quartic"), axes(learning_rate=[0.01, 0.02], seed=range(10)), 100,
...         store=f"{folder}/s",
...     )
...     found = census_of(f"{folder}/s")
>>> found.sizes["run"], found.sizes["minimum"], sorted(found.coords)
(20, 2, ['learning_rate', 'seed', 'tolerance'])
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import ScalarLike

from gdjax.errors import InputError, StoreError
from gdjax.minima.census import census
from gdjax.problems.problem import Problem, declared
from gdjax.runs import streams
from gdjax.stores.reading import open_dataset
from gdjax.sweeps.arrays import named_leaves
from gdjax.sweeps.axes import SEEDS
from gdjax.sweeps.selected import problem_of, with_settings


def census_of(
    store: str | Path,
    at: Mapping[str, ScalarLike] | None = None,
    *,
    problem: Problem | None = None,
    **settings: Any,
) -> Any:
    """The different minima that the runs of a stored sweep ended in.

    Runs that are not finished are left out. Random probes come from the sweep's own root, so that
    the same store has the same census.

    Args:
        store: folder of the store; it may be in use.
        at: only the runs that are nearest to these values, by axis; all along the other axes.
        problem: the sweep's, where it was the user's own.
        settings: tolerances and steps, as for `census`.

    Returns:
        As `census`; each run has the values of its axes as coordinates.

    Raises:
        InputError: a value for something that is no axis; a cost that differs from run to run.
        StoreError: no store, none of its runs finished, or a user's own problem not given.
    """
    problem = problem_of(store, problem)
    dataset = open_dataset(store)
    grid = dataset["outcome"].dims
    dataset = _selected(dataset, grid, at or {}).stack(run=grid)
    dataset = dataset.isel(run=np.flatnonzero(dataset["finished"].values > 0))
    if not dataset.sizes["run"]:
        raise StoreError(f"{store}: no run is finished; go on with the sweep first")
    axes = [
        str(name) for name, c in dataset.reset_index("run").coords.items() if c.dims == ("run",)
    ]
    values = {name: dataset[name].values for name in axes}
    problem = with_settings(problem, _cost_settings(problem, values))
    like = jax.eval_shape(problem.init, jax.random.key(0))
    leaves = [dataset[name].transpose("run", ...).values for name in named_leaves("params", like)]
    # Where a diverged run was frozen says nothing about minima.
    diverged = dataset["diverged_at"].values >= 0
    leaves = [np.where(diverged.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a) for a in leaves]
    found = census(
        problem,
        jax.tree.unflatten(jax.tree.structure(like), leaves),
        key=streams(dataset.attrs["identity"]["root"]).probes,
        **settings,
    )
    return found.assign_coords({name: ("run", v) for name, v in values.items()}).assign_attrs(
        store=str(store), problem=dataset.attrs["identity"]["problem"]
    )


def _selected(dataset, grid, at):
    """The runs nearest to some values, as a grid of the same dimensions."""
    for axis, value in at.items():
        known = axis in dataset.coords and len(dataset[axis].dims) == 1
        if not known or dataset[axis].dims[0] not in grid:
            names = [n for n, c in dataset.coords.items() if c.dims and c.dims[0] in grid]
            raise InputError(f"at: {axis} = {value!r}, expected an axis of {', '.join(names)}")
        (dim,) = dataset[axis].dims
        nearest = int(np.argmin(np.abs(dataset[axis].values - value)))
        dataset = dataset.isel({dim: [nearest]})
    return dataset


def _cost_settings(problem, values):
    """Keywords of the cost that were axes; a census needs one cost for all its runs."""
    settings = {}
    for axis, found in values.items():
        role, _, keyword = axis.rpartition(".")
        if role not in ("", "cost") or axis in SEEDS or keyword not in declared(problem.cost):
            continue
        if len(np.unique(found)) > 1:
            raise InputError(
                f"census: {axis} makes the cost differ from run to run, so that their minima are "
                f"not comparable; choose one value: at={{{axis!r}: {found[0]:.6g}}}"
            )
        settings[keyword] = found[0].item()
    return settings
