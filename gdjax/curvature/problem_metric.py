"""Metrics of a descent that are functions of a problem and the parameters, such as the sharpness.

    value = function(problem, params)   or   value, state = function(problem, params, state)

The function receives the problem with the settings and the model state of the run, so that its
deterministic cost depends on the parameters alone:

>>> import jax, jax.numpy as jnp
>>> def slope(problem, w): return jnp.sum(jax.grad(problem.cost)(w))
>>> metric = problem_metric(lambda w, *, scale=3.0: scale * w[0], slope)
>>> float(metric.function(jnp.ones(2), None)), float(metric.function(jnp.ones(2), None, scale=2.0))
(3.0, 2.0)
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from jax.tree_util import PyTreeDef
from jaxtyping import PyTree

from gdjax.problems import keywords
from gdjax.problems.evaluation import frozen, with_data, without_data
from gdjax.problems.problem import Metric, Problem, as_problem


def problem_metric(
    problem: Problem | Callable,
    function: Callable,
    init: Callable | None = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    supplied: tuple[str, ...] = (),
    every: int = 1,
    long_name: str = "",
    dims: tuple[str, ...] = (),
) -> Metric:
    """Return a metric that is a function of a problem and the parameters.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used. The metric
            declares the keywords of the cost.
        function: function `(problem, params) -> value`, or if there is an `init`,
            `(problem, params, state) -> (value, state)`.
        init: function `(problem, params) -> state`, whose problem has no settings yet.
        options: further keywords of both functions, with values that can be compared, so that
            metrics of equal problems with equal options have equal functions.
        supplied: keywords of the function that a descent supplies: "key" or "opt_state".
        every: interval between values, in records.
        long_name: description of the value.
        dims: names of the dimensions of the value.
    """
    problem = as_problem(problem)
    structure, pairs = without_data(problem, model=True), tuple(options.items())
    return Metric(
        _OfProblem(function, structure, pairs, supplied, has_state=init is not None),
        data=problem.data,
        every=every,
        init=None if init is None else partial(_initial_state, init, structure, pairs),
        long_name=long_name,
        dims=dims,
    )


@dataclass(frozen=True)
class _OfProblem:
    """Function `(params, data, *state, **keywords)` of a metric.

    Args:
        function: function of a problem and parameters.
        structure: structure of the problem without data.
        options: names and values of further keywords of the function.
        supplied: names of its keywords that a descent supplies.
        has_state: whether the metric has a state.
    """

    function: Callable
    structure: PyTreeDef
    options: tuple[tuple[str, Any], ...]
    supplied: tuple[str, ...]
    has_state: bool

    def __call__(self, params: PyTree, data: PyTree, *state: PyTree, **settings: Any) -> Any:
        supplied = {name: settings.pop(name, None) for name in self.supplied}
        problem = frozen(with_data(self.structure, data), **settings)
        return self.function(problem, params, *state, **dict(self.options), **supplied)

    @property
    def __signature__(self) -> inspect.Signature:
        problem = with_data(self.structure, None)
        cost = problem.cost if problem.evaluation is None else problem.evaluation
        has_model_state = "model_state" in keywords.given_to(cost)
        names = (*self.supplied, *(("model_state",) if has_model_state else ()))
        return keywords.signature(
            ("params", "data", "metric_state") if self.has_state else ("params", "data"),
            keywords.declared(problem.cost) | dict.fromkeys(names),
        )


def _initial_state(init, structure, options, params, data):
    return init(with_data(structure, data), params, **dict(options))
