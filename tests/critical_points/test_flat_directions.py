"""Distances along which a cost is constant, on manifolds and in valleys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.critical_points.flat_directions import constant_length
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.problems.problem import as_problem

# Cost of two variables, starting point, flat direction, length along which the cost is constant.
VALLEYS = {
    "hyperbola": (lambda x, y: (1 - x * y) ** 2 / 2, (1.0, 1.0), (1.0, -1.0), 1.0),
    "circle": (lambda x, y: (x * x + y * y - 1) ** 2, (1.0, 0.0), (0.0, 1.0), 1.0),
    "line": (lambda x, y: 3 * x**2 + 0 * y, (0.0, 0.0), (0.0, 1.0), 1.0),
    "sixth order": (lambda x, y: x**2 + y**6, (0.0, 0.0), (0.0, 1.0), 0.0),
    "ends": (lambda x, y: x**2 + jax.nn.relu(abs(y) - 0.5) ** 4, (0.0, 0.0), (0.0, 1.0), 0.5),
    "falls": (lambda x, y: x**2 - y**6, (0.0, 0.0), (0.0, 1.0), 0.0),
}


@pytest.mark.long
def test_the_constant_length_of_each_valley_is_correct_within_an_eighth():
    def cost(w, which):
        costs = [f(*w) for f, *_ in VALLEYS.values()]
        return jnp.select([which == i for i in range(len(VALLEYS))], costs)

    def one(which, w, direction, is_enabled):
        at = directional_derivatives(as_problem(lambda w: cost(w, which)), lambda w: w)
        direction = direction / jnp.linalg.norm(direction)
        scale = jnp.linalg.norm(jax.hessian(cost)(w, which))
        return constant_length(at, w, *at.gradient(w), direction, scale=scale, enabled=is_enabled)

    with jax.enable_x64(True):
        points, directions = (jnp.array([v[k] for v in VALLEYS.values()]) for k in (1, 2))
        which = jnp.arange(len(VALLEYS))
        program = jax.jit(jax.vmap(one, (0, 0, 0, None)))
        lengths = np.asarray(program(which, points, directions, True))
        # With enabled=False the length is 0.
        assert not np.any(program(which, points, directions, False))
    for (name, (*_, expected)), length in zip(VALLEYS.items(), lengths, strict=True):
        assert abs(length - expected) <= 0.125, (name, length)
        assert (length == 1) == (expected == 1), name
