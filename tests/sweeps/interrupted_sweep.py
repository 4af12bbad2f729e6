"""A stored sweep that takes seconds, and a server that runs it in processes.

The sweep has eight tiles, each computed in many short blocks. `serve` saves a checkpoint per block.
"""

import os
import sys

import jax
from small_problems import network

from gdjax.descent import block_loop
from gdjax.sweeps import axes, executor, fit, slab_runner, sweep


def run(path=None, steps=1500, continuable=None):
    """Run the sweep on one device."""
    grid = axes(learning_rate=[0.1, 0.2, 0.3, 0.4], data_seed=range(2), seed=range(2))
    return sweep(
        network(watched=True),
        grid,
        steps,
        batch_size=5,
        record_every=2,
        snapshot_every=500,
        devices=jax.local_devices()[:1],
        continuable=continuable,
        store=path,
    )


def save_often():
    fit.CPU_WIDTHS = ((2, 2**60),)  # as in the tests
    slab_runner.CHECKPOINT_SECONDS = 0.0
    block_loop.record_capacity = lambda *_: 64


def report_start():
    compute = executor.run_tiles

    def reporting(*arguments):
        executor.run_tiles = compute
        print("begun", flush=True)
        return compute(*arguments)

    executor.run_tiles = reporting


def serve() -> None:
    """For each path on standard input, fork a process that runs the sweep.

    Print the process ID, "begun" before the first tile is computed, and the exit status.
    """
    import google_crc32c  # noqa: F401
    import xarray  # noqa: F401
    import zarr.codecs
    import zarr.storage  # noqa: F401

    save_often()
    for line in sys.stdin:
        child = os.fork()  # JAX is not initialized in the parent, only in the child
        if child == 0:
            report_start()
            run(line.strip())
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    serve()
