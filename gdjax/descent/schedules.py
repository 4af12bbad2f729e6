"""Learning rate schedules whose parameters can be swept.

    linear warm-up, then cosine decay:

    r_t = start + (peak - start) t / T_w                                  t < T_w
    r_t = end + (peak - end) (1 + cos(pi (t - T_w) / (T - T_w))) / 2      T_w <= t <= T
    r_t = end                                                             t > T

The parameters of Optax's `warmup_cosine_decay_schedule` cannot be traced, since its control flow
depends on them. An example with two steps of warm-up and four of decay:

>>> rate = WarmupCosine(1.0, 2, 6)
>>> [round(float(rate(step)), 3) for step in range(8)]
[0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ScalarLike

from gdjax.base.arguments import check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import NotNegative, Real


@dataclass(frozen=True)
class WarmupCosine:
    """A learning rate schedule with linear warm-up and cosine decay.

    Its values, `schedule(step)`, are learning rates for any Optax optimizer.

    Args:
        learning_rate: learning rate at the peak.
        warmup_steps: T_w, the step of the peak.
        total_steps: T, the step at which `end` is reached; at least `warmup_steps`.
        start: learning rate at step 0.
        end: learning rate from step T on.

    Examples:
        An optimizer factory for a sweep over the peak learning rate:

        >>> import optax
        >>> def optimizer(learning_rate, warmup_steps=100):
        ...     return optax.sgd(WarmupCosine(learning_rate, warmup_steps, 2500))

    Source: Loshchilov & Hutter, *SGDR* (2017), equation 5; warm-up: Goyal et al. (2017), 2.2.
    """

    learning_rate: ScalarLike
    warmup_steps: ScalarLike
    total_steps: ScalarLike
    start: ScalarLike = 0.0
    end: ScalarLike = 0.0

    def __post_init__(self):
        check_limits("WarmupCosine: learning_rate", self.learning_rate, NotNegative)
        check_limits("WarmupCosine: warmup_steps", self.warmup_steps, Real)
        check_limits("WarmupCosine: total_steps", self.total_steps, Real)
        steps = (self.warmup_steps, self.total_steps)
        known = [x for x in steps if isinstance(x, int | float | np.number)]
        if min(known, default=0) < 0 or known != sorted(known):
            raise InputError(
                f"WarmupCosine: warmup_steps = {self.warmup_steps}, total_steps = "
                f"{self.total_steps}; expected 0 <= warmup_steps <= total_steps"
            )

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
