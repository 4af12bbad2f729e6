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

from gdjax.errors import InputError, StoreError
from gdjax.keys import streams
from gdjax.minima.census import census
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import AxisValue, positions
from gdjax.sweeps.binding import assign_roles, by_role, with_settings
from gdjax.sweeps.dataset import from_named, named_leaves
from gdjax.sweeps.stored import open_sweep


def census_of(
    store: str | Path,
    at: Mapping[str, AxisValue] | None = None,
    *,
    problem: Problem | None = None,
    skip_damaged: bool = False,
    nearest: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """The different minima that the runs of a stored sweep ended in.

    Runs that are not finished are left out. Random probes come from the sweep's own root, so that
    the same store has the same census.

    Args:
        store: path or URL of the store; it may be in use.
        at: only the runs with these values, by axis; all along the other axes.
        problem: the sweep's, where it was the user's own.
        skip_damaged: leave out the runs of tiles that are damaged, like those not finished.
        nearest: take the nearest numbers of the grid. Seeds and names have to be those of the grid.
        storage_options: of a URL: keywords of `obstore.store.from_url`.
        settings: tolerances and steps, as for `census`.

    Returns:
        As `census`; each run has the values of its axes as coordinates.

    Raises:
        InputError: a value for something that is no axis; a cost that differs from run to run; a
            `key`, which the sweep has itself.
        StoreError: no store, a damaged tile, none of its runs finished, a user's own problem not
            given, or a problem that is not the sweep's.
    """
    if "key" in settings:
        raise InputError(
            "census_of: key: random probes come from the sweep's own root; leave it out, or take "
            "`census` of its parameters"
        )
    stored = open_sweep(store, skip_damaged=skip_damaged, storage_options=storage_options)
    dataset, identity, grid = stored.dataset, stored.identity, stored.axes
    chosen = positions(grid, at or {}, nearest=nearest)
    problem = stored.problem(problem)
    dataset = dataset.isel({dim: [place] for dim, place in chosen.items()})
    places = np.nonzero(dataset["finished"].values > 0)
    if not len(places[0]):
        raise StoreError(f"{store}: no run is finished; go on with the sweep first")
    along = zip(grid.sizes, places, strict=True)
    values = grid.values(tuple(np.full_like(i, chosen[d]) if d in chosen else i for d, i in along))
    problem = with_settings(problem, _cost_settings(problem, grid, values))
    like = jax.eval_shape(problem.init, jax.random.key(0))
    # Where a diverged run was frozen says nothing about minima.
    diverged = dataset["diverged_at"].values[places] >= 0
    arrays = {name: dataset[name].values[places] for name in named_leaves("params", like)}
    ends = from_named("params", like, arrays)
    ends = jax.tree.map(
        lambda a: np.where(diverged.reshape(-1, *[1] * (a.ndim - 1)), np.nan, a), ends
    )
    found = census(problem, ends, key=streams(identity["root_seed"]).probes, **settings)
    text = {name: v.astype(object) for name, v in values.items() if v.dtype.kind == "U"}
    return found.assign_coords({n: ("run", v) for n, v in (values | text).items()}).assign_attrs(
        store=str(store), problem=identity["problem"]
    )


def _cost_settings(problem, grid, values):
    """Keywords of the cost that were axes; a census needs one cost for all its runs."""
    settings = by_role(assign_roles(problem, grid), {axis: axis for axis in values})["cost"]
    for axis in settings.values():
        if len(np.unique(values[axis])) > 1:
            raise InputError(
                f"census: {axis} makes the cost differ from run to run, so that their minima are "
                f"not comparable; choose one value: at={{{axis!r}: {values[axis][0].item()!r}}}"
            )
    return {keyword: values[axis][0].item() for keyword, axis in settings.items()}
