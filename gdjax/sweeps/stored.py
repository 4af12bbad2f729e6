"""Stored sweeps: specification, problem and runs, and how each was computed.

    open_sweep(store) -> StoredSweep: spec, problem, Dataset      run_of(store, at) -> Run

No value of a record is called, imported or used as a path. Problems and optimizers come from tables
in the source code of gdjax, or from the caller.

>>> import tempfile, optax
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s", snapshot_every=1)
...     stored = open_sweep(f"{folder}/s")
...     run = run_of(f"{folder}/s", {"learning_rate": 0.1, "seed": 1})
>>> stored.axes.names, stored.problem().provenance["eigenvalues"]
(('learning_rate', 'seed'), [1.0, 9.0])
>>> run.at, run.snapshot_step.tolist(), run.outcome.name
({'learning_rate': 0.1, 'seed': 1}, [0, 1, 2, 3, 4, 5], 'NOT_CONVERGED')
"""

import contextlib
import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import optax.contrib
import xarray as xr
from jaxtyping import Int, PyTree

from gdjax.arguments import check_callable, check_flag, is_whole
from gdjax.descent.outcome import Outcome
from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Metric, Problem, check_problem
from gdjax.stores.format_2 import join_parts
from gdjax.stores.reader import Stored, open_parts
from gdjax.stores.schema import plain
from gdjax.stores.writer import differences
from gdjax.summaries import short
from gdjax.sweeps.axes import (
    BATCH_SIZE,
    Axes,
    AxisValue,
    axes,
    position,
    subgrid_positions,
    zip_axes,
)
from gdjax.sweeps.binding import assign_roles, by_role, with_settings
from gdjax.sweeps.branch_spec import BranchSpec
from gdjax.sweeps.dataset import from_named
from gdjax.sweeps.factories import describe, optimizer_from, problem_from
from gdjax.sweeps.identity import (
    FORMAT_2_NAMES,
    described_problem,
    flags_changed,
    hash_of,
    problem_hash,
    revision,
    versions,
)
from gdjax.sweeps.spec import ProgramSpec, SweepSpec

MAX_RECORDED_INTEGER = 2**32 - 1  # largest count or seed in a record
ELSEWHERE = "restore the store from a copy"

EVAL_PARAMS_FNS = {
    f"{made.__module__}.{made.__qualname__}": made
    for made in (optax.contrib.schedule_free_eval_params,)
}
"""Functions that a record may name in addition to those listed in `factories`."""


class RunSetting(NamedTuple):
    """Settings with which a stored run was computed, which determine it bitwise.

    Args:
        sweep: specification of the whole sweep.
        program: specification of the program with the static values of the run.
        index: position of the run in the grid of the sweep of `program`.
        program_hash: recorded hash of the program.
    """

    sweep: SweepSpec
    program: ProgramSpec
    index: tuple[int, ...]
    program_hash: str


class StoredSweep:
    """A stored sweep that has been opened.

    Args:
        parts: stores of the sweep (one, or several in format 2).
        skip_damaged: whether damaged tiles count as unfinished.

    Raises:
        StoreError: if a store was not written by a sweep.

    Attributes:
        location: location of the store.
        identity: recorded identity of the sweep.
    """

    def __init__(self, parts: Sequence[Stored], *, skip_damaged: bool = False):
        self.parts, self.skip_damaged = tuple(parts), skip_damaged
        self.location = self.parts[0].location
        self.identity = identity_of(self.parts[0].attributes, self.location)
        if len(self.parts) > 1:
            self.identity = self._joined()

    def _joined(self):
        """Return the identity of a single sweep with the runs and steps of all parts."""
        parts = [identity_of(part.attributes, self.location) for part in self.parts]
        axes = json.loads(self.dataset.attrs["identity"])["axes"]
        names = {name.split(".")[-1] for along in axes.values() for name in along}
        optimizer = dict(parts[0]["make_optimizer"])
        keywords = optimizer["keywords"].items()
        optimizer["keywords"] = {k: v for k, v in keywords if k not in names}  # static axes
        batch_size = None if BATCH_SIZE in names else parts[0]["batch_size"]
        joined = {"axes": axes, "make_optimizer": optimizer, "batch_size": batch_size}
        return {**parts[0], **joined, "num_steps": max(part["num_steps"] for part in parts)}

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Dataset of the sweep, as in `open_dataset`."""
        return join_parts([part.dataset(skip_damaged=self.skip_damaged) for part in self.parts])

    @cached_property
    def axes(self) -> Axes:
        """Axes of the grid."""
        return axes_of(self.identity, self.location)

    def setting(
        self,
        index: tuple[int, ...],
        problem: Problem | None = None,
        make_optimizer: Callable | None = None,
    ) -> RunSetting:
        """Return the settings with which a run was computed.

        Raises:
            StoreError: if no part has the run, the record is inconsistent, or as in `spec`.
        """
        whole = self.spec(problem, make_optimizer)
        for part in reversed(self.parts):
            identity = identity_of(part.attributes, self.location)
            grid = axes_of(identity, self.location)
            with contextlib.suppress(InputError):
                run = whole.axes.box(tuple(np.array([i]) for i in index))
                inner = tuple(int(at[0]) for at in subgrid_positions(grid, run))
                break
        else:
            raise StoreError(f"{self.location}: this run is not stored yet; finish the sweep first")
        number, programs = 0, whole.programs()
        if len(self.parts) > 1:  # format 2, with separate static values per part
            programs = dataclasses.replace(whole, axes=grid).programs()
        else:
            number, _ = grid.box_position(inner)
        hashes = recorded_programs(identity, len(programs), self.location)
        return RunSetting(whole, programs[number], inner, hashes[number])

    def run(self, index: tuple[int, ...]) -> xr.Dataset:
        """Return the Dataset of one run, in memory.

        Raises:
            StoreError: if the run is unfinished or its tile is damaged.
        """
        with self.dataset as dataset:
            run = dataset.isel(dict(zip(self.axes.sizes, index, strict=True))).load()
        if not int(run["finished"]):
            raise StoreError(f"{self.location}: this run is not finished; finish the sweep first")
        return run

    def writer(self, run: xr.Dataset) -> dict[str, Any]:
        """Return the entry of `writers` for the program and machine that computed a run."""
        writers = [writer for part in self.parts for writer in part.writers]
        return writers[int(run["finished"]) - 1]

    def problem(self, problem: Problem | None = None) -> Problem:
        """Return the problem of the sweep, with its recorded data.

        A given problem must have the same data and programs as that of the sweep. Programs can be
        compared only under equal package versions; if the comparison is inconclusive, a warning is
        issued.

        Args:
            problem: problem of the sweep; required if it cannot be built from the record.

        Raises:
            StoreError: if the problem is required but not given, or differs from that of the sweep.
        """
        problem, doubt = self._compared(problem)
        if doubt:
            warnings.warn(
                f"{self.location}: could not verify that this problem is that of the sweep, since "
                f"{doubt}",
                stacklevel=3,
            )
        return problem

    def _compared(self, problem):
        """Return the problem, and why the comparison was inconclusive, or None."""
        if problem is None:
            return self._same_data(problem_from(self.identity["problem"], self.location)), None
        check_problem(problem)
        grid = axes_of(self.identity, self.location)
        described = plain(described_problem(problem))
        recorded = self.identity.get("problem_hash")
        here = problem_hash(self._same_data(problem), grid)
        if here == recorded:
            return problem, None
        changed, doubt = self.versions_changed, None
        if described == self.identity["problem"] and isinstance(described, dict):
            # The recorded problem is rebuilt here, so that both have the same versions.
            recorded = problem_hash(problem_from(described, self.location), grid)
        elif recorded is None:
            doubt = "it was written before programs of problems were recorded"
        elif changed:
            texts = (f"{name}: stored {old}, here {new}" for name, (old, new) in changed.items())
            doubt = f"the program differs, and so do versions or flags: {'; '.join(texts)}"
        then, now = {"problem": self.identity["problem"]}, {"problem": described}
        if not doubt:
            then, now = then | {"problem_hash": recorded}, now | {"problem_hash": here}
        if different := differences(then, now):
            raise StoreError(
                f"{self.location}: the sweep used a different problem ({different}); pass the "
                f"problem of the sweep: problem=..."
            )
        return problem, doubt

    def _same_data(self, problem):
        here, recorded = hash_of(problem.data), self.identity.get("data_hash")
        if here != recorded:
            raise StoreError(
                f"{self.location}: the data of this problem differ from those of the sweep "
                f"(data_hash: stored {recorded!r:.80}, here {here!r}); pass the problem with the "
                f"original data: problem=..."
            )
        return problem

    @property
    def versions_changed(self) -> dict[str, tuple[Any, Any]]:
        """Versions and numeric flags that have changed since the store was created."""
        first_writer = next(iter(self.parts[0].writers), {})
        here = {**versions(), "revision": revision()}
        names = ("gdjax", "revision", "jax", "jaxlib", "optax")
        changed = {
            n: (first_writer.get(n), here[n]) for n in names if first_writer.get(n) != here[n]
        }
        return changed | flags_changed(self.identity.get("flags"))

    def spec(
        self, problem: Problem | None = None, make_optimizer: Callable | None = None
    ) -> SweepSpec:
        """Return the specification of the sweep.

        Raises:
            StoreError: if the problem or the optimizer is required but not given, or differs from
                that of the sweep, or if the record is invalid.
        """
        identity, where = self.identity, self.location
        if "rungs" in identity:
            raise StoreError(
                f"{where}: contains a search; to complete it, repeat the call that created it, "
                f"such as gd.search.successive_halving(..., store=...)"
            )
        if make_optimizer is not None:
            check_callable("make_optimizer", make_optimizer, "a factory, such as optax.adam")
        problem, _ = self._compared(problem)  # callers that run the sweep compare the whole program
        if make_optimizer is None:
            make_optimizer = optimizer_from(identity["make_optimizer"], where)
        read: dict[str, Any] = {
            "problem": problem,
            "axes": axes_of(identity, where),
            "make_optimizer": make_optimizer,
            "metrics": _metrics(identity.get("metrics", {}), problem, where),
            "eval_params_fn": _eval_params_fn(identity.get("eval_params_fn"), where),
        }
        kind = SweepSpec if identity.get("trunk") is None else BranchSpec
        settings = {f.name: identity[f.name] for f in fields(kind) if f.name in identity}
        settings = _with_infinity(settings)
        if "trunk_settings" in settings:
            settings["trunk_settings"] = _with_infinity(settings["trunk_settings"])
        try:
            spec = kind(**{**settings, **read})
        except InputError as error:
            raise StoreError(f"{where}: its record does not match its problem: {error}") from error
        here = {"make_optimizer": plain(describe(spec.make_optimizer))}
        if different := differences({"make_optimizer": identity["make_optimizer"]}, here):
            raise StoreError(
                f"{where}: the sweep used a different optimizer ({different}); pass the one of the "
                f"sweep: make_optimizer=..."
            )
        return spec


def open_sweep(
    store: str | Path,
    *,
    skip_damaged: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> StoredSweep:
    """Open a stored sweep.

    Args:
        store: path or URL of the store; it may be in use.
        skip_damaged: whether damaged tiles count as unfinished.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Raises:
        StoreError: if there is no store, or it was not written by a sweep.
    """
    check_flag("skip_damaged", skip_damaged)
    return StoredSweep(open_parts(store, storage_options), skip_damaged=skip_damaged)


def identity_of(attributes: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """Return the validated identity of the sweep in a store.

    Raises:
        StoreError: if the store was not written by a sweep, or its record is invalid.
    """
    identity = attributes.get("identity")
    if isinstance(identity, dict) and attributes.get("gdjax_format") == 2:
        identity = {
            FORMAT_2_NAMES.get(name, name): v for name, v in identity.items() if name != "first"
        }
    if isinstance(identity, dict) and identity.get("trunk") is None:  # not a sweep of branches
        identity = {name: v for name, v in identity.items() if name not in ("trunk", "perturb")}
    if not isinstance(identity, dict) or not {"axes", "program_hash"} <= set(identity):
        raise StoreError(
            f"{where}: the store was not written by a sweep; open it with xarray.open_zarr"
        )
    for name, is_valid in _EXPECTED.items():
        if not is_valid(identity.get(name)):
            raise StoreError(
                f"{where}: its record has {name} = {identity.get(name)!r:.80}, which is not valid; "
                f"{ELSEWHERE}"
            )
    layout = identity.get("layout")
    if layout is not None:  # a sweep in memory records no layout
        alongs = identity["axes"].values()
        named = {axis for along in alongs if isinstance(along, dict) for axis in along}
        unknown = (set(identity["axes"]) ^ set(layout["tile"])) | (
            named - set(layout["coordinates"])
        )
        if unknown:
            raise StoreError(
                f"{where}: its record names {min(unknown)!r:.80}, which is not an axis of its "
                f"arrays; {ELSEWHERE}"
            )
    return identity


# Validators for fields of an identity that are used before `SweepSpec` validates them.
_EXPECTED: Mapping[str, Callable[[Any], bool]] = {
    "axes": lambda value: isinstance(value, dict) and len(value) > 0,
    "num_steps": lambda value: is_whole(value, 0, MAX_RECORDED_INTEGER),
    "batch_size": lambda value: value is None or is_whole(value, 1, MAX_RECORDED_INTEGER),
    "replacement": lambda value: value is None or value is True,
    "root_seed": lambda value: is_whole(value, 0, MAX_RECORDED_INTEGER),
    "make_optimizer": lambda value: (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("keywords"), dict)
    ),
    "flags": lambda value: value is None or isinstance(value, dict),
    "program_hash": lambda value: all(isinstance(digest, str) for digest in listed(value)),
}


def listed(value):
    """Return the values of all programs as a list; format 2 has a single value."""
    return value if isinstance(value, list) and value else [value]


def recorded_programs(identity: Mapping[str, Any], count: int, where: Any) -> list[str]:
    """Return the hash of each program of a sweep from its identity.

    Args:
        identity: identity of the sweep.
        count: number of programs that the axes of the sweep need.
        where: location of the store, for the message.

    Raises:
        StoreError: if the identity has another number of programs.
    """
    hashes = listed(identity["program_hash"])
    if len(hashes) != count:
        raise StoreError(
            f"{where}: its record has the hashes of {len(hashes)} programs, but its axes need "
            f"{count}; {ELSEWHERE}"
        )
    return hashes


def axes_of(identity: Mapping[str, Any], where: Any) -> Axes:
    """Return the axes of a sweep from its identity.

    Raises:
        StoreError: if the identity does not contain valid axes.
    """
    try:
        return axes(**{dim: zip_axes(**along) for dim, along in identity["axes"].items()})
    except (InputError, TypeError, AttributeError) as error:
        raise StoreError(f"{where}: its axes are not valid ({error})") from error


def _eval_params_fn(recorded, where):
    if recorded is None or (isinstance(recorded, str) and recorded in EVAL_PARAMS_FNS):
        return recorded and EVAL_PARAMS_FNS[recorded]
    raise StoreError(
        f"{where}: its sweep used eval_params_fn {recorded!r:.80}, which cannot be rebuilt from a "
        f"record; to continue, call gdjax.sweep with the original arguments and this store"
    )


def _with_infinity(settings: Any) -> Any:
    """Return recorded settings with an infinite threshold as a number instead of text."""
    if isinstance(settings, dict) and settings.get("divergence_threshold") == "inf":
        return {**settings, "divergence_threshold": math.inf}
    return settings


def _metrics(recorded: Any, problem: Problem, where: Any) -> dict[str, Metric]:
    metrics = {}
    for name, cadence in recorded.items() if isinstance(recorded, Mapping) else ():
        if name not in problem.metrics:
            raise StoreError(
                f"{where}: its sweep recorded {name!r:.80}, which is not a metric of the problem; "
                f"pass a problem that has it: dataclasses.replace(problem, metrics=...)"
            )
        every = cadence.get("every") if isinstance(cadence, Mapping) else cadence
        try:
            metrics[name] = dataclasses.replace(problem.metrics[name], every=every)
        except InputError as error:
            raise StoreError(f"{where}: its metric {name!r:.80}: {error}") from error
    return metrics


@dataclass(frozen=True, eq=False)
class Run:
    """Run of a stored sweep.

    Args:
        problem: problem with the cost settings of the run (for example a temperature) as defaults.
        at: values of the run, by axis name.
        params: final parameters.
        model_state: final model state; None if the cost has none.
        snapshot_step: steps at which parameters were kept.
        snapshots: parameters at these steps, [snapshots, ...]; None if only the final parameters
            were kept.
        outcome: outcome of the run.
        optimizer: name and keywords of the optimizer, including swept keywords.
        batch_size: number of samples per step; None for the whole training set.
        replacement: whether the samples of mini-batches were drawn with replacement.
    """

    problem: Problem
    at: Mapping[str, Any]
    params: PyTree
    model_state: PyTree
    snapshot_step: Int[np.ndarray, " snapshots"]
    snapshots: PyTree
    outcome: Outcome
    optimizer: Mapping[str, Any]
    batch_size: int | None
    replacement: bool = False

    def __repr__(self) -> str:
        at = ", ".join(f"{axis} {value}" for axis, value in self.at.items())
        count = "" if self.snapshots is None else f"; {len(self.snapshot_step)} snapshots"
        return f"Run({at}: {self.outcome}; params: {short(self.params)}{count})"


def problem_of(
    store: str | Path,
    problem: Problem | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Problem:
    """Return the problem of a stored sweep.

    Args:
        store: path or URL of the store.
        problem: problem of the sweep; required if it was user-defined.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Raises:
        StoreError: if there is no store, a user-defined problem was not given, or the given problem
            differs from that of the sweep in `init`, cost or data.
    """
    return open_sweep(store, storage_options=storage_options).problem(problem)


def run_of(
    store: str | Path,
    at: Mapping[str, AxisValue],
    problem: Problem | None = None,
    *,
    skip_damaged: bool = False,
    nearest: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Run:
    """Return one run of a stored sweep, with its final parameters and snapshots.

    Args:
        store: path or URL of the store; it may be in use.
        at: values by axis name, equal to those of the grid within rounding; at least one for each
            dimension of the grid.
        problem: problem of the sweep; required if it was user-defined.
        skip_damaged: whether damaged tiles count as unfinished.
        nearest: whether to select the run with the nearest numeric values. Seeds, booleans and
            names must be in the grid.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.

    Raises:
        InputError: if a value is missing, or an axis is not in the grid.
        StoreError: if there is no store, the tile is damaged, the run is unfinished, or the problem
            is required but not given, or differs from that of the sweep.
    """
    stored = open_sweep(store, skip_damaged=skip_damaged, storage_options=storage_options)
    identity, grid = stored.identity, stored.axes
    index = position(grid, at, nearest=nearest)
    problem = stored.problem(problem)
    run = stored.run(index)
    outcome = int(run["outcome"])
    if not 0 <= outcome < len(Outcome):
        raise StoreError(
            f"{store}: outcome = {outcome} of this run, expected 0 to {len(Outcome) - 1}; the "
            f"store has been modified; compute the sweep again"
        )
    by_axis = grid.box(tuple(np.array([i]) for i in index)).first_values
    params, model_state = jax.eval_shape(problem.begin, jax.random.key(0))
    has_snapshots = "snapshot_step" in run.dims
    optimizer = identity["make_optimizer"]
    settings = by_role(assign_roles(problem, grid), by_axis)
    return Run(
        problem=with_settings(problem, settings["cost"]),
        at=by_axis,
        params=from_named("params", params, run),
        model_state=from_named("model_state", model_state, run),
        snapshot_step=run["snapshot_step"].values if has_snapshots else run["step"].values[-1:],
        snapshots=from_named("snapshots", params, run) if has_snapshots else None,
        outcome=Outcome(outcome),
        optimizer={"name": optimizer["name"], **optimizer["keywords"], **settings["optimizer"]},
        batch_size=by_axis.get(BATCH_SIZE, identity["batch_size"]),
        replacement=identity.get("replacement", False),
    )
