"""Metrics: measurements with a cadence, data of their own and a meaning.

    value = measure(problem, params)    or    value, state = measure(problem, params, state)

A measurement is any function of a problem and parameters. One that has an attribute `init`
passes a state from one measurement to the next.

>>> import jax, jax.numpy as jnp
>>> from gdjax.problems.problem import Problem
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> slope = Metric(lambda problem, w: jnp.linalg.norm(jax.grad(problem.cost)(w)), every=10)
>>> float(slope.measure(bowl, jnp.array([3.0, 4.0])))
10.0
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.base.arguments import check_callable, check_limits, check_text, check_type
from gdjax.base.arrays import Array
from gdjax.base.errors import InputError
from gdjax.base.limits import Count
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to

DEFAULTS: Mapping[str, Any] = {"long_name": "", "units": "1", "dims": (), "dtype": None}


@dataclass(frozen=True, eq=False)
class Metric:
    """A measurement: what is computed, and when and on what it is taken.

    A function is accepted wherever a Metric is, and is then measured at every record.

    The value is a number or an array with named dimensions, or several of them: a dict of arrays,
    or a NamedTuple, such as the results of `gd.curvature`. Of a NamedTuple, the fields that its
    attribute `arrays` declares are stored, and without this attribute the fields that are arrays.
    The arrays of a metric `ends` are `ends_values`, `ends_residuals`, ..., and their dimensions
    begin with `ends_`, too.

    Along a descent, a number is recorded along `step` in the type of the cost, and is NaN at
    records without a measurement. A metric with `dims` or a `dtype` is stored as a separate array
    of that type. If `every` > 1, that array has a separate dimension `<name>_step`, without gaps.
    After a run has diverged, the values of the array are those at its frozen parameters. If the
    type has no NaN, a sweep has another array `<name>_known`, which is False after divergence and
    for unfinished runs.

    Args:
        measure: function `measure(problem, params) -> value`. If it has an attribute `init`, a
            function `init(problem, params) -> state`, it is called as
            `measure(problem, params, state) -> (value, state)`, so that an estimate can start from
            the last one. It may declare keyword-only arguments: `key`, a random key that differs
            between steps and between runs with different `seed`; `step`, the number of the step;
            `model_state`, the model state of the cost; `opt_state`, the state of the optimizer;
            `settings`, the numbers that axes set, by name. The problem has the settings, the model
            state and the step of the run, so that its cost depends on parameters and data only.
        every: number of records from one measurement to the next. The metric is also computed at
            the last record.
        data: pytree of arrays that takes the place of the problem's data, such as a test set; None
            for the problem's data.
        long_name: description of the value, for axes and tables. For this and the next arguments,
            None takes the attribute of this name of `measure`, if there is one.
        units: unit of the value; "1" for a pure number.
        dims: names of the dimensions of the array. A dimension that several metrics share has one
            length in all of them.
        dtype: type in which the value is stored (boolean, integer or floating); that of the cost if
            None.

    Examples:
        The parameters along a descent, and the cost at other data:

        >>> import jax.numpy as jnp
        >>> import gdjax as gd
        >>> line = gd.Problem(lambda key: jnp.ones(1), lambda w, x: jnp.mean(w * x), jnp.ones(4))
        >>> metrics = {
        ...     "point": gd.Metric(lambda problem, w: w, dims=("coordinate",)),
        ...     "unseen": gd.Metric(gd.problems.evaluate, data=jnp.zeros(3)),
        ... }
        >>> runs = gd.sweep(line, gd.axes(learning_rate=[0.5]), 2, metrics=metrics)
        >>> runs.point.values.ravel().tolist(), runs.unseen.values.ravel().tolist()
        ([1.0, 0.5, 0.0], [0.0, 0.0, 0.0])
    """

    measure: Callable[..., Any]
    _: KW_ONLY
    every: int = 1
    data: PyTree = None
    long_name: str | None = None
    units: str | None = None
    dims: Any = None
    dtype: Any = None

    def __post_init__(self):
        check_callable("Metric: measure", self.measure, "measure(problem, params) -> value")
        if self.init is not None:
            check_callable("Metric: init", self.init, "init(problem, params) -> state")
        for name, default in DEFAULTS.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, attribute(self.measure, name, default))
        texts = isinstance(self.dims, tuple | list) and all(isinstance(d, str) for d in self.dims)
        if not texts or len(set(self.dims)) < len(self.dims):
            raise InputError(f"Metric: dims = {self.dims!r:.80}, expected distinct names")
        object.__setattr__(self, "dims", tuple(self.dims))
        if self.dtype is not None:
            object.__setattr__(self, "dtype", _own_type(self.dtype))
        check_limits("Metric: every", self.every, Count)
        check_text("Metric: long_name", self.long_name)
        check_text("Metric: units", self.units)

    @property
    def init(self) -> Callable[[Any, Any], Any] | None:
        """Function `init(problem, params) -> state`; None for a measurement without a state."""
        return attribute(self.measure, "init", None)

    @property
    def needs(self) -> tuple[str, ...]:
        """Keywords that the measurement declares, and a run supplies."""
        return needs_of(self.measure)

    def arrays(self, name: str, value: PyTree) -> dict[str, Array]:
        """Return the arrays that are stored for a metric of a name and a value of these shapes."""
        title, parts = name.replace("_", " "), parts_of(value)
        if parts is None:
            units = self.units or "1"
            whole = Array(self.long_name or title, self.dims, units, dtype=value.dtype)
            return {name: whole}
        arrays = {}
        for key, part in parts.items():
            dims = tuple(f"{key}_{i}" for i in range(len(part.shape)))
            array = getattr(value, "arrays", {}).get(key, Array(f"{title}: {key}", dims))
            own = tuple(f"{name}_{dim}" for dim in array.dims)
            arrays[f"{name}_{key}"] = array._replace(dims=own, dtype=part.dtype)
        return arrays


def parts_of(value: PyTree) -> Mapping[str, Any] | None:
    """Return the arrays of a dict or a NamedTuple by name; None for a single array."""
    if hasattr(value, "_fields"):
        return {key: part for key, part in value._asdict().items() if part is not None}
    return value if isinstance(value, Mapping) else None


def named_parts(name: str, value: PyTree) -> dict[str, Any]:
    """Return the arrays of the value of a metric by the names under which they are stored."""
    parts = parts_of(value)
    return {name: value} if parts is None else {f"{name}_{k}": a for k, a in parts.items()}


def stored_fields(value: PyTree) -> PyTree:
    """Return a value with None for each field of a NamedTuple that is not stored."""
    if not hasattr(value, "_fields"):
        return value
    fields = value._asdict()
    arrays = [key for key, part in fields.items() if jax.tree_util.all_leaves([part])]
    stored = getattr(type(value), "arrays", arrays)
    return value._replace(**{key: None for key in fields if key not in stored})


def as_metrics(name: str, metrics: Any) -> Mapping[str, Metric]:
    """Return measurements by name as metrics; errors name the argument."""
    expected = "a mapping of names to measurements: {'size': lambda problem, params: ...}"
    check_type(name, metrics, Mapping, expected)
    for key, metric in metrics.items():
        is_valid = isinstance(metric, Metric) or (callable(metric) and not isinstance(metric, type))
        if not isinstance(key, str) or not is_valid:
            raise InputError(
                f"{name}: {key!r:.80} = {metric!r:.80}, expected a name with a function "
                f"measure(problem, params), or a gdjax.Metric of one"
            )
    if all(isinstance(metric, Metric) for metric in metrics.values()):
        return metrics  # problems are compared by the identity of their fields
    return {n: m if isinstance(m, Metric) else Metric(m) for n, m in metrics.items()}


def described(**attributes: Any) -> Callable[[Callable], Callable]:
    """Return a decorator that states the meaning of a measurement, for `Metric`."""

    def decorated(function: Callable) -> Callable:
        for name, value in attributes.items():
            setattr(function, name, value)
        return function

    return decorated


def needs_of(measure: Callable) -> tuple[str, ...]:
    """Return the keywords that a measurement declares, or lists in its attribute `needs`."""
    own = attribute(measure, "needs", None)
    return given_to(measure, GIVEN_TO_METRICS) if own is None else own


def attribute(measure: Callable, name: str, default: Any) -> Any:
    """Return an attribute of a measurement, also of a partial one."""
    while isinstance(measure, partial):
        measure = measure.func
    return getattr(measure, name, default)


def _own_type(dtype):
    try:
        made = np.dtype(dtype)
    except TypeError:
        made = np.dtype("O")
    if made.kind not in "biuf":
        raise InputError(
            f"Metric: dtype = {dtype!r:.80}, expected a boolean, integer or floating type, such "
            f"as 'uint8'"
        )
    return made
