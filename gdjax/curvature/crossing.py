"""Search for the learning rate at which a function along a step changes its sign.

    f(low) <= 0 < f(high),   high - low <= rtol high

While the function is not positive, the rate is increased; afterwards the interval is shortened by
secants and by bisection in alternation. The crossing need not be the first.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, ScalarLike

GROWTH = 4.0  # largest factor of the rate while the function is not positive
SHRINKAGE = 1 / 8  # factor of the rate at a bisection while it is positive at all rates


class Bracket(NamedTuple):
    """Rates on both sides of a sign change of a function of the rate.

    Args:
        low: largest rate below `high` at which the function is not positive.
        at_low: value of the function at `low`.
        high: smallest rate at which the function is positive or NaN; infinite if none.
        at_high: value of the function at `high`.
        before: the previous `low`.
        at_before: value of the function at `before`.
        num_evaluations: number of evaluations.
        num_bisections: number of evaluations since the interval became bounded.
    """

    low: Float[Array, ""]
    at_low: Float[Array, ""]
    high: Float[Array, ""]
    at_high: Float[Array, ""]
    before: Float[Array, ""]
    at_before: Float[Array, ""]
    num_evaluations: Int[Array, ""]
    num_bisections: Int[Array, ""]


def bracket(
    function: Callable[[Float[Array, ""]], Float[Array, ""]],
    guess: ScalarLike,
    at_zero: Float[Array, ""],
    *,
    largest: ScalarLike,
    rtol: float,
    max_steps: ScalarLike,
) -> Bracket:
    """Return an interval of rates in which a function changes its sign from - to +.

    Args:
        function: function of the rate, negative near 0.
        guess: first rate to evaluate.
        at_zero: value of the function at 0. Unless it is negative, nothing is evaluated.
        largest: largest rate to evaluate.
        rtol: width at which to stop, relative to the rate.
        max_steps: maximum number of evaluations.
    """

    def unfinished(b):
        is_unbounded = (b.high == jnp.inf) & (b.low < largest)
        is_wide = (b.high < jnp.inf) & (b.high - b.low > rtol * b.high)
        return (b.num_evaluations < max_steps) & (at_zero < 0) & (is_unbounded | is_wide)

    def evaluate(b):
        eta = jnp.where(b.num_evaluations == 0, guess, _next_rate(b, rtol))
        eta = jnp.minimum(eta, largest).astype(b.low.dtype)
        value = function(eta)
        is_above = ~(value <= 0)
        value = jnp.where(is_above & ~jnp.isfinite(value), jnp.inf, value)
        return Bracket(
            low=jnp.where(is_above, b.low, eta),
            at_low=jnp.where(is_above, b.at_low, value),
            high=jnp.where(is_above, eta, b.high),
            at_high=jnp.where(is_above, value, b.at_high),
            before=jnp.where(is_above, b.before, b.low),
            at_before=jnp.where(is_above, b.at_before, b.at_low),
            num_evaluations=b.num_evaluations + 1,
            num_bisections=b.num_bisections + (b.high < jnp.inf),
        )

    zero, count = jnp.zeros_like(at_zero), jnp.zeros((), jnp.int32)
    infinite = jnp.full_like(at_zero, jnp.inf)
    first = Bracket(zero, at_zero, infinite, infinite, zero, at_zero, count, count)
    return jax.lax.while_loop(unfinished, evaluate, first)


def _next_rate(b, rtol):
    """Return the next rate: above `low`, and within the interval if it is bounded."""
    # A step slightly beyond the estimated root encloses it if the estimate is accurate.
    margin = rtol / 3
    gradient = (b.at_low - b.at_before) / jnp.where(b.low > b.before, b.low - b.before, 1)
    zero = b.low - b.at_low / jnp.where(gradient > 0, gradient, 1)
    extrapolated = jnp.where(gradient > 0, (1 + margin) * zero, jnp.inf)
    extrapolated = jnp.clip(extrapolated, (1 + margin) * b.low, GROWTH * b.low)
    secant = jnp.clip(root(b), b.low + margin * b.high, (1 - margin) * b.high)
    is_narrow = b.high < 4 * b.low
    middle = jnp.where(is_narrow, b.low / 2 + b.high / 2, jnp.sqrt(b.low) * jnp.sqrt(b.high))
    middle = jnp.where(b.low > 0, middle, SHRINKAGE * b.high)
    bisects = (b.num_bisections % 2 == 1) | (b.at_high == jnp.inf)
    return jnp.where(b.high == jnp.inf, extrapolated, jnp.where(bisects, middle, secant))


def root(b: Bracket) -> Float[Array, ""]:
    """Return the secant's root, or the interval's middle if `at_high` is infinite."""
    drop = b.at_high - b.at_low
    share = jnp.where(b.at_high < jnp.inf, -b.at_low / jnp.where(drop > 0, drop, 1), 0.5)
    return b.low + jnp.clip(share, 0, 1) * (b.high - b.low)
