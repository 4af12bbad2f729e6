"""Time and memory of storing runs, opening stores, and using object stores.

    python -m experiments.benchmarks.stores [--runs 1000000] [--steps 200] [--tiles 200]

The script prints the seconds and the peak memory of each measurement. The comparison of locations
needs `gd.extend`; all other measurements also run with earlier versions. `s3` and `az` are servers
on this machine, as in the tests (`tests/stores/servers.py`), and are skipped if they cannot be
started.
"""

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd


def network() -> gd.Problem:
    """Return the problem of fitting a sine with a 1-16-1 network."""
    x = jnp.linspace(-1, 1, 16)[:, None]

    def init(key):
        first, second = jax.random.split(key)
        return {
            "in": jax.random.normal(first, (1, 16)),
            "bias": jnp.zeros(16),
            "out": jax.random.normal(second, (16, 1)) / 4,
        }

    def cost(params, batch):
        inputs, targets = batch
        outputs = jnp.tanh(inputs @ params["in"] + params["bias"]) @ params["out"]
        return jnp.mean((outputs - targets) ** 2)

    return gd.Problem(init=init, cost=cost, data=(x, jnp.sin(3 * x)))


def timed(name: str, function: Callable[[], Any], unit: float = 1.0) -> Any:
    """Run a function, and print its time and the peak memory of the process.

    Args:
        name: label of the printed line.
        function: function to time.
        unit: number of units; the time per unit is also printed.

    Returns:
        The result of the function.
    """
    start_time = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start_time
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{name:40} {seconds:10.3f} s {seconds / unit:12.3e} s each {peak:8.0f} MiB", flush=True)
    return result


def many_runs(folder: Path, runs: int, steps: int) -> None:
    """Time storing a sweep of many runs, and opening and verifying its store."""
    grid = gd.axes(learning_rate=np.geomspace(0.01, 1, 10), seed=range(max(runs // 10, 1)))
    path = folder / "many.zarr"
    timed(
        f"{grid.runs:,} runs x {steps} steps, stored",
        lambda: gd.sweep(network(), grid, steps, store=path, record_every=max(steps // 10, 1)),
        grid.runs * steps,
    )
    files = sum(file.is_file() for file in path.rglob("*"))
    timed(f"open a store of {files:,} files", lambda: gd.open_dataset(path), files)
    timed(f"verify a store of {files:,} files", lambda: gd.verify(path), files)


def digits(folder: Path, runs: int, steps: int) -> None:
    """Time a sweep that stores runs of the digit network."""
    grid = gd.axes(learning_rate=np.geomspace(0.1, 10, 12), seed=range(max(runs // 12, 1)))
    problem = gd.problems.digits(widths=(16,))
    settings: dict[str, Any] = {"batch_size": 100, "record_every": 50}
    timed(
        f"{grid.runs} runs of digits x {steps} steps, stored",
        lambda: gd.sweep(problem, grid, steps, store=folder / "digits.zarr", **settings),
        grid.runs * steps,
    )


def locations(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, store and options for a folder and for each available object store."""
    yield "folder", str(folder / "tiles.zarr"), {}
    from tests.stores import servers

    for kind in ("s3", "az"):
        if reason := servers.missing(kind):
            print(f"{kind}: skipped, {reason}")
            continue
        with servers.serve(kind, folder) as server:
            yield kind, f"{server.url}/tiles.zarr", {"storage_options": server.options}


def three_locations(folder: Path, tiles: int, steps: int) -> None:
    """Time a sweep of many tiles stored in each location, and compare the contents."""
    grid = gd.axes(learning_rate=np.geomspace(0.01, 1, tiles), seed=range(8))
    hashes = set()
    for name, store, options in locations(folder):
        settings: dict[str, Any] = {"devices": jax.local_devices()[:1], **options}
        sweep = partial(gd.sweep, network(), grid, steps, store=store, **settings)
        dataset = timed(f"{tiles} tiles to {name}", sweep, tiles)
        loaded = timed(f"read from {name}", dataset.load, tiles)
        raw = b"".join(loaded[n].values.tobytes() for n in sorted(loaded.data_vars))
        hashes.add(hashlib.sha256(raw).hexdigest())
    print("bitwise equal" if len(hashes) == 1 else f"results differ between locations: {hashes}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--digit-runs", type=int, default=96)
    parser.add_argument("--digit-steps", type=int, default=2500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        many_runs(folder, arguments.runs, arguments.steps)
        digits(folder, arguments.digit_runs, arguments.digit_steps)
        if hasattr(gd, "extend"):
            three_locations(folder, arguments.tiles, arguments.steps)


if __name__ == "__main__":
    main()
