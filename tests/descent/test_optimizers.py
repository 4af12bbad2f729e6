"""End points of common optimizers on all classified test functions.

There is one program per optimizer: functions and starts are axes of a sweep. Descents start at a
distance of 3 % of the domain's side from a minimum, and must end in a minimum. `OTHER_ENDS` lists
the exceptions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.problems.test_functions import FUNCTIONS

STEPS = 10_000
STARTS = 4
NAMES = list(FUNCTIONS)
TWO_DIMENSIONAL = {name for name in NAMES if len(FUNCTIONS[name].domain) == 2}
SIDES = np.array([max(hi - lo for lo, hi in FUNCTIONS[name].domain) for name in NAMES])


def decaying(factory, **settings):
    """Return a factory whose learning rate decays to 0, to avoid oscillations."""

    def made(learning_rate):
        return factory(optax.cosine_decay_schedule(learning_rate, STEPS), **settings)

    return made


# Factory, and what determines the length of a step: "length" for the learning rate, "gradient" for
# the learning rate times the gradient norm, None for a line search.
OPTIMIZERS = {
    "sgd": (decaying(optax.sgd), "gradient"),
    "momentum": (decaying(optax.sgd, momentum=0.9), "gradient"),
    "nesterov": (decaying(optax.sgd, momentum=0.9, nesterov=True), "gradient"),
    "adam": (decaying(optax.adam), "length"),
    "adamw": (decaying(optax.adamw), "length"),
    "nadam": (decaying(optax.nadam), "length"),
    "amsgrad": (decaying(optax.amsgrad), "length"),
    "adamax": (decaying(optax.adamax), "length"),
    "rmsprop": (decaying(optax.rmsprop), "length"),
    "adagrad": (decaying(optax.adagrad), "length"),
    "lion": (decaying(optax.lion), "length"),
    "lbfgs": (optax.lbfgs, None),
}

# Exceptions: a function with a saddle and no lower bound, and one with a manifold of minima.
OTHER_ENDS = {"monkey_saddle": "falls", "two_factors": "floor"}


def sharpest(name):
    """Return the largest Hessian eigenvalue over all minima; 1 if there is none."""
    known = FUNCTIONS[name]
    hessian = jax.jit(jax.hessian(known.f))
    values = [
        np.linalg.eigvalsh(np.atleast_2d(hessian(np.asarray(p.x, np.float32)))).max()
        for p in known.minima
    ]
    return max(values, default=1.0)


def starts(name):
    """Return starts near the minima, or near critical points if there are no minima."""
    known = FUNCTIONS[name]
    points = [np.atleast_1d(p.x) for p in known.minima or known.critical_points]
    side = max(hi - lo for lo, hi in known.domain)
    beside = [np.resize(point, 2) + 0.03 * side * np.array([0.8, -0.6]) for point in points]
    return np.resize(np.stack(beside), (STARTS, 2))


TABLE = np.stack([starts(name) for name in NAMES]).astype(np.float32)
BRANCHES = [
    FUNCTIONS[name].f if name in TWO_DIMENSIONAL else lambda w, f=FUNCTIONS[name].f: f(w[0])
    for name in NAMES
]


def init(key, *, row, start):
    table = jnp.asarray(TABLE)
    return table[jnp.asarray(row, int), jnp.asarray(start, int)]


def cost(w, *, function):
    return jax.lax.switch(jnp.asarray(function, int), BRANCHES, w)


PROBLEM = gd.Problem(init=init, cost=cost)


QUICK = ("sgd",)
PARAMS = [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in OPTIMIZERS]


@pytest.fixture(scope="module", params=PARAMS)
def ended(request):
    """Return the name of an optimizer, and its runs on all functions from all starts."""
    factory, rate = OPTIMIZERS[request.param]
    numbers = np.arange(len(NAMES))
    own = {"function": numbers, "row": numbers}
    if rate == "length":
        own["learning_rate"] = 0.01 * SIDES
    elif rate == "gradient":
        own["learning_rate"] = np.array([0.5 / sharpest(name) for name in NAMES])
    functions = gd.zip_axes(**own)
    steps = STEPS if rate else 100
    axes = gd.axes(functions=functions, start=range(STARTS))
    runs = gd.sweep(PROBLEM, axes, steps, make_optimizer=factory, record_every=steps)
    return request.param, runs


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_ends_in_a_known_minimum_or_falls_if_there_is_none(name, ended):
    _, runs = ended
    known, row = FUNCTIONS[name], runs.isel({runs.outcome.dims[0]: NAMES.index(name)})
    ends, costs = row.params.values.reshape(STARTS, -1), row.cost.values
    if OTHER_ENDS.get(name) == "falls":
        assert np.all((costs[:, -1] < -1) | np.isposinf(costs[:, -1]))
        return
    assert np.all(costs[:, -1] <= costs[:, 0])
    if name not in OTHER_ENDS:
        minima = np.array([np.atleast_1d(p.x) for p in known.minima])
        at = ends[:, : minima.shape[1]]
        away = np.linalg.norm(at[:, None] - minima, axis=2).min(axis=1)
        assert away.max() < 3e-3 * SIDES[NAMES.index(name)]
    else:
        np.testing.assert_allclose(ends.prod(axis=1), 1, atol=1e-3)
