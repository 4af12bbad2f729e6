"""The functions of a user that determine the numbers of a descent, with the keys of their traces.

    init, cost, evaluation, metrics, optimizer, eval_params_fn   ->   {"cost": Traced, ...}

Programs are compiled once for all functions with equal traces, and a store records their texts.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.base.errors import InputError
from gdjax.descent.step import cost_type, update
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to, settings_of
from gdjax.problems.problem import Problem, map_functions
from gdjax.problems.traces import Traced, key_shape, trace, traced_costs


def traced_functions(
    problem: Problem,
    make_optimizer: Callable[..., optax.GradientTransformation] | None,
    settings: Mapping[str, Mapping[str, Any]],
    *,
    params: PyTree = None,
    model_state: PyTree = None,
    batch_size: int | None = None,
    record_samples: int | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
) -> dict[str, Traced]:
    """Trace the functions of a user in the order in which they need each other's results.

    A function whose arguments are unknown, because an earlier one could not be traced, is left out.
    """
    traced = {}
    if params is None:
        traced["init"] = trace(problem.init, (key_shape(),), settings["init"], name="init")
        made = traced["init"].results
        is_pair = isinstance(made, tuple) and len(made) == 2
        if made is None or (problem.stateful and not is_pair):
            return traced
        params, model_state = made if problem.stateful else (made, None)
    traced |= traced_costs(
        problem, params, settings["cost"], model_state, batch_size, record_samples
    )
    if make_optimizer is None:
        return traced
    arguments = (params,), settings["optimizer"], one_update
    traced["optimizer"] = optimizer = trace(make_optimizer, *arguments, name="optimizer")
    opt_state = None if optimizer.results is None else optimizer.results[1]
    supplied = {"key": key_shape(), "step": np.int32(0), "model_state": model_state}
    supplied["opt_state"] = opt_state
    for name, metric in problem.metrics.items():
        keywords = {n: supplied[n] for n in given_to(metric.function, GIVEN_TO_METRICS)}
        keywords |= settings_of(metric.function, settings["cost"])
        measure = partial(_measure, metric.init)
        role, arguments = f"metrics.{name}", (params, metric.data)
        traced[role] = trace(metric.function, arguments, keywords, measure, name=role)
        if metric.init is not None:
            traced[f"{role}.init"] = trace(metric.init, arguments, name=f"{role}.init")
    if eval_params_fn is not None and opt_state is not None:
        traced["eval_params_fn"] = trace(eval_params_fn, (opt_state, params), name="eval_params_fn")
    return traced


def with_functions(problem: Problem, traced: Mapping[str, Traced]) -> Problem:
    """Return a problem with the keys of the traces of its functions."""
    if "weight" in traced:
        problem = replace(problem, weight=traced["weight"].function)
    return map_functions(problem, lambda name, f: traced[name].function if name in traced else f)


def _measure(init, function, params, data, **keywords):
    state = () if init is None else (init(params, data),)
    return function(params, data, *state, **keywords)


def one_update(make_optimizer: Callable, params: PyTree, **settings: Any) -> tuple[PyTree, PyTree]:
    """Return the updates and the next state of the first step of an optimizer."""
    made = make_optimizer(**settings)
    if not all(callable(getattr(made, name, None)) for name in ("init", "update")):
        raise InputError(
            f"make_optimizer: {name_of(make_optimizer)} returned {made!r:.80}, expected an Optax "
            f"transformation, such as optax.sgd(0.1)"
        )
    value = jnp.zeros((), cost_type(params))
    return update(
        made,
        params,
        made.init(params),
        params,
        value=value,
        value_fn=lambda p: value + optax.tree.norm(p, squared=True),
        grad_fn=lambda p: p,
    )


def name_of(function: Callable) -> str:
    """Return the name of a function, or of the one that a partial function calls."""
    inner = inspect.unwrap(function)
    inner = getattr(inner, "func", inner)
    return getattr(inner, "__name__", repr(inner))
