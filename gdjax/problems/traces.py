"""One trace of a function of a user: key, results, unused keywords, derivative rules, callbacks.

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
from jaxtyping import PyTree

from gdjax.base import keys, slabs
from gdjax.base.errors import InputError, is_of_user, warn
from gdjax.problems.comparison import HIDDEN, compare, form
from gdjax.problems.keywords import given_to, settings_of, unbound
from gdjax.problems.microbatches import cost_microbatch, part_sizes
from gdjax.problems.problem import Known, Problem, as_problem
from gdjax.problems.run_settings import at_settings_of
from gdjax.problems.validation import check_mean, check_weight

MAX_KEYS = 512  # number of traces that are kept, the least recently used go first


class Key:
    """The key of all functions with one trace."""


_keys: collections.OrderedDict[Any, Key] = collections.OrderedDict()
_lock = threading.Lock()


class Traced(NamedTuple):
    """A function, with the shapes of its arguments and of its results.

    Args:
        function: the function with the key of its trace.
        arguments: shapes of the positional arguments.
        keywords: shapes of the keyword arguments.
        results: shapes of the results; None if the function could not be traced.
        compute: what is traced, `compute(function, *arguments, **keywords)`.
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
    results: PyTree
    compute: Callable[..., PyTree]
    unused: frozenset[str] = frozenset()
    num_derivatives: int = 0
    has_callback: bool = False
    nested_rules: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()


def call(function: Callable, *arguments: PyTree, **keywords: PyTree) -> PyTree:
    """Call a function."""
    return function(*arguments, **keywords)


def trace(
    function: Callable,
    arguments: tuple[PyTree, ...],
    keywords: Mapping[str, PyTree] = MappingProxyType({}),
    compute: Callable[..., PyTree] = call,
    *,
    name: str = "function",
) -> Traced:
    """Trace a function, and return it with a key that all functions with this trace have.

    If the function cannot be traced, which the checks of a problem explain, or its trace cannot be
    compared, the key is new. A function whose trace is new is traced twice, which must not give two
    different programs.
    """
    again = Known(function)  # a new object, since JAX keeps traces by object
    traced = Traced(again, arguments, keywords, None, compute)
    try:
        arguments, keywords = slabs.shapes((arguments, dict(keywords)))
        key, results, forms, unused = _trace(again, arguments, keywords, compute)
    except Exception:
        return traced
    constants = tuple(constant for part in forms for constant in part.constants)
    has_callback = any("callback" in part.traits for part in forms)
    described = (_num_derivatives(forms), has_callback, _nested(forms), constants)
    traced = Traced(again, arguments, keywords, results, compute, unused, *described)
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


def check_deterministic(name: str, function: Callable, traced: Traced, key: Any) -> bool:
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


def gradient(function: Callable, params: PyTree, *arguments: PyTree, **keywords: PyTree) -> PyTree:
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
    settings: Mapping[str, Any] = MappingProxyType({}),
    model_state: PyTree = None,
    batch_size: int | None = None,
    record_samples: int | None = None,
) -> dict[str, Traced]:
    """Return the traces of the cost, the evaluation and the weight, by name.

    Since they may depend on the number of samples in Python code, they are traced with each number
    with which a descent or an analysis calls them.
    """
    supplied = {"key": key_shape(), "step": np.int32(0), "model_state": model_state}
    data = () if problem.data is None else (problem.data,)
    check_weight(problem)
    traced = {}
    for name in ("cost", "evaluation"):
        function = getattr(problem, name)
        if function is not None:
            keywords = {key: supplied[key] for key in given_to(function)}
            swept = settings if name == "cost" else settings_of(function, settings)
            is_split = name == "evaluation" or cost_microbatch(problem) is not None
            sizes = _batch_sizes(problem, is_split, batch_size, record_samples)
            compute = partial(_with_batches, sizes) if data else call
            arguments = (params, *data), {**keywords, **swept}
            traced[name] = trace(function, *arguments, compute, name=name)
    if problem.weight is not None:
        sizes = _batch_sizes(problem, True, batch_size, record_samples)
        compute = partial(_weights_of_batches, sizes)
        traced["weight"] = trace(problem.weight, data, compute=compute, name="weight")
    return traced


def results_of(traced: Mapping[str, Traced]) -> dict[str, list[PyTree]]:
    """Return the shapes of the results of the cost and the evaluation, for each batch size."""
    found = {name: traced[name] for name in ("cost", "evaluation") if name in traced}
    return {
        name: [one.results] if one.compute is call else list(one.results)
        for name, one in found.items()
        if one.results is not None
    }


def _batch_sizes(problem, is_split, batch_size, record_samples):
    """Return the numbers of samples with which a descent or an analysis calls a function."""
    numbers = {problem.samples, record_samples or problem.samples} - {0}
    sizes = set().union(*map(part_sizes, numbers)) if is_split else numbers
    return sorted(sizes | ({batch_size} if batch_size else set()))


def _with_batches(sizes, function, params, data, **keywords):
    batches = [jax.tree.map(lambda a, size=size: a[:size], data) for size in sizes]
    return [function(params, batch, **keywords) for batch in batches]


def _weights_of_batches(sizes, function, data):
    return [function(jax.tree.map(lambda a, size=size: a[:size], data)) for size in sizes]


def key_shape() -> jax.ShapeDtypeStruct:
    """Return the shape and type of one random key of a run."""
    return jax.ShapeDtypeStruct((), keys.key_type())


def _trace(function, arguments, keywords, compute):
    """Return the key of a traced program, its results, its forms, and unused keywords.

    Derivative rules are not part of a program. If there are rules, the derivative is traced too,
    and its derivative if it still contains rules of a user.
    """
    differentiated = partial(compute, function)
    program, results = jax.make_jaxpr(differentiated, return_shape=True)(*arguments, **keywords)
    unused = _unused(program.jaxpr, arguments, keywords)
    forms = [form(program)]
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
    return key, results, forms, unused


def _unused(program, arguments, keywords) -> frozenset[str]:
    """Return the keywords that cannot affect the results of a traced program."""
    needed = {id(v) for v in program.outvars}
    for equation in reversed(program.eqns):
        if any(id(v) in needed for v in equation.outvars):
            needed |= {id(v) for v in equation.invars}
    first, used = len(jax.tree.leaves(arguments)), set()
    names = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(dict(keywords))]
    for name, variable in zip(names, program.invars[first:], strict=True):
        used |= {name} if id(variable) in needed else set()
    return frozenset(keywords) - used


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
