"""Repeat a run of a stored sweep, or compute what is missing of the sweep, from its record.

    replay(store, at):  run `at` once more, in a slab of the recorded width, and compare the bits
    resume(store):      compute the tiles that are not finished

>>> import tempfile, optax
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s", width=2)
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
from gdjax.stores.reader import open_dataset
from gdjax.stores.writer import require_same
from gdjax.sweeps import identity
from gdjax.sweeps.axes import AxisValue, position
from gdjax.sweeps.dataset import pad_before
from gdjax.sweeps.executor import execute
from gdjax.sweeps.preflight import Target, check, check_devices, fit_program, preflight
from gdjax.sweeps.slab_program import SlabProgram
from gdjax.sweeps.slab_runner import run_slab
from gdjax.sweeps.stored import RunSetting, StoredSweep, open_sweep

SETTING = ("device", "platform", "cpu_threads", "jax", "jaxlib", "optax", "gdjax")


@dataclass(frozen=True, eq=False)
class Replay:
    """A run of a stored sweep that was computed again.

    Args:
        at: the run's values, by axis.
        equal: whether all numbers equal the stored ones to the last bit. The outcome follows from
            them and is not compared.
        largest_difference: between two numbers, over records and parameters; infinite if only one
            of them is infinite.
        first_step: first recorded step with a difference, the last one if only parameters differ;
            None if everything is equal.
        changed: device, versions, flags and `program_hash` that differ from those that computed
            the stored run, by name: (stored, here). Equal bits are promised only if it is empty.
        dataset: the run's records and parameters, as in the store without the axes.
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
    """Run one run of a stored sweep again and compare it with what the store holds.

    Args:
        store: path or URL of the store; it may be in use.
        at: values by axis, those of the grid within rounding. Every dimension of the grid needs a
            value of one of its axes.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it was the user's own.
        devices: what to compute on; None takes the first local ones, as many as recorded.
        skip_damaged: whether damaged tiles count as not finished.
        nearest: whether to take the run of the grid that is nearest in its numbers. Seeds and names
            have to be those of the grid.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Raises:
        InputError: a value that is missing, or for an axis that the grid lacks.
        StoreError: no store, or a damaged tile; a run that is not finished; a problem or an
            optimizer that has to be given, or is not the recorded one (the message lists the
            differences).
    """
    if devices is not None:
        check_devices(devices)
    stored = open_sweep(store, skip_damaged=skip_damaged, storage_options=storage_options)
    index = position(stored.axes, at, nearest=nearest)
    setting = stored.setting(index, problem, make_optimizer)
    there = stored.run(index)
    devices = tuple(jax.local_devices() if devices is None else devices)[: setting.devices]
    spec = setting.program
    check(dataclasses.replace(setting.sweep, axes=spec.axes), devices)
    program = fit_program(
        spec,
        devices,
        setting.width,
        tile_shape=setting.tile_shape,
        initial_carry=setting.sweep.initial_carry(),
    )
    changed = require_recorded(stored, setting, there, program)
    computed = run_slab(program, tuple(np.full(program.slab.runs, i) for i in setting.index))
    assert computed is not None  # no monitor stops it
    # In the slot that it had: matrix products may round otherwise in another one.
    within = [i % length for i, length in zip(setting.index, program.tile_shape, strict=True)]
    slot = np.ravel_multi_index(within, program.tile_shape) % program.slab.runs
    names = [str(name) for name in there.data_vars if name != "finished"]
    fills = {name: variable.fill_value for name, variable in program.layout().variables.items()}
    own = {name: np.asarray(computed[name][slot]) for name in names}
    own = {name: pad_before(a, there[name].shape, fills[name]) for name, a in own.items()}
    again = there[names].copy(data=own)
    values = stored.axes.values(tuple(np.array([i]) for i in index))
    # The outcome follows from the numbers, by a rule that another version may have changed.
    compared = again.drop_vars("outcome")
    first = _first_step(compared, there)
    return Replay(
        at={axis: value[0].item() for axis, value in values.items()},
        equal=first is None,
        largest_difference=max(
            _difference(compared[name].values, there[name].values) for name in compared.data_vars
        ),
        first_step=first,
        changed=changed,
        dataset=again,
    )


def resume(
    store: str | Path,
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    client: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Compute what a stored sweep lacks; the result is equal to one that was never interrupted.

    Args:
        store: path or URL of the store.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it was the user's own.
        client: a Dask client, as for `sweep`.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Returns:
        The sweep's Dataset.

    Raises:
        StoreError: no store, one of format 2 that is not finished, or as for `replay`.
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

    The text of a program depends on versions, devices and names in gdjax. If these differ, the text
    may differ, too, and is not compared.

    Returns:
        What differs from the setting that computed the run, by name: (stored, here).

    Raises:
        StoreError: it is another run; the message lists the differences.
    """
    computed_by, writer = stored.writer(run), identity.writer(program)
    pairs = {name: (computed_by.get(name), writer.get(name)) for name in SETTING}
    changed = {name: (then, now) for name, (then, now) in pairs.items() if then != now}
    changed |= identity.flags_changed(stored.identity.get("flags"))
    whole = setting.sweep
    expected = program.layout(whole.axes).record(identity.identity(whole, [program]))
    slab = program.slab
    programs = [
        {"program_hash": setting.program_hash, "slab": (setting.width, setting.devices)},
        {"program_hash": writer["program_hash"], "slab": (slab.width, len(slab.devices))},
    ]
    ignored = {"layout", "flags", "program_hash", "slab"}
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
    """Return where two arrays of one type differ in a bit."""
    a, b = (np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}") for x in (a, b))
    return a != b


def _difference(a, b):
    """Return the largest |a - b|; NaN and infinity differ by inf from anything else."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    return float(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)).max(initial=0))


def _first_step(here, there):
    """Return the first recorded step with a difference; the last one for anything else."""
    differs = np.zeros(here.sizes["step"], bool)
    for name in here.data_vars:
        different = _differs(here[name].values, there[name].values)
        along = next(iter(here[name].dims), None)
        if along in here.coords:  # the step, or that of snapshots or of a metric
            late = here[along].values[different.reshape(len(different), -1).any(axis=1)]
            differs |= np.isin(here.step.values, late)
        else:
            differs[-1] |= different.any()
    return int(here.step.values[differs.argmax()]) if differs.any() else None
