"""How fast is gdjax, compared with a matrix product and with other libraries?

    share = 4 * samples * parameters * run-steps / seconds / (rate of a 2000 x 2000 product)

    python -m experiments.speed      (about 40 minutes on two slow cores)

Expected: shares of at least 0.70 for full batches, 0.30 for mini-batches in one order, 0.15 for
mini-batches in 64 orders, and 0.60 for the cost on a plane.
"""

from dataclasses import dataclass
from typing import Any

from experiments.benchmarks import bars, descents, first_call, landscape, peers
from experiments.benchmarks.timing import Clock
from experiments.shared import command


@dataclass(frozen=True)
class Config:
    """Settings of the measurements."""

    runs: int = 64
    """Number of runs in each sweep."""
    repeats: int = 3
    """Number of repetitions; the fastest, or the median or mean of all of them, is reported."""
    pairs: int = 5
    """Number of pairs of new processes in which first calls are timed."""
    scale: float = 1.0
    """Factor for the numbers of steps; smaller values give faster, less precise measurements."""


def data() -> Any:
    """Return MNIST if it is available offline, else noise with the shapes of MNIST."""
    import numpy as np

    from gdjax.data import ImageSet, available, load
    from gdjax.errors import GdjaxError

    try:
        if any(entry.name == "mnist" and entry.prepared for entry in available()):
            return load("mnist")
    except GdjaxError:
        pass
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70_000, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, 70_000).astype(np.uint8)
    return ImageSet("noise", images[:60000], labels[:60000], images[60000:], labels[60000:], 10, "")


def run(config: Config) -> Any:
    """Return all measurements, as a Dataset of scalars."""
    import xarray as xr

    from experiments.benchmarks import second_call

    clock = Clock(config.repeats)
    dataset = data()
    ratios = {}
    for part in (
        lambda: descents.one_descent(clock, config, dataset),
        lambda: descents.whole_set(clock, config, dataset),
        lambda: descents.mini_batches(clock, config, dataset),
        lambda: descents.trainability(clock, config),
        lambda: descents.many_runs(config),
        lambda: descents.small_sweep(config),
        lambda: descents.second_start(config),
        lambda: first_call.ratios(config.pairs),
        lambda: second_call.ratios(config.repeats),
        lambda: landscape.planes(clock, config, dataset),
        lambda: landscape.eigenvalues(clock, config, dataset),
        lambda: landscape.paths(clock, config, dataset),
    ):
        ratios |= part()
    ratios["matrix_product_GFlops"] = max(clock.rates) / 1e9
    return xr.Dataset(
        {name: ((), value) for name, value in ratios.items()},
        attrs={
            "data": dataset.name,
            "torch": getattr(peers.torch_or_none(), "__version__", "not installed"),
        },
    )


def numbers(dataset) -> dict[str, Any]:
    """Return the entries of summary.json."""
    return {**dataset.attrs, **{name: float(v) for name, v in dataset.data_vars.items()}}


def plot(dataset) -> dict[str, Any]:
    """Draw shares of the rate of a matrix product, and ratios to other libraries."""
    shares = {n: float(v) for n, v in dataset.data_vars.items() if n.endswith("_share")}
    times = {n: float(v) for n, v in dataset.data_vars.items() if "_times_" in n}
    return {"speed": bars.ratios(shares, times)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
