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
import contextlib
import dataclasses
import hashlib
import operator
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType, MappingProxyType, MethodType
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import PyTree

from gdjax.base import keys, slabs
from gdjax.base.errors import warn
from gdjax.problems.keywords import given_to, settings_of, unbound
from gdjax.problems.problem import Problem, as_problem

MAX_FUNCTIONS = 512  # number of functions that are kept, beginning with the last used
# Primitives whose derivative rules the text of a lowered program does not show.
WITH_RULES = ("custom_jvp", "custom_vjp", "custom_linear_solve", "stop_gradient")


class Canonical:
    """A function that stands for all functions with one trace; it calls the first of them."""

    def __init__(self, function: Callable):
        self.__wrapped__ = function.__wrapped__ if isinstance(function, Canonical) else function

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
        has_rule: whether a derivative rule, which the lowered program does not show, occurs in it.
        has_callback: whether a function of the host, whose code no trace shows, occurs in it.
        original: the function itself.
    """

    function: Callable
    arguments: tuple[PyTree, ...]
    keywords: Mapping[str, PyTree]
    results: PyTree
    compute: Callable[..., PyTree]
    has_rule: bool = False
    has_callback: bool = False
    original: Callable | None = None


def call(function: Callable, *arguments: PyTree, **keywords: PyTree) -> PyTree:
    """Call a function."""
    return function(*arguments, **keywords)


def canonical(
    function: Callable,
    arguments: tuple[PyTree, ...],
    keywords: Mapping[str, PyTree] = MappingProxyType({}),
    compute: Callable[..., PyTree] = call,
) -> Traced:
    """Return the object that stands for all functions with the trace of this one.

    If the function cannot be traced, which the checks of a problem explain, the object is new.
    """
    again = Canonical(function)  # a new object, since JAX keeps traces by object
    traced = Traced(again, arguments, keywords, None, compute)
    try:
        arguments, keywords = slabs.shapes((arguments, dict(keywords)))
        key, results, traits = _trace(again, arguments, keywords, compute)
    except Exception:
        return traced
    has_rule, has_callback = not traits.isdisjoint(WITH_RULES), "callback" in traits
    traced = Traced(again, arguments, keywords, results, compute, has_rule, has_callback, function)
    if "tracer" in traits:
        return traced
    with _lock:
        known = _functions.pop(key, again)
        _functions[key] = known
        if len(_functions) > MAX_FUNCTIONS:
            _functions.popitem(last=False)
    if not _is_same(known.__wrapped__, again.__wrapped__):
        # The earlier function has the same trace, unless it has changed meanwhile.
        then = Canonical(known.__wrapped__)
        try:
            is_same = _trace(then, arguments, keywords, compute)[0] == key
        except Exception:
            is_same = False
        if not is_same:
            known = _functions[key] = again
    return traced._replace(function=known)


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
    """Return the gradient of the first result of a function."""

    def value(params):
        return jax.tree.leaves(function(params, *arguments, **keywords))[0]

    return jax.grad(value)(params)


def problem_at(problem: Problem | Callable[..., Any], params: PyTree) -> Problem:
    """Convert a cost into a Problem, whose functions are canonical at these parameters."""
    problem = as_problem(problem)
    for name in sorted(problem._swept & unbound(problem.cost).keys()):
        problem._swept.remove(name)  # say it once
        warn(
            f"problem: the cost was swept along {name}, and has its default "
            f"{unbound(problem.cost)[name]!r:.80} here. For another value: problem.at({name}=...)"
        )
    costs = traced_costs(problem, params)
    changed: dict[str, Any] = {name: traced.function for name, traced in costs.items()}
    if problem.predict is not None and isinstance(problem.data, tuple) and len(problem.data) == 2:
        traced = canonical(problem.predict, (params, problem.data[0]))
        changed["predict"] = traced.function
        if problem.loss is not None and traced.results is not None:
            changed["loss"] = canonical(problem.loss, (traced.results, problem.data[1])).function
    return dataclasses.replace(problem, **changed)


def traced_costs(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any] = MappingProxyType({}),
    model_state: PyTree = None,
    batch_size: int | None = None,
) -> dict[str, Traced]:
    """Return the traces of the cost and the evaluation, by name.

    Since a cost may depend on the size of its batch, it is also traced with `batch_size` samples.
    """
    supplied = {"key": key_shape(), "step": np.int32(0), "model_state": model_state}
    data = () if problem.data is None else (problem.data,)
    traced = {}
    for name in ("cost", "evaluation"):
        function = getattr(problem, name)
        if function is not None:
            keywords = {key: supplied[key] for key in given_to(function)}
            swept = settings if name == "cost" else settings_of(function, settings)
            is_batched = name == "cost" and data and batch_size is not None
            compute = partial(_with_batch, batch_size) if is_batched else call
            traced[name] = canonical(function, (params, *data), {**keywords, **swept}, compute)
    return traced


def _with_batch(size, function, params, data, **keywords):
    batch = jax.tree.map(lambda a: a[:size], data)
    return function(params, data, **keywords), function(params, batch, **keywords)


def key_shape() -> jax.ShapeDtypeStruct:
    """Return the shape and type of one random key of a run."""
    return jax.ShapeDtypeStruct((), keys.key_type())


def _trace(function, arguments, keywords, compute):
    """Return a key of the program of a function, its results, and traits of the program."""
    traced = partial(compute, function)
    program, results = jax.make_jaxpr(traced, return_shape=True)(*arguments, **keywords)
    traits: set[str] = set()
    key = (
        slabs.compiled_config(),
        jax.tree.structure((arguments, keywords)),
        jax.tree.structure(results),
        _closed(program, traits),
    )
    if not traits.isdisjoint(("custom_jvp", "custom_vjp")):
        with contextlib.suppress(Exception):  # a function that is not differentiated
            of_gradient = jax.make_jaxpr(partial(gradient, function))(*arguments, **keywords)
            key = key, _closed(of_gradient, traits)
    hash(key)  # raises an error here, where it is caught, if a parameter cannot be compared
    return key, results, traits


def _closed(program, traits):
    return _jaxpr(program.jaxpr, traits), tuple(_value(value, traits) for value in program.consts)


def _jaxpr(program, traits):
    """Return the equations of a program as nested tuples, with variables as numbers."""
    number: dict[Any, int] = {}

    def name(variable):
        if isinstance(variable, Literal):
            return _value(variable.val, traits), variable.aval
        return number.setdefault(variable, len(number))

    def declared(variables):
        return tuple((name(variable), variable.aval) for variable in variables)

    inputs = declared((*program.constvars, *program.invars))
    equations = []
    for equation in program.eqns:
        read = tuple(map(name, equation.invars))
        parameters = _parameters(equation, traits)
        equations.append((equation.primitive, read, declared(equation.outvars), parameters))
    return inputs, tuple(equations), tuple(map(name, program.outvars))


def _parameters(equation, traits):
    kind, parameters = equation.primitive.name, dict(equation.params)
    if kind.endswith("callback"):
        traits.add("callback")
    traits |= {name for name in WITH_RULES if kind.startswith(name)}
    if kind.startswith(("custom_jvp", "custom_vjp")):  # the rule is a new function in each trace
        parameters = {n: v for n, v in parameters.items() if isinstance(v, ClosedJaxpr | Jaxpr)}
    if "jaxpr" in parameters:
        parameters.pop("name", None)  # of a jitted function
    return tuple((name, _value(parameters[name], traits)) for name in sorted(parameters))


def _value(value, traits):
    """Return a parameter or constant of a program in a form that can be compared."""
    if isinstance(value, ClosedJaxpr):
        return _closed(value, traits)
    if isinstance(value, Jaxpr):
        return _jaxpr(value, traits)
    if isinstance(value, Tracer):
        traits.add("tracer")
        return None
    if isinstance(value, jax.Array):
        return _ById(value)
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        array = np.asarray(value)
        raw = array.tobytes()
        return array.dtype, array.shape, raw if len(raw) < 64 else hashlib.sha256(raw).digest()
    if isinstance(value, float):
        return float, value.hex()
    if isinstance(value, tuple | list):
        return type(value), tuple(_value(item, traits) for item in value)
    if isinstance(value, dict):
        return tuple((_value(k, traits), _value(v, traits)) for k, v in value.items())
    if isinstance(value, partial):
        return partial, *(_value(v, traits) for v in (value.func, value.args, value.keywords))
    if isinstance(value, FunctionType):  # of the host; those within a cost are new in each trace
        cells = tuple(_value(cell.cell_contents, traits) for cell in value.__closure__ or ())
        return value.__code__, _value(value.__defaults__, traits), cells
    return type(value), value


class _ById:
    """An array on a device, compared by identity, since reading it would take long."""

    def __init__(self, array: jax.Array):
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.array is self.array

    def __hash__(self) -> int:
        return id(self.array)
