"""Print the times and memory use of calls, compared with another commit.

    python tests/gates/compare_speed.py --against HEAD~1    # about ten minutes on two free cores
    python tests/gates/compare_speed.py --against HEAD~1 --only first_call --turns 9

The order of the commits alternates between turns, and each measurement runs in a new process. The
table contains the median of each commit, and the median, minimum and maximum of their ratio over
all turns.
"""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commits
import names

MEASUREMENTS: dict[str, Callable[[Path], dict[str, float]]] = {}
RATES, SEEDS = [0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3], range(8)


def measurement(function: Callable[[Path], dict[str, float]]) -> Callable:
    """Register a function that takes a temporary folder and returns values by name."""
    MEASUREMENTS[function.__name__] = function
    return function


def seconds(work: Callable[[], Any]) -> float:
    """Return the wall-clock time of a call, in seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak() -> float:
    """Return the peak memory of this process, in MiB."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@measurement
def first_call(_):
    """Run 64 networks in a new process, whose total time the parent measures."""
    from golden_bits import network, sweep

    sweep(network(), {"learning_rate": RATES, "seed": SEEDS}, 200)
    return {"peak MiB": peak()}


@measurement
def second_calls(_):
    """Time the second sweep of each of three models, with 8 rates and 8 seeds."""
    from golden_bits import network, sweep

    gd = names.library()
    models = {
        "plain": (network(), 8000),
        "stateful": (network("stateful"), 8000),
        "digits": (gd.problems.digits(widths=(16,), samples=500), 40),
    }
    result = {}
    for name, (problem, num_steps) in models.items():

        def work(problem=problem, num_steps=num_steps):
            return sweep(problem, {"learning_rate": RATES, "seed": SEEDS}, num_steps)

        work()
        result[f"{name} s"] = min(seconds(work) for _ in range(2))
    return result


def digit_runs(store: Path | None) -> dict[str, float]:
    """Train 96 digit networks for 2,500 steps; return seconds and peak memory."""
    from golden_bits import sweep

    problem = names.library().problems.digits(widths=(16, 16))
    grid = {"learning_rate": [0.3, 1.0, 3.0], "seed": range(32)}
    options = {"batch_size": 32, "record_every": 250, "snapshot_every": 500, "store": store}
    return {"s": seconds(lambda: sweep(problem, grid, 2500, **options)), "peak MiB": peak()}


@measurement
def digits_in_memory(_):
    return digit_runs(None)


@measurement
def digits_stored(folder):
    return digit_runs(folder / "s.zarr")


@measurement
def store_of_4000_files(folder):
    """Time writing, opening, reading and verifying a store with six batch sizes."""
    import jax
    from golden_bits import network, sweep

    gd, path = names.library(), folder / "s.zarr"
    grid = {"batch_size": [3, 5, 6, 10, 15, 30], "learning_rate": RATES, "seed": range(9)}
    options = {"width": 1, "devices": jax.local_devices()[:1], "store": path}
    written = seconds(lambda: sweep(network(), grid, 20, **options))
    files = sum(file.is_file() for file in path.rglob("*"))
    gd.open_dataset(path).close()  # exclude the time of imports

    def read():
        with gd.open_dataset(path) as dataset:
            dataset.load()

    return {
        "files": files,
        "write s": written,
        "open s": min(seconds(lambda: gd.open_dataset(path).close()) for _ in range(3)),
        "read s": min(seconds(read) for _ in range(3)),
        "verify s": min(seconds(lambda: gd.verify(path)) for _ in range(3)),
    }


def compare(roots: dict[str, Path], only: str, turns: int) -> dict[str, list[tuple[float, ...]]]:
    """Return a pair (other commit, this commit) for each value and each turn."""
    result: dict[str, list[tuple[float, ...]]] = {}
    for turn in range(turns):
        for name in MEASUREMENTS:
            if only not in name:
                continue
            sides = {}
            for side in sorted(roots, reverse=bool(turn % 2)):
                began = time.perf_counter()
                values = commits.run(__file__, {side: roots[side]}, ["--only", name])[side]
                values["process s"] = time.perf_counter() - began
                sides[side] = values
            for value in next(iter(sides.values())):
                pair = tuple(sides[side].get(value, float("nan")) for side in roots)
                result.setdefault(f"{name} {value}", []).append(pair)
            print(f"turn {turn + 1} of {turns}: {name}", file=sys.stderr)
    return result


def lines(values: dict[str, list[tuple[float, ...]]], commit: str) -> list[str]:
    """Return the lines of the table."""
    created = [f"{'':34}{commit:>12}{'here':>12}{'ratio':>8}   smallest to largest"]
    for name, pairs in values.items():
        continued, here = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = [b / a for a, b in pairs if a]
        created.append(
            f"{name:34}{continued:12.4g}{here:12.4g}{statistics.median(ratios):8.3f}"
            f"   {min(ratios):.3f} to {max(ratios):.3f}"
        )
    return created


def main() -> None:
    """Make one measurement in this process, or the selected ones at two commits."""
    parser = commits.parser(__doc__ or "")
    parser.add_argument("--turns", type=int, default=4, help="number of measurements per commit")
    options = parser.parse_args()
    if options.write:
        with tempfile.TemporaryDirectory() as folder:
            commits.write(options.write, MEASUREMENTS[options.only](Path(folder)))
        return
    began = time.perf_counter()
    commit = options.against or "HEAD"
    with commits.checked_out(commit) as before:
        if before is None:
            raise SystemExit(f"compare_speed.py: this clone has no {commit}")
        result = compare({commit: before, "here": commits.ROOT}, options.only, options.turns)
    print("\n".join([*lines(result, commit), f"({time.perf_counter() - began:.0f} s)"]))


if __name__ == "__main__":
    main()
