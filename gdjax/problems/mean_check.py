"""Check that a cost is a mean over samples, so that it can be evaluated in microbatches.

    C(12 samples) = 1/2 C(the first 6) + 1/2 C(the last 6)

The costs are weighted by `Problem.weight`, if it is given.
"""

import contextlib
import inspect
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import PyTree

from gdjax.base.errors import InputError
from gdjax.base.keys import run_keys
from gdjax.base.slabs import CompiledFunction
from gdjax.problems.keywords import declared, given_to, settings_of
from gdjax.problems.microbatches import cost_microbatch, largest_microbatch, microbatch_size
from gdjax.problems.prints import without_prints
from gdjax.problems.problem import Problem

# Costs that are known to be means over data: by settings, references to the weight and the data.
# Each is checked only once, since the check needs a compilation.
_MEANS: weakref.WeakKeyDictionary[Any, dict[str, list[Any]]] = weakref.WeakKeyDictionary()


def mean_checks(
    problem: Problem,
    params: PyTree,
    settings: Mapping[str, Any],
    model_state: PyTree,
    largest: int | None = None,
) -> Callable[[], bool]:
    """Return a function that checks whether the cost and the evaluation are means.

    `largest` is the maximum number of samples of a microbatch; None for that of the platform.
    It returns False if values are not finite, so that nothing can be concluded. Its program is
    compiled in a thread. Without this program, each operation of the cost would be compiled for
    each number of samples: 61 programs and 6 times the processor time for the digit network.
    """
    checks = []
    for role in ("cost",) if problem.evaluation is None else ("cost", "evaluation"):
        whole = role == "cost" and cost_microbatch(problem) is None
        if problem.data is not None and problem.samples >= 2 and not whole:
            checks.append(_mean_check(role, problem, params, settings, model_state, largest))
    return lambda: False not in [check() for check in checks if check is not None]


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


def _mean_check(role, problem, params, settings, model_state, largest=None):
    """Return a function that checks whether a cost is a mean over samples.

    It compares costs with the weighted mean over two halves, of a few samples spread over the data
    and of neighboring microbatches, at random parameters. It returns False if costs are not finite
    there and at `params`. It is None if the cost is known to be a mean, or if values are traced.
    """
    function = getattr(problem, role)
    every = {"key": run_keys(0).noise, "step": np.int32(0), "model_state": model_state}
    supplied = {name: every[name] for name in given_to(function)}
    settings = settings if role == "cost" else settings_of(function, settings)
    data, samples = problem.data, problem.samples
    if not _are_concrete((data, supplied)):
        return None
    means, key, parts = {}, repr(sorted(settings.items())), _parts(problem)
    with contextlib.suppress(TypeError):  # not hashable, or without weak references
        means = _MEANS.setdefault(getattr(function, "key", function), means)
    known = [part() for part in means.get(key, ())]
    if len(known) == len(parts) and all(a is b for a, b in zip(known, parts, strict=True)):
        return None
    count, length = (
        min(samples, 12) // 2 * 2,
        microbatch_size(samples, largest or largest_microbatch()),
    )
    chosen = np.arange(count) * samples // count
    groups = [jax.tree.map(lambda a: a[chosen][None], data)]
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

        def of_group(batch):
            halves = jax.tree.map(lambda a: a.reshape(2, -1, *a.shape[1:]), batch)
            return cost_and_weight(batch), jax.lax.map(cost_and_weight, halves)

        return [jax.lax.map(of_group, group) for group in groups]

    program = CompiledFunction(values, fast_compilation=True)
    starts = random_params(params), *([params] if _are_concrete(params) else [])
    program.ahead(starts[0], groups, supplied)

    def compare():
        for start in starts:
            computed = program(start, groups, supplied)
            if all(_is_mean(role, problem.weight, *values) for values in computed):
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


def _is_mean(role, weight, whole, halves):
    """Return whether costs are the weighted means of those of two halves; False if not finite.

    The arguments are costs and weights, [groups] of all samples and [groups, 2] of the halves.
    """
    dtype = whole[0].dtype
    (whole, _), (parts, weights) = jax.tree.map(lambda a: np.asarray(a, float), (whole, halves))
    (first, second), (w_1, w_2) = parts.T, weights.T
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
            f"microbatches of one half each is {mean[n]:.6g}{counts}; expected a "
            f"mean over the batch, so that microbatches can be combined: use jnp.mean over samples "
            f"instead of jnp.sum; if it divides by a sum of the batch, such as that of a mask, "
            f"pass Problem(..., weight=lambda batch: that sum); {remedy}"
        )
    return True
