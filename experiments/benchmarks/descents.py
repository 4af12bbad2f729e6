"""Times of descents and sweeps with gdjax and other libraries, for the experiment `speed`."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gdjax as gd

from . import first_call, peers
from .timing import WIDTHS, Clock, seconds, share


def sweep_seconds(problem, axes, steps, batch_size, **settings) -> Callable[[], Any]:
    """Return a function, to be timed, that runs a sweep with two records."""

    def work():
        options: dict = {"batch_size": batch_size, "record_every": max(steps, 1), "metrics": {}}
        rule = partial(optax.sgd, learning_rate=1.0)
        runs = gd.sweep(problem, axes, steps, make_optimizer=rule, **options, **settings)
        runs.cost.load()  # costs in a store are read
        return runs

    return work


def steps_only(clock: Clock, problem, axes, few: int, many: int, batch_size: int | None):
    """Return the time of `many - few` steps, and the rate of the matrix product.

    The difference between the times of two sweeps excludes the fixed cost of a sweep.
    """
    short, _ = clock.best(sweep_seconds(problem, axes, few, batch_size))
    long, rate = clock.best(sweep_seconds(problem, axes, many, batch_size))
    return long - short, rate


def whole_set(clock, config, dataset):
    """Time full-batch steps on 5,000 samples, with gdjax and with PyTorch.

    With gdjax, the digit network and a user-defined network are timed. The weights of the latter
    have the shape [inputs, outputs].
    """
    axes = gd.axes(seed=range(config.runs))
    few, many = 2, 2 + max(2, round(20 * config.scale))
    small = gd.problems.digits(dataset, samples=5000)

    def natural(params, batch):
        a = batch[0].astype(jnp.float32) / 255
        for w, b in params:
            a = jax.nn.sigmoid(a @ w + b)
        return jnp.mean(jnp.sum((a - jax.nn.one_hot(batch[1], 10)) ** 2, axis=1))

    users = gd.Problem(init=lambda key: first_call.init(key, WIDTHS), cost=natural, data=small.data)
    results = {}
    run_steps = (many - few) * config.runs
    for name, problem in (("whole_set", small), ("whole_set_natural_layout", users)):
        spent, rate = steps_only(clock, problem, axes, few, many, None)
        results[name] = {
            "share": share(spent, rate, 5000, run_steps),
            "ms_a_run_step": 1e3 * spent / run_steps,
        }
    ours, times = results["whole_set"], {}
    for peer, milliseconds in peers.whole_set(small, config.runs, config.repeats).items():
        ours[f"{peer}_ms_a_run_step"] = milliseconds
        times[peer] = milliseconds / ours["ms_a_run_step"]
    ours["times"] = times
    return results


def mini_batches(clock, config, dataset):
    """Time mini-batch steps with 32 samples, of all runs together and of one run.

    The runs either share one order of the samples, or have one order each. A PyTorch loop is also
    timed, if PyTorch is installed.
    """
    problem = gd.problems.digits(dataset)
    few, many = 10, 10 + max(20, round(4000 * config.scale))
    run_steps = (many - few) * config.runs
    results: dict[str, dict[str, Any]] = {}
    for name, axes in (
        ("shared_order", gd.axes(seed=range(config.runs))),
        ("own_orders", gd.axes(data_seed=range(config.runs))),
    ):
        spent, rate = steps_only(clock, problem, axes, few, many, 32)
        results[name] = {
            "share": share(spent, rate, 32, run_steps),
            "us_a_run_step": 1e6 * spent / run_steps,
        }
    spent, _ = steps_only(clock, problem, gd.axes(seed=[0]), few, many, 32)
    alone = 1e6 * spent / (many - few)
    times = {"one_after_another": alone / results["shared_order"]["us_a_run_step"]}
    torch_us = peers.mini_batches(problem, round(1000 * config.scale), config.repeats)
    if torch_us is not None:
        for ours in results.values():
            ours["times"] = {"torch_loop": torch_us / ours["us_a_run_step"]}
        results["torch_loop"] = {"us_a_run_step": torch_us}
    return results | {"one_run": {"us_a_step": alone}, "one_sweep": {"times": times}}


def one_descent(clock, config, dataset):
    """Time ten epochs of one run with `gd.descend`, and with a scan written by hand.

    Both draw ten permutations of the samples. `gd.descend` evaluates the full-batch cost eleven
    times, and the scan once per epoch. A PyTorch loop is also timed, if PyTorch is installed.
    """
    problem = gd.problems.digits(dataset)
    start = problem.init(jax.random.key(0))
    images, labels = (jnp.asarray(a) for a in problem.data)
    epochs = max(1, round(10 * config.scale))
    steps = epochs * 1875
    on_device = gd.Problem(
        init=problem.init, cost=problem.cost, data=(images, labels), baseline=problem.baseline
    )
    settings: dict[str, Any] = {"batch_size": 32, "record_every": 1875}

    def ours():
        key, sgd = jax.random.key(1), optax.sgd(1.0)
        return gd.descend(on_device, sgd, start, steps, key=key, **settings).params

    @jax.jit
    def scan(params, images, labels, key):
        def step(params, rows):
            gradient = jax.grad(problem.cost)(params, (images[rows], labels[rows]))
            return jax.tree.map(lambda w, g: w - g, params, gradient), None

        def epoch(params, key):
            order = jax.random.permutation(key, 60_000).reshape(-1, 32)
            cost = problem.cost(params, (images, labels))
            return jax.lax.scan(step, params, order)[0], cost

        return jax.lax.scan(epoch, params, jax.random.split(key, epochs))

    ours_seconds, _ = clock.best(ours)
    scan_seconds, _ = clock.best(lambda: scan(start, images, labels, jax.random.key(1)))
    times = {"scan_with_records": scan_seconds / ours_seconds}
    torch_us = peers.mini_batches(problem, round(1000 * config.scale), config.repeats)
    if torch_us is not None:
        times["torch_loop"] = torch_us * 1e-6 * steps / ours_seconds
    return {"ten_epochs": {"seconds": ours_seconds * 10 / epochs, "times": times}}


def many_runs(config):
    """Measure the peak memory of 4,096 stored runs, and their time per run against that of 64."""
    steps = max(20, round(500 * config.scale))
    few, many = 64, 64 * max(2, round(64 * config.scale))
    seconds_of_few, _ = stored_runs(few, steps)
    seconds_of_many, peak_of_many = stored_runs(many, steps)
    results = {
        "runs": many,
        "time_a_run_against_64": seconds_of_many / many / (seconds_of_few / few),
        "peak_MiB": peak_of_many,
    }
    return {"many_runs": results}


def stored_runs(runs: int, steps: int) -> tuple[float, float]:
    """Return seconds and peak memory in MiB of a stored sweep of digits, in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        module = [sys.executable, "-m", "experiments.benchmarks.descents"]
        command = [*module, str(runs), str(steps), folder]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    spent, peak = (float(word) for word in done.stdout.split()[-2:])
    return spent, peak


def worker(runs: int, steps: int, folder: str) -> None:
    """Run a stored sweep, and print its time without compilation and the peak memory."""
    from gdjax.base import process

    process.configure()
    problem = gd.problems.digits("mnist5k")
    sweep_seconds(problem, gd.axes(seed=range(64)), steps, 32, store=f"{folder}/warm")()
    spent = seconds(
        sweep_seconds(problem, gd.axes(seed=range(runs)), steps, 32, store=f"{folder}/timed")
    )
    # getrusage is not used, since its peak for a child process includes that of the parent.
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    print(spent, int(status["VmHWM"].split()[0]) / 1024)


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
