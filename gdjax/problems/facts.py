"""Facts of the functions of a user: what one look into each of them says.

    trace(f, (x,)).function == trace(g, (x,)).function   if f(x) and g(x) are the same program

JAX keeps traces by function object, so a jitted function does not notice that a global variable,
an attribute or a closed-over array has changed. Each entry of gdjax therefore traces the functions
that it is given once more, through a new object. Functions with equal traces are equal, so that
they share compiled programs, but each calls itself.

>>> import jax.numpy as jnp
>>> scale = [1.0]
>>> def cost(w): return scale[0] * jnp.sum(w**2)
>>> first = trace(cost, (jnp.ones(2),)).function
>>> trace(cost, (jnp.zeros(2),)).function == first
True
>>> scale[0] = 2.0
>>> trace(cost, (jnp.ones(2),)).function == first
False
"""

import collections
import dataclasses
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var
from jaxtyping import PyTree

from gdjax.base import keys, slabs
from gdjax.base.errors import InputError, explained, is_of_user, warn
from gdjax.problems.checks import (
    check_like,
    check_metric_value,
    check_not_deleted,
    check_params,
    check_returned,
    check_weight_value,
    explained_role,
    supplied_to_metric,
)
from gdjax.problems.comparison import HIDDEN, compare, form
from gdjax.problems.keywords import bind, given_to, settings_of, unbound
from gdjax.problems.mean_check import check_mean, mean_checks
from gdjax.problems.measurement import StaticMetric, from_start, in_run, settings_by_role
from gdjax.problems.microbatches import cost_microbatch, part_sizes
from gdjax.problems.optimizers import default_eval_params_fn, one_update
from gdjax.problems.problem import (
    NOTHING,
    Known,
    Problem,
    as_problem,
    map_functions,
    require_problem,
)
from gdjax.problems.run_settings import at_settings_of

MAX_KEYS = 512  # number of traces that are kept, the least recently used go first


class Key:
    """The key of all functions with one trace."""


_keys: collections.OrderedDict[Any, Key] = collections.OrderedDict()
_lock = threading.Lock()


class Trace(NamedTuple):
    """A function, with the shapes of its arguments and of its results.

    Args:
        function: the function with the key of its trace.
        arguments: shapes of the positional arguments.
        keywords: shapes of the keyword arguments.
        compute: what is traced, `compute(function, *arguments, **keywords)`.
        results: shapes of the results.
        program: the traced program; None if the function could not be traced.
        error: the error of a function that could not be traced.
        unused: keywords that have no effect on the results.
        num_derivatives: number of derivatives that show all derivative rules, which the lowered
            program hides.
        has_callback: whether a function of the host, whose code no trace shows, occurs in it.
        nested_rules: derivative rules that only other rules of a user call.
        constants: hashes of the arrays that the program contains.
    """

    function: Known
    arguments: tuple[PyTree, ...]
    keywords: Mapping[str, PyTree]
    compute: Callable[..., PyTree]
    results: PyTree = None
    program: ClosedJaxpr | None = None
    error: Exception | None = None
    unused: frozenset[str] = frozenset()
    num_derivatives: int = 0
    has_callback: bool = False
    nested_rules: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()

    def or_error(self) -> "Trace":
        """Return this trace, or raise the error of a function that could not be traced."""
        if self.error is not None:
            raise self.error
        return self


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
    traces: Mapping[str, Trace]

    @property
    def array_metrics(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and type of each metric whose values are arrays."""
        return {name: m.value for name, m in self.metrics.items() if m.is_array}

    def cost_nbytes(self, samples: int) -> float:
        """Return the size of the results of the cost that depend on parameters, in bytes.

        It is linear in the number of samples, between and beyond two sizes that were traced.
        """
        outputs = _dependent_nbytes_by_result(self.traces["cost"])
        if samples in self.sizes or len(self.sizes) < 2:
            index = self.sizes.index(samples) if samples in self.sizes else -1
            return float(outputs[index])
        slope = (outputs[-1] - outputs[-2]) / (self.sizes[-1] - self.sizes[-2])
        return outputs[-1] + slope * (samples - self.sizes[-1])


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
    sizes = batch_sizes(problem, "cost", batch_size, record_samples)
    costs = traced_costs(problem, params, settings["cost"], model_state, batch_size, record_samples)
    for role, traced in costs.items():
        with explained_role(role, problem, params, traced.keywords):
            traced.or_error()
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
        sizes,
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
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> check_problem(bowl, jnp.ones(2))
    """
    require_problem(problem)
    problem = map_functions(problem, lambda _, function: bind(function, settings))
    facts = facts_of(problem, params=params, model_state=model_state)
    mean_checks(facts.problem, params, {}, facts.model_state)()


def check_runs(problem: Problem, params: PyTree) -> int:
    """Check that arrays are parameters of several runs of a problem.

    Returns:
        The number of runs.
    """
    facts = facts_of(problem)
    mean_checks(facts.problem, facts.params, {}, facts.model_state)()
    check_params(params)
    shapes, wanted = (
        [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (params, facts.params)
    )
    runs = {shape[0] if shape else 0 for shape in shapes}
    if [shape[1:] for shape in shapes] != wanted or len(runs) > 1 or 0 in runs:
        raise InputError(
            f"params: shapes {shapes}, expected a leading axis of at least one run before "
            f"{wanted}, those of problem.init"
        )
    return shapes[0][0]


def call(function: Callable, /, *arguments: PyTree, **keywords: PyTree) -> PyTree:
    """Call a function."""
    return function(*arguments, **keywords)


def trace(
    function: Callable,
    arguments: tuple[PyTree, ...],
    keywords: Mapping[str, PyTree] = MappingProxyType({}),
    compute: Callable[..., PyTree] = call,
    *,
    name: str = "function",
) -> Trace:
    """Trace a function, and return it with a key that all functions with this trace have.

    If the function cannot be traced, or its trace cannot be compared, the key is new. A function
    whose trace is new is traced twice, which must not give two different programs.
    """
    again = Known(function)  # a new object, since JAX keeps traces by object
    traced = Trace(again, arguments, keywords, compute)
    try:
        arguments, keywords = slabs.shapes((arguments, dict(keywords)))
        key, results, program, forms = _trace(again, arguments, keywords, compute)
    except Exception as error:
        return traced._replace(error=error)
    traced = Trace(
        again,
        arguments,
        keywords,
        compute,
        results,
        program,
        unused=_unused(program.jaxpr, arguments, keywords),
        num_derivatives=_num_derivatives(forms),
        has_callback=any("callback" in part.traits for part in forms),
        nested_rules=_nested(forms),
        constants=tuple(constant for part in forms for constant in part.constants),
    )
    is_comparable = not traced.nested_rules and not any(part.unknown for part in forms)
    with _lock:
        known = _keys.pop(key, None) if is_comparable else None
        if known is not None:
            _keys[key] = known
    if known is None:
        if not (check_deterministic(name, function, traced, key) and is_comparable):
            return traced
        with _lock:
            known = _keys.setdefault(key, Key())
            if len(_keys) > MAX_KEYS:
                _keys.popitem(last=False)
    return traced._replace(function=Known(function, known))


def check_deterministic(name: str, function: Callable, traced: Trace, key: Any) -> bool:
    """Check that a function does not give another program if it is traced again.

    Returns:
        Whether the two programs are the same, and not only incomparable.
    """
    again = _trace(Known(function), traced.arguments, traced.keywords, traced.compute)[0]
    status, where = compare(key, again)
    if status == "different":
        raise InputError(
            f"{name}: tracing it twice gave two different programs, with {where}, so that its "
            f"numbers would not be those of one computation; expected a function of its arguments "
            f"alone, with random numbers drawn from a key, such as jax.random.normal(key, shape)"
        )
    return status == "same"


def gradient(
    function: Callable, params: PyTree, /, *arguments: PyTree, **keywords: PyTree
) -> PyTree:
    """Return the gradient of the sum of all numbers that a function returns."""

    def value(params):
        leaves = jax.tree.leaves(function(params, *arguments, **keywords))
        return sum(jnp.sum(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating))

    return jax.grad(value)(params)


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
    for name in sorted(problem._swept & unbound(problem.cost).keys()):
        problem._swept.remove(name)  # say it once
        warn(
            f"problem: the cost was swept along {name}, and has its default "
            f"{unbound(problem.cost)[name]!r:.80} here. For another value: problem.at({name}=...)"
        )
    costs = traced_costs(problem, params, batch_size=batch_size)
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
    batch_size: int | None = None,
    record_samples: int | None = None,
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
        sizes = batch_sizes(problem, "weight", batch_size, record_samples)
        compute = partial(_at_sizes, check_weight_value, sizes)
        with explained_role("weight", problem, params, {}):
            weight = trace(problem.weight, data, compute=compute, name="weight")
            traced["weight"] = weight.or_error()
    for name in ("cost", "evaluation"):
        function = getattr(problem, name)
        if function is not None:
            keywords = {key: supplied[key] for key in given_to(function)}
            keywords |= settings if name == "cost" else settings_of(function, settings)
            sizes = batch_sizes(problem, name, batch_size, record_samples)
            check = partial(check_returned, name, problem.stateful, model_state)
            compute = partial(_at_sizes, check, sizes)
            traced[name] = trace(function, (params, *data), keywords, compute, name=name)
    return traced


def batch_sizes(
    problem: Problem, role: str, batch_size: int | None, record_samples: int | None
) -> tuple[int, ...]:
    """Return the numbers of samples with which a descent or an analysis calls a function."""
    numbers = {problem.samples, record_samples or problem.samples} - {0}
    is_split = role != "cost" or cost_microbatch(problem) is not None
    sizes = set().union(*map(part_sizes, numbers)) if is_split else numbers
    return tuple(sorted(sizes | ({batch_size} if batch_size else set())))


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
    return traced, StaticMetric(traced[role].function, init, needed, value, metric.is_array)


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


def _trace(function, arguments, keywords, compute):
    """Return the key of a traced program, its results, the program, and its forms.

    Derivative rules are not part of a program. If there are rules, the derivative is traced too,
    and its derivative if it still contains rules of a user.
    """
    differentiated = partial(compute, function)
    first, results = jax.make_jaxpr(differentiated, return_shape=True)(*arguments, **keywords)
    forms = [form(first)]
    rules = forms[0].rules
    while rules and len(forms) < 3:
        differentiated = partial(gradient, differentiated)
        try:
            program = jax.make_jaxpr(differentiated)(*arguments, **keywords)
        except Exception:  # a function that is not differentiated
            break
        forms.append(form(program))
        rules = set(filter(_is_of_user, forms[-1].rules))
    key = (
        slabs.compiled_config(),
        jax.tree.structure((arguments, keywords)),
        jax.tree.structure(results),
        tuple(each.tree for each in forms),
    )
    return key, results, first, forms


def _unused(program, arguments, keywords) -> frozenset[str]:
    """Return the keywords that cannot affect the results of a traced program."""
    _, needed = _needed(program, program.outvars)
    first, used = len(jax.tree.leaves(arguments)), set()
    names = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(dict(keywords))]
    for name, variable in zip(names, program.invars[first:], strict=True):
        used |= {name} if id(variable) in needed else set()
    return frozenset(keywords) - used


def _needed(program, outputs):
    """Return the equations that outputs of a program need, and the ids of their variables."""
    needed, equations = {id(v) for v in outputs}, []
    for equation in reversed(program.eqns):
        if any(id(v) in needed for v in equation.outvars):
            needed |= {id(v) for v in equation.invars}
            equations.append(equation)
    return equations[::-1], needed


def _dependent_nbytes_by_result(traced):
    """Return the size of what depends on the first argument, in bytes, for each result."""
    program, outputs, sizes = traced.program.jaxpr, [*traced.program.jaxpr.outvars], []
    dependent = set(program.invars[: len(jax.tree.leaves(traced.arguments[0]))])
    for result in traced.results:
        count = len(jax.tree.leaves(result))
        equations, _ = _needed(program, outputs[:count])
        sizes.append(_dependent_nbytes(equations, dependent))
        outputs = outputs[count:]
    return sizes


def _dependent_nbytes(equations, dependent: set) -> int:
    """Return the size of the results of equations that depend on some variables, in bytes."""
    total, dependent = 0, set(dependent)
    for equation in equations:
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
                total += repeated * _dependent_nbytes(program.eqns, known)
            if not inner:
                leaves = [v.aval for v in equation.outvars]
                total += sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    return total


def _is_of_user(rule):
    """Return whether a derivative rule, "name at file:line", is not that of a package."""
    return is_of_user(rule.partition(" at ")[2] or rule)


def _num_derivatives(forms):
    """Return how many derivatives show all rules whose effect a lowered program hides."""
    if not forms[0].traits & {*HIDDEN}:
        return 0
    has_own_rules = any(map(_is_of_user, forms[0].rules)) and len(forms) > 1
    return 2 if has_own_rules and forms[1].traits & {*HIDDEN} else 1


def _nested(forms):
    """Return the rules of a user that only derivatives of a program contain."""
    return tuple(sorted(filter(_is_of_user, forms[-1].rules - forms[0].rules)))
