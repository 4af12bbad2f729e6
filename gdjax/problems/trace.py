"""Trace of a user's function: one look into it, and a key that equal programs share.

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
import threading
from collections.abc import Callable, Mapping, Set
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gdjax.base import slabs
from gdjax.base.errors import InputError, is_of_user
from gdjax.base.internals import HIDDEN, ClosedJaxpr, Var, jaxprs_in_params
from gdjax.problems.comparison import compare, form
from gdjax.problems.problem import Known

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


class Dependent(NamedTuple):
    """An equation whose results depend on some variables.

    Args:
        nbytes: size of its results, of all iterations of the loops around it.
        shared: number of numbers with which a product multiplies what depends on the variables.
        is_in_loop: whether it is part of a loop.
    """

    nbytes: int
    shared: int
    is_in_loop: bool


def dependent_by_result(traced: Trace, names: Set[str] = frozenset()) -> list[list[Dependent]]:
    """Return the equations that depend on the first argument or on keywords, for each result."""
    assert traced.program is not None
    program, by_result = traced.program.jaxpr, []
    outputs = program.outvars
    first = len(jax.tree.leaves(traced.arguments))
    keywords = jax.tree_util.tree_leaves_with_path(dict(traced.keywords))
    dependent = set(program.invars[: len(jax.tree.leaves(traced.arguments[0]))])
    for (path, _), variable in zip(keywords, program.invars[first:], strict=True):
        dependent |= {variable} if path[0].key in names else set()
    for result in traced.results:
        count = len(jax.tree.leaves(result))
        equations, _ = _needed(program, outputs[:count])
        by_result.append(list(_dependent_equations(equations, dependent)))
        outputs = outputs[count:]
    return by_result


def _dependent_equations(equations, dependent: set, times=1, is_in_loop=False):
    """Return an iterator over the equations that depend on some variables."""
    dependent = set(dependent)
    for equation in equations:
        inputs = [isinstance(v, Var) and v in dependent for v in equation.invars]
        if any(inputs):
            dependent.update(equation.outvars)
            inner = list(jaxprs_in_params(equation.params))
            loops = is_in_loop or equation.primitive.name in ("scan", "while")
            is_choice = equation.primitive.name == "cond"  # of a branch, by its first input
            for program in inner:
                own = inputs[is_choice:]
                same = len(program.invars) == len(own)
                pairs = zip(program.invars, own, strict=True) if same else ()
                known = {v for v, is_input in pairs if is_input} if same else {*program.invars}
                repeated = times * equation.params.get("length", 1)
                yield from _dependent_equations(program.eqns, known, repeated, loops)
            if not inner or (is_choice and inputs[0]):
                leaves = [v.aval for v in equation.outvars]
                nbytes = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
                is_product = equation.primitive.name == "dot_general" and not all(inputs)
                shared = equation.invars[inputs.index(False)].aval.size if is_product else 0
                yield Dependent(times * nbytes, shared, is_in_loop)


def _is_of_user(rule):
    """Return whether a derivative rule, "name at file:line", is defined outside of packages."""
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
