"""Numbers of calls of a user's functions, before the first step and by each verb.

A verb calls a function to trace it, twice if its trace is new, and when it compiles a program. A
repeated verb traces each function once and compiles nothing.
"""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd

AXES = gd.axes(learning_rate=[0.1, 0.2], seed=range(2))
KEY = jax.random.key(0)
NUMBERS = itertools.count(1)


def study(samples=300):
    """Return a problem and a factory whose traces are new, and the counter of their calls."""
    calls, number = collections.Counter(), float(next(NUMBERS))
    data = np.random.default_rng(0).normal(size=(samples, 3)).astype(np.float32)

    def init(key, *, scale=1.0):
        calls["init"] += 1
        return {"w": scale * jax.random.normal(key, (3,)), "b": jnp.full((), number)}

    def cost(params, x):
        calls["cost"] += 1
        return jnp.mean((jnp.tanh(x @ params["w"]) - params["b"] / number) ** 2)

    def make_optimizer(learning_rate, momentum=0.9):
        calls["optimizer"] += 1
        return optax.sgd(learning_rate / number, momentum)

    def norm(problem, params):
        calls["metric"] += 1
        return jnp.sum(params["w"] ** 2) / number

    problem = gd.Problem(init=init, cost=cost, data=data, metrics={"norm": norm})
    return problem, make_optimizer, calls


def sweep(path, samples=300, **options):
    problem, make_optimizer, calls = study(samples)
    options |= {"make_optimizer": make_optimizer}

    def call(to=None):
        return gd.sweep(problem, AXES, 4, store=to, **options)

    return call, calls


def stored(path):
    problem, make_optimizer, calls = study()
    functions = {"problem": problem, "make_optimizer": make_optimizer}
    gd.sweep(problem, AXES, 4, make_optimizer=make_optimizer, store=path / "runs")
    calls.clear()
    return functions, calls


def replayed(path):
    functions, calls = stored(path)
    return lambda: gd.replay(path / "runs", {"learning_rate": 0.1, "seed": 1}, **functions), calls


def extended(path):
    functions, calls = stored(path)
    numbers = itertools.count()
    return lambda: gd.extend(
        path / "runs", num_steps=6, to=path / f"more-{next(numbers)}", **functions
    ), calls


def descent(path, samples=300):
    problem, _, calls = study(samples)
    start, rates = problem.init(KEY), itertools.count(1)
    calls.clear()
    return lambda: gd.descend(problem, optax.sgd(0.1 / next(rates)), start, 4, key=KEY), calls


def halving(path):
    problem, make_optimizer, calls = study()
    spec = gd.Sweep(problem, AXES, 8, make_optimizer=make_optimizer)
    return lambda: gd.search.successive_halving(spec, rungs=(4,)), calls


def finding_a_rate(path):
    problem, make_optimizer, calls = study()
    return lambda: gd.find_learning_rate(problem, make_optimizer, horizon=16), calls


def classified(path):
    problem, _, calls = study()
    start = problem.init(KEY)
    calls.clear()
    return lambda: gd.curvature.classify(problem, start, key=KEY), calls


FIRST = ("cost", "init", "optimizer", "metric")
VERBS = {
    "sweep": (sweep, (5, 3, 4, 3), (1, 1, 1, 1)),
    "sweep, microbatches": (lambda path: sweep(path, 2003), (11, 3, 4, 3), (3, 1, 1, 1)),
    "sweep, mini-batches": (lambda path: sweep(path, batch_size=7), (9, 3, 4, 3), (3, 1, 1, 1)),
    "descend": (descent, (5, 0, 0, 3), (1, 0, 0, 1)),
    "replay": (replayed, (1, 1, 1, 1), (1, 1, 1, 1)),
    "extend": (extended, (2, 2, 2, 2), (2, 2, 2, 2)),
    "find_learning_rate": (finding_a_rate, (20, 7, 10, 0), (3, 3, 3, 0)),
    "classify": (classified, (25, 0, 0, 0), (1, 0, 0, 0)),
    "successive_halving": (halving, (5, 3, 4, 3), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_functions_are_called_a_few_times_at_first_and_once_when_repeated(verb, tmp_path):
    make, most, repeated = VERBS[verb]
    call, calls = make(tmp_path)
    for limits in (most, repeated):
        calls.clear()
        call()
        assert all(calls[name] <= n for name, n in zip(FIRST, limits, strict=True)), dict(calls)
