"""Facts of a problem: what the traces of all its functions say, checked once.

A `Facts` that exists has been checked. It is made at the entry of each verb.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.base import keys, slabs
from gdjax.base.errors import InputError, explained, warn
from gdjax.problems.checks import (
    check_like,
    check_metric_value,
    check_not_deleted,
    check_params,
    check_points,
    check_returned,
    check_weight_value,
    explained_role,
    supplied_to_metric,
)
from gdjax.problems.keywords import bind, given_to, settings_of, unbound
from gdjax.problems.mean_check import check_mean, mean_checks
from gdjax.problems.measurement import StaticMetric, from_start, in_run, settings_by_role
from gdjax.problems.metrics import parts_of
from gdjax.problems.microbatches import (
    ACCELERATOR_MICROBATCH_SIZE,
    MICROBATCH_SIZE,
    cost_microbatch,
    largest_microbatch,
    part_sizes,
)
from gdjax.problems.optimizers import default_eval_params_fn, one_update
from gdjax.problems.problem import (
    NOTHING,
    Problem,
    as_problem,
    map_functions,
    require_problem,
)
from gdjax.problems.run_settings import at_settings_of
from gdjax.problems.trace import Trace, dependent_by_result, trace

MIN_SHARED_NUMBERS = 2**14  # numbers of a product that all runs share, from which width helps


class BatchSizes(NamedTuple):
    """Numbers of samples per step and per record (None for all), and limits of microbatches."""

    batch_size: int | None = None
    record_samples: int | None = None
    largest: tuple[int, ...] = (MICROBATCH_SIZE, ACCELERATOR_MICROBATCH_SIZE)

    def of(self, problem: Problem, role: str) -> tuple[int, ...]:
        """Return the numbers of samples with which a descent or an analysis calls a function."""
        numbers = {problem.samples, self.record_samples or problem.samples} - {0}
        is_split = role != "cost" or cost_microbatch(problem) is not None
        if is_split:
            numbers = set().union(*(part_sizes(number, self.largest) for number in numbers))
        return tuple(sorted(numbers | ({self.batch_size} if self.batch_size else set())))


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """What the traces of all functions of a problem say, at the shapes of a descent.

    Args:
        problem: the problem, whose functions have the keys of their traces.
        make_optimizer: factory of the optimizer with the key of its trace; None without one.
        eval_params_fn: function that gives the evaluation parameters; None for those of the run.
        params: shapes of the parameters.
        model_state: shapes of the model state; None if the cost has none.
        opt_state: shapes of the optimizer state.
        metrics: metrics of the problem by name, as functions of arrays.
        sizes: numbers of samples with which the cost is called; none without data.
        sample_nbytes: size of the results of a record for one sample, in bytes.
        traces: traces of the functions by name: "init", "cost", "evaluation", "weight",
            "optimizer", "eval_params_fn", "metrics.accuracy" and "metrics.accuracy.init".
    """

    problem: Problem
    make_optimizer: Any
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    metrics: Mapping[str, StaticMetric]
    sizes: tuple[int, ...]
    sample_nbytes: float
    traces: Mapping[str, Trace]

    @property
    def array_metrics(self) -> dict[str, PyTree]:
        """Shapes and types of each metric whose values are arrays."""
        return {name: m.value for name, m in self.metrics.items() if m.is_array}

    def largest_microbatch(self, platform: str, batch_size: int | None) -> int:
        """Return the maximum number of samples that are evaluated together."""
        return largest_microbatch(platform, self.sample_nbytes, batch_size)

    def cost_nbytes(self, samples: int, *, own_noise: bool = False) -> float:
        """Return the size of the results of the cost that differ between runs, in bytes.

        They depend on the parameters and, with `own_noise`, on the key. The size is linear in the
        number of samples, between and beyond two sizes that were traced.
        """
        names = {"key"} if own_noise else set()
        equations = dependent_by_result(self.traces["cost"], names)
        outputs = [sum(equation.nbytes for equation in each) for each in equations]
        if samples in self.sizes or len(self.sizes) < 2:
            index = self.sizes.index(samples) if samples in self.sizes else -1
            return float(outputs[index])
        slope = (outputs[-1] - outputs[-2]) / (self.sizes[-1] - self.sizes[-2])
        return outputs[-1] + slope * (samples - self.sizes[-1])

    def gains_from_width(self, samples: int, *, own_order: bool) -> bool:
        """Return whether more runs at a time make a step of each cheaper on a CPU.

        They do if the cost has loops, whose short operations each take about as long for a few runs
        as for one, or a product of parameters with many numbers that all runs share.
        """
        index = self.sizes.index(samples) if samples in self.sizes else -1
        equations = dependent_by_result(self.traces["cost"])[index]
        shared = 0 if own_order else max((e.shared for e in equations), default=0)
        return shared >= MIN_SHARED_NUMBERS or any(e.is_in_loop for e in equations)


def facts_of(
    problem: Problem,
    settings: Mapping[str, Mapping[str, Any]] = NOTHING,
    *,
    make_optimizer: Callable[..., optax.GradientTransformation] | None = None,
    params: PyTree = None,
    model_state: PyTree = None,
    batch_size: int | None = None,
    record_samples: int | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> Facts:
    """Trace and check the functions of a problem, in the order in which they need each other.

    Args:
        problem: the problem, with static settings bound.
        settings: shapes of the settings of "init", "cost" and "optimizer".
        make_optimizer: factory of the optimizer; None if only the cost and `init` are needed.
        params: parameters or their shapes; None for those of `init`.
        model_state: model state or its shapes; that of `init` if None.
        batch_size, record_samples, eval_params_fn: as for `descend`.

    Examples:
        >>> import jax.numpy as jnp
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> facts_of(bowl, make_optimizer=partial(optax.sgd, 0.1)).params.shape
        (2,)
    """
    require_problem(problem)
    check_not_deleted("problem.data", problem.data)
    settings = {role: settings.get(role, {}) for role in ("init", "cost", "optimizer")}
    traces = {}
    if params is None:
        begin = partial(_begin, problem)
        traces["init"] = trace(problem.init, (key_shape(),), settings["init"], begin, name="init")
        params, model_state = traces["init"].or_error().results
    check_params(params)
    if problem.stateful and model_state is None:
        model_state = jax.eval_shape(problem.begin, key_shape())[1]
    params, model_state = slabs.shapes((params, model_state))
    sizes = BatchSizes(batch_size, record_samples)
    costs, nbytes = _checked_costs(problem, params, settings["cost"], model_state, sizes), 0.0
    if problem.samples:
        nbytes = _sample_nbytes(costs, problem, sizes)
        largest = {largest_microbatch(platform, nbytes, batch_size) for platform in ("cpu", "gpu")}
        if largest != {*sizes.largest}:
            sizes = sizes._replace(largest=(*sorted(largest),))
            costs = _checked_costs(problem, params, settings["cost"], model_state, sizes)
    traces |= costs
    opt_state, metrics, point = None, {}, None
    if make_optimizer is not None:
        arguments = (params,), settings["optimizer"], one_update
        traces["optimizer"] = trace(make_optimizer, *arguments, name="optimizer").or_error()
        opt_state = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), traces["optimizer"].results[1]
        )
        point = default_eval_params_fn(opt_state, params) if eval_params_fn is None else None
        states = {"model_state": model_state, "opt_state": opt_state}
        for name in problem.metrics:
            traced, metrics[name] = traced_metric(name, problem, params, settings, **states)
            traces |= traced
    if eval_params_fn is not None:
        failure = "eval_params_fn: could not be called as eval_params_fn(opt_state, params)"
        with explained(failure, "expected a function of these two", eval_params_fn, unchanged=()):
            traced = trace(eval_params_fn, (opt_state, params), name="eval_params_fn").or_error()
        check_like("eval_params_fn: the returned tree", traced.results, params)
        traces["eval_params_fn"], point = traced, traced.function
    known = {name: traced.function for name, traced in traces.items()}
    return Facts(
        _with_functions(problem, known),
        known.get("optimizer"),
        point,
        params,
        model_state,
        opt_state,
        metrics,
        sizes.of(problem, "cost"),
        nbytes,
        traces,
    )


def check_problem(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any] = NOTHING,
    *,
    model_state: PyTree = None,
) -> None:
    """Check before any computation that a problem can be minimized from `params`.

    Args:
        problem: problem to check.
        params: starting point (arrays, or their shapes).
        settings: values of the cost's keywords; the defaults if not given.
        model_state: initial model state (arrays, or their shapes); that of `init` if None.

    Examples:
        >>> import jax.numpy as jnp
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> check_problem(bowl, jnp.ones(2))
    """
    require_problem(problem)
    problem = map_functions(problem, lambda _, function: bind(function, settings))
    facts = facts_of(problem, params=params, model_state=model_state)
    mean_checks(facts.problem, params, {}, facts.model_state)()


def check_runs(problem: Problem, params: PyTree) -> int:
    """Check that arrays are parameters of several runs of a problem; return their number."""
    facts = facts_of(problem)
    mean_checks(facts.problem, facts.params, {}, facts.model_state)()
    return check_points("params", params, facts.params)


def problem_of_runs(problem: Problem, params: PyTree) -> Problem:
    """Return `problem_at` of the first of many runs, whose leading axis `params` have.

    The settings are those of the arrays of all runs, since the arrays of one run have none.
    """
    return problem_at(at_settings_of(problem, params), jax.tree.map(lambda a: a[0], params))


def problem_at(
    problem: Problem | Callable[..., Any], params: PyTree, batch_size: int | None = None
) -> Problem:
    """Convert a cost into a Problem, whose functions have the keys of their traces.

    Settings of the runs from which the parameters come are bound.
    """
    problem = at_settings_of(as_problem(problem), params)
    check_not_deleted("problem.data", problem.data)
    for name in sorted(problem._swept & unbound(problem.cost).keys()):
        problem._swept.remove(name)  # say it once
        warn(
            f"problem: the cost was swept along {name}, and has its default "
            f"{unbound(problem.cost)[name]!r:.80} here. For another value: problem.at({name}=...)"
        )
    costs = traced_costs(problem, params, sizes=BatchSizes(batch_size))
    changed: dict[str, Any] = {name: traced.function for name, traced in costs.items()}
    if problem.predict is not None and isinstance(problem.data, tuple) and len(problem.data) == 2:
        traced = trace(problem.predict, (params, problem.data[0]), name="predict")
        changed["predict"] = traced.function
        if problem.loss is not None and traced.results is not None:
            arguments = traced.results, problem.data[1]
            changed["loss"] = trace(problem.loss, arguments, name="loss").function
    problem = dataclasses.replace(problem, **changed)
    check_mean(problem, params)
    return problem


def traced_costs(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any] = NOTHING,
    model_state: PyTree = None,
    sizes: BatchSizes = BatchSizes(),  # noqa: B008
) -> dict[str, Trace]:
    """Return the traces of the cost, the evaluation and the weight, by name.

    Since they may depend on the number of samples in Python code, they are traced with each number
    with which a descent or an analysis calls them.
    """
    supplied = {"key": key_shape(), "step": np.int32(0), "model_state": model_state}
    data = () if problem.data is None else (problem.data,)
    traced = {}
    if problem.weight is not None:
        if not data:
            raise InputError("problem: weight is that of a batch, but data is None; leave it out")
        compute = partial(_at_sizes, check_weight_value, sizes.of(problem, "weight"))
        with explained_role("weight", problem, params, {}):
            weight = trace(problem.weight, data, compute=compute, name="weight")
            traced["weight"] = weight.or_error()
    for name in ("cost", "evaluation"):
        function = getattr(problem, name)
        if function is not None:
            keywords = {key: supplied[key] for key in given_to(function)}
            keywords |= settings if name == "cost" else settings_of(function, settings)
            check = partial(check_returned, name, problem.stateful, model_state)
            compute = partial(_at_sizes, check, sizes.of(problem, name))
            traced[name] = trace(function, (params, *data), keywords, compute, name=name)
    return traced


def _checked_costs(problem, params, settings, model_state, sizes):
    """Return the traces of the cost, the evaluation and the weight, without errors."""
    costs = traced_costs(problem, params, settings, model_state, sizes)
    for role, traced in costs.items():
        with explained_role(role, problem, params, traced.keywords):
            traced.or_error()
    return costs


def _sample_nbytes(costs, problem, sizes):
    """Return the size of the results of a record for one sample, in bytes."""
    role = "cost" if problem.evaluation is None else "evaluation"
    (*_, equations) = dependent_by_result(costs[role])
    return sum(equation.nbytes for equation in equations) / sizes.of(problem, role)[-1]


def _at_sizes(check, sizes, function, /, *arguments, **keywords):
    """Return the checked results of a function for each size of its last argument, the data."""
    if not sizes:
        return [check(function(*arguments, **keywords))]
    *first, data = arguments
    batches = [jax.tree.map(lambda a, size=size: a[:size], data) for size in sizes]
    return [check(function(*first, batch, **keywords)) for batch in batches]


def traced_metric(
    name: str,
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Mapping[str, Any]] = NOTHING,
    *,
    model_state: PyTree = None,
    opt_state: PyTree = None,
) -> tuple[dict[str, Trace], StaticMetric]:
    """Return the traces of a metric and of its `init`, and the metric as functions of arrays."""
    metric = problem.metrics[name]
    needed = supplied_to_metric(name, metric, model_state=model_state, opt_state=opt_state)
    supplied = {"key": key_shape(), "step": np.int32(0), "opt_state": opt_state}
    initial = {"step": np.int32(0), **settings_by_role(settings)}
    initial |= {"model_state": model_state} if problem.stateful else {}
    keywords = initial | {n: supplied[n] for n in needed if n in supplied}
    places = ", ".join(["problem", "params", *(["state"] if metric.init else []), *needed])
    failure = f"metrics: {name!r} could not be called as measure({places})"
    remedy, role = "expected a function of these arguments", f"metrics.{name}"
    data = problem.data if metric.data is None else metric.data
    function, init = in_run(metric, problem)
    traced, arguments = {}, (params, data)
    with explained(failure, remedy, metric.measure, unchanged=()):
        compute = partial(from_start, init)
        traced[role] = trace(function, arguments, keywords, compute, name=role).or_error()
        if init is not None:
            named = f"{role}.init"
            traced[named] = trace(init, arguments, initial, name=named).or_error()
            init = traced[named].function
    value = check_metric_value(name, metric, params, traced[role].results)
    leaves, structure = jax.tree.flatten(value)
    # A number in the type of the cost is a column of the records.
    is_array = bool(metric.dims) or metric.dtype is not None or parts_of(value) is not None
    function = traced[role].function
    return traced, StaticMetric(function, init, needed, tuple(leaves), structure, is_array)


def _begin(problem, init, key, /, **settings):
    """Return parameters and model state of `init`."""
    params, model_state = dataclasses.replace(problem, init=init).begin(key, **settings)
    check_params(params, "init: ")
    return params, model_state


def _with_functions(problem, known):
    """Return a problem with functions that have the keys of their traces."""
    if "weight" in known:
        problem = dataclasses.replace(problem, weight=known["weight"])
    return map_functions(problem, known.get)


def key_shape() -> jax.ShapeDtypeStruct:
    """Return the shape and type of one random key of a run."""
    return jax.ShapeDtypeStruct((), keys.key_type())
