"""Finished runs of a sweep, one after another, for programs that track runs.

for run in histories(store, poll_seconds=10): run.at, run.records, run.outcome
"""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from gdjax.base.arrays import check_sweep_dataset
from gdjax.base.errors import InputError
from gdjax.descent.outcome import Outcome
from gdjax.stores import open_dataset
from gdjax.stores.location import StoreLike
from gdjax.sweeps.dataset import KNOWN


class RunHistory(NamedTuple):
    """Records of one run.

    Args:
        at: value of the run along each axis, including axes that vary together.
        step: recorded steps.
        records: cost, gradient norm and metrics, each with a leading axis of steps.
        outcome: outcome of the run.
        diverged_at: step at which the run diverged; None if it did not.
    """

    at: Mapping[str, float | int | str | bool]
    step: np.ndarray
    records: Mapping[str, np.ndarray]
    outcome: Outcome
    diverged_at: int | None


def histories(
    runs: xr.Dataset | StoreLike, *, poll_seconds: float | None = None
) -> Iterator[RunHistory]:
    """Yield the history of each finished run of a sweep, once.

    Args:
        runs: Dataset returned by `gd.sweep` or `gd.open_dataset`, or the path or URL of a store,
            which may be in use.
        poll_seconds: interval in seconds between checks for newly finished tiles in a store,
            until all runs are finished. None yields only the runs that are finished now.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> runs = sweep(problems.bowl([1.0, 9.0]), axes(learning_rate=[0.1, 9.0]), 200)
        >>> [(run.at, run.outcome.name) for run in histories(runs)]
        [({'learning_rate': 0.1}, 'CONVERGED'), ({'learning_rate': 9.0}, 'DIVERGED')]
    """
    is_stored = isinstance(runs, StoreLike)
    if not is_stored:
        check_sweep_dataset("runs", runs, or_else=", or the path or URL of a store")
    if poll_seconds is not None and not (is_stored and poll_seconds > 0):
        raise InputError(
            f"poll_seconds = {poll_seconds!r}, expected a positive number and the path or URL of a "
            f"store as runs, or None"
        )
    yielded: np.ndarray | bool = False
    while True:
        dataset = open_dataset(runs) if is_stored else runs
        finished = dataset["outcome"].values >= 0
        with dataset:
            yield from _histories(dataset, np.argwhere(finished & ~np.asarray(yielded)))
        yielded = finished
        if poll_seconds is None or finished.all():
            return
        time.sleep(poll_seconds)


def _histories(dataset, positions):
    """Yield the runs at given positions, loaded by values of the first axis."""
    dims = dataset["outcome"].dims
    names = [
        name
        for name, variable in dataset.data_vars.items()
        if variable.dims[: len(dims) + 1] == (*dims, "step") and not name.endswith(KNOWN)
    ]
    wanted = dataset[[*names, "outcome", "diverged_at"]]
    for first in np.unique(positions[:, 0]):
        loaded = wanted.isel({dims[0]: [first]}).load()
        for _, *rest in positions[positions[:, 0] == first]:
            run = loaded.isel(dict(zip(dims, (0, *rest), strict=True)))
            diverged_at = int(run["diverged_at"])
            yield RunHistory(
                at={name: c.item() for name, c in run.coords.items() if c.ndim == 0},
                step=run["step"].values,
                records={name: run[name].values for name in names},
                outcome=Outcome(int(run["outcome"])),
                diverged_at=diverged_at if diverged_at >= 0 else None,
            )
