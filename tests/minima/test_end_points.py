"""Kinds of the end points of descents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from some_networks import named

from gdjax.minima.end_points import classify_end_points
from gdjax.problems.problem import Problem

KEY = jax.random.key(0)


ENDS = (
    (lambda x: 0 * x, 1.0, "manifold of minima"),  # constant within the probed radius
    (lambda x: x**3, 0.0, "degenerate saddle"),
    (lambda x: jnp.exp(-100 * x), 0.1, "sliding"),  # curvature 100 times the gradient
    (lambda x: jnp.exp(-x), 0.0, "sliding"),
    # The second coordinate is dead, so the maximum is not strict.
    (lambda x: -(x**2), 0.0, "undecided"),
    (lambda x: (x - 3) ** 4, 3.1, "degenerate minimum"),
    (lambda x: jnp.abs(x - 0.3), 0.4, "no derivative"),
    (lambda x: 5 * (x - 0.5) ** 2, np.inf, "diverged"),
    (lambda x: 5 * (x - 0.5) ** 2, 1.5, "strict minimum"),
)


@pytest.mark.long
def test_end_points_have_their_known_kinds():
    """The second parameter selects a cost that depends on the first one only."""

    def cost(w):
        return jnp.select([w[1] < i + 0.5 for i in range(len(ENDS))], [f(w[0]) for f, *_ in ENDS])

    problem = Problem(init=lambda key: jnp.zeros(2), cost=cost)
    starts = jnp.array([(start, i) for i, (_, start, _) in enumerate(ENDS)], float)
    ends = classify_end_points(problem, starts, key=KEY)
    assert named(ends.kind) == [expected for *_, expected in ENDS]
    # Newton's method reaches the minimum of the parabola in one step; its curvature is 10.
    np.testing.assert_allclose(ends.params[-1], [0.5, len(ENDS) - 1])
    parabola = ends.runs.isel(run=-1)
    expected = {
        "moved": 1,
        "cost_before": 5,
        "gradient_norm_before": 10,
        "smallest": 10,
        "largest": 10,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(parabola[name], value, err_msg=name)
    assert (int(parabola.dead), int(parabola.nullity)) == (1, 0)
    assert ends.runs.cost_before[-2] == np.inf
