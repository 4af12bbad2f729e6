"""Measurements at points that exist: ends and snapshots of runs, checkpoints, one point.

    measure({"sharpness": Sharpness()}, store)  ->  sharpness[learning_rate, seed]

It is a sweep of no steps whose runs start at the points, so that a value has the bits of the same
metric recorded along the run, and stores, progress and resuming are those of sweeps.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array, Key, PyTree

from gdjax.base import slabs
from gdjax.base.arguments import check_choice
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.descent import block
from gdjax.problems.checks import check_like, check_params
from gdjax.problems.metrics import Metric, as_metrics
from gdjax.problems.problem import Problem, as_problem, require_problem
from gdjax.problems.run_settings import at_settings_of
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import (
    MEASURED_POINT,
    MEASURED_STEP,
    Axes,
    AxisValue,
    positions,
    rows_of,
)
from gdjax.sweeps.axes import axes as make_axes
from gdjax.sweeps.check import Asked
from gdjax.sweeps.checkpoint import Positions, SlabCheckpoint, from_host, to_host
from gdjax.sweeps.continued.stored import (
    StoredSweep,
    axes_of,
    identity_of,
    require_problem_of,
    with_infinity,
)
from gdjax.sweeps.dataset import RESERVED, from_named, named_leaves, number_leaves
from gdjax.sweeps.executor import compute
from gdjax.sweeps.factories import optimizer_from
from gdjax.sweeps.identity import hash_of
from gdjax.sweeps.program import Program
from gdjax.sweeps.spec import Sweep
from gdjax.sweeps.sweep import params_of

STEPS = ("last", "snapshots")


@runtime_checkable
class EndPoints(Protocol):
    """End points of runs: parameters whose leading axis indexes the runs of a Dataset."""

    runs: xr.Dataset
    params: PyTree


def measure(
    metrics: Mapping[str, Metric | Callable[..., Any]],
    where: StoreLike
    | xr.Dataset
    | EndPoints
    | tuple[Any, PyTree]
    | Iterable[tuple[Hashable, PyTree]],
    *,
    problem: Problem | None = None,
    make_optimizer: Callable[..., optax.GradientTransformation] | None = None,
    key: Key[Array, ""] | None = None,
    at: Mapping[str, AxisValue] | None = None,
    steps: str | Sequence[int] = "last",
    store: StoreLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    client: Any = None,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Measure quantities at points: ends or snapshots of runs, checkpoints, or one point.

    A measurement is what `gd.descend` and `gd.sweep` record: a function of a problem and
    parameters, or a `gd.Metric`. At a snapshot, it has the bits that it would have had along the
    run, unless it passes a state from one measurement to the next.

    Args:
        metrics: measurements by name; `every` is not used.
        where: a sweep, as its store or its Dataset; the Dataset of a census, for its minima; end
            points of a census, as of `gdjax.minima.end_points.classify_end_points`; an iterable of
            pairs (label, params), such as checkpoints; or one pair (problem, params), for which the
            function itself, under `jax.jit`, takes less time, since programs have a fixed width.
        problem: problem of a sweep, required for a Dataset and if it was user-defined; problem of
            labeled parameters.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        key: random key of measurements that declare `key`; None for that of the runs of a sweep.
        at: values by axis name that select runs of a sweep.
        steps: "last" for the final parameters, "snapshots" for all snapshots, or the steps of some
            snapshots.
        store: path or URL of a store for the values. Repeat the call to continue after an
            interruption.
        devices, client: as for `gd.sweep`.
        allow_unverified: whether to go on if programs cannot be compared, as in `resume`.

    Returns:
        Dataset of the measurements over the axes of `where`: those of the sweep, and
        `snapshot_step` unless steps = "last"; `minimum` or `run`; or `point`, with the labels.

    Examples:
        >>> import gdjax as gd
        >>> bowl = gd.problems.bowl([1.0, 9.0])
        >>> norm = {"norm": lambda problem, w: jnp.linalg.norm(w)}
        >>> runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1, 0.2]), 4, snapshot_every=2)
        >>> measure(norm, runs, problem=bowl).norm.dims
        ('learning_rate',)
        >>> measure(norm, runs, problem=bowl, steps="snapshots").norm.sizes["snapshot_step"]
        3
        >>> points = measure(norm, {"a": jnp.ones(2), "b": jnp.zeros(2)}.items(), problem=bowl)
        >>> points.norm.sel(point="b").item(), float(measure(norm, (bowl, jnp.zeros(2))).norm)
        (0.0, 0.0)
    """
    metrics = {name: replace(m, every=1) for name, m in as_metrics("metrics", metrics).items()}
    if not metrics:
        raise InputError("metrics = {}, expected at least one measurement by name")
    if key is not None:
        check_key(key)
    if isinstance(where, xr.Dataset) and "minimum" in where.dims:
        require_problem(problem)
        assert problem is not None
        like = jax.eval_shape(problem.begin, jax.random.key(0))[0]
        label = where.coords.get("minimum", np.arange(where.sizes["minimum"]))
        points = _Points(problem, "minimum", np.asarray(label).tolist(), params_of(where, like, {}))
    elif isinstance(where, EndPoints):
        require_problem(problem)
        assert problem is not None
        points = _Points(problem, "run", range(where.runs.sizes["run"]), where.params)
    elif isinstance(where, xr.Dataset | StoreLike):
        options = (problem, make_optimizer, allow_unverified)
        points = _RunPoints(where, options, {} if at is None else at, steps)
    else:
        points = _labeled(where, problem)
    sweep = points.sweep(metrics, key)
    points.check(sweep, key is not None)
    place = (store, devices, 2**30, client, allow_unverified)
    measured = compute(Asked(sweep, *place, start=points.start()))
    last = measured.drop_vars(RESERVED, errors="ignore").isel(step=-1)
    last.attrs = {"result": "measurement", "seconds": measured.attrs.get("seconds", 0.0)}
    return points.named(last)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MeasureSpec(Sweep):
    """Specification of a sweep of no steps, whose runs start at given points.

    Args:
        measured: hash of the points, or of the record of the sweep to which they belong.
    """

    measured: str

    KEEPS_PARAMS = False


class PointStart(NamedTuple):
    """Carries that begin at points.

    Args:
        read: function from a program and positions in the grid to parameters, model state and
            optimizer state (None for its initial state) of runs.
    """

    read: Callable[[Program, Positions], tuple[PyTree, PyTree, PyTree]]

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return no writer, since no step is taken."""
        return []

    def __call__(self, program: Program, positions: Positions) -> SlabCheckpoint:
        """Return the carries of a slab of points."""
        device, facts = program.devices[0], program.facts
        values = program.sweep.axes.values(positions)
        _, settings = program.inputs.initial(values, device)
        point = slabs.place(self.read(program, positions), device)
        begin = _initial_carry(facts.make_optimizer, tuple(facts.metrics.items()))
        carry = begin(*point, settings, program.shared(device))
        return SlabCheckpoint(0, [to_host(leaf) for leaf in jax.tree.leaves(carry)], {}, {})


def _initial_carry(make_optimizer, metrics):
    def begin(params, model_state, opt_state, settings, shared):
        carry = block.initial_carry(make_optimizer, params, model_state, settings, metrics, shared)
        if opt_state is None:
            return carry
        return carry._replace(state=carry.state._replace(opt_state=opt_state))

    key = ("carry at points", make_optimizer, metrics)
    return slabs.CompiledFunction(
        jax.vmap(begin, (0, 0, 0, 0, None)), key=key, fast_compilation=True
    )


@dataclass(frozen=True)
class _Points:
    """Points in memory, with labels along a dimension; None for a single point.

    The leading axis of `params` indexes the points.
    """

    problem: Problem
    dim: str | None
    labels: Sequence[Hashable]
    params: PyTree

    def sweep(self, metrics: Mapping[str, Metric], key: Any) -> MeasureSpec:
        """Return the specification of the measurements."""
        problem = at_settings_of(self.problem, self.params)
        if problem.stateful:
            raise InputError(
                "problem: its cost has a model state, which the points do not have; pass "
                "gdjax.problems.frozen(problem, model_state=...)"
            )
        shapes = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape[1:], jnp.result_type(a)), self.params
        )

        def init(key):
            return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

        return MeasureSpec(
            problem=replace(problem, init=init, metrics={}, provenance=None),
            axes=make_axes(**{MEASURED_POINT: np.arange(len(self.labels))}),
            num_steps=0,
            make_optimizer=_no_optimizer,
            metrics=metrics,
            root_seed=_root_seed(key, 0),
            measured=f"{list(map(str, self.labels))} {hash_of(self.params)}",
        )

    def check(self, sweep: Sweep, has_key: bool) -> None:
        """Check that the points have all that the measurements need."""
        for name, metric in sweep.recorded_metrics.items():
            if "opt_state" in metric.needs:
                raise _lacks(name, "opt_state", "points have no optimizer; pass a sweep's store")
            if "key" in metric.needs and not has_key:
                raise _lacks(name, "key", "points have no seed; pass key=jax.random.key(0)")

    def start(self) -> PointStart:
        """Return the carries that begin at the points."""
        host = jax.tree.map(lambda a: np.asarray(a, jnp.result_type(a)), self.params)
        return PointStart(
            lambda program, positions: (
                jax.tree.map(lambda a: a[positions[0]], host),
                None,
                None,
            )
        )

    def named(self, measured: xr.Dataset) -> xr.Dataset:
        """Return the measurements along the dimension of the points."""
        if self.dim is None:
            return measured.isel({MEASURED_POINT: 0}, drop=True)
        measured = measured.rename({MEASURED_POINT: self.dim})
        return measured.assign_coords({self.dim: (self.dim, np.asarray(self.labels))})


def _labeled(where, problem):
    """Return the points of an iterable of pairs, or the point of one pair (problem, params)."""
    if isinstance(where, tuple) and len(where) == 2 and _is_problem(where[0]):
        params = where[1]
        check_params(params)
        problem = at_settings_of(as_problem(where[0]), params)
        return _Points(problem, None, [0], jax.tree.map(lambda a: jnp.asarray(a)[None], params))
    expected = (
        "the store or the Dataset of a sweep, a pair (problem, params), or pairs (label, params)"
    )
    pairs = list(where) if isinstance(where, Iterable) else []
    if not pairs or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise InputError(f"where = {where!r:.80}, expected {expected}")
    if problem is None:
        raise InputError("problem = None, expected the problem of the labeled parameters")
    labels, points = zip(*pairs, strict=True)
    for label, params in pairs:
        check_params(params, f"where: {label!r}: ")
        check_like(f"where: params of {label!r}", params, points[0], f"those of {labels[0]!r}")
    bound = [at_settings_of(as_problem(problem), params) for params in points]
    if any(one is not problem for one in bound):
        raise InputError(
            "where: its parameters belong to runs with settings of the cost; pass the store or the "
            "Dataset of their sweep, or problem.at(...) and copies of the parameters"
        )
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(a) for a in leaves]), *points)
    return _Points(as_problem(problem), "point", labels, stacked)


def _is_problem(value):
    return isinstance(value, Problem) or (callable(value) and not isinstance(value, type))


class _RunPoints:
    """Final parameters or snapshots of the runs of a sweep."""

    def __init__(self, where, options, at, steps):
        problem, make_optimizer, allow_unverified = options
        if isinstance(where, xr.Dataset):
            self.where = "where"
            self.identity = identity_of(where, "where", "that of gd.sweep or of a census")
            require_problem(problem)
            self.problem, self.runs = problem, where
            require_problem_of(problem, self.identity, "where", allow_unverified=allow_unverified)
        else:
            stored = StoredSweep(where, problem, make_optimizer, allow_unverified)
            self.where, self.identity = stored.location, stored.identity
            self.problem, self.runs = stored.problem, stored.dataset
        recorded = self.identity["make_optimizer"]
        self.make_optimizer = make_optimizer or optimizer_from(recorded, self.where)
        grid, self.scalars = axes_of(self.identity, self.where), ()
        if isinstance(where, xr.Dataset):
            self.scalars = tuple(dim for dim in grid.sizes if dim not in where.dims)
            self.runs = where.expand_dims(self.scalars)
            grid = grid.box(_chosen(self.runs, grid))
        self.at = positions(grid, at)
        index = {dim: np.array([i]) for dim, i in self.at.items()}
        self.grid = grid.box(tuple(index.get(d, np.arange(n)) for d, n in grid.sizes.items()))
        self.runs = self.runs.isel(index)
        self.is_last = isinstance(steps, str) and steps == "last"
        self.steps = self._steps(steps)

    def _steps(self, steps):
        """Return the steps of the points."""
        if isinstance(steps, str):
            check_choice("steps", steps, STEPS)
        if self.is_last:
            return np.array([self.identity["num_steps"]])
        kept = self.runs.coords.get("snapshot_step")
        if kept is None:
            raise InputError(
                f"steps = {steps!r:.80}, but {self.where} has no snapshots; pass steps='last', or "
                f"a sweep with snapshot_every"
            )
        wanted = kept.values if isinstance(steps, str) else np.atleast_1d(np.asarray(steps))
        if lost := sorted({*wanted.tolist()} - {*kept.values.tolist()}):
            raise InputError(
                f"steps = {lost[0]!r:.80}, expected steps of snapshots: "
                f"{', '.join(map(str, kept.values.tolist()))!s:.200}"
            )
        return wanted

    def sweep(self, metrics, key):
        """Return the specification of the measurements."""
        names = ("batch_size", "replacement", "divergence_threshold")
        recorded = {name: self.identity[name] for name in names if name in self.identity}
        along = {MEASURED_STEP: {MEASURED_STEP: self.steps}}
        is_stored = "functions" in self.identity
        params = {} if is_stored else {n: a for n, a in self.runs.items() if "." in str(n)}
        record = json.dumps(self.identity, sort_keys=True), sorted(self.at.items())
        sweep = MeasureSpec(
            problem=replace(self.problem, metrics={}),
            axes=Axes({**self.grid.dimensions, **along}),
            num_steps=0,
            make_optimizer=self.make_optimizer,
            metrics=metrics,
            root_seed=_root_seed(key, self.identity["root_seed"]),
            measured=hash_of(
                (np.frombuffer(str(record).encode(), np.uint8), [a.values for a in params.values()])
            ),
            **with_infinity(recorded),
        )
        if any(facts.eval_params_fn is not None for facts in sweep.facts):
            # The parameters of a sweep are those of its records.
            sweep = replace(sweep, eval_params_fn=_recorded_params)
        return sweep

    def check(self, sweep, has_key):
        """Check that the runs have all that the measurements need."""
        if "finished" in self.runs and (unfinished := int(np.sum(self.runs.finished.values < 1))):
            raise InputError(
                f"where: {unfinished} runs of {self.where} are not finished; finish the sweep, or "
                f"select runs by at={{...}}"
            )
        prefix = "params" if self.is_last else "snapshots"
        if not any(str(name).split(".")[0] == prefix for name in self.runs):
            raise InputError(
                f"where: {self.where} has no {prefix}; pass the store of the sweep, or a sweep "
                f"with a larger max_param_bytes"
            )
        stateful = sweep.problem.stateful
        states = named_leaves("snapshot_model_state", sweep.facts[0].model_state).keys()
        for name, metric in sweep.recorded_metrics.items():
            if "opt_state" in metric.needs and not self._has_opt_state(sweep):
                remedy = "sweep with store=... and continuable=True, and pass steps='last'"
                raise _lacks(name, "opt_state", f"{self.where} did not keep it; {remedy}")
            if stateful and not self.is_last and not states <= {*self.runs.variables}:
                remedy = "measure with steps='last', or compute the sweep again"
                raise _lacks(name, "model_state", f"snapshots do not have it; {remedy}")

    def _has_opt_state(self, sweep):
        names = named_leaves("carry.state.opt_state", sweep.facts[0].opt_state)
        return self.is_last and names.keys() <= {*self.runs.variables}

    def start(self):
        """Return the carries that begin at the points."""
        return PointStart(self._read)

    def _read(self, program, positions):
        *grid, at_step = positions
        pairs = zip(self.grid.sizes, grid, strict=True)
        index = {dim: xr.DataArray(i, dims="run") for dim, i in pairs}
        facts = program.facts
        if not self.is_last:
            kept = {step: i for i, step in enumerate(self.runs.snapshot_step.values.tolist())}
            rows = np.array([kept[step] for step in self.steps.tolist()])[at_step]
            index["snapshot_step"] = xr.DataArray(rows, dims="run")
            runs = self.runs.isel(index)
            state = from_named("snapshot_model_state", facts.model_state, runs)
            return from_named("snapshots", facts.params, runs), state, None
        runs = self.runs.isel(index)
        needs = {
            need for metric in program.sweep.recorded_metrics.values() for need in metric.needs
        }
        opt_state = None
        if "opt_state" in needs:
            likes, structure = jax.tree.flatten(facts.opt_state)
            names = named_leaves("carry.state.opt_state", facts.opt_state)
            shapes = number_leaves(facts.opt_state)
            values = [runs[n].values.astype(a.dtype) for n, a in zip(names, shapes, strict=True)]
            leaves = [from_host(a, like) for a, like in zip(values, likes, strict=True)]
            opt_state = jax.tree.unflatten(structure, leaves)
        model_state = from_named("model_state", facts.model_state, runs)
        return from_named("params", facts.params, runs), model_state, opt_state

    def named(self, measured):
        """Return the measurements over the axes of the runs."""
        measured = measured.isel(dict.fromkeys({*self.at, *self.scalars}, 0))
        if self.is_last:
            return measured.isel({MEASURED_STEP: 0}, drop=True)
        return measured.rename({MEASURED_STEP: "snapshot_step"})


def _chosen(runs, grid):
    """Return the positions in the grid of a sweep of the runs that were selected of its Dataset."""
    chosen = []
    for along in grid.dimensions.values():
        if missing := [name for name in along if name not in runs.coords]:
            raise InputError(
                f"where: it has no coordinate {missing[0]}, so that its runs cannot be told apart; "
                f"expected the Dataset of a sweep, or runs selected by isel or sel"
            )
        places = {row: i for i, row in enumerate(rows_of(along))}
        rows = rows_of({name: np.atleast_1d(runs[name].values) for name in along})
        if changed := [row for row in rows if row not in places]:
            raise InputError(
                f"where: {', '.join(along)} = {changed[0]} is not a setting of its sweep, expected "
                f"coordinates as they were computed"
            )
        chosen.append(np.array([places[row] for row in rows]))
    return tuple(chosen)


def _recorded_params(opt_state, params):
    return params


def _no_optimizer():
    return optax.identity()


def _root_seed(key, otherwise):
    """Return the root seed of measurements: from a key, or that of the sweep."""
    return otherwise if key is None else int(jax.random.bits(key, dtype=jnp.uint32))


def _lacks(name, need, why):
    return InputError(f"metrics: {name!r} declares or needs `{need}`, but {why}")
