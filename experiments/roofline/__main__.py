"""How fast would a step of many networks be on a GPU?

    time of a step = sum over kernels of max(floor, bytes / bandwidth, operations / peak)
                     + waits for the host / steps between them

JAX compiles the program of a sweep for a GPU that is not there. The compiled text shows the kernels
of a step and the loops whose length the compiler does not know, in each of which a GPU waits for
the host. The same numbers are computed for a program written by hand, `jit(vmap(scan(scan)))` with
the same records and without detection of divergence. Floor and wait are stated as ranges, so that
the times are ranges too. Nothing is measured: this is a prediction.

    python -m experiments.roofline            (about 6 minutes; needs the group `accelerators`)
    python -m experiments.roofline --device v5e --peak 197e12 --bandwidth 819e9 --floors 0.3 1.5 \\
        --waits 0 0 --batch-sizes 32 --networks 64 --out results/roofline/v5e    (needs `libtpu`)

Expected: at most 1.25 times as many kernels as the handwritten program, one loop of unknown trip
count, and, with mini-batches, times dominated by launches of kernels. This is refuted if a measured
time of a step is outside of the predicted range.
"""

import re
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command
from gdjax.base import slabs
from gdjax.plots.style import BLUE, GREY, label_log_axis
from gdjax.sweeps.continued.absent_device import (
    Loop,
    absent_device,
    compiled,
    compiled_block,
    loop_over_steps,
    loops,
)
from gdjax.sweeps.program import programs_of

TRANSFERS = re.compile(r" (outfeed|infeed|send|recv)\(|callback")  # to and from the host
OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}


@dataclass(frozen=True)
class Config:
    """Programs, and rates of the device."""

    data: str = "mnist5k"  # name of the data set
    device: str = "h100"  # device that programs are compiled for
    # whether the networks share mini-batches, have separate ones, or use the whole set
    orders: tuple[str, ...] = ("shared", "own", "whole")
    batch_sizes: tuple[int, ...] = (8, 32, 128)  # numbers of samples of a mini-batch
    networks: tuple[int, ...] = (64, 1024)  # numbers of networks
    optimizers: tuple[str, ...] = ("sgd", "adam")  # names of optimizers
    record_every: int = 32  # number of steps between records
    peak: float = 66.9e12  # operations per second in float32 without tensor cores
    bandwidth: float = 3.352e12  # memory bandwidth in bytes per second
    floors: tuple[float, float] = (1.5, 5.0)  # shortest and longest time of a kernel, microseconds
    waits: tuple[float, float] = (10.0, 30.0)  # shortest and longest wait for host, microseconds


def compiled_sweep(
    config: Config, order: str, size: int | None, networks: int, optimizer: str
) -> slabs.Compiled:
    """Return the compiled block of a sweep, for a slab of all networks."""
    seeds = {"seed": range(networks)} | ({"data_seed": range(2)} if order == "own" else {})
    sweep = gd.Sweep(
        problem=gd.problems.digits(config.data),
        axes=gd.axes(learning_rate=[0.1], **seeds),
        num_steps=10 * config.record_every,
        make_optimizer=OPTIMIZERS[optimizer],
        batch_size=size,
        record_every=config.record_every,
    )
    device = absent_device(config.device)
    (program,) = programs_of(sweep, [device])
    return compiled_block(replace(program, width=networks), device)


def compiled_by_hand(
    config: Config, order: str, size: int | None, networks: int, optimizer: str
) -> slabs.Compiled:
    """Return a compiled program by hand with the same steps and records."""
    problem, update = gd.problems.digits(config.data), OPTIMIZERS[optimizer](0.1)

    def run(params, data, rows):
        def step(carry, samples):
            params, state, total = carry
            batch = data if samples is None else jax.tree.map(lambda a: a[samples], data)
            cost, gradient = jax.value_and_grad(problem.cost)(params, batch)
            updates, state = update.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state, total + cost), None

        def record(carry, rows):
            start = (*carry, jnp.zeros(()))
            (*carry, total), _ = jax.lax.scan(step, start, rows, length=config.record_every)
            return tuple(carry), (problem.cost(carry[0], data), total / config.record_every)

        return jax.lax.scan(record, (params, update.init(params)), rows, length=10)

    keys = jax.random.split(jax.random.key(0), networks)
    params = jax.eval_shape(jax.vmap(problem.init), keys)
    rows = None
    if size is not None:
        runs = (networks,) if order == "own" else ()
        rows = jax.ShapeDtypeStruct((*runs, 10, config.record_every, size), np.int32)
    device = absent_device(config.device)
    shapes = slabs.shapes((params, problem.data, rows), device)
    program = jax.jit(jax.vmap(run, (0, None, 0 if order == "own" else None)))
    return compiled(program.lower(*shapes), device)


def microseconds(config: Config, step: Loop, waits: float) -> np.ndarray:
    """Return the shortest and the longest time of a step with some waits for the host."""
    bound = [
        1e6 * max(kernel.bytes / config.bandwidth, kernel.operations / config.peak)
        for kernel in step.kernels
    ]
    pairs = zip(config.floors, config.waits, strict=True)
    return np.array([sum(max(floor, b) for b in bound) + waits * wait for floor, wait in pairs])


def run(config: Config) -> xr.Dataset:
    """Return kernels, loops, transfers and predicted times by program."""
    parts = []
    for order, networks, optimizer in product(config.orders, config.networks, config.optimizers):
        for size in config.batch_sizes if order != "whole" else (None,):
            block, by_hand = (
                function(config, order, size, networks, optimizer)
                for function in (compiled_sweep, compiled_by_hand)
            )
            step, step_by_hand = loop_over_steps(block), loop_over_steps(by_hand)
            # The loop over chunks, and the branches for the record and for each metric.
            outer = [loop for loop in loops(block) if loop.trip_count is None]
            waits = sum(loop.num_inner for loop in outer) / config.record_every
            columns = {
                "kernels": len(step.kernels),
                "kernels_by_hand": len(step_by_hand.kernels),
                "unknown_loops": len(outer),
                "transfers": len(TRANSFERS.findall(block.executable.as_text())),
                "is_step_known": step.trip_count is not None,
                "bytes": sum(kernel.bytes for kernel in step.kernels),
                "operations": sum(kernel.operations for kernel in step.kernels),
                "microseconds": ("bound", microseconds(config, step, waits)),
                "microseconds_by_hand": ("bound", microseconds(config, step_by_hand, 0.0)),
            }
            case = {"order": order, "batch_size": size or 0}
            parts.append(xr.Dataset(columns, case | {"networks": networks, "optimizer": optimizer}))
    return xr.concat(parts, "case", coords="all").assign_attrs(device=config.device)


def numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the entries of summary.json."""
    names = map(str, (*dataset.coords, *dataset.data_vars))
    return {name: dataset[name].values.tolist() for name in names}


def plot(dataset: xr.Dataset) -> dict[str, Figure]:
    """Draw the range of the time of a step for each program, and that of the program by hand."""
    figure = Figure(figsize=(7, 2 + dataset.sizes["case"] / 4))
    axes = figure.subplots()
    rows = np.arange(dataset.sizes["case"])
    for name, color, shift, label in (
        ("microseconds", BLUE, -0.15, "gdjax"),
        ("microseconds_by_hand", GREY, 0.15, "by hand"),
    ):
        low, high = dataset[name].values.T
        axes.hlines(rows + shift, low, high, color=color, lw=3, label=label)
        axes.plot(np.sqrt(low * high), rows + shift, "o", color=color, markersize=4)
    names = ("order", "batch_size", "networks", "optimizer")
    columns = (dataset[name].values.tolist() for name in names)
    axes.set_yticks(
        rows,
        [
            f"{order}{f' {size}' if size else ''}, {networks:,} networks, {optimizer}"
            for order, size, networks, optimizer in zip(*columns, strict=True)
        ],
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    label_log_axis(axes.xaxis, "{:,.0f}".format)
    axes.set_xlabel("predicted time of a step (microseconds)")
    axes.set_title(f"Predicted times on an {dataset.device.upper()}")
    axes.legend()
    return {"roofline": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
