"""Replay of a run of a stored sweep: it is recomputed and compared bitwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr

from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike
from gdjax.stores.reader import without_carry
from gdjax.sweeps import identity
from gdjax.sweeps.arrays import sweep_arrays
from gdjax.sweeps.axes import AxisValue, position
from gdjax.sweeps.check import check_program
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.dataset import pad_before
from gdjax.sweeps.fit import fit_program
from gdjax.sweeps.program import programs_of
from gdjax.sweeps.slab_runner import run_slab

LABELS = ("python", "numpy", "revision")
"""Entries of a writer that do not affect the numbers of a sweep."""


@dataclass(frozen=True, eq=False)
class Replay:
    """Recomputed run of a stored sweep, compared with the stored run.

    Args:
        at: values of the run, by axis name.
        equal: whether all numbers are bitwise equal to the stored ones. The outcome is derived from
            them and is not compared.
        largest_difference: largest absolute difference over records and parameters; infinite if
            only one of two numbers is infinite or NaN.
        first_step: first recorded step with a difference, or the last one if only parameters
            differ; None if everything is equal.
        changed: changes of the processor or device, threads, versions and flags since the stored
            run, by name: (stored, here). Bitwise equality is guaranteed only if `changed` is empty.
        dataset: records and parameters of the run, as in the store, without the axes.
        bits_checked: whether a check found that the bits of a run do not depend on its place among
            the runs that are computed together. If not, `equal` may be False for a sound store.
    """

    at: Mapping[str, Any]
    equal: bool
    largest_difference: float
    first_step: int | None
    changed: Mapping[str, tuple[Any, Any]]
    dataset: xr.Dataset
    bits_checked: bool | None = None


def replay(
    store: StoreLike,
    at: Mapping[str, AxisValue],
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    metrics: Mapping[str, Any] | None = None,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
) -> Replay:
    """Recompute one run of a stored sweep and compare it with the stored run.

    Args:
        store: path or URL of the store; it may be in use.
        at: values by axis name, equal to those of the grid within rounding; at least one for each
            dimension of the grid.
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        metrics: metrics of the sweep, as they were passed to it; those of the problem are known.
        allow_unverified: whether to go on under other versions or numeric flags, as in `resume`.
            Functions of the host need no permission, since the run is computed again.
        skip_damaged: whether damaged tiles count as unfinished.

    Examples:
        >>> import tempfile, optax
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
        ...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s")
        ...     again = replay(f"{folder}/s", {"learning_rate": 0.1, "seed": 1})
        >>> again.at, again.equal, again.first_step
        ({'learning_rate': 0.1, 'seed': 1}, True, None)
    """
    functions, options = (problem, make_optimizer), (allow_unverified, skip_damaged)
    stored = StoredSweep(store, *functions, *options, metrics=metrics, recomputed=True)
    index = position(stored.axes, at)
    sweep, stored_run = stored.sweep, stored.run(index)
    devices = jax.local_devices()
    programs = programs_of(sweep, devices, sweep.start(), keeps_carry=bool(sweep.continuable))
    program = programs[sweep.axes.box_number(index)]
    check_program(program)
    program = fit_program(program)
    positions = tuple(np.array([i]) for i in index)
    computed = run_slab(program, positions, devices[0])
    assert computed is not None  # without a monitor, no slab is stopped
    variables = sweep_arrays(program).arrays
    names = [str(name) for name in stored_run.data_vars if name != "finished"]
    arrays = {}
    for name in names:
        array, shape = np.asarray(computed[name][0]), stored_run[name].shape
        arrays[name] = pad_before(array, shape, variables[name].fill_value)
    again = stored_run[names].copy(data=arrays)
    # The outcome is derived from the numbers by a rule that may differ between versions.
    compared = again.drop_vars("outcome")
    first = _first_step(compared, stored_run)
    return Replay(
        at=stored.axes.box(positions).first_values,
        equal=first is None,
        largest_difference=max(
            _difference(compared[name].values, stored_run[name].values)
            for name in compared.data_vars
        ),
        first_step=first,
        changed=changed_settings(stored.writers(stored_run), identity.writer(devices[0])),
        dataset=without_carry(again),
        bits_checked=program.bits_checked,
    )


def changed_settings(
    writers: Sequence[Mapping[str, Any]], here: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return the hardware and software that differ from a writer's, as (stored, here)."""
    changed = {}
    for writer in writers:
        pairs = {name: (writer.get(name), here[name]) for name in here if name not in LABELS}
        stored, flags = pairs.pop("flags")
        stored = stored if isinstance(stored, dict) else {}
        pairs |= {f"flags.{n}": (stored.get(n), value) for n, value in flags.items()}
        changed |= {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return changed


def _differs(a, b):
    """Return where two arrays of the same type differ bitwise."""
    a, b = (np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}") for x in (a, b))
    return a != b


def _difference(a, b):
    """Return the largest |a - b|; NaN and infinity differ from other numbers by inf."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    return float(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)).max(initial=0))


def _first_step(here, stored_run):
    """Return the first recorded step with a difference, or None.

    If only arrays without steps differ, it is the last recorded step.
    """
    differs = np.zeros(here.sizes["step"], bool)
    for name in here.data_vars:
        different = _differs(here[name].values, stored_run[name].values)
        along = next(iter(here[name].dims), None)
        if along in here.coords:  # the dimension is `step`, `snapshot_step` or the step of a metric
            late = here[along].values[different.reshape(len(different), -1).any(axis=1)]
            differs |= np.isin(here.step.values, late)
        else:
            differs[-1] |= different.any()
    return int(here.step.values[differs.argmax()]) if differs.any() else None
