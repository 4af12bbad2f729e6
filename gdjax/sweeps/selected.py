"""A stored sweep's problem, and one of its runs, as something to look at.

    problem_of(store) -> Problem      run_of(store, at) -> Run: where it ended, and its way there

>>> import tempfile
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s", snapshot_every=1)
...     run = run_of(f"{folder}/s", {"learning_rate": 0.1, "seed": 1})
>>> run.at, run.step.tolist(), run.outcome.name
({'learning_rate': 0.1, 'seed': 1}, [0, 1, 2, 3, 4, 5], 'NOT_CONVERGED')
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, PyTree

from gdjax.descent.outcome import Outcome
from gdjax.errors import StoreError
from gdjax.problems.problem import Problem
from gdjax.sweeps.arrays import from_named
from gdjax.sweeps.axes import BATCH_SIZE, AxisValue, position
from gdjax.sweeps.keywords import by_role, roles, with_settings
from gdjax.sweeps.recorded import opened


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a stored sweep.

    Args:
        problem: with the run's own settings of the cost (a temperature, say) as its defaults.
        at: the run's values, by axis.
        params: where it ended.
        state: what the cost carried there beside the parameters; None where it carries nothing.
        step: the steps at which parameters were kept.
        snapshots: those parameters, with a leading axis of steps; None if only the last were kept.
        outcome: how it ended.
        optimizer: name and keywords of the optimizer, swept ones included.
        batch_size: samples a step; None for the whole set.
    """

    problem: Problem
    at: Mapping[str, Any]
    params: PyTree
    state: PyTree
    step: Int[np.ndarray, " snapshots"]
    snapshots: PyTree
    outcome: Outcome
    optimizer: Mapping[str, Any]
    batch_size: int | None


def problem_of(
    store: str | Path,
    problem: Problem | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Problem:
    """Return the problem whose sweep a store holds.

    Args:
        store: path or URL of the store.
        problem: the sweep's, where it was the user's own.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Raises:
        StoreError: no store; a user's own problem that was not given; a problem that is not that
            of the sweep (its start, its cost or its data differ).
    """
    return opened(store, storage_options=storage_options).problem(problem)


def run_of(
    store: str | Path,
    at: Mapping[str, AxisValue],
    problem: Problem | None = None,
    *,
    skip_damaged: bool = False,
    nearest: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Run:
    """One run of a stored sweep: where it ended, and its way there if that was kept.

    Args:
        store: path or URL of the store; it may be in use.
        at: values by axis, those of the grid within rounding. Every dimension of the grid needs a
            value of one of its axes.
        nearest: take the run of the grid that is nearest in its numbers. Seeds and names have to be
            those of the grid.
        problem: the sweep's, where it was the user's own.
        skip_damaged: take a tile that is damaged for one that is not finished.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Raises:
        InputError: a value that is missing, or for something that is no axis.
        StoreError: no store, or a damaged tile; a run that is not finished; a problem that has to
            be given, or is not that of the sweep.
    """
    stored = opened(store, skip_damaged=skip_damaged, storage_options=storage_options)
    identity, grid = stored.said, stored.axes
    index = position(grid, at, nearest=nearest)
    problem = stored.problem(problem)
    run = stored.run(index)
    outcome = int(run["outcome"])
    if not 0 <= outcome < len(Outcome):
        raise StoreError(
            f"{store}: outcome = {outcome} of this run, expected 0 to {len(Outcome) - 1}; the "
            f"store is not as gdjax wrote it, compute the sweep again"
        )
    values = grid.values(tuple(np.array([i]) for i in index))
    by_axis = {axis: value[0].item() for axis, value in values.items()}
    like, carried = jax.eval_shape(problem.begin, jax.random.key(0))
    kept = "snapshot_step" in run.dims
    optimizer = identity["make_optimizer"]
    settings = by_role(roles(problem, grid), by_axis)
    return Run(
        problem=with_settings(problem, settings["cost"]),
        at=by_axis,
        params=from_named("params", like, run),
        state=from_named("state", carried, run),
        step=run["snapshot_step"].values if kept else run["step"].values[-1:],
        snapshots=from_named("snapshots", like, run) if kept else None,
        outcome=Outcome(outcome),
        optimizer={"name": optimizer["name"], **optimizer["keywords"], **settings["optimizer"]},
        batch_size=by_axis.get(BATCH_SIZE, identity["batch_size"]),
    )
