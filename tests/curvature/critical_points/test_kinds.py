"""Classification of points of known kind, also reflected, or with offsets added.

A point may be undecided if its kind is not required. `points_named_before.json` lists the required
points: for each function, the indices of the `VARIANTS` that a classification without fourth-order
evidence names correctly, except those that cannot be classified. In float32, reflected quartics are
rounded to functions of another kind: that of x^2 + y^4 - 1e-15 y^2 is a saddle. The fourth
derivative of x |x|^3 + y^2 jumps at 0, so its sign depends on the side to which the point is
rounded. The plateau of y^2 - relu(x - 1.5)^3 is required only if the probe, whose length is max(1,
|w|), does not reach the region of decreasing cost; otherwise the plateau cannot be distinguished
from that of sigmoid(x) at x = 40, which is not a minimum.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points_of_known_kind import REFUSALS, TABLE, VARIANTS, case, classifications

from gdjax.curvature.critical_points.classify import Kind, classify
from gdjax.curvature.critical_points.flat_directions import falls_first
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.problems import as_problem

K = Kind
REQUIRED = json.loads((Path(__file__).parent / "points_named_before.json").read_text())
DIRECTION = np.random.default_rng(0).normal(size=3)


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_no_point_is_misclassified(n, precision):
    """One program classifies all points of equal dimension and precision."""
    pairs = [
        (name, variant_number)
        for name, known in TABLE.items()
        for variant_number, variant in enumerate(VARIANTS)
        if len(known.at) == n and variant.offset <= known.offsets
    ]
    with jax.enable_x64(precision == "float64"):
        cases = [case(TABLE[name], VARIANTS[number], DIRECTION) for name, number in pairs]
        result = classifications(cases)
    wrong = []
    for (name, variant_number), code in zip(pairs, result.kind.tolist(), strict=True):
        is_required = variant_number in REQUIRED[precision].get(name, [])
        if K(code) not in TABLE[name].names | (set() if is_required else REFUSALS):
            wrong.append((name, VARIANTS[variant_number], K(code).label))
    assert not wrong


# The one eigenvalue that differs, the shift of the coordinates, and the kinds that are allowed.
HIDDEN = [
    (-1e-2, 0.0, {K.SADDLE}),
    (-1e-4, 0.0, {K.SADDLE}),
    (-1e-2, 1e4, {K.SADDLE} | REFUSALS),
    (-1e-4, 1e4, {K.SADDLE} | REFUSALS),
    (-1e-8, 0.0, {K.SADDLE} | REFUSALS),
    (1e-4, 0.0, {K.STRICT_MINIMUM} | REFUSALS),
]


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_one_negative_eigenvalue_among_2100_is_detected(precision):
    """Above the dense limit, no saddle is classified as a minimum.

    The other eigenvalues lie between 1e-3 and 1, and the coordinates are reflected.
    """
    n = 2100
    rng = np.random.default_rng(0)
    bulk, reflection = np.geomspace(1e-3, 1, n), rng.normal(size=n)
    reflection /= np.linalg.norm(reflection)

    def cost(w, case):
        curvature, direction, offset = case
        z = w - offset
        z = z - 2 * direction * (direction @ z)
        return curvature @ z**2 / 2

    with jax.enable_x64(precision == "float64"):

        @jax.jit
        def one(w, case):
            return classify(lambda w: cost(w, case), w, key=jax.random.key(0)).kind

        for eigenvalue, offset, allowed in HIDDEN:
            curvature = bulk.copy()
            curvature[1234] = eigenvalue
            arguments = (np.full(n, offset), (curvature, reflection, offset))
            kind = K(int(one(*jax.tree.map(jnp.asarray, arguments))))
            assert kind in allowed, (eigenvalue, offset, kind.label)


def test_a_dead_coordinate_gives_a_manifold_of_minima_within_the_probed_radius():
    result = classify(lambda w: (w[0] - 30.0) ** 2, np.array([30.0, 0.0]), key=jax.random.key(0))
    assert K(int(result.kind)) == K.MANIFOLD_OF_MINIMA
    assert (int(result.dead), int(result.nullity)) == (1, 0)
    np.testing.assert_allclose((result.probe_radius, result.flat_length), (300, 1))


@pytest.mark.parametrize("halvings", [2, 3])
def test_a_line_falls_first_if_the_cost_falls_at_one_of_the_doubling_distances(halvings):
    low, high = 0.7 * 0.5**halvings, 1.4 * 0.5**halvings  # it falls between, and then rises

    def cost(w):
        return jax.nn.relu(w[0] - high) - jnp.clip(w[0], low, high)

    at = directional_derivatives(as_problem(cost), lambda w: w)
    assert falls_first(at, jnp.zeros(2), jnp.array([1.0, 0.0]))
    assert not falls_first(at, jnp.zeros(2), jnp.array([0.0, 1.0]))


@pytest.mark.long
def test_the_flat_length_is_the_distance_over_which_the_cost_is_constant_within_an_eighth():
    """The third and fourth derivatives along the second coordinate vanish."""
    valley = lambda w: w[0] ** 2 + jax.nn.relu(jnp.abs(w[1]) - 0.5) ** 4  # noqa: E731
    result = classify(valley, np.zeros(2), key=jax.random.key(0))
    np.testing.assert_allclose(result.flat_length, 0.5, atol=0.125)


def test_the_probe_radius_for_dead_coordinates_depends_on_the_data():
    """A neuron that is active for inputs of 1e-3 at weights above 1,000 is not dead."""

    def cost(w, x):
        return (w[0] - 1) ** 2 + jax.nn.relu(w[1] * x[0] - 1)

    problem = as_problem(cost, np.array([1e-3]))
    result = classify(problem, np.array([1.0, 0.0]), key=jax.random.key(0))
    np.testing.assert_allclose(result.probe_radius, 1e3)
    assert int(result.dead) == 0
    assert K(int(result.kind)) != K.STRICT_MINIMUM


def test_a_point_with_a_small_gradient_far_from_the_minimum_is_not_stationary():
    """At (100, 0), y^2 + 1e-8 x^2 has gradient 2e-6 and its minimum at distance 100."""

    def valley(w):
        return w[1] ** 2 + 1e-8 * w[0] ** 2

    w = np.array([100.0, 0.0])
    result = classify(valley, w, key=jax.random.key(0))
    assert result.gradient_norm < result.gradient_tolerance
    assert K(int(result.kind)) == K.NOT_STATIONARY
    np.testing.assert_allclose(result.newton_point, [0, 0], atol=1e-5)
    np.testing.assert_allclose(result.newton_distance, 100, rtol=1e-6)
    assert "a critical point seems to be 1e+02 away" in result.advice
    near = classify(valley, w, key=jax.random.key(0), distance_rtol=2.0)
    assert K(int(near.kind)) == K.STRICT_MINIMUM
