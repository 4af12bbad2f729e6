"""No wrong name: points of known kind, plain, reflected, shifted and with a constant added.

A refusal is allowed where a name is not required. `points_named_before.json` has what must be
named: for each function the numbers of the `VARIANTS` that were named rightly before a name needed
a guard of the fourth order. It leaves out what cannot be named: in float32 the quartics of
reflected functions, where x^2 + y^4 and x^2 - 1e-7 y^2 + y^4 are the same numbers, and a kink and a
plateau that were named by chance.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from points_of_known_kind import REFUSALS, TABLE, VARIANTS, case, certificates, size_of

from gdjax.critical_points.certificate import Kind
from gdjax.critical_points.classify import classify

K = Kind
REQUIRED = json.loads((Path(__file__).parent / "points_named_before.json").read_text())
DIRECTION = np.random.default_rng(0).normal(size=3)


def shown(n):
    """Names of functions of n variables, and numbers of the ways in which they are shown."""
    return [
        (name, way)
        for name, known in TABLE.items()
        for way, variant in enumerate(VARIANTS.values())
        if size_of(known) == n and variant.offset <= known.offsets
    ]


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_no_point_has_a_wrong_name(n, precision):
    """Everything at once: one program for 900 points."""
    pairs, variants = shown(n), list(VARIANTS.values())
    with jax.enable_x64(precision == "float64"):
        found = certificates(n, [case(TABLE[k], variants[way], DIRECTION) for k, way in pairs])
    wrong, refused = [], []
    for (name, way), code in zip(pairs, found.kind.tolist(), strict=True):
        names = TABLE[name].names
        if K(code) not in names | REFUSALS:
            wrong.append((name, variants[way], K(code).label))
        elif K(code) not in names and way in REQUIRED[precision].get(name, []):
            refused.append((name, variants[way], K(code).label))
    assert not wrong
    assert not refused


def test_a_point_with_a_dead_coordinate_is_a_floor_as_far_as_it_was_probed():
    found = classify(lambda w: (w[0] - 30.0) ** 2, np.array([30.0, 0.0]), key=jax.random.key(0))
    assert K(int(found.kind)) == K.FLOOR
    assert (int(found.dead), int(found.nullity)) == (1, 0)
    np.testing.assert_allclose(found.probe_radius, 300)


def test_data_set_the_radius_to_which_dead_coordinates_are_probed():
    """A neuron that inputs of 1e-3 switch on at a weight of 1,000 is not dead."""

    def cost(w, x):
        return (w[0] - 1) ** 2 + jax.nn.relu(w[1] * x[0] - 1)

    found = classify(cost, np.array([1.0, 0.0]), data=np.array([1e-3]), key=jax.random.key(0))
    np.testing.assert_allclose(found.probe_radius, 1e3)
    assert int(found.dead) == 0
    assert K(int(found.kind)) != K.STRICT_MINIMUM


def test_a_small_gradient_far_from_the_minimum_is_not_stationary():
    """y^2 + 1e-8 x^2 at (100, 0): the gradient is 2e-6, and the minimum 100 away."""
    w = np.array([100.0, 0.0])
    found = classify(lambda w: w[1] ** 2 + 1e-8 * w[0] ** 2, w, key=jax.random.key(0))
    assert found.gradient_norm < found.gradient_tolerance
    assert K(int(found.kind)) == K.NOT_STATIONARY
    np.testing.assert_allclose(found.newton_point, [0, 0], atol=1e-5)
    np.testing.assert_allclose(found.newton_distance, 100, rtol=1e-6)
    assert "a critical point seems to be 1e+02 away" in found.advice
    near = classify(
        lambda w: w[1] ** 2 + 1e-8 * w[0] ** 2, w, key=jax.random.key(0), distance_tolerance=2.0
    )
    assert K(int(near.kind)) == K.STRICT_MINIMUM
