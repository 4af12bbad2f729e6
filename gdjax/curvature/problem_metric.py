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

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gdjax.problems import keywords
from gdjax.problems.evaluation import frozen, with_data, without_data
from gdjax.problems.problem import Metric, Problem, as_problem


def problem_metric(
    problem: Problem | Callable,
    function: Callable,
    init: Callable | None = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    every: int = 1,
    long_name: str = "",
    dims: tuple[str, ...] = (),
) -> Metric:
    """Return a metric that is a function of a problem and the parameters.

    Args:
        problem: a Problem or a cost, whose deterministic cost over all its data is used. The metric
            declares the keywords of the cost.
        function: function `(problem, params) -> value`, or if there is an `init`,
            `(problem, params, state) -> (value, state)`. If it declares the keyword `key` or
            `opt_state`, a descent supplies it.
        init: function `(problem, params) -> state`, whose problem has no settings yet.
        options: further keywords of both functions, with values that can be compared, so that
            metrics of equal problems with equal options have equal functions.
        every: interval between values, in records.
        long_name: description of the value.
        dims: names of the dimensions of the value.
    """
    problem = as_problem(problem)
    supplied = keywords.given_to(function, ("key", "opt_state"))
    # Partial functions with equal arguments count as equal, so that their programs are shared.
    arguments = without_data(problem, model=True), tuple(options.items())
    evaluation = problem.cost if problem.evaluation is None else problem.evaluation
    has_model_state = "model_state" in keywords.given_to(evaluation)
    return Metric(
        keywords.declare(
            partial(_value, function, *arguments, supplied),
            ("params", "data") if init is None else ("params", "data", "metric_state"),
            (*supplied, "model_state") if has_model_state else supplied,
            keywords.declared(problem.cost),
        ),
        data=problem.data,
        every=every,
        init=None if init is None else partial(_initial_state, init, *arguments),
        long_name=long_name,
        dims=dims,
    )


def _value(function, structure, options, supplied, params, data, /, *state, **settings):
    supplied_values = {name: settings.pop(name, None) for name in supplied}
    problem = frozen(with_data(structure, data), **settings)
    return function(problem, params, *state, **dict(options), **supplied_values)


def _initial_state(init, structure, options, params, data):
    return init(with_data(structure, data), params, **dict(options))
