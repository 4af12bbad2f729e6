"""Specification of a sweep, and of the programs that compute it.

    Sweep  --programs()-->  one ProgramSpec for each combination of static values

Static values are batch sizes, steps of branches, booleans and names. A `Sweep` determines the
numerical results. It is used by `sweep`, `resume`, `replay` and the workers of a cluster, and is
recorded in stores. New fields are recorded and compared automatically.

>>> from gdjax import problems
>>> from gdjax.sweeps.axes import axes
>>> grid = axes(learning_rate=[0.1, 0.2], nesterov=[False, True])
>>> spec = Sweep(problems.bowl([1.0, 9.0]), grid, 100, make_optimizer=optax.sgd)
>>> spec.roles["learning_rate"].role, [program.axes.shape for program in spec.programs()]
('optimizer', [(2, 1), (2, 1)])
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var
from jaxtyping import PyTree

from gdjax import slabs
from gdjax.arguments import check_flag, check_whole
from gdjax.descent import block
from gdjax.descent.batches import check_replacement
from gdjax.descent.block_loop import RecordSchedule
from gdjax.descent.functions import traced_functions, with_functions
from gdjax.descent.step import cost_type, default_eval_params_fn
from gdjax.descent.validation import check_counts, check_record_samples, validate_settings
from gdjax.errors import InputError
from gdjax.keys import run_keys
from gdjax.problems.evaluation import evaluation_microbatch
from gdjax.problems.keywords import given_to
from gdjax.problems.problem import Metric, Problem, check_metric_names, require_problem
from gdjax.problems.traces import Traced
from gdjax.problems.validation import check_metrics, check_params
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import BATCH_SIZE, BRANCH_AXES, SEEDS, Axes, check_distinct_runs, is_static
from gdjax.sweeps.binding import (
    AxisTrace,
    Role,
    assign_roles,
    by_role,
    check_factory_arguments,
    numeric_roles,
    trace_axes,
    with_settings,
)

if TYPE_CHECKING:
    from gdjax.sweeps.slab_program import Start

MAX_KNOWN_SHAPES = 64  # number of programs of a problem whose shapes are kept between sweeps


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
    metrics: Mapping[str, Metric] | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    root_seed: int = 0
    divergence_threshold: float = 1e12
    gradient_tolerance: float = 1e-5
    stop_when_converged: bool = False
    continuable: bool | None = None

    def __post_init__(self):
        validate_spec(self)

    def first_record(self, axes: Axes) -> int:
        """Return the first recorded step of the runs of a grid."""
        return 0

    def initial_carry(self) -> "Start | None":
        """Return a function that replaces initial carries (see `SlabProgram`), or None."""
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
    def roles(self) -> dict[str, Role]:
        """Role of each axis: the keyword that it sets."""
        return assign_roles(self.problem, self.axes, self.make_optimizer)

    def programs(self) -> "tuple[ProgramSpec, ...]":
        """Return the programs to compile, one for each combination of static values."""
        return self._programs

    @cached_property
    def _programs(self):
        # Cached, since each program traces the cost, and both `check` and `fit` use the programs.
        return tuple(ProgramSpec(self, box) for box in self.axes.boxes())


def validate_spec(spec: Sweep) -> None:
    """Check the settings of a sweep.

    Raises:
        InputError: if an argument has an invalid type or value, or an axis is unknown.
    """
    require_problem(spec.problem)
    if not isinstance(spec.axes, Axes):
        raise InputError(f"axes = {spec.axes!r:.80}, expected gd.axes(learning_rate=[0.1, 1])")
    validate_settings(
        spec.problem,
        num_steps=spec.num_steps,
        batch_size=spec.batch_size,
        record_every=spec.record_every,
        record_samples=spec.record_samples,
        snapshot_every=spec.snapshot_every,
        eval_params_fn=spec.eval_params_fn,
        divergence_threshold=spec.divergence_threshold,
        gradient_tolerance=spec.gradient_tolerance,
    )
    check_whole("root_seed", spec.root_seed, 0, 2**32 - 1)
    check_flag("stop_when_converged", spec.stop_when_converged)
    if spec.continuable is not None:
        check_flag("continuable", spec.continuable)
    if spec.metrics is not None:
        check_metric_names("metrics", spec.metrics)
    if type(spec) is Sweep and (branch_axes := sorted(BRANCH_AXES & set(spec.axes.names))):
        raise InputError(
            f"axes: {branch_axes[0]} is an axis of branches of a stored run; use gd.branch(store, "
            f"at, axes)"
        )
    check_factory_arguments(spec.make_optimizer, spec.roles)
    _check_batches(spec)
    if "noise_seed" in spec.roles and not spec.problem.random:
        raise InputError(
            "axes: noise_seed sets the random numbers of a cost, but this cost has none; declare "
            "`key` in the cost or leave the axis out"
        )
    _check_learning_rates(spec)
    _check_dtypes(spec.axes)
    _check_names(spec.axes, spec.recorded_metrics)


@dataclass(frozen=True, eq=False)
class ProgramSpec:
    """Specification of one program, for a subgrid in which no static axis varies.

    Args:
        sweep: specification of the whole sweep.
        axes: axes of the subgrid.
    """

    sweep: Sweep
    axes: Axes

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Role of each axis: the keyword that it sets."""
        return self.sweep.roles

    @cached_property
    def _static_settings(self):
        first = self.axes.first_values
        static = {axis: first[axis] for axis, role in self.roles.items() if role.is_static}
        return by_role(self.roles, static)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Values of the first run for keywords that are program inputs, by role."""
        first, numeric = self.axes.first_values, numeric_roles(self.roles)
        return by_role(self.roles, {axis: first[axis] for axis in first if axis in numeric})

    @property
    def setting_shapes(self) -> dict[str, dict[str, Any]]:
        """Shapes and types of `settings`."""
        return jax.tree.map(number_shape, self.settings)

    @property
    def _factory(self):
        static = self._static_settings["optimizer"]
        return partial(self.sweep.make_optimizer, **static) if static else self.sweep.make_optimizer

    @cached_property
    def functions(self) -> dict[str, Traced]:
        """Functions of the user, traced anew for each sweep; see `traced_functions`."""
        return traced_functions(
            self._problem,
            self._factory,
            self.setting_shapes,
            batch_size=self.batch_size,
            eval_params_fn=self.sweep.eval_params_fn,
        )

    @cached_property
    def _problem(self):
        problem = self.sweep.problem
        if self.sweep.metrics is not None:
            problem = dataclasses.replace(problem, metrics=self.sweep.metrics)
        return with_settings(problem, **self._static_settings)

    @cached_property
    def problem(self) -> Problem:
        """Problem with its static settings, the metrics of the sweep and canonical functions."""
        return with_functions(self._problem, self.functions)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Recorded metrics besides the cost, by name."""
        return self.problem.metrics

    @cached_property
    def make_optimizer(self) -> Callable[..., optax.GradientTransformation]:
        """Optimizer factory with static settings."""
        if "optimizer" in self.functions:
            return self.functions["optimizer"].function
        return self._factory

    @property
    def batch_size(self) -> int | None:
        """Number of samples per step; None for all."""
        return self.axes.first_values.get(BATCH_SIZE, self.sweep.batch_size)

    @property
    def step_nbytes(self) -> int:
        """Size of what a step of one run reads and writes besides shared data, in bytes.

        These are its state, intermediate results of the cost, and, with a separate order, the
        samples of a mini-batch.
        """
        samples, shapes = self.batch_size or self.problem.samples or 1, self.shapes
        numbers = 0
        if self.batch_size is not None and "data_seed" in self.roles:
            data = jax.tree.leaves(self.problem.data)
            numbers = self.batch_size * sum(math.prod(leaf.shape[1:]) for leaf in data)
        itemsize = np.dtype(cost_type(shapes.params)).itemsize
        return shapes.nbytes + round(samples * shapes.sample_nbytes) + numbers * itemsize

    @property
    def record_nbytes(self) -> int:
        """Size of the state of a run and of the intermediate results of a record, in bytes."""
        samples = self.sweep.record_samples or self.problem.samples or 1
        samples = min(samples, evaluation_microbatch(self.problem) or samples)
        return self.shapes.nbytes + round(samples * self.shapes.sample_nbytes)

    @cached_property
    def shapes(self) -> "RunShapes":
        """Shapes of the arrays of one run; equal programs of a problem share one object."""
        sweep = self.sweep
        key = (
            tuple(self.roles.items()),
            tuple((axis, v.dtype, v[0].item()) for axis, v in self.axes.by_name.items()),
            tuple((name, traced.function) for name, traced in self.functions.items()),
            tuple((name, m.every, m.dims, m.dtype) for name, m in self.metrics.items()),
            (self.batch_size, sweep.root_seed),
        )
        known = sweep.problem._known_shapes
        shapes = known.get(key)
        if shapes is None:
            if len(known) >= MAX_KNOWN_SHAPES:
                known.clear()
            shapes = known[key] = RunShapes(self)
        return shapes

    @cached_property
    def eval_params_fn(self) -> Callable[[PyTree, PyTree], PyTree] | None:
        """Function that gives the evaluation parameters; None for those of the run."""
        if "eval_params_fn" in self.functions:
            return self.functions["eval_params_fn"].function
        return default_eval_params_fn(self.shapes.carry.state.opt_state, self.shapes.params)

    @cached_property
    def block_config(self) -> block.BlockConfig:
        """Static configuration of the blocks, without buffers."""
        sweep = self.sweep
        return block.block_config(
            self.problem,
            self.make_optimizer,
            self.metrics,
            batch_size=self.batch_size,
            record_samples=sweep.record_samples,
            divergence_threshold=sweep.divergence_threshold,
            stop_tolerance=sweep.gradient_tolerance if sweep.stop_when_converged else None,
            eval_params_fn=self.eval_params_fn,
        )

    @cached_property
    def schedule(self) -> RecordSchedule:
        """Schedule of steps, records, snapshots and array metrics."""
        return RecordSchedule(
            first=0,
            num_steps=self.sweep.num_steps,
            record_every=self.sweep.record_every,
            snapshot_every=self.sweep.snapshot_every,
            metric_every={name: metric.every for name, metric in self.metrics.items()},
        )

    @property
    def is_carry_small(self) -> bool:
        """Whether optimizer and metric states are no larger than parameters and records."""
        metrics, shapes = self.metrics, self.shapes
        states = [
            jax.eval_shape(metric.init, shapes.params, metric.data)
            for metric in metrics.values()
            if metric.init
        ]
        numbers = sum(not metric.is_array for metric in metrics.values()) + 2  # cost and gradient
        record = numbers * np.dtype(cost_type(shapes.params)).itemsize
        results = _nbytes(shapes.params) + record * len(self.schedule.recorded_steps())
        return _nbytes((shapes.carry.state.opt_state, states)) <= results

    @property
    def first_record(self) -> int:
        """First recorded step."""
        return self.sweep.first_record(self.axes)


@dataclass(frozen=True, eq=False)
class RunShapes:
    """Shapes and types of one run of a program, computed on first use.

    Args:
        program: specification of the program.
    """

    program: ProgramSpec

    @cached_property
    def start(self) -> AxisTrace:
        """Shapes of initial parameters and model state, and axes without effect on them.

        Raises:
            InputError: if parameters are not real arrays, or an axis cannot be swept.
        """
        program = self.program
        stream = run_keys(program.sweep.root_seed).init

        def start(stream, **settings):
            params, model_state = program.problem.begin(stream, **settings)
            check_params(params, "init: ")
            return params, model_state

        return trace_axes(start, "init", program.roles, program.axes, stream)

    @property
    def params(self) -> PyTree:
        """Shapes of the parameters."""
        return self.start.shapes[0]

    @property
    def model_state(self) -> PyTree:
        """Shapes of the model state; None if the cost has none."""
        return self.start.shapes[1]

    @cached_property
    def carry(self) -> block.Carry:
        """Shapes of the carry between blocks, without metric states."""
        initial_carry = partial(block.initial_carry, self.program.make_optimizer)
        return jax.eval_shape(
            initial_carry, self.params, self.model_state, self.program.setting_shapes
        )

    @cached_property
    def array_metrics(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each array-valued metric.

        Raises:
            InputError: if a metric cannot be computed.
        """
        metrics = self.program.metrics
        shapes = check_metrics(
            metrics,
            self.params,
            self.program.settings["cost"],
            model_state=self.model_state,
            opt_state=self.carry.state.opt_state,
        )
        return block.array_shapes(metrics, shapes, self.params)

    @cached_property
    def sample_nbytes(self) -> float:
        """Size of the intermediate results of the cost that depend on the run, per sample."""
        program, problem = self.program, self.program.problem
        samples = program.batch_size or problem.samples or 1
        batch = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((samples, *a.shape[1:]), a.dtype),
            slabs.shapes(problem.data),
        )
        available = {"key": run_keys(0).noise, "step": np.int32(0), "model_state": self.model_state}
        supplied = {name: available[name] for name in given_to(problem.cost)}

        def cost(params, batch, supplied):
            sample = () if problem.data is None else (batch,)
            return problem.cost(params, *sample, **supplied, **program.settings["cost"])

        traced = jax.make_jaxpr(cost)(self.params, batch, supplied).jaxpr
        num_params = len(jax.tree.leaves(self.params))
        return _dependent_nbytes(traced, set(traced.invars[:num_params])) / samples

    @property
    def nbytes(self) -> int:
        """Size of parameters, gradient, optimizer state and model state, in bytes."""
        return _nbytes((self.carry, self.params))  # the gradient has the size of params


def number_shape(number: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and type that a value of an axis has in a program."""
    dtype = jax.dtypes.canonicalize_dtype(np.asarray(number).dtype)
    return jax.ShapeDtypeStruct((), dtype)


def _nbytes(tree: PyTree) -> int:
    """Return the size of the arrays of a pytree of shapes, in bytes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _dependent_nbytes(jaxpr, dependent: set) -> int:
    """Return the size of the results in a program that depend on some variables, in bytes."""
    total, dependent = 0, set(dependent)
    for equation in jaxpr.eqns:
        inputs = [isinstance(v, Var) and v in dependent for v in equation.invars]
        if any(inputs):
            dependent.update(equation.outvars)
            inner = [p.jaxpr if isinstance(p, ClosedJaxpr) else p for p in equation.params.values()]
            inner = [program for program in inner if isinstance(program, Jaxpr)]
            for program in inner:
                same = len(program.invars) == len(inputs)
                pairs = zip(program.invars, inputs, strict=True) if same else ()
                known = {v for v, is_input in pairs if is_input} if same else {*program.invars}
                repeated = equation.params.get("length", 1)
                total += repeated * _dependent_nbytes(program, known)
            if not inner:
                total += _nbytes([v.aval for v in equation.outvars])
    return total


def _check_batches(spec):
    sizes = spec.axes.by_name.get(BATCH_SIZE, np.zeros(0)).tolist()
    for size in sizes:
        if spec.batch_size not in (None, size):
            raise InputError(
                f"batch_size = {spec.batch_size}, but batch_size is also an axis; pass one of them"
            )
        check_counts(spec.problem, spec.num_steps, size, spec.record_every, spec.snapshot_every)
        check_record_samples(spec.problem, spec.record_samples, size)
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
            raise InputError(f"axes: {axis} = {values[wrong][0]}, expected numbers above 0")


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


def _check_names(axes, metrics):
    """Check that no axis, metric or dimension has the name of another array of the sweep."""
    names = {*axes.names, *axes.dimensions}
    for name in (*names, *metrics, *(dim for metric in metrics.values() for dim in metric.dims)):
        is_axis = name in names
        is_own = name in dataset.RECORDED or name.split(".")[0] in dataset.PREFIXES
        if is_own or (is_axis and name in metrics):
            qualified = f"qualify it, as in **{{'cost.{name}': [...]}}"
            raise InputError(
                f"{'axes' if is_axis else 'metrics'}: {name} is already an array or dimension of "
                f"the sweep; {qualified if is_axis else 'choose another name'}"
            )
