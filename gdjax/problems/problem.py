"""What is minimised: a starting point, a cost, and the data that the cost is a mean over.

    minimise C(w) = 1/n sum_i c(w, x_i),   w_0 = init(key)

The simplest instance is a cost without data:

>>> import jax.numpy as jnp
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> bowl.samples
0

Parameters are any pytree of real arrays. `init` and `cost` may declare keyword-only arguments with
defaults ("settings"); these are what a sweep can vary.
"""

import inspect
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, Scalar

from gdjax.errors import InputError

# Problems whose cost was found to be a mean: looked at once, since it means compiling.
_MEANS: weakref.WeakSet["Problem"] = weakref.WeakSet()


@dataclass(frozen=True, eq=False)
class Measure:
    """Something worth watching along a descent: a scalar function of the parameters.

    Args:
        function: `function(params, data, **settings) -> scalar`, or with an `init`,
            `function(params, data, state, **settings) -> (scalar, state)`.
        data: the function's own data, any pytree of arrays (the test set, say), or None.
        every: measured at every `every`-th record, and at the last.
        init: `init(params, data) -> state` for a measure that carries a state, such as the warm
            start of an eigenvalue estimate.
        long_name: what the number is, for axes and tables.
        units: its unit; "1" for a pure number.
    """

    function: Callable[..., Any]
    data: PyTree = None
    every: int = 1
    init: Callable[[Any, Any], Any] | None = None
    long_name: str = ""
    units: str = "1"

    def __post_init__(self):
        whole = isinstance(self.every, int | np.integer) and not isinstance(self.every, bool)
        if not whole or self.every < 1:
            raise InputError(f"Measure: every = {self.every!r}, expected a whole number >= 1")


@dataclass(frozen=True, eq=False)
class Problem:
    """A starting point, a cost, and the data it is a mean over.

    Args:
        init: `init(key, **settings) -> params`, a random starting point, any pytree of real arrays.
        cost: `cost(params, batch, **settings) -> scalar`, the *mean* over the batch's samples, or
            `cost(params, **settings)` where there is no data.
        data: a pytree of arrays with a common leading sample axis, or None. It is handed to `cost`
            as an argument; a cost never closes over it.
        measures: what to watch along a descent, by name.
        baseline: the cost of the best answer that ignores the input, where there is one. A run that
            stops moving without getting below it is dead, not converged.
        predict: `predict(params, inputs, **settings) -> outputs`, where the cost comes from one.
        loss: `loss(outputs, targets) -> scalar`, the mean over samples, where the cost comes from
            one.
        network: the layer structure, for what needs one (symmetries, anatomy by neuron).
        record: how to build this problem again, as a call of a function of `gdjax.problems`:
            `{"problem": "digits", ...arguments}`. None for a user's own.

    Raises:
        InputError: `init` or `cost` is not callable, or the leading axes of `data` differ.

    Examples:
        A straight line through four points, its parameters a dict:

        >>> x = jnp.arange(4.0)
        >>> line = Problem(
        ...     init=lambda key: {"slope": jnp.zeros(()), "offset": jnp.zeros(())},
        ...     cost=lambda p, xy: jnp.mean((p["slope"] * xy[0] + p["offset"] - xy[1]) ** 2),
        ...     data=(x, 2 * x + 1),
        ... )
        >>> line.samples
        4
    """

    init: Callable[..., PyTree]
    cost: Callable[..., Scalar]
    data: PyTree = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    baseline: float | None = None
    predict: Callable[..., Array] | None = None
    loss: Callable[..., Scalar] | None = None
    network: Any = None
    record: Mapping[str, Any] | None = None

    def __post_init__(self):
        for name in ("init", "cost"):
            if not callable(getattr(self, name)):
                raise InputError(
                    f"Problem: {name} = {getattr(self, name)!r} is not callable; "
                    f"expected a function"
                )
        _check_data(self.data)

    @property
    def samples(self) -> int:
        """Number of samples in `data`; 0 where there is none."""
        leaves = jax.tree.leaves(self.data)
        return leaves[0].shape[0] if leaves else 0


def declared(function: Callable) -> dict[str, Any]:
    """Keyword-only arguments of a function and their defaults: what can be swept.

    Examples:
        >>> def cost(w, *, temperature=1.0): return w / temperature
        >>> declared(cost)
        {'temperature': 1.0}
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some builtins have no signature
        return {}
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check(problem: Problem, params: PyTree, settings: Mapping[str, Any] | None = None) -> None:
    """Make sure, once and before any work, that a problem can be descended from `params`.

    Args:
        problem: what to check.
        params: a starting point (arrays, or their shapes).
        settings: values for the cost's keywords; its defaults where not given.

    Raises:
        InputError: parameters that are not real floating-point arrays; a cost that is not a real
            floating-point scalar; a cost whose value on the whole is not the weighted mean of its
            values on blocks.
    """
    check_params(params)
    settings = dict(settings or {})
    arguments = (params,) if problem.data is None else (params, problem.data)
    try:
        value = jax.eval_shape(lambda *a: problem.cost(*a, **settings), *arguments)
    except TypeError as error:
        shape = "cost(params, batch)" if problem.data is not None else "cost(params)"
        raise InputError(
            f"cost: could not be called as {shape}: {error}. Give `data` to the Problem exactly "
            f"when its cost takes a batch"
        ) from error
    check_value(value)
    if problem.data is not None and problem.samples >= 2:
        _check_mean(problem, params, settings)


def check_value(value: PyTree) -> None:
    """Make sure that what a cost returned can be descended.

    Raises:
        InputError: it is no real floating-point scalar.
    """
    if not _is_array(value) or value.shape != ():
        raise InputError(
            f"cost: returned {_shapes(value)}, expected one scalar; take the mean over the batch, "
            f"and leave what else is worth knowing to measures"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"cost: returned {value.dtype}, expected a real floating-point scalar; take a real "
            f"part or an absolute value, or divide an integer count"
        )


def check_runs(problem: Problem, params: PyTree) -> int:
    """Make sure that arrays are points of many runs of a problem that can be descended.

    Args:
        problem: whose `init` says what a point looks like.
        params: points, with a leading axis of runs.

    Returns:
        How many runs there are.

    Raises:
        InputError: as for `check`, or arrays of other shapes.
    """
    like = jax.eval_shape(problem.init, jax.random.key(0))
    check(problem, like)
    check_params(params)
    found, wanted = ([jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (params, like))
    runs = {shape[0] if shape else 0 for shape in found}
    if [shape[1:] for shape in found] != wanted or len(runs) > 1 or 0 in runs:
        raise InputError(
            f"params: shapes {found}, expected a leading axis of at least one run before {wanted}, "
            f"those of problem.init"
        )
    return found[0][0]


def found_mean(problem: Problem) -> bool:
    """Whether `check` has seen that the problem's cost is a mean over samples."""
    return problem in _MEANS


def check_measures(
    measures: Mapping[str, Measure], params: PyTree, settings: Mapping[str, Any] | None = None
) -> None:
    """Make sure that measures can be taken at `params`: each one real scalar.

    Args:
        measures: what is watched, by name.
        params: a starting point (arrays, or their shapes).
        settings: values for the keywords that a measure shares with the cost.

    Raises:
        InputError: a measure that is not a real scalar, or carries a state and does not return
            `(scalar, state)`.
    """
    for name, measure in measures.items():
        given = {k: v for k, v in (settings or {}).items() if k in declared(measure.function)}

        def once(params, data, measure=measure, given=given):
            memory = () if measure.init is None else (measure.init(params, data),)
            return measure.function(params, data, *memory, **given)

        found = jax.eval_shape(once, params, measure.data)
        if measure.init is not None and not (isinstance(found, tuple) and len(found) == 2):
            raise InputError(
                f"measures: {name!r} has an init and returned {_shapes(found)}, expected "
                f"(scalar, state)"
            )
        value = found if measure.init is None else found[0]
        real = _is_array(value) and not jnp.issubdtype(value.dtype, jnp.complexfloating)
        if not real or value.shape != ():
            raise InputError(
                f"measures: {name!r} returned {_shapes(value)}, expected one real scalar; for "
                f"more numbers, use more measures, or snapshots of the parameters"
            )


def _is_array(leaf):
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _shapes(tree):
    return jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)


def _check_data(data):
    leaves = jax.tree_util.tree_leaves_with_path(data)
    if data is not None and not leaves:
        raise InputError("Problem: data has no arrays; use None for a cost without data")
    sizes = {}
    for path, leaf in leaves:
        name = "data" + jax.tree_util.keystr(path)
        if not _is_array(leaf) or not leaf.shape or leaf.shape[0] == 0:
            raise InputError(
                f"Problem: {name} = {leaf!r:.80}, expected an array with a leading sample axis"
            )
        sizes[name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise InputError(
            f"Problem: data has leading axes that differ ({found}); every array needs one row a "
            f"sample"
        )


def check_params(params: PyTree) -> None:
    """Make sure that parameters can change a little.

    Raises:
        InputError: a leaf that is no real floating-point array, or none at all.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise InputError("params: no arrays in it; expected a pytree of real arrays")
    for path, leaf in leaves:
        name = "params" + jax.tree_util.keystr(path)
        if not _is_array(leaf) and not isinstance(leaf, int | float | complex):
            raise InputError(
                f"{name} = {leaf!r:.80} is not an array; keep functions, names and other settings "
                f"out of params, in the cost's closure"
            )
        dtype = leaf.dtype if _is_array(leaf) else jnp.result_type(type(leaf))
        if not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(
                f"{name} has type {dtype}, expected a real float; gradient descent needs numbers "
                f"that can change a little: use {name}.astype(float), or keep it out of params"
            )


def _check_mean(problem, params, settings):
    """Compare the cost of a few samples with the weighted mean of the costs of two blocks."""
    if found_mean(problem) or not all(
        isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(params)
    ):
        return
    count = min(problem.samples, 12)
    cut = max(1, count // 3)
    few = jax.tree.map(lambda a: a[:count], problem.data)

    @jax.jit
    def values(params, few):
        def cost(a, b):
            return problem.cost(params, jax.tree.map(lambda leaf: leaf[a:b], few), **settings)

        return cost(0, count), cost(0, cut), cost(cut, count)

    found = values(params, few)
    whole, first, second = (float(value) for value in found)
    mean = (cut * first + (count - cut) * second) / count
    size = max(abs(whole), abs(first), abs(second))
    rounding = 8 * float(jnp.finfo(found[0].dtype).eps)
    if np.isfinite(size) and abs(whole - mean) > max(1e-3, rounding) * size:
        raise InputError(
            f"cost: on {count} samples it is {whole:.6g}, but the weighted mean over blocks of "
            f"{cut} and {count - cut} of them is {mean:.6g}; expected a mean over the batch, so "
            f"that blocks can be combined: use jnp.mean over samples instead of jnp.sum, and "
            f"nothing that mixes samples"
        )
    _MEANS.add(problem)
