"""Overhead of a first call, relative to that of a program written by hand.

    ratio = (first - second) of gd.sweep / (first - second) of jit(vmap(scan))

A user-defined MLP 20-64-64-1 is trained with Adam at 8 rates from 8 seeds, for 200 steps on 512
samples, and the cost is recorded at every step. Each measurement runs in a new process without a
compilation cache, and `first` includes the time of all imports, from the start of the script. As a
script, this module measures once and prints JSON.
"""

# ruff: noqa: E402
import time

START_TIME = time.perf_counter()  # the imports are part of a first call

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

WIDTHS = (20, 64, 64, 1)
SAMPLES = 512
COMPILED = "/jax/core/compile/backend_compile_duration"


def init(key, widths):
    """Return random weights [inputs, outputs] and zero biases [1, outputs] of a network."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        (jax.random.normal(k, (i, o)) / i**0.5, jnp.zeros((1, o)))
        for k, i, o in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def cost(params, batch):
    """Return the mean squared error of the network on a batch."""
    x, y = batch
    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = params[-1]
    return jnp.mean((x @ w + b - y) ** 2)


def _work(rates: int, seeds: int):
    random = np.random.default_rng(0)
    data = tuple(random.normal(size=(SAMPLES, n)).astype(np.float32) for n in (20, 1))
    return data, np.geomspace(1e-4, 1e-2, rates), range(seeds)


def ours(rates: int, seeds: int, steps: int) -> Any:
    """Return a function, to be timed, that runs a sweep over rates and seeds."""
    import gdjax as gd  # it is not imported if the program written by hand is measured
    from gdjax.sweeps import sweep

    data, learning_rates, starts = _work(rates, seeds)
    problem = gd.Problem(init=lambda key: init(key, WIDTHS), cost=cost, data=data)
    axes = gd.axes(learning_rate=learning_rates, seed=starts)
    return lambda: sweep(problem, axes, steps, make_optimizer=optax.adam).cost.values


def by_hand(rates: int, seeds: int, steps: int) -> Any:
    """Return a function, to be timed, that computes the runs with `jit(vmap(scan))`."""
    data, learning_rates, starts = _work(rates, seeds)

    def one(rate, seed, data):
        optimizer = optax.adam(rate)
        params = init(jax.random.key(seed), WIDTHS)

        def step(carry, _):
            params, memory = carry
            value, gradient = jax.value_and_grad(cost)(params, data)
            updates, memory = optimizer.update(gradient, memory, params)
            return (optax.apply_updates(params, updates), memory), value

        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
        return params, jnp.append(values, cost(params, data))

    runs = jax.jit(jax.vmap(one, (0, 0, None)))
    pairs = np.meshgrid(learning_rates, np.array(starts), indexing="ij")
    rate, seed = (a.ravel() for a in pairs)
    return lambda: jax.tree.map(np.asarray, runs(rate.astype(np.float32), seed, data))


def measured(name: str, *sizes: int) -> dict[str, float]:
    """Return the overhead of the first call of a program, and the number of programs compiled.

    `beyond` is the time in seconds of the first call with all imports, minus that of the second
    one; `sizes` are the numbers of learning rates, of seeds for each rate, and of steps.
    """
    call = {"ours": ours, "by_hand": by_hand}[name](*sizes)
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILED:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    call()
    first, programs = time.perf_counter() - START_TIME, len(compiled)
    start_time = time.perf_counter()
    call()
    second = time.perf_counter() - start_time
    return {"beyond": first - second, "programs": programs}


def fresh(name: str, devices: int, *sizes: int) -> dict[str, float]:
    """Return the result of `measured` from a new process without a compilation cache."""
    environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    options = ("-W", "ignore", "-X", "faulthandler")
    command = [sys.executable, *options, __file__, name, *map(str, sizes)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def ratios(pairs: int, rates: int = 8, seeds: int = 8, steps: int = 200) -> dict[str, Any]:
    """Return median ratios over pairs of processes with one device and with two.

    One process of a pair runs the sweep, the other the program written by hand. The result also
    contains, for each program, the number of programs compiled in a first call.
    """
    from gdjax import statistics

    by_devices = {}
    for devices in (1, 2):
        results = [
            {name: fresh(name, devices, rates, seeds, steps) for name in ("ours", "by_hand")}
            for _ in range(pairs)
        ]
        ratio = [pair["ours"]["beyond"] / pair["by_hand"]["beyond"] for pair in results]
        by_devices[str(devices)] = {
            "beyond_ratio": statistics.median(ratio).value,
            "beyond_ratio_least": min(ratio),
            "beyond_ratio_most": max(ratio),
            **{f"programs_{name}": one["programs"] for name, one in results[0].items()},
        }
    return {"first_call": {"devices": by_devices}}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    name, *numbers = sys.argv[1:]
    print(json.dumps(measured(name, *map(int, numbers))))
