"""Timing relative to the rate of a matrix product, for the experiment `speed`."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

WIDTHS = (784, 16, 16, 10)
PARAMETERS = 13_002


def seconds(work: Callable[[], Any]) -> float:
    """Return the time in seconds until the results of a computation are ready."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


class Clock:
    """Timer of functions, relative to a matrix product in the same process."""

    def __init__(self, repeats: int):
        self.repeats = repeats
        self._matrix = jax.random.normal(jax.random.key(0), (2000, 2000), jnp.float32)
        self._product = jax.jit(jnp.matmul)
        self.rates: list[float] = []

    def rate(self) -> float:
        """Return the highest rate of five 2000 x 2000 products, in operations per second."""
        jax.block_until_ready(self._product(self._matrix, self._matrix))
        best = min(seconds(lambda: self._product(self._matrix, self._matrix)) for _ in range(5))
        self.rates.append(2 * 2000**3 / best)
        return self.rates[-1]

    def best(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Return the shortest time of a function, and the highest matrix-product rate.

        The matrix product is timed before, between and after the repetitions of the function.
        """
        work()  # compiles
        times, rates = [], [self.rate()]
        for _ in range(self.repeats):
            times.append(seconds(work))
            rates.append(self.rate())
        return min(times), max(rates)


def share(seconds: float, rate: float, samples: int, run_steps: float) -> float:
    """Return the rate of gradient operations, relative to the rate of a matrix product.

    `run_steps` is the number of steps summed over runs, each with a number of samples.
    """
    return 4 * samples * PARAMETERS * run_steps / seconds / rate
