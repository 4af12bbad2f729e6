"""Functions of a user as keys of compiled programs: equal traces give one object.

    canonical(f, (x,)) is canonical(g, (x,))   if and only if   f(x) and g(x) are the same program

JAX keeps traces by function object, so a jitted function does not notice that a global variable,
an attribute or a closed-over array has changed. Each entry of gdjax therefore traces the functions
that it is given once more, through a new object, and uses the object of the first equal trace.
Everything that is cached by function object, in JAX and in gdjax, is then right.

>>> import jax.numpy as jnp
>>> scale = [1.0]
>>> def cost(w): return scale[0] * jnp.sum(w**2)
>>> first = canonical(cost, (jnp.ones(2),)).function
>>> canonical(cost, (jnp.zeros(2),)).function is first
True
>>> scale[0] = 2.0
>>> canonical(cost, (jnp.ones(2),)).function is first
False
"""

import collections
import dataclasses
import operator
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType, MethodType
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
from gdjax.problems.problem import Problem, as_problem
from gdjax.problems.validation import check_mean, check_weight

MAX_FUNCTIONS = 512  # number of functions that are kept, beginning with the last used


class Canonical:
    """A function that stands for all functions with one trace; it calls the first of them.

    With the token of an earlier one it calls its own function, and a problem with it equals one
    with the earlier function, so that both share executables.
    """

    def __init__(self, function: Callable, token: "Canonical | None" = None):
        self.__wrapped__ = function.__wrapped__ if isinstance(function, Canonical) else function
        self._trace_token = self if token is None else token

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__wrapped__(*arguments, **keywords)


_functions: collections.OrderedDict[Any, Canonical] = collections.OrderedDict()
_lock = threading.Lock()


class Traced(NamedTuple):
    """A function, with the shapes of its arguments and of its results.

    Args:
        function: object that stands for all functions with this trace.
        arguments: shapes of the positional arguments.
        keywords: shapes of the keyword arguments.
        results: shapes of the results; None if the function could not be traced.
        compute: what is traced, `compute(function, *arguments, **keywords)`.
        num_derivatives: number of derivatives that show all derivative rules, which the lowered
            program hides.
        has_callback: whether a function of the host, whose code no trace shows, occurs in it.
        nested_rules: derivative rules that only other rules of a user call.
        constants: hashes of the arrays that the program contains.
        own: object that equals `function` in a problem, but calls the caller's own function.
    """

    function: Callable
    arguments: tuple[PyTree, ...]
    keywords: Mapping[str, PyTree]
    results: PyTree
    compute: Callable[..., PyTree]
    num_derivatives: int = 0
    has_callback: bool = False
    nested_rules: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    own: Callable | None = None


def call(function: Callable, *arguments: PyTree, **keywords: PyTree) -> PyTree:
    """Call a function."""
    return function(*arguments, **keywords)


def canonical(
    function: Callable,
    arguments: tuple[PyTree, ...],
    keywords: Mapping[str, PyTree] = MappingProxyType({}),
    compute: Callable[..., PyTree] = call,
    *,
    name: str = "function",
) -> Traced:
    """Return the object that stands for all functions with the trace of this one.

    If the function cannot be traced, which the checks of a problem explain, or its trace cannot be
    compared, the object is new. A function that is traced for the first time is traced twice, which
    must not give two different programs.
    """
    again = Canonical(function)  # a new object, since JAX keeps traces by object
    traced = Traced(again, arguments, keywords, None, compute)
    try:
        arguments, keywords = slabs.shapes((arguments, dict(keywords)))
        key, results, forms = _trace(again, arguments, keywords, compute)
    except Exception:
        return traced
    constants = tuple(constant for part in forms for constant in part.constants)
    has_callback = any("callback" in part.traits for part in forms)
    described = (_num_derivatives(forms), has_callback, _nested(forms), constants)
    traced = Traced(again, arguments, keywords, results, compute, *described)
    is_comparable = not traced.nested_rules and not any(part.unknown for part in forms)
    with _lock:
        known = _functions.pop(key, None) if is_comparable else None
        if known is not None:
            _functions[key] = known
    if known is None:
        is_comparable &= check_deterministic(name, function, traced, key)
    elif not _is_same(known.__wrapped__, again.__wrapped__):
        # The earlier function has the same trace, unless it has changed meanwhile.
        then = Canonical(known.__wrapped__)
        try:
            is_same = _trace(then, arguments, keywords, compute)[0] == key
        except Exception:
            is_same = False
        known = known if is_same else None
    if known is not None:
        return traced._replace(function=known, own=Canonical(function, known))
    if is_comparable:
        with _lock:
            _functions[key] = again
            if len(_functions) > MAX_FUNCTIONS:
                _functions.popitem(last=False)
    return traced


def check_deterministic(name: str, function: Callable, traced: Traced, key: Any) -> bool:
    """Check that a function does not give another program if it is traced again.

    Returns:
        Whether the two programs are the same, and not only incomparable.
    """
    again = _trace(Canonical(function), traced.arguments, traced.keywords, traced.compute)[0]
    status, where = compare(key, again)
    if status == "different":
        raise InputError(
            f"{name}: tracing it twice gave two different programs, with {where}, so that its "
            f"numbers would not be those of one computation; expected a function of its arguments "
            f"alone, with random numbers drawn from a key, such as jax.random.normal(key, shape)"
        )
    return status == "same"


def _is_same(one, other):
    """Return whether two functions are one object, one method, or partial functions of one object.

    Objects are not compared by `==`, which may ignore what they compute with.
    """
    if isinstance(one, partial) and isinstance(other, partial):
        if len(one.args) != len(other.args) or [*one.keywords] != [*other.keywords]:
            return False
        of_one, of_other = ((f.func, *f.args, *f.keywords.values()) for f in (one, other))
        return all(map(operator.is_, of_one, of_other))
    return one is other or (isinstance(one, MethodType) and one == other)


def gradient(function: Callable, params: PyTree, *arguments: PyTree, **keywords: PyTree) -> PyTree:
    """Return the gradient of the sum of all numbers that a function returns."""

    def value(params):
        leaves = jax.tree.leaves(function(params, *arguments, **keywords))
        return sum(jnp.sum(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating))

    return jax.grad(value)(params)


def problem_at(
    problem: Problem | Callable[..., Any],
    params: PyTree,
    batch_size: int | None = None,
    *,
    own: bool = False,
) -> Problem:
    """Convert a cost into a Problem, whose functions are canonical at these parameters.

    With `own`, they call the functions of this problem, as a product that is computed later must.
    """

    def function_of(traced):
        return traced.own or traced.function if own else traced.function

    problem = as_problem(problem)
    for name in sorted(problem._swept & unbound(problem.cost).keys()):
        problem._swept.remove(name)  # say it once
        warn(
            f"problem: the cost was swept along {name}, and has its default "
            f"{unbound(problem.cost)[name]!r:.80} here. For another value: problem.at({name}=...)"
        )
    costs = traced_costs(problem, params, batch_size=batch_size)
    changed: dict[str, Any] = {name: function_of(traced) for name, traced in costs.items()}
    if problem.predict is not None and isinstance(problem.data, tuple) and len(problem.data) == 2:
        traced = canonical(problem.predict, (params, problem.data[0]), name="predict")
        changed["predict"] = function_of(traced)
        if problem.loss is not None and traced.results is not None:
            arguments = traced.results, problem.data[1]
            changed["loss"] = function_of(canonical(problem.loss, arguments, name="loss"))
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
            traced[name] = canonical(function, *arguments, compute, name=name)
    if problem.weight is not None:
        sizes = _batch_sizes(problem, True, batch_size, record_samples)
        compute = partial(_weights_of_batches, sizes)
        traced["weight"] = canonical(problem.weight, data, compute=compute, name="weight")
    return traced


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
    """Return the key of a traced program, its results, and its forms.

    Derivative rules are not part of a program. If there are rules, the derivative is traced too,
    and its derivative if it still contains rules of a user.
    """
    differentiated = partial(compute, function)
    program, results = jax.make_jaxpr(differentiated, return_shape=True)(*arguments, **keywords)
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
    return key, results, forms


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
