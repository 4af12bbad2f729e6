"""Growth of the time and memory of a sweep with the size of its parts.

    seconds ~ size^exponent,   fitted to the larger half of the sizes

    python -m experiments.benchmarks.growth [--out results/speed]

The sizes are the numbers of runs, of values of one axis, of steps, of parameters, of samples and of
records. While one of them varies, the others are constant. Each time is the shortest of three calls
after the first one. Memory is the peak of a new process that computes a sweep with a store, on
Linux.
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure

import gdjax as gd

from .descents import stored_runs
from .timing import seconds

REPEATS = 3


@functools.cache  # so that each problem is compiled once
def network(widths: tuple[int, ...], samples: int) -> gd.Problem:
    """Return the problem of fitting random data with a tanh network."""
    random = np.random.default_rng(0)
    data = tuple(random.normal(size=(samples, n)).astype(np.float32) for n in (widths[0], 1))
    model = gd.problems.Network(widths, activation="tanh", output_activation="identity")
    return gd.problems.supervised(model.init, model.apply, optax.losses.squared_error, data)


def sweep(
    widths: tuple[int, ...] = (4, 8, 1),
    *,
    samples: int = 32,
    rates: int = 1,
    seeds: int = 1,
    steps: int = 20,
    records: int = 1,
) -> Any:
    """Run a sweep over learning rates and seeds, with equally spaced records."""
    axes = gd.axes(learning_rate=np.geomspace(1e-4, 1e-3, rates), seed=range(seeds))
    every = max(1, steps // records)
    return gd.sweep(network(widths, samples), axes, steps, record_every=every)


def _hidden(parameters: int) -> int:
    """Return the width of two hidden layers for about `parameters` weights in total.

    The network has 100 inputs and one output.
    """
    return round((-101 + (101**2 + 4 * parameters) ** 0.5) / 2)


# Sizes of each part, and the keywords of `sweep` for a size.
PARTS: Mapping[str, tuple[list[int], Callable[[int], dict[str, Any]]]] = {
    "runs": ([4**k for k in range(9)], lambda n: {"seeds": n}),
    "values of an axis": ([4**k for k in range(9)], lambda n: {"rates": n}),
    "steps": ([100 * 4**k for k in range(6)], lambda n: {"seeds": 16, "steps": n}),
    "parameters": (
        [10**3, 10**4, 10**5, 3 * 10**5, 10**6],
        lambda n: {"widths": (100, *[_hidden(n)] * 2, 1), "seeds": 4, "samples": 64},
    ),
    "samples": (
        [100, 400, 1600, 6400, 25_600, 60_000],
        lambda n: {"widths": (20, 16, 1), "seeds": 16, "samples": n},
    ),
    "records": ([1, 10, 100, 1000, 10_000], lambda n: {"seeds": 16, "steps": 10_000, "records": n}),
}


def exponent(sizes: list[int], times: list[float]) -> float:
    """Return the slope of log(time) against log(size), fitted to the larger half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(times[half:]), 1)[0])


def measure() -> dict[str, Any]:
    """Return sizes, seconds and exponents of each part, and the memory with a store."""
    result: dict[str, Any] = {}
    for name, (sizes, keywords) in PARTS.items():
        times = []
        for size in sizes:
            work = functools.partial(sweep, **keywords(size))
            work()  # compiles
            times.append(min(seconds(work) for _ in range(REPEATS)))
        result[name] = {"sizes": sizes, "seconds": times, "exponent": exponent(sizes, times)}
        print(f"{name:18} exponent {result[name]['exponent']:.2f}", flush=True)
    runs = [64, 256, 1024, 4096]
    result["memory"] = {"runs": runs, "peak_mib": [stored_runs(n, 2)[1] for n in runs]}
    print(f"{'memory with store':18} {result['memory']['peak_mib']} MiB for {runs} runs")
    return result


def plot(result: Mapping[str, Any]) -> Figure:
    """Draw times against sizes with exponents, and memory against number of runs."""
    figure = Figure(figsize=(13, 4.5))
    left, right = figure.subplots(1, 2)
    for name in PARTS:
        part = result[name]
        label = f"{name}: exponent {part['exponent']:.2f}"
        left.loglog(part["sizes"], part["seconds"], ".-", label=label)
    left.set(xlabel="size of the part", ylabel="shortest time after the first call (s)")
    left.set_title("Time of a sweep in memory")
    left.legend(fontsize=10)
    right.semilogx(result["memory"]["runs"], result["memory"]["peak_mib"], ".-")
    right.set(xlabel="number of runs with 13,002 parameters each", ylabel="peak memory in MiB")
    right.set_ylim(bottom=0)
    right.set_title("Memory of a sweep with a store")
    return figure


def main(out: Path | None = None) -> None:
    """Measure the growth of time and memory, and draw the figure.

    Args:
        out: folder for growth.png and growth.json.
    """
    jax.config.update("jax_num_cpu_devices", 2)
    result = measure()
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "growth.json").write_text(json.dumps(result, indent=1) + "\n")
        plot(result).savefig(out / "growth.png", dpi=150)


if __name__ == "__main__":
    tyro.cli(main)
