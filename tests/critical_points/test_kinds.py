"""Classification of points of known kind, also reflected, or with offsets added.

A point may be undecided if its kind is not required. `points_named_before.json` lists the required
points: for each function, the indices of the `VARIANTS` that a classification without fourth-order
evidence names correctly, except those that cannot be classified. In float32, the classification of
each reflected quartic in `TWINS` equals that of a function of another kind. The fourth derivative
of x |x|^3 + y^2 jumps at 0, so its sign depends on the side to which the point is rounded. The
plateau of y^2 - relu(x - 1.5)^3 is required only if the probe, whose length is max(1, |w|), does
not reach the region of decreasing cost; otherwise the plateau cannot be distinguished from that of
sigmoid(x) at x = 40, which is not a minimum.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from points_of_known_kind import REFUSALS, TABLE, VARIANTS, case, classifications, size_of

from gdjax.critical_points.classify import Kind, classify

K = Kind
REQUIRED = json.loads((Path(__file__).parent / "points_named_before.json").read_text())
DIRECTION = np.random.default_rng(0).normal(size=3)


def shown(n):
    """Return pairs (name of a function of n variables, index of a variant)."""
    return [
        (name, variant_number)
        for name, known in TABLE.items()
        for variant_number, variant in enumerate(VARIANTS.values())
        if size_of(known) == n and variant.offset <= known.offsets
    ]


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_no_point_is_misclassified(n, precision):
    """One program classifies all points of equal dimension and precision."""
    pairs, variants = shown(n), list(VARIANTS.values())
    with jax.enable_x64(precision == "float64"):
        result = classifications(
            n, [case(TABLE[k], variants[variant_number], DIRECTION) for k, variant_number in pairs]
        )
    wrong, refused = [], []
    for (name, variant_number), code in zip(pairs, result.kind.tolist(), strict=True):
        names = TABLE[name].names
        if K(code) not in names | REFUSALS:
            wrong.append((name, variants[variant_number], K(code).label))
        elif K(code) not in names and variant_number in REQUIRED[precision].get(name, []):
            refused.append((name, variants[variant_number], K(code).label))
    assert not wrong
    assert not refused


# Reflected quartics that float32 cannot classify: the term that is added to each function, the kind
# of the sum, and the indices of the variants.
TINY = 1e-15
TWINS = {
    "x^2 + y^4": ({(0, 2): -TINY}, K.SADDLE, (1, 3, 8, 9)),
    "x^2 - y^4": ({(0, 2): TINY}, K.STRICT_MINIMUM, (1, 3, 8, 9)),
    "1e8 x^2 + y^4": ({(0, 2): -TINY}, K.SADDLE, (1, 3, 8)),
    "1e8 x^2 - y^4": ({(0, 2): TINY}, K.STRICT_MINIMUM, (1, 3, 8)),
    "-x^2 - y^4": ({(0, 2): TINY}, K.SADDLE, (1, 3, 8, 9)),
    "-x^2 + y^4": ({(0, 2): -TINY}, K.STRICT_MAXIMUM, (1, 3, 8, 9)),
    "(y - x^2)(y - 2 x^2)": ({(2, 0): TINY}, K.STRICT_MINIMUM, (1, 3, 8, 9)),
    "(y - x^2)^2 + x^4": ({(2, 0): -TINY}, K.SADDLE, (1, 3, 8, 9)),
    "x^4 - y^4": ({(2, 0): TINY, (0, 2): TINY}, K.STRICT_MINIMUM, (10,)),
    "x^2 + y^2 + z^4": ({(0, 0, 2): -TINY}, K.SADDLE, (1, 3, 8, 9)),
    "x^2 + y^4 - z^4": ({(0, 2, 0): TINY, (0, 0, 2): TINY}, K.STRICT_MINIMUM, (1, 3, 8, 9)),
}


@pytest.mark.long
@pytest.mark.parametrize("n", [2, 3])
def test_points_that_float32_cannot_distinguish_from_another_kind_are_undecided(n):
    """In float32, each of 39 points has the classification of a point of another kind.

    The two functions differ by a curvature of 2e-15 along flat directions, which is lost in the
    rounding of the reflected Hessian. A method that classifies one point misclassifies the other.
    """
    points, twins = [], []
    for name, (added, kind, variant_numbers) in TWINS.items():
        known = TABLE[name]
        if size_of(known) == n:
            assert kind not in known.names
            for variant_number in variant_numbers:
                assert variant_number not in REQUIRED["float32"][name]
                variant = list(VARIANTS.values())[variant_number]
                points.append(case(known, variant, DIRECTION))
                twin = known._replace(terms=known.terms | added)
                twins.append(case(twin, variant, DIRECTION))
    assert len(points) == {2: 31, 3: 8}[n]
    result = classifications(n, points + twins)
    for field, numbers in result._asdict().items():
        first, second = np.split(numbers, 2)
        # At an offset of 100, the gradient is due to rounding only.
        lost = 1e-14 if field in ("gradient_norm", "newton_distance") else 0
        np.testing.assert_allclose(first, second, rtol=0, atol=lost, err_msg=field)
    assert set(result.kind.tolist()) <= REFUSALS


HIDDEN = {  # the one eigenvalue that differs, and whether it must be detected
    "eigenvalue -1e-2": (-1e-2, True),
    "eigenvalue -1e-4": (-1e-4, True),
    "eigenvalue -1e-8": (-1e-8, False),
    "no negative eigenvalue": (1e-4, False),
}


@pytest.mark.long
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_one_negative_eigenvalue_among_2100_is_detected(precision):
    """Above the dense limit, no saddle is classified as a minimum.

    Saddles with an eigenvalue of -1e-2 or -1e-4 must be detected, except in shifted coordinates,
    where they may be undecided. The other eigenvalues lie between 1e-3 and 1. Coordinates are
    reflected and shifted by 0 or 1e4; not all combinations are tested, since each takes seconds.
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

    shown = [
        (name, turned, offset)
        for name, (_, is_detected) in HIDDEN.items()
        for turned, offset in ([(1, 0.0), (1, 1e4)] if is_detected else [(1, 0.0)])
    ]
    with jax.enable_x64(precision == "float64"):

        @jax.jit
        def one(w, case):
            return classify(lambda w: cost(w, case), w, key=jax.random.key(0)).kind

        for name, turned, offset in shown:
            value, is_detected = HIDDEN[name]
            curvature = bulk.copy()
            curvature[1234] = value
            arguments = (np.full(n, offset), (curvature, turned * reflection, offset))
            kind = K(int(one(*jax.tree.map(jnp.asarray, arguments))))
            true = K.SADDLE if value < 0 else K.STRICT_MINIMUM
            assert kind in {true} | REFUSALS, (name, turned, offset, kind.label)
            if is_detected and offset == 0:
                assert kind == true, (name, turned, kind.label)


@pytest.mark.long
def test_a_dead_coordinate_gives_a_manifold_of_minima_within_the_probed_radius():
    result = classify(lambda w: (w[0] - 30.0) ** 2, np.array([30.0, 0.0]), key=jax.random.key(0))
    assert K(int(result.kind)) == K.MANIFOLD_OF_MINIMA
    assert (int(result.dead), int(result.nullity)) == (1, 0)
    np.testing.assert_allclose(result.probe_radius, 300)


@pytest.mark.long
def test_the_probe_radius_for_dead_coordinates_depends_on_the_data():
    """A neuron that is active for inputs of 1e-3 at weights above 1,000 is not dead."""

    def cost(w, x):
        return (w[0] - 1) ** 2 + jax.nn.relu(w[1] * x[0] - 1)

    result = classify(cost, np.array([1.0, 0.0]), data=np.array([1e-3]), key=jax.random.key(0))
    np.testing.assert_allclose(result.probe_radius, 1e3)
    assert int(result.dead) == 0
    assert K(int(result.kind)) != K.STRICT_MINIMUM


@pytest.mark.long
def test_a_point_with_a_small_gradient_far_from_the_minimum_is_not_stationary():
    """At (100, 0), y^2 + 1e-8 x^2 has gradient 2e-6 and its minimum at distance 100."""
    w = np.array([100.0, 0.0])
    result = classify(lambda w: w[1] ** 2 + 1e-8 * w[0] ** 2, w, key=jax.random.key(0))
    assert result.gradient_norm < result.gradient_tolerance
    assert K(int(result.kind)) == K.NOT_STATIONARY
    np.testing.assert_allclose(result.newton_point, [0, 0], atol=1e-5)
    np.testing.assert_allclose(result.newton_distance, 100, rtol=1e-6)
    assert "a critical point seems to be 1e+02 away" in result.advice
    near = classify(
        lambda w: w[1] ** 2 + 1e-8 * w[0] ** 2, w, key=jax.random.key(0), distance_rtol=2.0
    )
    assert K(int(near.kind)) == K.STRICT_MINIMUM
