"""Peak memory of a sweep in memory, over the bytes of its results.

    PYTHONPATH=experiments python -m benchmarks.memory [--runs 10] [--megabytes 100] [--init normal]

The process computes a small sweep first, whose peak is subtracted. The rest of the peak consists of
the results and of the runs that are computed at the time: parameters, gradients and copies. With
random normal starts, JAX needs four times the parameters of a run while it draws them.
"""

import argparse
import resource

import jax
import jax.numpy as jnp

import gdjax as gd


def bowl(numbers: int, init: str) -> gd.Problem:
    """Return a quadratic cost of a vector of parameters."""
    inits = {
        "normal": lambda key: jax.random.normal(key, (numbers,)),
        "constant": lambda key: jnp.full(numbers, jax.random.normal(key)),
    }
    return gd.Problem(init=inits[init], cost=lambda w: jnp.mean((w - 1) ** 2))


def peak() -> int:
    """Return the largest resident memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def ratio(runs: int, megabytes: float, init: str) -> float:
    """Return the growth of the peak during a sweep, over the bytes of its results."""
    grid = gd.axes(learning_rate=[0.1], seed=range(runs))
    gd.sweep(bowl(2, init), grid, 10, record_every=10)
    before = peak()
    results = gd.sweep(bowl(int(megabytes * 1e6 / 4), init), grid, 10, record_every=10)
    return (peak() - before) / results.nbytes


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="number of runs")
    parser.add_argument("--megabytes", type=float, default=100, help="parameters of one run")
    parser.add_argument("--init", default="normal", choices=("normal", "constant"), help="starts")
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    growth = ratio(arguments.runs, arguments.megabytes, arguments.init)
    print(f"peak over results: {growth:.2f}")


if __name__ == "__main__":
    main()
