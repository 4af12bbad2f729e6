"""Measurements of a problem at a point, the one place where they are called.

    measured(metric, problem, params, state, supplied) -> value, state

Descents, sweeps, slices and `gd.measure` call measurements here only, with products in the highest
precision, so that a recorded value equals one that is measured afterwards.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.keywords import bind
from gdjax.problems.metrics import Metric, needs_of, stored_fields
from gdjax.problems.problem import NOTHING, Problem, map_functions, replace_data


class StaticMetric(NamedTuple):
    """The part of a metric that a program depends on, compared by value.

    Args:
        function: function `(params, data, *state, **keywords) -> (value, *state)`, see `in_run`.
        init: function `(params, data, **keywords) -> state`; None without a state.
        needs: keywords that the metric declares.
        leaves: shapes and types of the arrays of the value, as they are recorded.
        structure: structure of the value.
        is_array: whether the value is stored as separate arrays.
    """

    function: Callable[..., tuple[PyTree, ...]]
    init: Callable[..., PyTree] | None
    needs: tuple[str, ...]
    leaves: tuple[jax.ShapeDtypeStruct, ...]
    structure: jax.tree_util.PyTreeDef
    is_array: bool

    @property
    def value(self) -> PyTree:
        """Shapes and types of the value."""
        return jax.tree.unflatten(self.structure, self.leaves)

    def recorded(self, value: PyTree) -> PyTree:
        """Return a value with the types in which it is recorded."""
        return jax.tree.map(lambda like, a: jnp.asarray(a).astype(like.dtype), self.value, value)


def measured(
    measure: Callable,
    problem: Problem,
    params: PyTree,
    *state: PyTree,
    supplied: Mapping[str, Any] = NOTHING,
) -> tuple[PyTree, ...]:
    """Return the value of a measurement, and its next state if one is given."""
    keywords = {name: supplied[name] for name in needs_of(measure)}
    with jax.default_matmul_precision("highest"):
        result = measure(problem, params, *state, **keywords)
    return result if state else (result,)


def in_run(metric: Metric, problem: Problem) -> tuple[Callable, Callable | None]:
    """Return a metric of the runs of a problem as functions of arrays, and its `init`.

    They are `(params, data, *state, **keywords) -> (value, *state)` and `(params, data, **keywords)
    -> state`. The keywords are `step`, the other ones that the metric declares, the model state,
    and the settings of the run as `role.name`, such as `cost.decay`.
    """
    bare = dataclasses.replace(replace_data(problem, None), metrics=NOTHING, provenance=None)
    init = metric.init
    return (
        partial(_value, metric.measure, bare),
        None if init is None else partial(_initial_state, init, bare),
    )


def from_start(
    init: Callable | None, function: Callable, params: PyTree, data: PyTree, /, **keywords: Any
) -> tuple[PyTree, ...]:
    """Return the value of a metric of `in_run` from its initial state, and its next state."""
    state = () if init is None else (init(params, data, **keywords),)
    return function(params, data, *state, **keywords)


def _value(measure, bare, params, data, /, *state, **keywords):
    settings = _settings(keywords)
    supplied = {**keywords, "settings": {k: v for of in settings.values() for k, v in of.items()}}
    problem = _at_run(bare, data, settings.get("cost", {}), keywords)
    result = measured(measure, problem, params, *state, supplied=supplied)
    return stored_fields(result[0]), *result[1:]


def _initial_state(init, bare, params, data, /, **keywords):
    problem = _at_run(bare, data, _settings(keywords).get("cost", {}), keywords)
    with jax.default_matmul_precision("highest"):
        return init(problem, params)


def _settings(keywords):
    """Return the settings of a run by role, from keywords such as `cost.decay`."""
    settings: dict[str, dict[str, Any]] = {}
    for name, value in keywords.items():
        role, dot, setting = name.partition(".")
        if dot:
            settings.setdefault(role, {})[setting] = value
    return settings


def _at_run(bare, data, settings, keywords):
    """Return a problem at the settings, the model state and the step of a run.

    The data may be any pytree, since those of a metric need not be samples.
    """
    fixed = {name: keywords[name] for name in ("model_state", "step") if name in keywords}
    problem = map_functions(bare, lambda _, function: bind(function, settings))
    cost = deterministic_cost(problem, **fixed)
    predict = None if problem.predict is None else bind(problem.predict, fixed)
    frozen = dataclasses.replace(
        problem,
        cost=cost if data is not None else lambda params: cost(params, None),
        evaluation=None,
        predict=predict,
    )
    return replace_data(frozen, data)


def settings_by_role(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of a run as keywords of a `StaticMetric`."""
    roles = ("init", "cost", "optimizer")
    return {f"{role}.{name}": v for role in roles for name, v in settings.get(role, {}).items()}
