"""Replay of a run of a stored sweep, and completion of an interrupted sweep.

    replay(store, at):  recompute the run, and compare bitwise
    resume(store):      compute the unfinished tiles

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

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from gdjax.problems.problem import Problem
from gdjax.stores.reader import open_dataset, without_carry
from gdjax.stores.writer import require_same
from gdjax.sweeps import identity
from gdjax.sweeps.axes import AxisValue, position
from gdjax.sweeps.dataset import pad_before
from gdjax.sweeps.executor import execute
from gdjax.sweeps.preflight import Target, check, check_devices, fit_program, make_plan, preflight
from gdjax.sweeps.slab_program import SlabProgram
from gdjax.sweeps.slab_runner import run_slab
from gdjax.sweeps.stored import RunSetting, StoredSweep, open_sweep

SETTING = ("device", "platform", "cpu_threads", "jax", "jaxlib", "optax", "gdjax")


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
        changed: changes of device, versions, flags and `program_hash` since the stored run, by
            name: (stored, here). Bitwise equality is guaranteed only if `changed` is empty.
        dataset: records and parameters of the run, as in the store, without the axes.
    """

    at: Mapping[str, Any]
    equal: bool
    largest_difference: float
    first_step: int | None
    changed: Mapping[str, tuple[Any, Any]]
    dataset: xr.Dataset


def replay(
    store: str | Path,
    at: Mapping[str, AxisValue],
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    devices: Sequence[jax.Device] | None = None,
    skip_damaged: bool = False,
    nearest: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Replay:
    """Recompute one run of a stored sweep and compare it with the stored run.

    Args:
        store: path or URL of the store; it may be in use.
        at: values by axis name, equal to those of the grid within rounding; at least one for each
            dimension of the grid.
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        devices: devices, of which the first computes the run; None for the local ones.
        skip_damaged: whether damaged tiles count as unfinished.
        nearest: whether to select the run with the nearest numeric values. Seeds, booleans and
            names must be in the grid.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Raises:
        InputError: if a value is missing, or an axis is not in the grid.
        StoreError: if there is no store, the tile is damaged, the run is unfinished, or the problem
            or the optimizer is required but not given, or differs from the recorded one (the
            message lists the differences).
    """
    if devices is not None:
        check_devices(devices)
    stored = open_sweep(store, skip_damaged=skip_damaged, storage_options=storage_options)
    index = position(stored.axes, at, nearest=nearest)
    setting = stored.setting(index, problem, make_optimizer)
    stored_run = stored.run(index)
    devices = tuple(jax.local_devices() if devices is None else devices)
    spec = setting.program
    check(dataclasses.replace(setting.sweep, axes=spec.axes), devices)
    program = fit_program(spec, devices, setting.sweep.initial_carry())
    changed = require_recorded(stored, setting, stored_run, program)
    computed = run_slab(program, tuple(np.array([i]) for i in setting.index), devices[0])
    assert computed is not None  # without a monitor, no slab is stopped
    names = [str(name) for name in stored_run.data_vars if name != "finished"]
    fills = {name: variable.fill_value for name, variable in program.sweep_arrays.variables.items()}
    arrays = {name: np.asarray(computed[name][0]) for name in names}
    arrays = {
        name: pad_before(a, stored_run[name].shape, fills[name]) for name, a in arrays.items()
    }
    again = stored_run[names].copy(data=arrays)
    values = stored.axes.values(tuple(np.array([i]) for i in index))
    # The outcome is derived from the numbers by a rule that may differ between versions.
    compared = again.drop_vars("outcome")
    first = _first_step(compared, stored_run)
    return Replay(
        at={axis: value[0].item() for axis, value in values.items()},
        equal=first is None,
        largest_difference=max(
            _difference(compared[name].values, stored_run[name].values)
            for name in compared.data_vars
        ),
        first_step=first,
        changed=changed,
        dataset=without_carry(again),
    )


def resume(
    store: str | Path,
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    client: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Complete a stored sweep; the result equals that of an uninterrupted sweep.

    Args:
        store: path or URL of the store.
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        client: Dask client, as in `sweep`.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Returns:
        Dataset of the sweep.

    Raises:
        StoreError: if there is no store, the store has format 2 and is unfinished, or as in
            `replay`.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    stored = open_sweep(store, storage_options=storage_options)
    if all(part.format == 2 and part.is_whole() for part in stored.parts):
        return open_dataset(store, storage_options=storage_options)
    target = Target(store, storage_options, client=client)
    return execute(preflight(stored.spec(problem, make_optimizer), target), target)


def require_recorded(
    stored: StoredSweep, setting: RunSetting, run: xr.Dataset, program: SlabProgram
) -> dict[str, tuple[Any, Any]]:
    """Check that a program computes a recorded run.

    The text of a program depends on versions, devices and names in gdjax, and is not compared if
    these differ.

    Returns:
        Changes of the environment since the run was computed, by name: (stored, here).

    Raises:
        StoreError: if the program computes a different run; the message lists the differences.
    """
    computed_by, writer = stored.writer(run), identity.writer(program)
    pairs = {name: (computed_by.get(name), writer.get(name)) for name in SETTING}
    changed = {name: (then, now) for name, (then, now) in pairs.items() if then != now}
    changed |= identity.flags_changed(stored.identity.get("flags"))
    whole = setting.sweep
    tile = (1,) * len(whole.axes.shape)
    layout = make_plan(whole, [program], tile, stored.identity).layout
    expected = layout.record(identity.identity(whole, [program]))
    programs = [
        {"program_hash": setting.program_hash},
        {"program_hash": writer["program_hash"]},
    ]
    ignored = {"layout", "flags", "program_hash", "slab"}  # older stores record slabs
    if changed or computed_by.get("revision") != writer["revision"]:
        ignored.add("problem_hash")
        programs = [{}, {}]
    both = []
    for record, hashes in zip((stored.identity, expected), programs, strict=True):
        both.append({k: v for k, v in record.items() if k not in ignored} | hashes)
        if stored.parts[0].format != 2:
            both[-1] |= {k: record["layout"][k] for k in ("variables", "coordinates")}
    require_same(stored.location, *both)
    if "flags" not in stored.identity:
        changed["flags"] = (None, expected["flags"])
    if writer["program_hash"] != setting.program_hash:
        changed["program_hash"] = (setting.program_hash, writer["program_hash"])
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
