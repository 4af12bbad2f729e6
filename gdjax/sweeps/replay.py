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

from gdjax.errors import StoreError
from gdjax.problems.problem import Problem
from gdjax.stores.joining import cadences, joined
from gdjax.stores.writing import require_same
from gdjax.sweeps import provenance
from gdjax.sweeps.axes import AxisValue, position
from gdjax.sweeps.drafting import draft, fit
from gdjax.sweeps.parts import prepared
from gdjax.sweeps.recorded import Recorded, opened, parts_of
from gdjax.sweeps.specification import Request
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
    optimizer: Callable | None = None,
    devices: Sequence[jax.Device] | None = None,
    skip_damaged: bool = False,
    nearest: bool = False,
) -> Replay:
    """Run one run of a stored sweep again and compare it with what the store holds.

    In a store that has grown, all parts that have the run are compared.

    Args:
        store: folder of the store; it may be in use.
        at: values by axis, those of the grid within rounding. Every dimension of the grid needs a
            value of one of its axes.
        nearest: take the run of the grid that is nearest in its numbers. Seeds and names have to be
            those of the grid.
        problem: the sweep's, where it was the user's own.
        optimizer: the sweep's, where it is none that a record may name.
        devices: what to compute on; None takes the first local ones, as many as recorded.
        skip_damaged: take a tile that is damaged for one that is not finished.

    Raises:
        InputError: a value that is missing, or for something that is no axis.
        StoreError: no store, or a damaged tile; a run that is not finished; a problem or an
            optimizer that has to be given, or is not the recorded one (the message lists the
            differences).
    """
    stored = opened(store, skip_damaged=skip_damaged)
    pairs, changed = [], {}
    for part in stored.parts_with(at, nearest=nearest):
        what = part.specification(problem, optimizer)
        index = position(what.axes, at, nearest=nearest)
        there = part.run(index)
        slab = part.said["slab"]
        local_devices = jax.local_devices() if devices is None else devices
        work = fit(draft(what, tuple(local_devices)[: slab["devices"]]), slab["width"])
        changed |= require_recorded(part, there, work)
        found = work.descend(tuple(np.full(work.slab.runs, i) for i in index))
        assert found is not None  # nobody stops it
        # In the slot that it had: matrix products may round otherwise in another one.
        within = [i % length for i, length in zip(index, work.box, strict=True)]
        slot = np.ravel_multi_index(within, work.box) % work.slab.runs
        names = [str(name) for name in there.data_vars if name != "finished"]
        here = there[names].copy(data={name: found[name][slot] for name in names})
        pairs.append((here, there[names]))
        values = what.axes.values(tuple(np.array([i]) for i in index))
    # The outcome follows from the numbers, by a rule that another version may have changed.
    compared = [(here.drop_vars("outcome"), there) for here, there in pairs]
    steps = [step for pair in compared if (step := _first_step(*pair)) is not None]
    runs = [here for here, _ in pairs]
    return Replay(
        at={axis: value[0].item() for axis, value in values.items()},
        equal=not steps,
        largest_difference=max(
            _difference(here[name].values, there[name].values)
            for here, there in compared
            for name in here.data_vars
        ),
        first_step=min(steps, default=None),
        changed=changed,
        dataset=runs[0] if len(runs) == 1 else joined(runs, {}, cadences(stored.said)).load(),
    )


def resume(
    store: str | Path,
    *,
    problem: Problem | None = None,
    optimizer: Callable | None = None,
    client: Any = None,
) -> Any:
    """Compute what a stored sweep lacks; the result is equal to one that was never interrupted.

    Args:
        store: folder of the store.
        problem: the sweep's, where it was the user's own.
        optimizer: the sweep's, where it is none that a record may name.
        client: a Dask client, as for `sweep`.

    Returns:
        The sweep's Dataset.

    Raises:
        StoreError: no store, or as for `replay`.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    stored = parts_of(store)
    if not stored:
        raise StoreError(f"{store}: there is no store here; check the path")
    parts = [part.specification(problem, optimizer) for part in stored]
    asked = Request(**parts[0].keywords, store=store, client=client)
    return prepared(asked, parts, stored, tuple(jax.local_devices()))()


def require_recorded(stored: Recorded, run: Any, work: Work) -> dict[str, tuple[Any, Any]]:
    """Make sure that the run to come is the recorded one.

    The text of a program depends on versions, devices and names in gdjax. Where these differ, so
    may the text.

    Args:
        stored: one part of a store.
        run: a run of it.
        work: what is to be computed.

    Returns:
        What differs from the setting that computed the run, by name: (stored, here).

    Raises:
        StoreError: it is another run; the message lists the differences.
    """
    computed_by = run.attrs["origins"][int(run["finished"]) - 1]
    information = provenance.information(work)
    pairs = {name: (computed_by.get(name), information.get(name)) for name in SETTING}
    changed = {name: (then, now) for name, (then, now) in pairs.items() if then != now}
    changed |= provenance.flags_changed(stored.said.get("flags"))
    wanted = work.layout().record(provenance.identity(work))
    ignored = {"layout", "flags"}
    if changed or computed_by.get("revision") != information["revision"]:
        ignored |= {"problem_hash", "program_hash", "slab"}
    both = []
    for identity in (stored.said, wanted):
        both.append({k: v for k, v in identity.items() if k not in ignored})
        both[-1] |= {k: identity["layout"][k] for k in ("variables", "coordinates")}
    require_same(stored.path, *both)
    if "flags" not in stored.said:
        changed["flags"] = (None, wanted["flags"])
    if wanted["program_hash"] != stored.said["program_hash"]:
        changed["program_hash"] = (stored.said["program_hash"], wanted["program_hash"])
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
        if along in here.coords:  # the step, or that of snapshots or of a measure
            late = here[along].values[found.reshape(len(found), -1).any(axis=1)]
            differs |= np.isin(here.step.values, late)
        else:
            differs[-1] |= found.any()
    return int(here.step.values[differs.argmax()]) if differs.any() else None
