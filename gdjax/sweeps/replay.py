"""A stored sweep again, from its record alone: one run of it, or what is missing of it.

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gdjax.problems.problem import Problem
from gdjax.stores.reader import open_dataset
from gdjax.stores.writer import require_same
from gdjax.sweeps import provenance
from gdjax.sweeps.arrays import aligned
from gdjax.sweeps.axes import AxisValue, position
from gdjax.sweeps.drafting import draft, fit
from gdjax.sweeps.programs import draft_programs
from gdjax.sweeps.recorded import Recorded, Setting, opened
from gdjax.sweeps.sweep import in_store
from gdjax.sweeps.tiles import Work

SETTING = ("device", "platform", "cpu_threads", "jax", "jaxlib", "optax", "gdjax")


@dataclass(frozen=True, eq=False)
class Replay:
    """A run of a stored sweep that has been run again.

    Args:
        at: the run's values, by axis.
        equal: whether all numbers are what the store holds, to the last bit; the outcome follows
            from them and is not compared.
        largest_difference: between two numbers, over records and parameters; infinite where one of
            them is and the other is not.
        first_step: first recorded step at which something differs, the last one where it is only
            the parameters; None where nothing does.
        changed: what differs from what computed the store's numbers: device, versions, and
            `program_hash` where the text of the compiled program does; by name, (stored, here).
            Equal bits are promised only if it is empty.
        dataset: the run's records and parameters, as in the store without the axes.
    """

    at: Mapping[str, Any]
    equal: bool
    largest_difference: float
    first_step: int | None
    changed: Mapping[str, tuple[Any, Any]]
    dataset: Any


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
        nearest: take the run of the grid that is nearest in its numbers. Seeds and names have to be
            those of the grid.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it is none that a record may name.
        devices: what to compute on; None takes the first local ones, as many as recorded.
        skip_damaged: take a tile that is damaged for one that is not finished.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Raises:
        InputError: a value that is missing, or for something that is no axis.
        StoreError: no store, or a damaged tile; a run that is not finished; a problem or an
            optimizer that has to be given, or is not the recorded one (the message lists the
            differences).
    """
    stored = opened(store, skip_damaged=skip_damaged, storage_options=storage_options)
    index = position(stored.axes, at, nearest=nearest)
    setting = stored.setting(index, problem, make_optimizer)
    there = stored.run(index)
    local_devices = tuple(jax.local_devices() if devices is None else devices)
    work = fit(
        draft(setting.specification, local_devices[: setting.devices]),
        setting.width,
        tile_shape=setting.tile_shape,
    )
    changed = require_recorded(stored, setting, there, work)
    found = work.descend(tuple(np.full(work.slab.runs, i) for i in setting.index))
    assert found is not None  # nobody stops it
    # In the slot that it had: matrix products may round otherwise in another one.
    within = [i % length for i, length in zip(setting.index, work.box, strict=True)]
    slot = np.ravel_multi_index(within, work.box) % work.slab.runs
    names = [str(name) for name in there.data_vars if name != "finished"]
    fills = {name: variable.fill_value for name, variable in work.layout().variables.items()}
    own = {name: np.asarray(found[name][slot]) for name in names}
    own = {name: aligned(a, there[name].shape, fills[name]) for name, a in own.items()}
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
) -> Any:
    """Compute what a stored sweep lacks; the result is equal to one that was never interrupted.

    Args:
        store: path or URL of the store.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it is none that a record may name.
        client: a Dask client, as for `sweep`.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Returns:
        The sweep's Dataset.

    Raises:
        StoreError: no store, one of format 2 that is not finished, or as for `replay`.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    stored = opened(store, storage_options=storage_options)
    if all(part.format == 2 and part.is_whole() for part in stored.parts):
        return open_dataset(store, storage_options=storage_options)
    drafts = draft_programs(stored.specification(problem, make_optimizer), jax.local_devices())
    return in_store(drafts, store, storage_options, client=client)()


def require_recorded(
    stored: Recorded, setting: Setting, run: Any, work: Work
) -> dict[str, tuple[Any, Any]]:
    """Make sure that the run to come is the recorded one.

    The text of a program depends on versions, devices and names in gdjax. Where these differ, so
    may the text.

    Args:
        stored: the store.
        setting: how the run was computed.
        run: the run, as it is stored.
        work: what is to be computed.

    Returns:
        What differs from the setting that computed the run, by name: (stored, here).

    Raises:
        StoreError: it is another run; the message lists the differences.
    """
    computed_by, writer = stored.writer(run), provenance.writer(work)
    pairs = {name: (computed_by.get(name), writer.get(name)) for name in SETTING}
    changed = {name: (then, now) for name, (then, now) in pairs.items() if then != now}
    changed |= provenance.flags_changed(stored.said.get("flags"))
    whole = setting.sweep
    expected = work.layout(whole.axes, whole.since).record(provenance.identity(whole, [work]))
    programs = [
        {"program_hash": setting.program_hash, "slab": (setting.width, setting.devices)},
        {"program_hash": writer["program_hash"], "slab": (work.slab.width, len(work.slab.devices))},
    ]
    ignored = {"layout", "flags", "program_hash", "slab"}
    if changed or computed_by.get("revision") != writer["revision"]:
        ignored.add("problem_hash")
        programs = [{}, {}]
    both = []
    for identity, program in zip((stored.said, expected), programs, strict=True):
        both.append({k: v for k, v in identity.items() if k not in ignored} | program)
        if stored.parts[0].format != 2:
            both[-1] |= {k: identity["layout"][k] for k in ("variables", "coordinates")}
    require_same(stored.location, *both)
    if "flags" not in stored.said:
        changed["flags"] = (None, expected["flags"])
    if writer["program_hash"] != setting.program_hash:
        changed["program_hash"] = (setting.program_hash, writer["program_hash"])
    return changed


def _differs(a, b):
    """Where two arrays of one type differ in a bit."""
    a, b = (np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}") for x in (a, b))
    return a != b


def _difference(a, b):
    """Largest |a - b|; 0 where both are NaN or the same infinity, inf where only one is."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    return float(np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart)).max(initial=0))


def _first_step(here, there):
    """First recorded step with a difference in any record; the last one for anything else."""
    differs = np.zeros(here.sizes["step"], bool)
    for name in here.data_vars:
        found = _differs(here[name].values, there[name].values)
        along = next(iter(here[name].dims), None)
        if along in here.coords:  # the step, or that of snapshots or of a metric
            late = here[along].values[found.reshape(len(found), -1).any(axis=1)]
            differs |= np.isin(here.step.values, late)
        else:
            differs[-1] |= found.any()
    return int(here.step.values[differs.argmax()]) if differs.any() else None
