"""Specification of a sweep: the value that decides its numbers.

A `Sweep` is used by `sweep`, searches, `resume`, `replay` and the workers of a cluster, and is
recorded in stores. New fields are recorded and compared automatically.

>>> from gdjax import problems
>>> from gdjax.sweeps.axes import axes
>>> grid = axes(learning_rate=[0.1, 0.2], nesterov=[False, True])
>>> sweep = Sweep(problems.bowl([1.0, 9.0]), grid, 100)
>>> sweep.roles["learning_rate"].kind, [box.shape for box in sweep.axes.boxes()]
('optimizer', [(2, 1), (2, 1)])
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.base.arguments import check_flag, check_limits, check_type
from gdjax.base.errors import InputError
from gdjax.base.limits import Seed
from gdjax.base.reprs import as_html, in_lines, short
from gdjax.descent.arguments import validate_settings
from gdjax.descent.batches import check_replacement
from gdjax.problems.facts import Facts, facts_of
from gdjax.problems.metrics import Metric, as_metrics
from gdjax.problems.problem import Problem, require_problem
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import BATCH_SIZE, BRANCH_AXES, SEEDS, Axes, check_distinct_runs, is_static
from gdjax.sweeps.binding import (
    ROLES,
    Role,
    assign_roles,
    by_role,
    check_factory_arguments,
    numeric_roles,
    with_settings,
)
from gdjax.sweeps.checkpoint import Start


@dataclass(frozen=True, eq=False)
class Sweep:
    """Settings that determine the results of a sweep, without devices and store.

    Arguments are those of `sweep`, which makes a `Sweep` and computes it; a store contains it as
    JSON. Searches take a `Sweep`. `dataclasses.replace` changes settings.
    """

    problem: Problem
    axes: Axes
    num_steps: int
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd
    batch_size: int | None = None
    replacement: bool = False
    record_every: int = 1
    record_samples: int | None = None
    snapshot_every: int | None = None
    metrics: Mapping[str, Any] | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    root_seed: int = 0
    divergence_threshold: float = 1e12
    gradient_tolerance: float = 1e-5
    stop_when_converged: bool = False
    continuable: bool | None = None

    KEEPS_PARAMS = True  # whether parameters and states are part of the results
    RESERVED = dataset.RESERVED  # names that no axis or metric has

    def __post_init__(self):
        validate_spec(self)

    def __repr__(self) -> str:
        """Return the problem, the axes, and the settings that differ from their defaults."""
        values = {field: getattr(self, field.name) for field in fields(self)}
        return in_lines(
            type(self).__name__,
            [
                f"{field.name} = {value if field.name in ('problem', 'axes') else short(value)}"
                for field, value in values.items()
                if value is not field.default
            ],
        )

    def _repr_html_(self) -> str:
        return as_html(self, f"{self.axes.runs:,} descents of {self.num_steps:,} steps, not run.")

    def first_record(self, axes: Axes) -> int:
        """Return the first recorded step of the runs of a grid."""
        return 0

    def start(self) -> Start | None:
        """Return the states from which the runs start; None for initial states."""
        return None

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by name."""
        return {name: getattr(self, name) for name in Sweep.__dataclass_fields__}

    @cached_property
    def recorded_metrics(self) -> Mapping[str, Metric]:
        """Metrics by name: the given ones, or those of the problem."""
        return self.problem.metrics if self.metrics is None else self.metrics

    @cached_property
    def measured_problem(self) -> Problem:
        """Problem with the recorded metrics."""
        if self.metrics is None:
            return self.problem
        return replace(self.problem, metrics=self.metrics)

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Role of each axis: the keyword that it sets."""
        return assign_roles(self.problem, self.axes, self.make_optimizer)

    @cached_property
    def facts(self) -> tuple[Facts, ...]:
        """Facts of the functions of the user for each of `axes.boxes()`, new for each sweep."""
        return tuple(
            facts_of_box(
                self.measured_problem,
                box,
                self.roles,
                batch_size=self.batch_size,
                record_samples=self.record_samples,
                make_optimizer=self.make_optimizer,
                eval_params_fn=self.eval_params_fn,
            )
            for box in self.axes.boxes()
        )


def facts_of_box(
    problem: Problem,
    box: Axes,
    roles: Mapping[str, Role],
    *,
    batch_size: int | None,
    record_samples: int | None = None,
    make_optimizer: Callable[..., optax.GradientTransformation] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> Facts:
    """Return the facts of the functions of the user for a grid in which no static axis varies.

    Raises:
        InputError: if a function cannot be traced because an axis is an input of its program.
    """
    first = box.first_values

    def facts_at(*numeric: str) -> Facts:
        static = by_role(roles, {axis: first[axis] for axis in first if axis not in numeric})
        return facts_of(
            with_settings(problem, **static),
            by_role(roles, {axis: number_shape(first[axis]) for axis in numeric}),
            make_optimizer=make_optimizer and with_arguments(make_optimizer, static["optimizer"]),
            batch_size=first.get(BATCH_SIZE, batch_size),
            record_samples=record_samples,
            eval_params_fn=eval_params_fn,
        )

    def fails(*numeric):
        try:
            facts_at(*numeric)
        except Exception:  # a user function may raise any exception for a tracer
            return True
        return False

    numeric = [axis for axis in numeric_roles(roles) if roles[axis].kind in ROLES]
    try:
        return facts_at(*numeric)
    except Exception as error:
        culprits = [axis for axis in numeric if fails(axis)]
        if not culprits or fails():  # it also fails with concrete numbers
            raise
        raise InputError(
            f"axes: {culprits[0]} cannot be swept as a number, since the program of "
            f"{roles[culprits[0]].kind} depends on it; pass booleans or names, or call gd.sweep "
            f"once for each value. For optax.warmup_cosine_decay_schedule(0., learning_rate, "
            f"warmup, total), write: def make_optimizer(learning_rate): schedule = "
            f"gd.descent.WarmupCosine(learning_rate, warmup, total); return optax.sgd(schedule)"
        ) from error


def with_arguments(make_optimizer: Callable, arguments: Mapping[str, Any]) -> Callable:
    """Return an optimizer factory with fixed arguments."""
    return partial(make_optimizer, **arguments) if arguments else make_optimizer


def number_shape(number: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and type that a value of an axis has in a program."""
    dtype = jax.dtypes.canonicalize_dtype(np.asarray(number).dtype)
    return jax.ShapeDtypeStruct((), dtype)


def require_sweep(name: str, sweep: Any) -> None:
    """Check that a value is a plain `Sweep`, not one of branches or of a search."""
    if type(sweep) is not Sweep:
        raise InputError(f"{name} = {sweep!r:.80}, expected gd.Sweep(problem, axes, num_steps)")


def validate_spec(spec: Sweep) -> None:
    """Check the settings of a sweep."""
    require_problem(spec.problem)
    check_type("axes", spec.axes, Axes, "gd.axes(learning_rate=[0.1, 1])")
    for size in _batch_sizes(spec) or [spec.batch_size]:
        validate_settings(
            spec.problem,
            num_steps=spec.num_steps,
            batch_size=size,
            record_every=spec.record_every,
            record_samples=spec.record_samples,
            snapshot_every=spec.snapshot_every,
            divergence_threshold=spec.divergence_threshold,
            gradient_tolerance=spec.gradient_tolerance,
        )
    check_limits("root_seed", spec.root_seed, Seed)
    check_flag("stop_when_converged", spec.stop_when_converged)
    if spec.continuable is not None:
        check_flag("continuable", spec.continuable)
    if spec.metrics is not None:
        object.__setattr__(spec, "metrics", as_metrics("metrics", spec.metrics))
    if type(spec) is Sweep and (branch_axes := sorted(BRANCH_AXES & set(spec.axes.names))):
        raise InputError(
            f"axes: {branch_axes[0]} is an axis of branches of a stored run; use gd.branch(store, "
            f"at, axes)"
        )
    check_factory_arguments(spec.make_optimizer, spec.roles)
    swept = {role.keyword for role in spec.roles.values() if role.kind == "cost"}
    spec.problem._swept.update(swept)  # so that an analysis can say which value it lacks
    _check_batches(spec)
    if "noise_seed" in spec.roles and not spec.problem.random:
        raise InputError(
            "axes: noise_seed sets the random numbers of a cost, but this cost has none; declare "
            "`key` in the cost or leave the axis out"
        )
    _check_learning_rates(spec)
    _check_dtypes(spec.axes)
    _check_names(spec)


def _batch_sizes(spec):
    return spec.axes.by_name.get(BATCH_SIZE, np.zeros(0)).tolist()


def _check_batches(spec):
    sizes = _batch_sizes(spec)
    if any(spec.batch_size not in (None, size) for size in sizes):
        raise InputError(
            f"batch_size = {spec.batch_size}, but batch_size is also an axis; pass one of them"
        )
    check_replacement(spec.replacement, spec.batch_size is not None or bool(sizes))
    if "data_seed" in spec.roles and spec.batch_size is None and not sizes:
        raise InputError(
            "axes: data_seed sets the order of mini-batches, but batch_size is None; pass a batch "
            "size or leave the axis out"
        )


def _check_learning_rates(spec):
    """Check that learning rates are positive, as required for descent."""
    for axis, values in spec.axes.by_name.items():
        is_rate = spec.roles[axis][:2] == ("optimizer", "learning_rate")
        wrong = values <= 0 if values.dtype.kind in "if" else np.ones(len(values), bool)
        if is_rate and wrong.any():
            raise InputError(f"axes: {axis} = {values[wrong].tolist()[0]!r}, expected numbers > 0")


def _check_dtypes(axes):
    """Check that the program's type can represent and distinguish all values."""
    casts = axes.by_name
    for name, values in axes.by_name.items():
        if name in SEEDS or is_static(name, values):
            continue
        dtype = jax.dtypes.canonicalize_dtype(values.dtype)
        with np.errstate(over="ignore"):
            cast = casts[name] = values.astype(dtype)
        lost = ~np.isfinite(cast) | ((cast == 0) != (values == 0))
        if values.dtype.kind == "i":
            lost |= cast != values
        if lost.any():
            raise InputError(
                f"axes: {name} = {values[lost][0]} is out of the range of {dtype}; run the sweep "
                f"under jax.enable_x64, or choose other values"
            )
    for dim, along in axes.dimensions.items():
        check_distinct_runs(dim, {name: casts[name] for name in along})


def _check_names(spec):
    """Check that no axis, metric or dimension has the name of another array of the sweep."""
    metrics, names = spec.recorded_metrics, {*spec.axes.names, *spec.axes.dimensions}
    dims = [(f"{name}: {dim}", dim) for name, metric in metrics.items() for dim in metric.dims]
    for shown, name in (*((name, name) for name in (*names, *metrics)), *dims):
        is_axis = name in names
        is_own = name in spec.RESERVED or name.split(".")[0] in dataset.PREFIXES
        if is_own or (is_axis and name in metrics):
            qualified = f"qualify it, as in **{{'cost.{name}': [...]}}"
            raise InputError(
                f"{'axes' if is_axis else 'metrics'}: {shown} is already an array or dimension of "
                f"the sweep; {qualified if is_axis else 'choose another name'}"
            )
