"""Script that created the stores in `formats/2`, and the problem of two of them.

The stores were created at commit b552719 by public functions, with the flags of the test suite:

    git worktree add --detach then b552719
    PYTHONPATH=then:tests:tests/stores python -c \
        "import conftest, stores_of_format_2 as stores; stores.main('tests/stores/formats/2')"

`bits.json` in that folder has a hash of each variable that `open_dataset` returned at that commit.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdjax as gd

STORES = ("finished", "unfinished", "grown", "static", "continuable", "branched")
OF_OWN_PROBLEM = ("finished", "unfinished")
"""Stores whose problem is `problem()`; the others record a problem of the library."""
MOMENTUM = partial(optax.sgd, momentum=0.9)
ADAM = partial(optax.adam, b1=0.8)


@jax.jit
def squared(error):
    return error**2


def problem(square=squared) -> gd.Problem:
    """Return a 1-3-1 network with a random cost and a running mean as model state.

    Args:
        square: compiled square function, whose name is part of the program text.
    """
    x = np.linspace(-1, 1, 12, dtype=np.float32)

    def init(key, *, scale=1.0):
        first, second = jax.random.split(key)
        params = {
            "in": scale * jax.random.normal(first, (3,)),
            "out": scale * jax.random.normal(second, (3,)),
        }
        return params, jnp.zeros(())

    def outputs(params, inputs):
        return jnp.tanh(inputs[:, None] * params["in"][None]) @ params["out"]

    def cost(params, batch, *, key, model_state, decay=0.0):
        inputs, targets = batch
        noise = 0.01 * jax.random.normal(key, inputs.shape)
        mean = jnp.mean(square(outputs(params, inputs + noise) - targets))
        return mean + decay * jnp.sum(params["out"] ** 2), 0.9 * model_state + 0.1 * mean

    def evaluation(params, batch, *, decay=0.0):
        inputs, targets = batch
        mean = jnp.mean(square(outputs(params, inputs) - targets))
        return mean + decay * jnp.sum(params["out"] ** 2)

    def largest(params, data, memory):
        size = jnp.max(jnp.abs(params["in"]))
        return size, jnp.maximum(size, memory)

    def positive(params, data):
        return params["in"] > 0

    return gd.Problem(
        init=init,
        cost=cost,
        evaluation=evaluation,
        data=(x, np.sin(3 * x)),
        metrics={
            "largest": gd.Metric(largest, every=2, init=lambda params, data: jnp.zeros(())),
            "positive": gd.Metric(positive, every=3, dims=("neuron",), dtype="uint8"),
        },
    )


def make_finished(path: Path) -> None:
    """Store a sweep with zipped axes, two seed axes, snapshots and diverged runs."""
    grid = gd.axes(
        start=gd.zip_axes(learning_rate=[0.1, 0.2, 8.0], scale=[1.0, 0.5, 2.0]),
        seed=[0, 3],
        data_seed=[0, 1],
    )
    settings: dict[str, Any] = {
        "make_optimizer": MOMENTUM,
        "batch_size": 4,
        "record_every": 5,
        "snapshot_every": 10,
        "root_seed": 7,
        "divergence_threshold": 1e6,
        "width": 4,
    }
    gd.sweep(problem(), grid, 20, store=path, devices=jax.local_devices()[:1], **settings)


def make_unfinished(path: Path) -> None:
    """Store a sweep that was interrupted in the second of three tiles."""
    grid = gd.axes(learning_rate=[0.01, 0.02], decay=[0.0, 1e-4, 1e-3], noise_seed=[0])
    settings: dict[str, Any] = {
        "make_optimizer": ADAM,
        "batch_size": 4,
        "record_every": 500,
        "width": 2,
    }

    def interrupt():
        while not list((path / "finished").glob("c.*")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        gd.sweep(problem(), grid, 8_000, store=path, devices=jax.local_devices()[:1], **settings)
    except KeyboardInterrupt:
        flags = len(list((path / "finished").glob("c.*")))
        saved = len(list((path / ".gdjax" / "checkpoints").iterdir()))
        if (flags, saved) == (1, 1):
            return
    raise SystemExit("the interrupt came after the last tile; run this script again")


def make_grown(path: Path) -> None:
    """Store descents on a quadratic, extended by a learning rate, a seed and steps."""
    bowl = gd.problems.bowl([1.0, 4.0])
    settings: dict[str, Any] = {"record_every": 3, "width": 2, "store": path}
    settings["devices"] = jax.local_devices()[:1]
    gd.sweep(bowl, gd.axes(learning_rate=[0.1, 0.4], seed=[0, 1]), 9, **settings)
    grid = gd.axes(learning_rate=[0.1, 0.2, 0.4], seed=[0, 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warns that runs restart from step 0
        gd.sweep(bowl, grid, 12, extend=True, **settings)  # ty: ignore[unknown-argument]


def make_static(path: Path) -> None:
    """Store a sweep of a digit network over two batch sizes, one program for each."""
    digits = gd.problems.digits(widths=(2,), samples=24)
    settings: dict[str, Any] = {"record_every": 4, "width": 2, "store": path}
    settings["devices"] = jax.local_devices()[:1]
    gd.sweep(digits, gd.axes(batch_size=[4, 8], learning_rate=[0.5, 2.0]), 8, **settings)


def make_continuable(path: Path) -> None:
    """Store Adam descents with the states that are needed for further steps."""
    valley = gd.problems.function("rosenbrock")
    settings: dict[str, Any] = {
        "make_optimizer": ADAM,
        "record_every": 4,
        "width": 2,
        "store": path,
    }
    settings["devices"] = jax.local_devices()[:1]
    grid = gd.axes(learning_rate=[0.01, 0.1], seed=[0, 1])
    gd.sweep(valley, grid, 8, continuable=True, **settings)


def make_branched(path: Path) -> None:
    """Store perturbed and unperturbed branches of a run, but not the run."""
    hills = gd.problems.function("himmelblau")
    trunk = path.with_name("trunk")
    devices = jax.local_devices()[:1]
    grid = gd.axes(learning_rate=[0.005, 0.01], seed=[0, 1])
    gd.sweep(hills, grid, 12, make_optimizer=MOMENTUM, store=trunk, width=2, devices=devices)  # ty: ignore[unknown-argument]
    branches = gd.axes(branch_step=[0, 6], perturbation=[0.0, 0.5], perturbation_seed=[0, 1])
    gd.branch(trunk, {"learning_rate": 0.01, "seed": 1}, branches, to=path, devices=devices)
    shutil.rmtree(trunk)


def bits_of(path: Path) -> dict[str, str]:
    """Return a hash of the dimensions, dtype and values of each variable of a store."""
    result = {}
    with gd.open_dataset(path) as dataset:
        for name, variable in sorted(dataset.variables.items()):
            values = np.ascontiguousarray(variable.values)
            text = f"{variable.dims} {values.dtype} {values.shape}".encode()
            result[str(name)] = hashlib.sha256(text + values.tobytes()).hexdigest()[:16]
    return result


def main(path: str) -> None:
    folder = Path(path).absolute()
    for name in STORES:
        shutil.rmtree(folder / name, ignore_errors=True)
        globals()[f"make_{name}"](folder / name)
        for lock in (folder / name).rglob("lock"):
            lock.unlink()
    result = {name: bits_of(folder / name) for name in STORES}
    (folder / "bits.json").write_text(json.dumps(result, indent=1) + "\n")
    files = [file for name in STORES for file in (folder / name).rglob("*") if file.is_file()]
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files):,} bytes")
