"""Deterministic cost of a problem for records, curvature, landscapes and minima.

E(w) = evaluation(w)                 if the problem has an evaluation, else
E(w) = C(w)                          if the cost draws no random numbers, else
E(w) = 1/K sum_k C(w, key_k)         with K fixed keys
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import PyTreeDef
from jaxtyping import Array, PyTree, ScalarLike

from gdjax.base.errors import InputError
from gdjax.problems.checks import check_fixed, check_params, check_returned, explained_role
from gdjax.problems.keywords import bind, declared, given_to, settings_of
from gdjax.problems.microbatches import cost_microbatch, in_microbatches, largest_microbatch
from gdjax.problems.problem import Problem, as_problem, map_functions, require_problem

KEYS = 8  # number of fixed keys over which a random cost without an evaluation is averaged


def deterministic_cost(
    problem: Problem,
    *,
    model_state: PyTree = None,
    step: ScalarLike | None = None,
    **settings: Any,
) -> Callable[[PyTree, PyTree], Array]:
    """Return the deterministic cost as a function `(params, batch) -> scalar`.

    For a problem without data, batch is None.

    Examples:
        >>> noisy = Problem(
        ...     init=lambda key: jnp.ones(2),
        ...     cost=lambda w, *, key: jnp.sum(w**2) + jax.random.normal(key),
        ...     evaluation=lambda w: jnp.sum(w**2),
        ... )
        >>> float(deterministic_cost(noisy)(jnp.ones(2), None))
        2.0
    """
    require_problem(problem)
    function = problem.cost if problem.evaluation is None else problem.evaluation
    needs = given_to(function)
    keywords = dict(settings) if problem.evaluation is None else settings_of(function, settings)
    fixed = {"model_state": model_state}
    fixed["step"] = None if step is None else jnp.asarray(step, jnp.int32)
    keywords |= {n: v for n, v in fixed.items() if n in needs and v is not None}
    missing = inspect.Parameter.empty
    defaults = {n: missing for n in needs if n in fixed} | declared(function)
    for name, default in defaults.items():
        if default is missing and name not in keywords:
            raise InputError(
                f"problem: the cost requires {name}, which differs between points or has no "
                f"default; fix it: gdjax.problems.frozen(problem, {name}=...)"
            )

    def evaluate(params, batch, **more):
        arguments = (params,) if batch is None else (params, batch)
        value = function(*arguments, **keywords, **more)
        return value[0] if problem.evaluation is None and problem.stateful else value

    if "key" not in needs:
        return evaluate

    def mean_over_keys(params, batch):
        keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), KEYS)
        return jnp.mean(jax.lax.map(lambda key: evaluate(params, batch, key=key), keys))

    return mean_over_keys


def evaluation_microbatch(problem: Problem, largest: int | None = None) -> int | None:
    """Return the microbatch size of the evaluation; None if it is not split."""
    if problem.evaluation is not None:
        return largest or largest_microbatch()
    return cost_microbatch(problem, largest)


def evaluate(problem: Problem, params: PyTree, *, data: PyTree = None) -> Array:
    """Return the deterministic cost over all data; see `frozen` for a model state and settings.

    Args:
        problem: problem whose evaluation, or else cost, is used.
        params: parameters at which to evaluate.
        data: data used instead of the problem's data; None for the problem's data.

    Examples:
        >>> mean = Problem(lambda key: 0.0, lambda w, x: jnp.mean(w * x), jnp.arange(4.0))
        >>> float(evaluate(mean, 2.0)), float(evaluate(mean, 2.0, data=jnp.ones(3)))
        (3.0, 2.0)
    """
    require_problem(problem)
    problem = as_problem(problem, data)
    cost = deterministic_cost(problem)
    check_params(params)
    role = "cost" if problem.evaluation is None else "evaluation"
    mean = in_microbatches(cost, evaluation_microbatch(problem), problem.weight)
    with explained_role(role, problem, params, {}):
        return check_returned(role, False, None, mean(params, problem.data))


def frozen(
    problem: Problem,
    *,
    model_state: PyTree = None,
    step: ScalarLike | None = None,
    **settings: Any,
) -> Problem:
    """Return a problem whose cost is deterministic, with fixed state and settings.

    Lines, planes, spectra and classifications reject a cost with a model state, since running
    statistics differ between points. With a fixed model state, the cost is a function of the
    parameters alone.

    Args:
        problem: problem whose evaluation, or else cost, is used.
        model_state: model state, required if the cost has one.
        step: number of the step, required if the cost depends on it without a default.
        settings: values of the cost's keywords; the defaults if not given.

    Examples:
        >>> pulled = Problem(
        ...     init=lambda key: (jnp.ones(()), jnp.zeros(())),
        ...     cost=lambda w, *, model_state: (
        ...         (w - model_state) ** 2,
        ...         0.9 * model_state + 0.1 * w,
        ...     ),
        ... )
        >>> float(frozen(pulled, model_state=jnp.ones(())).cost(jnp.array(3.0)))
        4.0
    """
    require_problem(problem)
    check_fixed(problem, model_state, step, settings)
    cost = deterministic_cost(problem, model_state=model_state, step=step, **settings)
    constants = dict(settings) | ({} if model_state is None else {"model_state": model_state})

    def init(key):
        return problem.begin(key)[0]

    return dataclasses.replace(
        map_functions(problem, lambda name, function: bind(function, constants)),
        init=init,
        cost=cost if problem.data is not None else lambda params: cost(params, None),
        evaluation=None,
        couples_samples=evaluation_microbatch(problem) is None,
        provenance=None,
    )


def evaluation_part(problem: Problem) -> Problem:
    """Return a problem reduced to the fields that its deterministic cost needs.

    Problems with the same cost then share one compiled program.
    """
    fields = {name: getattr(problem, name) for name in ("evaluation", "weight", "couples_samples")}
    return dataclasses.replace(as_problem(problem.cost, problem.data), **fields)


def without_data(problem: Problem) -> PyTreeDef:
    """Return the structure of `evaluation_part` without data, for comparisons."""
    return jax.tree.structure(evaluation_part(dataclasses.replace(problem, data=None)))


def with_data(tree: PyTreeDef, data: PyTree) -> Problem:
    """Return a problem from the result of `without_data` and the given data."""
    return as_problem(jax.tree.unflatten(tree, ()), data)


def restricted(problem: Problem, whole: Callable[[PyTree], PyTree]) -> Problem:
    """Return a problem in other parameters, with `cost(v) = evaluation(whole(v))`."""
    evaluation = deterministic_cost(problem)

    def cost(params, batch=None):
        return evaluation(whole(params), batch)

    couples = evaluation_microbatch(problem) is None
    return Problem(
        init=problem.init,
        cost=cost,
        data=problem.data,
        weight=problem.weight,
        couples_samples=couples,
    )
