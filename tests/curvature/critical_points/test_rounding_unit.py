"""Precision of costs, and points that rounding must not misname."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.curvature import classify
from gdjax.curvature.critical_points.classify import Kind
from gdjax.curvature.critical_points.rounding_unit import rounding_unit

K = Kind
REFUSALS = {K.UNDECIDED, K.NOT_STATIONARY}
BF16, F16, F32 = (float(jnp.finfo(t).eps) for t in (jnp.bfloat16, jnp.float16, jnp.float32))


def of_loop(w):
    """Return a sum whose carry becomes low-precision only in the second iteration."""

    def body_fun(carry, x):
        low, high = carry
        return (low.astype(jnp.bfloat16).astype(high.dtype), low * x + high), None

    (_, high), _ = jax.lax.scan(body_fun, (w[0], w[1]), jnp.ones(3, w.dtype))
    return high


FUNCTIONS = {
    "no cast": (jnp.sum, 2**-52),
    "cast": (lambda w: jnp.sum(w.astype(jnp.float32)), F32),
    "cast in a jitted function": (jax.jit(lambda w: jnp.sin(w.astype(jnp.float16))), F16),
    "cast of data": (lambda w: w * jnp.ones(2).astype(jnp.bfloat16), 2**-52),
    "cast of a condition": (lambda w: jnp.where(w.astype(jnp.float16) > 0, w, -w), 2**-52),
    "result not used": (lambda w: (w.astype(jnp.float16), w)[1], 2**-52),
    "operand not used": (
        lambda w: jax.jit(lambda a, b: (a, b))(w[0].astype(jnp.float16), w[1])[1],
        2**-52,
    ),
    "scan": (of_loop, BF16),
    "scan over cast data": (
        lambda w: jax.lax.scan(
            lambda s, x: (s + x * w[0], None), w[0], jnp.ones(3).astype(jnp.float16)
        )[0],
        2**-52,
    ),
    "while": (
        lambda w: jax.lax.while_loop(
            lambda s: s < 9, lambda s: s + w[1].astype(jnp.float32).astype(s.dtype), w[0]
        ),
        F32,
    ),
    "cond": (
        lambda w: jax.lax.cond(w[0] > 0, lambda v: v, lambda v: jnp.float64(v.astype("f2")), w[1]),
        F16,
    ),
    "checkpoint": (jax.checkpoint(lambda w: jnp.sum(w.astype(jnp.bfloat16))), BF16),
    "gradient": (jax.grad(lambda w: jnp.sum(w.astype(jnp.float32) ** 3).astype(w.dtype)), F32),
    "reduce_precision": (lambda w: jax.lax.reduce_precision(w, 8, 5), 2**-5),
    "product": (partial(jnp.matmul, jnp.ones((2, 2), jnp.float32), precision="highest"), 2**-52),
    **{
        f"product in {preset}": (partial(jnp.dot, jnp.ones(2), precision=preset), unit)
        for preset, unit in (("BF16_BF16_F32", BF16), ("TF32_TF32_F32", 2**-10))
    },
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_rounding_unit_is_that_of_the_least_precise_type_on_a_path(name):
    function, unit = FUNCTIONS[name]
    with jax.enable_x64(True):
        assert rounding_unit(function, jnp.ones(2)) == unit


def names_of(cost, points, cases, dtype, num_keys):
    """Return the kinds of points for some keys; `cost(w, case)`, with equal numbers of rows."""

    def one(w, case, key):
        return classify(lambda w: cost(w, case), w, key=key).kind

    program = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), num_keys)
        points, cases = (jnp.asarray(array, dtype) for array in (points, cases))
        return [set(map(K, row)) for row in np.asarray(jax.jit(program)(points, cases, keys))]


POLYNOMIALS = {  # coefficients of a^2, b^2, b^3 and b^4, the kind, and whether it must be named
    (1, 0, 0, -1): (K.DEGENERATE_SADDLE, False),
    (1, 0, 0, 1): (K.DEGENERATE_MINIMUM, False),
    (-1, 0, 0, 1): (K.DEGENERATE_SADDLE, False),
    (1, 0, 1, 0): (K.DEGENERATE_SADDLE, False),
    (1, 0, 0, 0): (K.MANIFOLD_OF_MINIMA, False),
    (1, 1, 0, 0): (K.STRICT_MINIMUM, True),
    (1, -0.01, 0, 0): (K.SADDLE, True),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("dtype", "inner", "must_name"),
    [
        (np.float64, jnp.float32, True),
        (np.float32, jnp.bfloat16, False),
        (np.float64, jnp.float16, False),
    ],
)
def test_no_point_is_misnamed_if_the_cost_computes_in_lower_precision(dtype, inner, must_name):
    """(a, b) is w rotated by arctan(4/3), or by one of five other angles."""

    def cost(w, case):
        c, (cosine, sine) = case[:4].astype(inner), case[4:].astype(inner)
        x, y = w.astype(inner)
        a, b = cosine * x + sine * y, cosine * y - sine * x
        return c[0] * a**2 + c[1] * b**2 + c[2] * b**3 + c[3] * b**4

    angles = np.r_[np.arctan2(0.8, 0.6), np.random.default_rng(0).uniform(0, 2 * np.pi, 5)]
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    cases = np.array([[*terms, *turn] for terms in POLYNOMIALS for turn in turns])
    kinds = names_of(cost, np.zeros((len(cases), 2)), cases, dtype, 4)
    for row, names in enumerate(kinds):
        kind, is_required = list(POLYNOMIALS.values())[row // len(turns)]
        assert names <= {kind} | REFUSALS
        if is_required and must_name:
            assert names == {kind}


@pytest.mark.parametrize("kink", [False, True])
def test_rounding_of_a_smooth_gradient_is_not_a_jump(kink):
    """(x - 7)^2 + (x - 7)^4 + (y - 3)^2 as a sum of monomials, also plus |x - 7| / 2."""
    coefficients = np.zeros((7, 3))
    coefficients[:5, 0] = (np.poly1d([1, -7]) ** 4 + np.poly1d([1, -7]) ** 2).coeffs[::-1]
    coefficients[0] += (9, -6, 1)

    def cost(w, case):
        x, y = (jnp.stack([v**i for i in range(n)]) for v, n in zip(w, (7, 3), strict=True))
        return x @ case @ y + (0.5 * jnp.abs(w[0] - 7) if kink else 0)

    (names,) = names_of(cost, np.array([[7.0, 3.0]]), coefficients[None], np.float64, 40)
    allowed = {K.NO_DERIVATIVE} if kink else {K.STRICT_MINIMUM, K.UNDECIDED}
    assert names <= allowed


@pytest.mark.long
def test_a_strict_saddle_close_to_a_strict_maximum_is_not_degenerate_in_float32():
    """-1.06 x^2 + .01776 y^2 + 23250 y^3 has a strict maximum at y = -5.1e-7."""
    random = np.random.default_rng(0)
    strict = [[-1.06, 0.01776, 23250.0, offset] for offset in (0, 1, 10)]
    strict += [
        [
            sign * 10.0 ** random.uniform(-2, 4),
            10.0 ** random.uniform(-4, 0),
            10.0 ** random.uniform(1, 6),
            offset,
        ]
        for sign in (-1, 1)
        for offset in (0, 1, 10, 100)
        for _ in range(12)
    ]
    degenerate = [[sign, 0, 10.0 ** random.uniform(0, 4), 1] for sign in (-1, 1) for _ in range(3)]

    def cost(w, case):
        a, b, c, offset = case
        x, y = w - offset
        return a * x**2 + b * y**2 + c * y**3

    cases = np.array(strict + degenerate)
    kinds = names_of(cost, np.repeat(cases[:, 3:], 2, axis=1), cases, np.float32, 2)
    for names, (sign, *_) in zip(kinds, strict, strict=False):
        assert names <= {K.STRICT_MINIMUM if sign > 0 else K.SADDLE} | REFUSALS
    assert all(names == {K.DEGENERATE_SADDLE} for names in kinds[len(strict) :])
