"""Stored sweeps: specification, problem and runs, and how each was computed.

    StoredSweep(store): sweep, problem, Dataset      run_of(store, at) -> Run

No value of a record is called, imported or used as a path. Problems and optimizers come from tables
in the source code of gdjax, or from the caller.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
import xarray as xr
from jaxtyping import Int, PyTree

from gdjax.base.arguments import check_callable, check_flag
from gdjax.base.documents import plain, recorded_identity
from gdjax.base.errors import InputError, StoreError
from gdjax.base.reprs import short
from gdjax.descent.outcome import Outcome
from gdjax.problems.metrics import Metric, as_metrics
from gdjax.problems.problem import Problem, require_problem
from gdjax.stores.location import StoreLike
from gdjax.stores.reader import Stored
from gdjax.stores.writer import require_same
from gdjax.sweeps.axes import BATCH_SIZE, Axes, AxisValue, axes, position, zip_axes
from gdjax.sweeps.binding import assign_roles, by_role, with_settings
from gdjax.sweeps.continued.branch_spec import BranchSpec
from gdjax.sweeps.dataset import from_named
from gdjax.sweeps.factories import optimizer_from, problem_from, qualified_name
from gdjax.sweeps.identity import (
    checked_identity,
    described_problem,
    hash_of,
    problem_identity,
)
from gdjax.sweeps.identity import identity as identity_now
from gdjax.sweeps.spec import Sweep


class StoredSweep:
    """A stored sweep that has been opened, and can be continued.

    The arguments are those of `replay`. With `recomputed`, stored numbers are computed again and
    compared, so that functions that cannot be compared are accepted.

    Attributes:
        stored: store of the sweep.
        location: location of the store.
        identity: recorded identity of the sweep.
    """

    def __init__(
        self,
        store: StoreLike,
        problem: Problem | None = None,
        make_optimizer: Callable | None = None,
        allow_unverified: bool = False,
        skip_damaged: bool = False,
        *,
        metrics: Mapping[str, Any] | None = None,
        recomputed: bool = False,
    ):
        check_flag("skip_damaged", skip_damaged)
        if problem is not None:
            require_problem(problem)
        if make_optimizer is not None:
            check_callable("make_optimizer", make_optimizer, "a factory, such as optax.adam")
        self.stored = Stored(store)
        self.location = self.stored.location
        self.identity = checked_identity(self.stored.identity, self.location)
        self._problem, self._make_optimizer = problem, make_optimizer
        self._given_metrics = as_metrics("metrics", {} if metrics is None else metrics)
        self._skip_damaged, self._allow_unverified = skip_damaged, allow_unverified
        self._recomputed = recomputed

    @cached_property
    def dataset(self) -> xr.Dataset:
        """Dataset of the sweep, as in `open_dataset`."""
        return self.stored.dataset(skip_damaged=self._skip_damaged)

    @cached_property
    def axes(self) -> Axes:
        """Axes of the grid."""
        return axes_of(self.identity, self.location)

    def run(self, index: tuple[int, ...]) -> xr.Dataset:
        """Return the Dataset of one run, in memory."""
        with self.dataset as dataset:
            run = dataset.isel(dict(zip(self.axes.sizes, index, strict=True))).load()
        if not int(run["finished"]):
            raise StoreError(f"{self.location}: this run is not finished; finish the sweep first")
        return run

    def writers(self, run: xr.Dataset) -> list[dict[str, Any]]:
        """Return the descriptions of the writers that computed a run, in order."""
        return json.loads(run.attrs["writers"])[int(run["finished"]) - 1]

    @cached_property
    def problem(self) -> Problem:
        """Problem of the sweep with its recorded data, after a comparison with what is stored."""
        problem = self._problem or problem_from(self.identity["problem"], self.location)
        require_problem_of(
            problem,
            self.identity,
            self.location,
            allow_unverified=self._allow_unverified,
            is_rebuilt=self._problem is None,
        )
        return problem

    @cached_property
    def sweep(self) -> Sweep:
        """Specification of the sweep, after a comparison with what is stored."""
        identity, where = self.identity, self.location
        if "measured" in identity:
            raise StoreError(f"{where}: contains measurements; repeat the call of gd.measure")
        if "rungs" in identity:
            raise StoreError(
                f"{where}: contains a search; to complete it, repeat the call that created it, "
                f"such as gd.search.successive_halving(..., store=...)"
            )
        problem = self._problem or problem_from(identity["problem"], where)
        recorded = identity["make_optimizer"]
        read: dict[str, Any] = {
            "problem": problem,
            "make_optimizer": self._make_optimizer or optimizer_from(recorded, where),
            "axes": self.axes,
            "metrics": _metrics(
                identity.get("metrics", {}), {**problem.metrics, **self._given_metrics}, where
            ),
            "eval_params_fn": _eval_params_fn(identity.get("eval_params_fn"), where),
        }
        kind = BranchSpec if "trunk" in identity else Sweep
        settings = {f.name: identity[f.name] for f in fields(kind) if f.name in identity}
        settings = with_infinity(settings)
        if "trunk_settings" in settings:
            settings["trunk_settings"] = with_infinity(settings["trunk_settings"])
        try:
            spec = kind(**{**settings, **read})
        except InputError as error:
            raise StoreError(f"{where}: its record does not match its problem: {error}") from error
        recorded = {name: value for name, value in identity.items() if name != "layout"}
        require_same(
            where,
            recorded,
            plain(identity_now(spec)),
            self._allow_unverified,
            recomputed=self._recomputed,
        )
        return spec


def require_problem_of(
    problem: Problem,
    identity: Mapping[str, Any],
    where: Any,
    *,
    allow_unverified: bool = False,
    is_rebuilt: bool = False,
) -> None:
    """Check that a problem is that of a sweep, by its data and its programs.

    Under other versions, a problem that was rebuilt from its record is compared by its data alone.
    Runs in memory record no programs, so that the description and the data are compared.
    """
    if "functions" in identity:
        samples = identity["batch_size"], identity.get("record_samples")
        here = problem_identity(problem, axes_of(identity, where), *samples)
        if is_rebuilt and plain(here["environment"]) != identity["environment"]:
            here = {}
    else:
        here = {"problem": described_problem(problem)}
    here["data_hash"] = hash_of(problem.data)
    recorded = {name: identity[name] for name in here if name != "nested_rules"}
    if "functions" in here:
        names = ("init", "cost", "evaluation", "weight")
        for part in ("functions", "nested_rules"):
            of_part = identity.get(part) or {}
            recorded[part] = {name: of_part[name] for name in names if name in of_part}
        if not recorded["nested_rules"]:
            del recorded["nested_rules"]
        recorded["callbacks"] = [name for name in recorded["callbacks"] if name in names]
    require_same(where, recorded, plain(here), allow_unverified)


def axes_of(identity: Mapping[str, Any], where: Any) -> Axes:
    """Return the axes of a sweep from its identity."""
    try:
        return axes(**{dim: zip_axes(**along) for dim, along in identity["axes"].items()})
    except (InputError, TypeError, AttributeError) as error:
        raise StoreError(f"{where}: its axes are not valid ({error})") from error


def _eval_params_fn(recorded, where):
    default = optax.contrib.schedule_free_eval_params
    if recorded in (None, qualified_name(default)):
        return recorded and default
    raise StoreError(
        f"{where}: its sweep used eval_params_fn {recorded!r:.80}, which cannot be rebuilt from a "
        f"record; to continue, call gdjax.sweep with the original arguments and this store"
    )


def with_infinity(settings: Any) -> Any:
    """Return recorded settings with an infinite threshold as a number instead of text."""
    if isinstance(settings, dict) and settings.get("divergence_threshold") == "inf":
        return {**settings, "divergence_threshold": math.inf}
    return settings


def _metrics(recorded: Any, known: Mapping[str, Metric], where: Any) -> dict[str, Metric]:
    metrics = {}
    for name, cadence in recorded.items() if isinstance(recorded, Mapping) else ():
        if name not in known:
            raise StoreError(
                f"{where}: its sweep recorded {name!r:.80}, which is not a metric of the problem; "
                f"pass metrics=... as to the sweep, or a problem that has it: "
                f"dataclasses.replace(problem, metrics=...)"
            )
        every = cadence.get("every") if isinstance(cadence, Mapping) else cadence
        try:
            metrics[name] = replace(known[name], every=every)
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


def identity_of(runs: xr.Dataset, name: str, expected: str) -> dict[str, Any]:
    """Return what a Dataset records of its sweep.

    Args:
        runs: Dataset of a sweep, or another one, which raises an error.
        name: name of the argument, for the message.
        expected: what the argument may be, for the message.
    """
    identity = recorded_identity(runs)
    if not {"axes", "data_hash"} <= set(identity):
        names = ", ".join(map(str, runs.data_vars))
        raise InputError(f"{name} = Dataset of {names:.80}, expected {expected}")
    return identity


def run_of(
    runs: StoreLike | xr.Dataset,
    at: Mapping[str, AxisValue],
    problem: Problem | None = None,
    *,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
) -> Run:
    """Return one run of a sweep: its problem at its settings, parameters and snapshots.

    Args:
        runs: Dataset of the sweep, or path or URL of its store, which may be in use.
        at: values by axis name, equal to those of the grid within rounding; at least one for each
            dimension of the grid.
        problem: problem of the sweep; required for a Dataset, or if it was user-defined.
        allow_unverified: whether to accept a problem that cannot be compared, as in `resume`.
        skip_damaged: whether damaged tiles count as unfinished.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> bowl = problems.bowl([1.0, 9.0])
        >>> rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
        >>> runs = sweep(bowl, rates, 5, snapshot_every=1)
        >>> run = run_of(runs, {"learning_rate": 0.1, "seed": 1}, bowl)
        >>> run.at, run.snapshot_step.tolist(), run.outcome.name
        ({'learning_rate': 0.1, 'seed': 1}, [0, 1, 2, 3, 4, 5], 'NOT_CONVERGED')
    """
    if isinstance(runs, xr.Dataset):
        require_problem(problem)
        assert isinstance(problem, Problem)
        identity = identity_of(runs, "runs", "that of gd.sweep, or the path of its store")
        grid = axes_of(identity, "runs")
        require_problem_of(problem, identity, "runs", allow_unverified=allow_unverified)
        index = position(grid, at)
        run = runs.isel(dict(zip(grid.sizes, index, strict=True)))
    else:
        stored = StoredSweep(runs, problem, None, allow_unverified, skip_damaged)
        identity, grid = stored.identity, stored.axes
        index = position(grid, at)
        problem, run = stored.problem, stored.run(index)
    outcome = int(run["outcome"])
    if not 0 <= outcome < len(Outcome):
        raise StoreError(
            f"{runs}: outcome = {outcome} of this run, expected 0 to {len(Outcome) - 1}; the "
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
