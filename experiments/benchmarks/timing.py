"""Work beside the rate of a matrix product: what the measurements of `speed.py` share."""

from collections.abc import Callable
from typing import Any

import common

WIDTHS = (784, 16, 16, 10)
PARAMETERS = 13_002


class Clock:
    """Times work beside the rate of a matrix product in the same process."""

    def __init__(self, repeats: int):
        import jax
        import jax.numpy as jnp

        self.repeats = repeats
        self._matrix = jax.random.normal(jax.random.key(0), (2000, 2000), jnp.float32)
        self._product = jax.jit(jnp.matmul)
        self.rates: list[float] = []

    def rate(self) -> float:
        """Operations a second of a 2000 x 2000 float32 product on the default device: best of 5."""
        import jax

        jax.block_until_ready(self._product(self._matrix, self._matrix))
        best = min(
            common.seconds(lambda: self._product(self._matrix, self._matrix)) for _ in range(5)
        )
        self.rates.append(2 * 2000**3 / best)
        return self.rates[-1]

    def best(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Least seconds of several, and the highest rate of the product around them."""
        work()  # compiles
        seconds, rates = [], [self.rate()]
        for _ in range(self.repeats):
            seconds.append(common.seconds(work))
            rates.append(self.rate())
        return min(seconds), max(rates)


def share(seconds: float, rate: float, samples: int, run_steps: float) -> float:
    """Part of the matrix product's rate that the work's own operations reached."""
    return 4 * samples * PARAMETERS * run_steps / seconds / rate
