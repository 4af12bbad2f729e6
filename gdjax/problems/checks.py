"""Checks of parameters, of what functions of a user return, and of their arguments."""

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.arguments import is_traced
from gdjax.base.arrays import check_name
from gdjax.base.devices import local_devices
from gdjax.base.errors import InputError, explained
from gdjax.problems.keywords import GIVEN, declared, given_to, takes_any
from gdjax.problems.metrics import Metric, named_parts, parts_of
from gdjax.problems.problem import Problem, is_array


@contextlib.contextmanager
def explained_role(
    role: str, problem: Problem, params: PyTree, keywords: Mapping[str, Any]
) -> Generator[None]:
    """Convert errors of a cost, an evaluation or a weight to an `InputError` with its arguments."""
    function, batch = getattr(problem, role), [] if problem.data is None else ["batch"]
    if role == "weight":
        remedy = f"the batch is {_shapes(problem.data)!s:.200}; correct the weight for it"
        places = "batch"
    else:
        remedy = _remedy(role, function, params, problem.data, keywords)
        places = ", ".join(["params", *batch, *given_to(function)])
    failure = f"{role}: could not be called as {role}({places})"
    with explained(failure, remedy, function, unchanged=()):
        yield


def _remedy(role, function, params, data, keywords):
    """Return advice on a cost or an evaluation that could not be called."""
    lacking = [
        name
        for name, default in declared(function).items()
        if default is inspect.Parameter.empty and name not in keywords
    ]
    if lacking:
        return (
            f"a descent supplies {', '.join(GIVEN)}: give {lacking[0]} a default, sweep over it, "
            f"or fix it: gdjax.problems.frozen(problem, {lacking[0]}=...)"
        )
    batch = f" and the batch is {_shapes(data)!s:.200}" if data is not None else ""
    batch = batch or " without a batch, since the problem has no data"
    return f"params are {_shapes(params)!s:.200}{batch}; correct the {role} for these"


def check_fixed(problem: Problem, model_state: Any, step: Any, settings: Mapping[str, Any]) -> None:
    """Check that the fixed arguments of a cost are declared by the problem."""
    functions = [problem.cost, problem.evaluation, problem.predict]
    functions = [function for function in functions if function is not None]
    fixed = {"model_state": model_state, "step": step}
    names = [name for name, value in fixed.items() if value is not None]
    if not any(takes_any(function) for function in functions):
        names += settings
    valid = dict.fromkeys(
        name for f in functions for name in (*declared(f), *given_to(f, tuple(fixed)))
    )
    for name in names:
        if name not in valid:
            raise InputError(
                f"{name} is not an argument of the problem's cost; "
                f"{'expected ' + ', '.join(valid) if valid else 'it has none; leave it out'}"
            )


def check_returned(role: str, stateful: bool, model_state: PyTree, value: PyTree) -> PyTree:
    """Check and return what a cost or an evaluation has returned, with the next model state."""
    if isinstance(value, bool | int | float | complex):
        raise InputError(
            f"{role}: returned the Python number {value!r}, expected a scalar array that "
            f"depends on the parameters; compute it from them, with jax.numpy"
        )
    if not (stateful and role == "cost"):
        check_value(value, role)
        return value
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(
            f"cost: declares `model_state` and returned {_shapes(value)}, expected the pair "
            f"(scalar, model_state)"
        )
    check_like("cost: model_state", value[1], model_state, "the argument", types=True)
    check_value(value[0])
    return value


def check_weight_value(value: PyTree) -> PyTree:
    """Check and return the weight of a batch, a real scalar."""
    if not is_array(value) and isinstance(value, bool | int | float):
        return value
    if not is_array(value) or value.shape or value.dtype.kind not in "biuf":
        raise InputError(
            f"weight: returned {_shapes(value)}, expected one real number >= 0, such as "
            f"jnp.sum(batch[1])"
        )
    return value


def require_unweighted(caller: str, problem: Problem) -> None:
    """Check that the cost is a plain mean over samples, as gradients of single samples need."""
    if problem.weight is not None:
        raise InputError(
            f"{caller}: the problem has a weight, expected a cost that is a plain mean over "
            f"samples, since it is computed from costs of single samples or of their outputs"
        )


def check_value(value: PyTree, role: str = "cost") -> None:
    """Check that a cost returned a real floating-point scalar."""
    if not is_array(value) or value.shape != ():
        raise InputError(
            f"{role}: returned {_shapes(value)}, expected one scalar; take the mean over the "
            f"batch, and record other values as metrics"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"{role}: returned {value.dtype}, expected a real floating-point scalar; take the real "
            f"part or the absolute value, or convert integers to floating point"
        )


def supplied_to_metric(
    name: str, metric: Metric, *, model_state: PyTree, opt_state: PyTree
) -> tuple[str, ...]:
    """Return the keywords that a metric declares and a descent supplies, if these exist."""
    reasons = {
        "model_state": "the cost does not; declare it in both, or in neither",
        "opt_state": "there is no optimizer here; use the metric in a descent or a sweep",
    }
    states = {"model_state": model_state, "opt_state": opt_state}
    for state, reason in reasons.items():
        if state in metric.needs and states[state] is None:
            raise InputError(f"metrics: {name!r} declares `{state}`, but {reason}")
    return metric.needs


def check_metric_value(name: str, metric: Metric, params: PyTree, value: PyTree) -> PyTree:
    """Check that a metric is real and has the declared dimensions; return shapes and types."""
    is_single = isinstance(value, tuple) and len(value) == 1
    returned = f"metrics: {name!r} returned {_shapes(value[0] if is_single else value)}"
    if metric.init is not None:
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InputError(f"{returned} and has an init, expected (value, state)")
        returned = f"metrics: {name!r} returned {_shapes(value[0])}"
    value, dtype = value[0], metric.dtype
    costs, parts = jnp.result_type(jnp.float32, *jax.tree.leaves(params)), parts_of(value)
    if parts is not None and (metric.dims or dtype is not None):
        raise InputError(f"{returned} and has dims or a dtype, which only a single array may have")
    for part in [value] if parts is None else parts.values():
        if not is_array(part) or jnp.issubdtype(part.dtype, jnp.complexfloating):
            raise InputError(f"{returned}, expected real numbers")
        if 0 in part.shape:
            raise InputError(f"{returned}, an empty array; expected at least one number")
    if parts is not None:
        arrays = metric.arrays(name, value)
        for part, shape in named_parts(name, value).items():
            check_name(part, "metrics")
            if len(arrays[part].dims) != len(shape.shape):
                raise InputError(f"{returned}, but its class declares other dimensions of {part}")
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype if a.dtype.kind in "biu" else costs),
            value,
        )
    if len(value.shape) != len(metric.dims):
        raise InputError(
            f"{returned} and has dims = {metric.dims}; name each dimension: "
            f"gd.Metric(..., dims=('class',))"
        )
    if dtype is not None and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(
            f"metrics: {name!r} has dtype {dtype}, which requires jax.enable_x64; choose a 32-bit "
            f"type"
        )
    if dtype is not None and dtype.kind != "f" and jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"{returned} and has dtype {dtype}, which cannot represent fractions and NaN; round "
            f"the value in the function, or choose a floating type"
        )
    return jax.ShapeDtypeStruct(value.shape, dtype or costs)


def _shapes(tree):
    return jax.tree.map(lambda a: f"{jnp.result_type(a)}{list(jnp.shape(a))}", tree)


def check_can_run(entry: str, *trees: PyTree) -> None:
    """Check that there is a device and that no JAX transformation is active."""
    local_devices()
    if any(isinstance(leaf, Tracer) for leaf in (*jax.tree.leaves(trees), lax.full((), 0.0))):
        raise InputError(
            f"{entry}: was called inside jax.jit, jax.grad or jax.vmap, expected a call outside, "
            f"since it compiles and runs programs itself; use gd.sweep for many descents, and "
            f"gd.descent.step inside a transformed function"
        )


def check_not_deleted(name: str, tree: PyTree) -> None:
    """Check that no array was donated to another program, or deleted."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array) and not is_traced(leaf) and leaf.is_deleted():
            raise InputError(
                f"{name}{jax.tree_util.keystr(path)} is an array of shape {leaf.shape} that was "
                f"donated to a program or deleted; pass a copy, such as jnp.array(x, copy=True), "
                f"that was made before"
            )


def check_params(params: PyTree, source: str = "") -> None:
    """Check that parameters are real floating-point arrays."""
    check_not_deleted(f"{source}params", params)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise InputError(f"{source}params: contains no arrays; expected a pytree of real arrays")
    for path, leaf in leaves:
        name = "params" + jax.tree_util.keystr(path)
        masked = isinstance(leaf, np.ma.MaskedArray)
        if masked or (not is_array(leaf) and not isinstance(leaf, int | float | complex)):
            raise InputError(
                f"{source}{name} = {leaf!r:.80} is not an array; keep functions, names and other "
                f"settings in the closure of the cost. For an Equinox module, params are "
                f"eqx.filter(model, eqx.is_inexact_array), and eqx.combine(params, model) restores "
                f"the module"
            )
        dtype = leaf.dtype if is_array(leaf) else jnp.result_type(type(leaf))
        if not jnp.issubdtype(dtype, jnp.floating):
            counts = jnp.issubdtype(dtype, jnp.unsignedinteger)
            counts |= jnp.issubdtype(dtype, jax.dtypes.prng_key)
            remedy = (
                "it counts or seeds random numbers, so keep it out of params: of a module of NNX, "
                "params are those of nnx.split(model, nnx.Param, ...), and apply gives "
                "rngs=nnx.Rngs(key)"
                if counts
                else "pass its real and imaginary parts as two arrays, and combine them in the cost"
                if jnp.issubdtype(dtype, jnp.complexfloating)
                else f"use jax.numpy.asarray({name}, float), or keep it out of params"
            )
            raise InputError(
                f"{source}{name} has type {dtype}, expected a real floating-point type; {remedy}"
            )
        if 0 in jnp.shape(leaf):
            raise InputError(
                f"{source}{name} has shape {jnp.shape(leaf)}, an empty array, which a store cannot "
                f"contain; leave it out of params"
            )


def at_least_float32(params: PyTree) -> PyTree:
    """Return parameters with bfloat16 and float16 leaves converted to float32.

    LAPACK, random probes and error bounds need at least float32.
    """
    check_params(params)

    def widened(leaf):
        dtype = jnp.result_type(leaf)
        short = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4
        return jnp.asarray(leaf, jnp.float32) if short else leaf

    return jax.tree.map(widened, params)


def in_own_precision(params: PyTree, compute: Callable[[], PyTree]) -> PyTree:
    """Return the result of a computation, in float64 if a parameter has that type.

    JAX's x64 mode need not be enabled. Results in float64 are NumPy arrays, since JAX would convert
    them to float32 where that mode is disabled.
    """
    is_float64 = any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(params))
    if not is_float64:
        return compute()
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, compute())


def ravel_params(params: PyTree, source: str = "") -> tuple[Float[Array, " n"], Callable]:
    """Check parameters and return them as one vector, with the inverse function."""
    check_params(params, source)
    return ravel_pytree(params)


def check_points(argument: str, points: PyTree, one: PyTree = None, *, least: int = 1) -> int:
    """Check that the leading axis of arrays indexes points with the shapes of `one`.

    Returns:
        The number of points, at least `least`.
    """
    check_params(points, f"{argument}: ")
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(points)}
    if len(lengths) != 1 or lengths == {()} or min(lengths)[0] < least:
        raise InputError(
            f"{argument}: leading axes {sorted(lengths)}, expected one axis of at least {least} "
            f"points in every array"
        )
    if one is not None:
        each = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], jnp.result_type(a)), points
        )
        check_like(f"{argument}, each", each, one)
    return min(lengths)[0]


def check_like(
    name: str,
    tree: Any,
    like: Any,
    like_name: str = "the parameters",
    remedy: str = "",
    *,
    types: bool = False,
) -> None:
    """Check that a pytree has the structure and shapes of another one, and its types if asked."""
    root = name.rpartition(": ")[2]
    shapes, expected = (
        {
            root + jax.tree_util.keystr(path): _shapes(leaf) if types else jnp.shape(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(pytree)
        }
        for pytree in (tree, like)
    )
    differences = [
        f"{leaf} is {shapes.get(leaf, 'absent')}, expected {expected.get(leaf, 'nothing')}"
        for leaf in {**expected, **shapes}
        if shapes.get(leaf) != expected.get(leaf)
    ]
    structures = [jax.tree.structure(pytree) for pytree in (tree, like)]
    if not differences and structures[0] != structures[1]:
        differences = [f"{root} is {structures[0]!s:.200}, expected {structures[1]!s:.200}"]
    if differences:
        raise InputError(
            f"{name} has other shapes: {'; '.join(differences[:4])}; expected the structure of "
            f"{like_name}{remedy}"
        )
    for leaf in jax.tree.leaves(tree):
        dtype = leaf.dtype if is_array(leaf) else np.asarray(leaf).dtype
        if getattr(dtype, "kind", "f") in "OSUM" or isinstance(leaf, np.ma.MaskedArray):
            raise InputError(f"{name} has type {dtype}, expected arrays of numbers, not masked")
