"""A stored sweep's problem, and one of its runs, as something to look at.

    problem_of(store) -> Problem      run_of(store, at) -> Run: where it ended, and its way there

>>> import tempfile
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s", snapshot_every=1)
...     run = run_of(f"{folder}/s", {"learning_rate": 0.09, "seed": 1})
>>> run.at, run.step.tolist(), run.outcome
({'learning_rate': 0.1, 'seed': 1}, [0, 1, 2, 3, 4, 5], 'descending')
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree, ScalarLike

from gdjax.descent.outcome import labels
from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Problem, declared
from gdjax.stores.reading import local, read_attributes
from gdjax.sweeps import record
from gdjax.sweeps.arrays import named_leaves
from gdjax.sweeps.axes import SEEDS, Axes


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a stored sweep.

    Args:
        problem: with the run's own settings of the cost (a temperature, say) as its defaults.
        at: the run's values, by axis.
        params: where it ended.
        step: the steps at which parameters were kept.
        snapshots: those parameters, with a leading axis of steps; None if only the last were kept.
        outcome: how it ended.
        optimizer: name and keywords of the optimizer, swept ones included.
        batch_size: samples a step; None for the whole set.
    """

    problem: Problem
    at: Mapping[str, int | float]
    params: PyTree
    step: Int[np.ndarray, " snapshots"]
    snapshots: PyTree
    outcome: str
    optimizer: Mapping[str, Any]
    batch_size: int | None


def problem_of(store: str | Path, problem: Problem | None = None) -> Problem:
    """The problem whose sweep a store holds.

    Args:
        store: folder of the store.
        problem: the sweep's, where it was the user's own.

    Raises:
        StoreError: no store, or a user's own problem that was not given.
    """
    path = local(store)
    identity = identity_of(path)
    return record.problem_from(identity["problem"], path) if problem is None else problem


def run_of(store: str | Path, at: Mapping[str, ScalarLike], problem: Problem | None = None) -> Run:
    """One run of a stored sweep: where it ended, and its way there if that was kept.

    Args:
        store: folder of the store; it may be in use.
        at: values by axis; the nearest run of the grid is taken. Every dimension of the grid needs
            a value of one of its axes.
        problem: the sweep's, where it was the user's own.

    Raises:
        InputError: a value that is missing, or for something that is no axis.
        StoreError: no store, a run that is not finished, a problem that has to be given.
    """
    from gdjax.stores.reading import open_dataset

    path = local(store)
    problem = problem_of(path, problem)
    identity = identity_of(path)
    grid = record.axes_from(identity["axes"])
    index = nearest(grid, at)
    with open_dataset(path) as dataset:
        found = dataset.isel(dict(zip(grid.sizes, index, strict=True))).load()
    if not int(found["finished"]):
        raise StoreError(f"{path}: this run is not finished; go on with the sweep first")
    values = grid.values(tuple(np.array([i]) for i in index))
    by_axis = {axis: value[0].item() for axis, value in values.items()}
    like = jax.eval_shape(problem.init, jax.random.key(0))
    kept = "snapshot_step" in found.dims
    optimizer = identity["optimizer"]
    settings, swept = _set_by_axes(problem, by_axis)
    return Run(
        problem=with_settings(problem, settings),
        at=by_axis,
        params=_tree("params", like, found),
        step=found["snapshot_step"].values if kept else np.asarray([identity["steps"]]),
        snapshots=_tree("snapshots", like, found) if kept else None,
        outcome=labels(found["outcome"].values)[0],
        optimizer={"name": optimizer["name"], **optimizer["keywords"], **swept},
        batch_size=identity["batch_size"],
    )


def with_settings(problem: Problem, settings: Mapping[str, ScalarLike]) -> Problem:
    """A problem whose cost, measures and outputs have keywords fixed, such as a temperature."""
    if not settings:
        return problem

    def fixed(function):
        given = {k: v for k, v in settings.items() if function and k in declared(function)}
        return partial(function, **given) if given else function

    predict = problem.predict and partial(problem.predict, **settings)
    return dataclasses.replace(
        problem,
        cost=fixed(problem.cost),
        measures={
            name: dataclasses.replace(measure, function=fixed(measure.function))
            for name, measure in problem.measures.items()
        },
        predict=predict,
    )


def nearest(grid: Axes, at: Mapping[str, ScalarLike]) -> tuple[int, ...]:
    """Position along each dimension of the run whose values are nearest.

    Where several values are given on one dimension, differences are measured in units of each
    axis's range and added.

    Raises:
        InputError: a value for something that is no axis, one that is no number, or a dimension
            without a value.
    """
    listed = "; ".join(f"{axis}: {_short(v)}" for axis, v in _axes(grid).items())
    for name, value in at.items():
        number = np.asarray(value)
        real = number.ndim == 0 and number.dtype.kind in "iuf" and np.isfinite(number)
        if name not in _axes(grid) or not real:
            raise InputError(f"at: {name} = {value!r}, expected a number for an axis of {listed}")
    index = []
    for dim, along in grid.dimensions.items():
        given = [axis for axis in along if axis in at]
        if not given:
            raise InputError(
                f"at: nothing given for {' or '.join(along)}; expected a value on the dimension "
                f"{dim}, of {listed}"
            )
        distance = np.zeros(grid.sizes[dim])
        for axis in given:
            scale = float(np.ptp(along[axis])) or 1.0
            distance += np.abs(along[axis] - at[axis]) / scale
        index.append(int(distance.argmin()))
    return tuple(index)


def _axes(grid):
    return {axis: v for along in grid.dimensions.values() for axis, v in along.items()}


def _short(values):
    shown = [f"{value:.6g}" for value in values]
    return ", ".join(shown if len(shown) <= 16 else [*shown[:8], "...", *shown[-4:]])


def _set_by_axes(problem, at):
    """Keywords of the cost, and of the optimizer factory, with a run's values."""
    by_role = {"cost": {}, "init": {}, "optimizer": {}}
    for axis, value in at.items():
        role, _, keyword = axis.rpartition(".")
        if not role and axis not in SEEDS:
            homes = (name for name in ("cost", "init") if axis in declared(getattr(problem, name)))
            role = next(homes, "optimizer")
        if role:
            by_role[role][keyword] = value
    return by_role["cost"], by_role["optimizer"]


def identity_of(path: Path) -> dict[str, Any]:
    """What a store says its sweep is."""
    attributes = read_attributes(path)
    if attributes is None:
        raise StoreError(f"{path}: there is no store here; check the path")
    if "axes" not in attributes["identity"]:
        raise StoreError(f"{path}: was not written by a sweep")
    return attributes["identity"]


def _tree(prefix, like, dataset):
    """Arrays of a Dataset as the pytree they were."""
    leaves = [
        jnp.asarray(dataset[name].values, leaf.dtype)
        for name, leaf in named_leaves(prefix, like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
