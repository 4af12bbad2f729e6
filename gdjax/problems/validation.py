"""Validation of a problem, its metrics and parameters before optimization.

    C(12 samples) = 4/12 C(the first 4) + 8/12 C(the last 8)

This equation is valid for a cost that is a mean over samples. The cost can then be evaluated in
microbatches.
"""

import contextlib
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from gdjax.base.devices import local_devices
from gdjax.base.errors import InputError, explained
from gdjax.base.keys import run_keys
from gdjax.base.slabs import CompiledFunction
from gdjax.problems.keywords import (
    GIVEN,
    GIVEN_TO_METRICS,
    declared,
    given_to,
    settings_of,
    takes_any,
)
from gdjax.problems.microbatches import cost_microbatch, largest_microbatch, microbatch_size
from gdjax.problems.prints import without_prints
from gdjax.problems.problem import NOTHING, Metric, Problem, is_array, require_problem

# Costs that are known to be means over data: by settings, references to the weight and the data.
# Each is checked only once, since the check needs a compilation.
_MEANS: weakref.WeakKeyDictionary[Any, dict[str, list[Any]]] = weakref.WeakKeyDictionary()


def check_problem(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any] | None = None,
    *,
    model_state: PyTree = None,
    results: Mapping[str, Sequence[PyTree]] = NOTHING,
) -> None:
    """Check before any computation that a problem can be minimized from `params`.

    Args:
        problem: problem to check.
        params: starting point (arrays, or their shapes).
        settings: values of the cost's keywords; the defaults if not given.
        model_state: initial model state (arrays, or their shapes); that of `init` if None.
        results: as in `check_shapes`.

    Examples:
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> check_problem(bowl, jnp.ones(2))
    """
    require_problem(problem)
    check_shapes(problem, params, settings, model_state=model_state, results=results)()


def check_shapes(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any] | None = None,
    *,
    model_state: PyTree = None,
    results: Mapping[str, Sequence[PyTree]] = NOTHING,
) -> Callable[[], bool]:
    """Check shapes and types now, and return a function that checks the values.

    `results` are the shapes of the results of the cost and the evaluation that have been traced.

    The function returns False if values are not finite, so that nothing can be concluded.
    The single program for the check is compiled in a thread. Without this program, each operation
    of the cost would be compiled for each of three numbers of samples: 61 programs and 6 times the
    processor time for the digit network, 21 programs for a network of two layers.
    """
    check_params(params)
    settings = dict(settings or {})
    if problem.stateful and model_state is None:
        model_state = jax.eval_shape(partial(problem.begin), jax.random.key(0))[1]
    checks = []
    for role in ("cost",) if problem.evaluation is None else ("cost", "evaluation"):
        check_role(role, problem, params, settings, model_state, results.get(role, ()))
        whole = role == "cost" and cost_microbatch(problem) is None
        if problem.data is not None and problem.samples >= 2 and not whole:
            checks.append(_mean_check(role, problem, params, settings, model_state))
    return lambda: False not in [check() for check in checks if check is not None]


def check_role(
    role: str,
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any],
    model_state: PyTree = None,
    results: Sequence[PyTree] = (),
) -> None:
    """Check that a cost or an evaluation can be called and returns a real scalar.

    It is not called if `results` are the shapes that it returned, unless these may be Python
    numbers, which have weak types.
    """
    function, supplied, fixed = _call_of(role, problem, settings, model_state)
    data = () if problem.data is None else (problem.data,)

    def call(params, data, supplied):
        value = function(params, *data, **supplied, **fixed)
        if isinstance(value, bool | int | float | complex):
            raise InputError(
                f"{role}: returned the Python number {value!r}, expected a scalar array that "
                f"depends on the parameters; compute it from them, with jax.numpy"
            )
        return value

    places = ", ".join(["params", *(("batch",) if data else ()), *supplied])
    remedy = partial(_remedy, role, function, params, data, {**supplied, **fixed})
    failure = f"{role}: could not be called as {role}({places})"
    if not results or any(leaf.weak_type for leaf in jax.tree.leaves(results)):
        with explained(failure, remedy, function, unchanged=()):
            results = [jax.eval_shape(call, params, data, supplied)]
    for value in results:
        is_pair = role == "cost" and problem.stateful
        check_value(_without_state(value, model_state) if is_pair else value, role)


def _call_of(role, problem, settings, model_state):
    """Return a function of a problem, the keywords that a descent supplies, and the settings."""
    function = getattr(problem, role)
    every = {"key": run_keys(0).noise, "step": np.int32(0), "model_state": model_state}
    supplied = {name: every[name] for name in given_to(function)}
    return function, supplied, settings if role == "cost" else settings_of(function, settings)


def _remedy(role, function, params, data, keywords, _error):
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
    batch = f" and the batch is {_shapes(data[0])!s:.200}" if data else ""
    batch = batch or " without a batch, since the problem has no data"
    return f"params are {_shapes(params)!s:.200}{batch}; correct the {role} for these"


def check_fixed(problem: Problem, model_state: Any, step: Any, settings: Mapping[str, Any]) -> None:
    """Check that the fixed arguments of a cost are declared by the problem."""
    functions = [problem.cost, problem.evaluation, problem.predict]
    functions += [metric.function for metric in problem.metrics.values()]
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


def _without_state(value, model_state):
    """Return the value of a cost with a model state; check the shapes of the state."""
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(
            f"cost: declares `model_state` and returned {_shapes(value)}, expected the pair "
            f"(scalar, model_state)"
        )
    check_like("cost: model_state", value[1], model_state, "the argument", types=True)
    return value[0]


def check_weight(problem: Problem) -> None:
    """Check that the weight of a batch is a real scalar."""
    if problem.weight is None:
        return
    if problem.data is None:
        raise InputError("problem: weight is that of a batch, but data is None; leave it out")
    failure = "weight: could not be called as weight(batch)"
    remedy = f"the batch is {_shapes(problem.data)!s:.200}; correct the weight for it"
    with explained(failure, remedy, problem.weight, unchanged=()):
        value = jax.eval_shape(problem.weight, problem.data)
    if not is_array(value) or value.shape or value.dtype.kind not in "biuf":
        raise InputError(
            f"weight: returned {_shapes(value)}, expected one real number >= 0, such as "
            f"jnp.sum(batch[1])"
        )


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


def check_runs(problem: Problem, params: PyTree) -> int:
    """Check that arrays are parameters of several runs of a problem.

    Returns:
        The number of runs.
    """
    # A new object, since JAX keeps shapes by function.
    like, _ = jax.eval_shape(partial(problem.begin), jax.random.key(0))
    check_problem(problem, like)
    check_params(params)
    shapes, wanted = (
        [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (params, like)
    )
    runs = {shape[0] if shape else 0 for shape in shapes}
    if [shape[1:] for shape in shapes] != wanted or len(runs) > 1 or 0 in runs:
        raise InputError(
            f"params: shapes {shapes}, expected a leading axis of at least one run before "
            f"{wanted}, those of problem.init"
        )
    return shapes[0][0]


def check_metrics(
    metrics: Mapping[str, Metric],
    params: PyTree,
    settings: Mapping[str, Any] | None = None,
    *,
    model_state: PyTree = None,
    opt_state: PyTree = None,
    results: Mapping[str, PyTree] = NOTHING,
) -> dict[str, tuple[int, ...]]:
    """Check that each metric is real and has the declared dimensions.

    `results` are the shapes of the results of metrics that have been traced.

    Returns:
        The shape of each metric.
    """
    return {
        name: _check_metric(
            name, metric, params, settings or {}, model_state, opt_state, results.get(name)
        )
        for name, metric in metrics.items()
    }


def _check_metric(name, metric, params, settings, model_state, opt_state, value):
    settings = settings_of(metric.function, settings)
    needed = given_to(metric.function, GIVEN_TO_METRICS)
    every = {"key": run_keys(0).noise, "step": np.int32(0)}
    every |= {"model_state": model_state, "opt_state": opt_state}
    reasons = {
        "model_state": "the cost does not; declare it in both, or in neither",
        "opt_state": "there is no optimizer here; use the metric in a descent or a sweep",
    }
    for state, reason in reasons.items():
        if state in needed and every[state] is None:
            raise InputError(f"metrics: {name!r} declares `{state}`, but {reason}")

    def once(params, data, supplied):
        state = () if metric.init is None else (metric.init(params, data),)
        return metric.function(params, data, *state, **supplied, **settings)

    places = ", ".join(["params", "data", *(["state"] if metric.init else []), *needed])
    failure = f"metrics: {name!r} could not be called as function({places})"
    remedy = "expected a function of these arguments"
    with explained(failure, remedy, metric.function, unchanged=()):
        supplied = {name: every[name] for name in needed}
        if value is None:
            value = jax.eval_shape(once, params, metric.data, supplied)
    returned = f"metrics: {name!r} returned {_shapes(value)}"
    if metric.init is not None:
        if not (isinstance(value, tuple) and len(value) == 2):
            raise InputError(f"{returned} and has an init, expected (value, metric_state)")
        value = value[0]
        returned = f"metrics: {name!r} returned {_shapes(value)}"
    if not is_array(value) or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise InputError(f"{returned}, expected real numbers")
    if len(value.shape) != len(metric.dims):
        raise InputError(
            f"{returned} and has dims = {metric.dims}; name each dimension: "
            f"gd.Metric(..., dims=('class',))"
        )
    if 0 in value.shape:
        raise InputError(f"{returned}, an empty array; expected at least one number")
    dtype = metric.dtype
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
    return tuple(value.shape)


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


def check_params(params: PyTree, source: str = "") -> None:
    """Check that parameters are real floating-point arrays."""
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


def check_mean(problem: Problem, params: PyTree) -> None:
    """Check that the deterministic cost is a mean, if an analysis splits it into microbatches."""
    role = "cost" if problem.evaluation is None else "evaluation"
    is_split = problem.samples > largest_microbatch() and not problem.stateful
    is_split &= role == "evaluation" or cost_microbatch(problem) is not None
    is_traced = isinstance(lax.full((), 0.0), Tracer)
    if not is_split or is_traced or inspect.Parameter.empty in declared(problem.cost).values():
        return
    if (check := _mean_check(role, problem, params, {}, None)) is not None:
        check()


def _mean_check(role, problem, params, settings, model_state):
    """Return a function that checks whether a cost is a mean over samples.

    It compares costs with the weighted mean over two parts: of a few samples spread over the data,
    and of neighboring microbatches, at random parameters. It returns False if costs are not finite
    there and at `params`. It is None if the cost is known to be a mean, or if values are traced.
    """
    function, supplied, settings = _call_of(role, problem, settings, model_state)
    data, samples = problem.data, problem.samples
    if not _are_concrete((data, supplied)):
        return None
    means, key, parts = {}, repr(sorted(settings.items())), _parts(problem)
    with contextlib.suppress(TypeError):  # not hashable, or without weak references
        means = _MEANS.setdefault(getattr(function, "key", function), means)
    known = [part() for part in means.get(key, ())]
    if len(known) == len(parts) and all(a is b for a, b in zip(known, parts, strict=True)):
        return None
    count, length = min(samples, 12), microbatch_size(samples, largest_microbatch())
    chosen = np.arange(count) * samples // count
    groups = [jax.tree.map(lambda a: a[chosen][None], data)]
    cuts = [max(1, count // 3), length]
    if (batches := samples // length) > 2:
        firsts = length * np.random.default_rng(0).choice(batches - 1, min(3, batches - 1), False)
        rows = firsts[:, None] + np.arange(2 * length)
        groups.append(jax.tree.map(lambda a: a[rows], data))

    silent = without_prints(partial(function, **settings))

    def values(params, groups, supplied):
        def cost_and_weight(batch):
            size = jax.tree.leaves(batch)[0].shape[0]
            weight = size if problem.weight is None else problem.weight(batch)
            return silent(params, batch, **supplied), jnp.asarray(weight, float)

        def of_group(cut, batch):
            parts = (slice(None), slice(cut), slice(cut, None))
            return [cost_and_weight(jax.tree.map(lambda a, p=p: a[p], batch)) for p in parts]

        pairs = zip(cuts, groups, strict=False)
        return [jax.lax.map(partial(of_group, cut), group) for cut, group in pairs]

    program = CompiledFunction(values, once=True)
    starts = random_params(params), *([params] if _are_concrete(params) else [])
    program.ahead(starts[0], groups, supplied)

    def compare():
        for start in starts:
            computed = program(start, groups, supplied)
            pairs = zip(computed, cuts, strict=False)
            if all(_is_mean(role, problem.weight, *pair) for pair in pairs):
                means[key] = [weakref.ref(part) for part in parts]
                return True
        return False

    return compare


def _parts(problem):
    """Return the objects on which it depends whether a cost is a mean, besides the cost."""
    weight = [] if problem.weight is None else [getattr(problem.weight, "key", problem.weight)]
    return [*weight, *jax.tree.leaves(problem.data)]


def _are_concrete(tree):
    return all(
        isinstance(leaf, jax.Array | np.ndarray) and not isinstance(leaf, Tracer)
        for leaf in jax.tree.leaves(tree)
    )


def random_params(params: PyTree) -> PyTree:
    """Return random parameters of moderate size, generic with respect to symmetries."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: np.asarray(random.normal(0, 0.3, jnp.shape(a))).astype(jnp.result_type(a)), params
    )


def _is_mean(role, weight, values, cut):
    """Return whether values are the weighted means of their two parts; False if not finite.

    `values` are the cost and the weight of all samples of a group and of its parts, each for
    several groups.
    """
    dtype = values[0][0].dtype
    numbers = jax.tree.map(lambda a: np.asarray(a, float), values)
    (whole, _), (first, w_1), (second, w_2) = numbers
    is_used = w_1 + w_2 != 0
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = [np.where(w != 0, w * part, 0) for part, w in ((first, w_1), (second, w_2))]
        mean = sum(terms) / (w_1 + w_2)
    if not np.all(np.isfinite(whole[is_used]) & np.isfinite(mean[is_used])):
        return False
    size = np.maximum(np.abs(whole), np.fmax(np.abs(first), np.abs(second)))
    tolerance = max(1e-3, 8 * float(jnp.finfo(dtype).eps))
    wrong = is_used & (np.abs(whole - mean) > tolerance * size)
    if wrong.any():
        n = int(wrong.argmax())
        remedy = (
            "if it couples samples on purpose, pass Problem(..., couples_samples=True)"
            if role == "cost"
            else "an evaluation cannot couple samples; leave it out to record the cost itself"
        )
        counts = "" if weight is None else f" (weights {w_1[n]:.6g} and {w_2[n]:.6g})"
        raise InputError(
            f"{role}: on a batch of samples it is {whole[n]:.6g}, but the weighted mean over "
            f"microbatches of the first {cut} and the others is {mean[n]:.6g}{counts}; expected a "
            f"mean over the batch, so that microbatches can be combined: use jnp.mean over samples "
            f"instead of jnp.sum; if it divides by a sum of the batch, such as that of a mask, "
            f"pass Problem(..., weight=lambda batch: that sum); {remedy}"
        )
    return True


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
