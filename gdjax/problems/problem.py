"""Optimization problems: an initializer, a cost, and the data it averages over.

    minimize C(w) = 1/n sum_i c(w, x_i),   w_0 = init(key)

The simplest instance is a cost without data:

>>> import jax.numpy as jnp
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> bowl.samples
0

Further arguments of `init` and `cost` ("settings") can be swept. Runs that differ only in settings
draw the same random numbers.

A Problem is a pytree whose only leaves are those of `data`, so that a jitted function of it treats
data as an argument and not as a constant:

>>> import jax
>>> line = Problem(init=bowl.init, cost=lambda w, x: jnp.mean(w[0] * x), data=jnp.arange(4.0))
>>> float(jax.jit(lambda problem, w: problem.cost(w, problem.data))(line, jnp.ones(2)))
1.5
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, PyTree, Scalar

from gdjax.base.arguments import check_callable, check_flag, check_limits, check_type
from gdjax.base.errors import InputError, explained
from gdjax.base.limits import Real
from gdjax.base.reprs import as_html, short
from gdjax.problems.keywords import bind, declared, given_to, settings_of
from gdjax.problems.metrics import as_metrics
from gdjax.problems.networks import Network

NOTHING: Mapping[str, Any] = MappingProxyType({})  # shared, since problems are compared by identity


@dataclass(frozen=True, eq=False)
class Problem:
    """An optimization problem: an initializer, a cost, and the data it averages over.

    Args:
        init: function `init(key, **settings) -> params`, which draws a starting point, any pytree
            of real arrays, or `-> (params, model_state)` if the cost declares `model_state`.
        cost: function `cost(params, batch, **settings) -> scalar`, the *mean* over the samples of
            the batch, or `cost(params, **settings)` without data. It may declare three
            keyword-only arguments, which a descent supplies: `key`, a random key that differs
            between steps, and between runs with different `seed` or `noise_seed`; `step`, the
            number of the step; `model_state`, such as running statistics, in which case it returns
            `(scalar, model_state)`.
        data: pytree of arrays with a common leading sample axis, or None. It is passed to `cost` as
            an argument; a cost must not close over it.
        evaluation: function `evaluation(params, batch, **settings) -> scalar`, a deterministic mean
            over samples that replaces the cost in records, curvature, landscapes and minima (no
            dropout, no augmentation). It may declare `step` and `model_state`, but returns no
            state. None for the cost itself, or for its mean over fixed keys if it is random.
        weight: function `weight(batch) -> scalar`, the weight W >= 0 of a batch in the mean over
            all samples, C = sum W_c C_c / sum W_c, for a cost that divides by a sum of the batch,
            such as the number of tokens that are not masked. It sees the batch only. None for the
            number of samples. A step on a mini-batch minimizes the cost of that batch.
        couples_samples: whether the cost of a batch is not the mean over its samples (contrastive
            losses, batch statistics). A batch is then never split into microbatches, nor is that
            of a cost with `key` or `model_state`. With mini-batches and without an `evaluation`,
            records of these costs are the mean over fixed batches of the batch size.
        metrics: quantities to record along a descent, by name: functions of a problem and
            parameters, or a `Metric`.
        baseline: cost of the best prediction that ignores the input, or None. A run whose gradient
            vanishes at a cost not below it is classified as stalled, not as converged.
        predict: function `predict(params, inputs, **settings) -> outputs`, if the cost is based on
            predictions.
        loss: function `loss(outputs, targets) -> scalar`, the mean over samples, if the cost is
            based on predictions.
        network: layer structure, for symmetries and for summaries by neuron.
        provenance: call of a function of `gdjax.problems` that builds this problem again:
            `{"problem": "digits", ...arguments}`. None for a custom problem.

    Examples:
        A straight line through four points, with a dict of parameters:

        >>> import jax.numpy as jnp
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
    cost: Callable[..., Any]
    data: PyTree = None
    evaluation: Callable[..., Scalar] | None = None
    weight: Callable[[Any], Scalar] | None = None
    couples_samples: bool = False
    metrics: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    baseline: float | None = None
    predict: Callable[..., Array] | None = None
    loss: Callable[..., Scalar] | None = None
    network: Any = None
    provenance: Mapping[str, Any] | None = None

    def __post_init__(self):
        check_callable("Problem: init", self.init)
        if self.metrics == {}:
            object.__setattr__(self, "metrics", NOTHING)
        check_callable("Problem: cost", self.cost)
        for name in ("evaluation", "weight", "predict", "loss"):
            if getattr(self, name) is not None:
                check_callable(f"Problem: {name}", getattr(self, name))
        check_flag("Problem: couples_samples", self.couples_samples)
        object.__setattr__(self, "metrics", as_metrics("Problem: metrics", self.metrics) or NOTHING)
        kinds = (
            ("network", Network, "gdjax.problems.Network, such as Network((784, 16, 10))"),
            ("provenance", Mapping, "mapping such as {'problem': 'bowl', 'eigenvalues': [1.0]}"),
        )
        for name, kind, expected in kinds:
            value = getattr(self, name)
            check_type(f"Problem: {name}", value, kind | None, f"a {expected}, or None")
        if self.baseline is not None:
            check_limits("Problem: baseline", self.baseline, Real)
        supplied = () if self.evaluation is None else given_to(self.evaluation)
        if "key" in supplied:
            raise InputError(
                "Problem: evaluation declares `key`, expected a cost without random numbers; "
                "without an evaluation, records are means of the cost over fixed keys"
            )
        if "model_state" in supplied and not self.stateful:
            raise InputError(
                "Problem: evaluation declares `model_state`, but the cost does not; declare it in "
                "both, or in the cost only"
            )
        _check_data(self.data)
        if self.weight is not None:
            _check_weight(self.weight)

    def __repr__(self) -> str:
        """Return a summary without the data."""
        made = dict(self.provenance or {})
        name = made.pop("problem", None)
        parts = [f"{name} {short(made)}" if name else f"cost={short(self.cost)}"]
        parts += [f"{self.samples:,} samples"] if self.samples else []
        if self.network is not None:
            parts.append("network " + "-".join(map(str, self.network.widths)))
        parts += [f"metrics {', '.join(self.metrics)}"] if self.metrics else []
        parts += [f"baseline {self.baseline:.4g}"] if self.baseline is not None else []
        return f"Problem({', '.join(parts)})"

    def _repr_html_(self) -> str:
        over = f"the mean over {self.samples:,} samples" if self.samples else "of parameters alone"
        return as_html(self, f"A cost to minimize, {over}.")

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields only, without `_swept`."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @cached_property
    def _swept(self) -> set[str]:
        """Settings of the cost along which this problem was swept, for `problem_at`."""
        return set()

    def at(self, **settings: Any) -> "Problem":
        """Return the problem at a setting, as at `decay=1e-5`, for any analysis.

        All functions of the problem that declare a keyword of this name are called with the value.

        Examples:
            >>> import jax.numpy as jnp
            >>> bowl = Problem(
            ...     init=lambda key: jnp.ones(2), cost=lambda w, *, a=1.0: a * jnp.sum(w**2)
            ... )
            >>> float(bowl.at(a=3.0).cost(jnp.ones(2)))
            6.0
        """
        names: set[str] = set()

        def bound(_, function):
            names.update(settings_of(function, settings))
            return bind(function, settings)

        changed = map_functions(self, bound)
        if unknown := sorted(settings.keys() - names):
            raise InputError(
                f"at: {unknown[0]} = {settings[unknown[0]]!r:.80}, expected a keyword of the cost: "
                f"{', '.join(declared(self.cost)) or 'it declares none'}"
            )
        return dataclasses.replace(changed, provenance=None)

    @property
    def samples(self) -> int:
        """Number of samples in `data`; 0 without data."""
        leaves = jax.tree.leaves(self.data)
        return leaves[0].shape[0] if leaves else 0

    @property
    def random(self) -> bool:
        """Whether the cost draws random numbers."""
        return "key" in given_to(self.cost)

    @property
    def stateful(self) -> bool:
        """Whether the cost has a model state."""
        return "model_state" in given_to(self.cost)

    def begin(self, key: Key[Array, ""], **settings: Any) -> tuple[PyTree, PyTree]:
        """Return a random starting point and the initial model state (None without one)."""
        remedy = "expected init(key) -> params, with random numbers such as jax.random.normal(key)"
        with explained("init: could not be called as init(key)", remedy, self.init):
            made = self.init(key, **settings)
        if not self.stateful:
            return made, None
        if not isinstance(made, tuple) or len(made) != 2:
            raise InputError(
                f"init: returned {type(made).__name__}, expected the pair (params, model_state), "
                f"since the cost declares `model_state`"
            )
        return made


class Known:
    """A function with the key of its trace: equal by key, but each calls its own function.

    Equal functions share compiled programs. A program that is not compiled yet is that of the
    function that is called.
    """

    def __init__(self, function: Callable[..., Any], key: Any = None):
        self.__wrapped__ = function.__wrapped__ if isinstance(function, Known) else function
        self.key = object() if key is None else key

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.__wrapped__(*arguments, **keywords)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and other.key is self.key

    def __hash__(self) -> int:
        return hash(self.key)


class _Fixed(tuple):
    """Fields of a Problem other than data, compared by identity, and known functions by key."""

    __slots__ = ()

    def __eq__(self, other):
        return len(self) == len(other) and all(
            a is b or (isinstance(a, Known) and a == b) for a, b in zip(self, other, strict=True)
        )

    def __ne__(self, other):  # JAX compares by `!=`, and `tuple` has its own
        return not self == other

    def __hash__(self):
        return hash(tuple(hash(field) if isinstance(field, Known) else id(field) for field in self))


_FIXED = tuple(f.name for f in dataclasses.fields(Problem) if f.name != "data")


def _flatten(problem):
    return (problem.data,), _Fixed(getattr(problem, name) for name in _FIXED)


def _flatten_with_keys(problem):
    (data,), fixed = _flatten(problem)
    return ((jax.tree_util.GetAttrKey("data"), data),), fixed


def _unflatten(fixed, children):
    # JAX may replace leaves by placeholders, so the fields are not checked.
    problem = object.__new__(Problem)
    for name, value in (*zip(_FIXED, fixed, strict=True), ("data", children[0])):
        object.__setattr__(problem, name, value)
    return problem


jax.tree_util.register_pytree_with_keys(Problem, _flatten_with_keys, _unflatten, _flatten)


def require_problem(problem: Any, name: str = "problem") -> None:
    """Check that an argument is a Problem and not a bare cost."""
    if isinstance(problem, Problem):
        return
    if callable(problem) and not isinstance(problem, type):
        raise InputError(
            f"{name} is a cost function, which has no starting points; expected "
            f"gd.Problem(init=..., cost=...)"
        )
    raise InputError(f"{name} = {problem!r:.80}, expected a gdjax.Problem")


def as_problem(problem: Problem | Callable[..., Scalar], data: PyTree = None) -> Problem:
    """Convert a bare cost into a Problem; return a Problem unchanged.

    Args:
        problem: a Problem, or a cost `cost(params, batch)`, or `cost(params)` without data.
        data: data used instead of the problem's data; None for the problem's data.

    Examples:
        >>> as_problem(lambda w, x: ((w - x) ** 2).mean(), np.arange(4.0)).samples
        4
    """
    if isinstance(problem, Problem):
        return problem if data is None else dataclasses.replace(problem, data=data)
    if not callable(problem) or isinstance(problem, type):
        raise InputError(f"problem = {problem!r:.80}, expected a Problem or a cost function")
    return Problem(init=_no_start, cost=problem, data=data)


def _no_start(key):
    raise InputError(
        "init: a cost function has no starting points; pass gd.Problem(init=..., cost=...)"
    )


def map_functions(problem: Problem, change: Callable[[str, Callable], Callable]) -> Problem:
    """Return a problem with `change(field, function)` in place of each function of parameters."""
    names = ("init", "cost", "evaluation", "predict", "loss")
    functions = {name: getattr(problem, name) for name in names}
    changed = {name: f if f is None else change(name, f) for name, f in functions.items()}
    return dataclasses.replace(problem, **changed)


def replace_data(problem: Problem, data: PyTree) -> Problem:
    """Return a problem with any pytree as data, which need not be samples."""
    return _unflatten(_flatten(problem)[1], (data,))


def is_array(leaf: Any) -> bool:
    """Return whether an object has a shape and a dtype."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _check_weight(weight):
    if names := given_to(weight):
        raise InputError(
            f"Problem: weight declares {names[0]}, expected a function of the batch alone, "
            f"weight(batch)"
        )


def _check_data(data):
    leaves = jax.tree_util.tree_leaves_with_path(data)
    if data is not None and not leaves:
        raise InputError("Problem: data has no arrays; use None for a cost without data")
    sizes = {}
    for path, leaf in leaves:
        name = "data" + jax.tree_util.keystr(path)
        is_text = getattr(getattr(leaf, "dtype", None), "kind", "") in tuple("OSUM")
        is_text |= isinstance(leaf, np.ma.MaskedArray)
        if is_array(leaf) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise InputError(
                f"Problem: {name} has random keys, expected an array of numbers; pass "
                f"jax.random.key_data(keys), and call jax.random.wrap_key_data in the cost"
            )
        if not is_array(leaf) or is_text or not leaf.shape or leaf.shape[0] == 0:
            raise InputError(
                f"Problem: {name} = {leaf!r:.80}, expected an array of numbers with a leading "
                f"sample axis; convert lists and tables by numpy.asarray"
            )
        sizes[name] = leaf.shape[0]
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{name}: {size}" for name, size in sizes.items())
        raise InputError(
            f"Problem: data has leading axes of different lengths ({lengths}); expected one row "
            f"per sample in every array; for a single sample of several arrays, such as a graph, "
            f"give each array a leading axis of length 1"
        )
