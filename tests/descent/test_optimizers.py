"""End points of common optimizers on all classified test functions.

There is one program per optimizer: functions and starts are axes of a sweep. Descents start at a
distance of 3 % of the domain's side from a minimum, and must end in a minimum. The exceptions are
"monkey_saddle", which has no lower bound, and "two_factors", whose minima form a hyperbola.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.problems.test_functions import FUNCTIONS

STEPS, STARTS = 10_000, 4
SIDES = np.array([np.ptp(known.domain, axis=1).max() for known in FUNCTIONS.values()])


def decaying(factory, **settings):
    """Return a factory whose learning rate decays to 0, to avoid oscillations."""
    return lambda learning_rate: factory(
        optax.cosine_decay_schedule(learning_rate, STEPS), **settings
    )


# Factory, and what determines the length of a step: "length" for the learning rate, "gradient" for
# the learning rate times the gradient norm, None for a line search.
OPTIMIZERS = {
    "sgd": (decaying(optax.sgd), "gradient"),
    "momentum": (decaying(optax.sgd, momentum=0.9), "gradient"),
    "nesterov": (decaying(optax.sgd, momentum=0.9, nesterov=True), "gradient"),
    "lbfgs": (optax.lbfgs, None),
} | {
    name: (decaying(getattr(optax, name)), "length")
    for name in ("adam", "adamw", "nadam", "amsgrad", "adamax", "rmsprop", "adagrad", "lion")
}


def sharpest(known):
    """Return the largest Hessian eigenvalue over all minima; 1 if there is none."""
    hessian = jax.jit(jax.hessian(known.f))
    points = [np.asarray(point.x, np.float32) for point in known.minima]
    values = [np.linalg.eigvalsh(np.atleast_2d(hessian(x))).max() for x in points]
    return max(values, default=1.0)


def starts(known, side):
    """Return starts near the minima, or near critical points if there are no minima."""
    points = [np.resize(point.x, 2) for point in known.minima or known.critical_points]
    return np.resize(np.stack(points) + 0.03 * side * np.array([[0.8, -0.6]]), (STARTS, 2))


TABLE = np.stack(list(map(starts, FUNCTIONS.values(), SIDES))).astype(np.float32)
BRANCHES = [
    known.f if len(known.domain) == 2 else lambda w, f=known.f: f(w[0])
    for known in FUNCTIONS.values()
]


def init(key, *, row, start):
    return jnp.asarray(TABLE)[jnp.asarray(row, int), jnp.asarray(start, int)]


def cost(w, *, function):
    return jax.lax.switch(jnp.asarray(function, int), BRANCHES, w)


@pytest.mark.parametrize(("factory", "rate"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_descent_ends_in_a_known_minimum_or_falls_if_there_is_none(factory, rate):
    numbers = np.arange(len(FUNCTIONS))
    rates = {}
    if rate is not None:
        slopes = np.array([0.5 / sharpest(known) for known in FUNCTIONS.values()])
        rates["learning_rate"] = 0.01 * SIDES if rate == "length" else slopes
    functions = gd.zip_axes(function=numbers, row=numbers, **rates)
    steps = STEPS if rate else 100
    axes = gd.axes(functions=functions, start=range(STARTS))
    problem = gd.Problem(init=init, cost=cost)
    runs = gd.sweep(problem, axes, steps, make_optimizer=factory, record_every=steps)
    for (name, known), side, ends, costs in zip(
        FUNCTIONS.items(), SIDES, runs.params.values, runs.cost.values, strict=True
    ):
        if name == "monkey_saddle":
            assert np.all((costs[:, -1] < -1) | np.isposinf(costs[:, -1]))
            continue
        assert np.all(costs[:, -1] <= costs[:, 0]), name
        if name == "two_factors":
            np.testing.assert_allclose(ends.prod(axis=1), 1, atol=1e-3)
            continue
        minima = np.array([np.atleast_1d(point.x) for point in known.minima])
        away = np.linalg.norm(ends[:, None, : minima.shape[1]] - minima, axis=2).min(axis=1)
        assert away.max() < 3e-3 * side, name
