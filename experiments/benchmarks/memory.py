"""Ratio of the peak memory of a sweep to the size of its results.

    python -m experiments.benchmarks.memory [--runs 10] [--megabytes 100] [--init normal]

The process first computes a small sweep, whose peak memory is subtracted. The difference consists
of the results, and of parameters, gradients and copies of the runs in progress. To draw normal
random numbers as a starting point, JAX needs four times the memory of a run's parameters.
"""

import argparse
import resource

import jax
import jax.numpy as jnp

import gdjax as gd


def bowl(numbers: int, init: str) -> gd.Problem:
    """Return the problem of a quadratic cost with `numbers` parameters."""
    inits = {
        "normal": lambda key: jax.random.normal(key, (numbers,)),
        "constant": lambda key: jnp.full(numbers, jax.random.normal(key)),
    }
    return gd.Problem(init=inits[init], cost=lambda w: jnp.mean((w - 1) ** 2))


def peak() -> int:
    """Return the peak resident memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def ratio(runs: int, megabytes: float, init: str) -> float:
    """Return the increase of the peak memory in a sweep, per byte of its results."""
    grid = gd.axes(learning_rate=[0.1], seed=range(runs))
    gd.sweep(bowl(2, init), grid, 10, record_every=10)
    before = peak()
    results = gd.sweep(bowl(int(megabytes * 1e6 / 4), init), grid, 10, record_every=10)
    return (peak() - before) / results.nbytes


def main() -> None:
    """Print the ratio of the peak memory of a sweep to the size of its results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="number of runs")
    parser.add_argument(
        "--megabytes", type=float, default=100, help="size of the parameters of one run, in MB"
    )
    parser.add_argument(
        "--init", default="normal", choices=("normal", "constant"), help="starting points"
    )
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    growth = ratio(arguments.runs, arguments.megabytes, arguments.init)
    print(f"peak memory / size of the results: {growth:.2f}")


if __name__ == "__main__":
    main()
