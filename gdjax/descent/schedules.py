"""Learning rate schedules whose parameters can be swept.

    linear warm-up, then cosine decay:

    r_t = start + (peak - start) t / T_w                                  t < T_w
    r_t = end + (peak - end) (1 + cos(pi (t - T_w) / (T - T_w))) / 2      T_w <= t <= T
    r_t = end                                                             t > T

The parameters of Optax's `warmup_cosine_decay_schedule` cannot be traced, since its control flow
depends on them. An example with two steps of warm-up and four of decay:

>>> rate = warmup_cosine(1.0, 2, 6)
>>> [round(float(rate(step)), 3) for step in range(8)]
[0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ScalarLike

from gdjax.arguments import check_number
from gdjax.errors import InputError


@dataclass(frozen=True)
class WarmupCosine:
    """Schedule with comparable parameters, returned by `warmup_cosine`."""

    learning_rate: ScalarLike
    warmup_steps: ScalarLike
    total_steps: ScalarLike
    start: ScalarLike = 0.0
    end: ScalarLike = 0.0

    def __call__(self, step: Any) -> Array:
        """Return the learning rate at a step."""
        peak, first, last = (jnp.asarray(r) for r in (self.learning_rate, self.start, self.end))
        warmup, total = jnp.asarray(self.warmup_steps), jnp.asarray(self.total_steps)
        step = jnp.asarray(step, jnp.result_type(float))
        # Without steps of warm-up or of decay, the divisor is 1 instead of 0.
        risen = step / jnp.maximum(warmup, 1)
        fallen = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1), 0, 1)
        rising = first + (peak - first) * risen
        falling = last + (peak - last) * (1 + jnp.cos(jnp.pi * fallen)) / 2
        return jnp.where(step < warmup, rising, falling)


def warmup_cosine(
    learning_rate: ScalarLike,
    warmup_steps: ScalarLike,
    total_steps: ScalarLike,
    *,
    start: ScalarLike = 0.0,
    end: ScalarLike = 0.0,
) -> WarmupCosine:
    """Return a learning rate schedule with linear warm-up and cosine decay.

    Args:
        learning_rate: learning rate at the peak.
        warmup_steps: T_w, the step of the peak.
        total_steps: T, the step at which `end` is reached; at least `warmup_steps`.
        start: learning rate at step 0.
        end: learning rate from step T on.

    Returns:
        A schedule, `step -> learning rate`, for any Optax optimizer.

    Raises:
        InputError: if the peak is below zero, or the step counts are below zero or in the wrong
            order. Traced values are not checked.

    Examples:
        An optimizer factory for a sweep over the peak learning rate:

        >>> import optax
        >>> from functools import partial
        >>> def optimizer(learning_rate, warmup_steps=100):
        ...     return optax.sgd(warmup_cosine(learning_rate, warmup_steps, 2500))

    Source: Loshchilov & Hutter, *SGDR* (2017), equation 5; warm-up: Goyal et al. (2017), 2.2.
    """
    check_number("warmup_cosine: learning_rate", learning_rate, least=0)
    check_number("warmup_cosine: warmup_steps", warmup_steps)
    check_number("warmup_cosine: total_steps", total_steps)
    known = [x for x in (warmup_steps, total_steps) if isinstance(x, int | float | np.number)]
    if min(known, default=0) < 0 or known != sorted(known):
        raise InputError(
            f"warmup_cosine: warmup_steps = {warmup_steps}, total_steps = {total_steps}; expected "
            f"0 <= warmup_steps <= total_steps"
        )
    return WarmupCosine(learning_rate, warmup_steps, total_steps, start, end)
