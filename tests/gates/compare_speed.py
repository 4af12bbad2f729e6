"""Print how long calls take and how much memory they need, here against another commit.

    python tests/gates/compare_speed.py --against HEAD~1    # about ten minutes on two free cores
    python tests/gates/compare_speed.py --against HEAD~1 --only first_call --turns 9

The commits take turns, each measurement in a fresh process. What is printed is the median of each
side, the median ratio of a turn's two sides, and the least and the largest ratio.
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
    """Register a function of a temporary folder that returns measured values by name."""
    MEASUREMENTS[function.__name__] = function
    return function


def seconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
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
    """Time second calls of three models with 8 rates and 8 seeds each."""
    from golden_bits import network, sweep

    gd = names.library()
    models = {
        "plain": (network(), 8000),
        "stateful": (network("stateful"), 8000),
        "digits": (gd.problems.digits(widths=(16,), samples=500), 40),
    }
    found = {}
    for name, (problem, num_steps) in models.items():

        def work(problem=problem, num_steps=num_steps):
            return sweep(problem, {"learning_rate": RATES, "seed": SEEDS}, num_steps)

        work()
        found[f"{name} s"] = min(seconds(work) for _ in range(2))
    return found


def digit_runs(store: Path | None) -> dict[str, float]:
    """Run 96 networks that learn digits, 2,500 steps each."""
    from golden_bits import sweep

    problem = names.library().problems.digits(widths=(16, 16))
    grid = {"learning_rate": [0.3, 1.0, 3.0], "seed": range(32)}
    given = {"batch_size": 32, "record_every": 250, "snapshot_every": 500, "store": store}
    return {"s": seconds(lambda: sweep(problem, grid, 2500, **given)), "peak MiB": peak()}


@measurement
def digits_in_memory(_):
    return digit_runs(None)


@measurement
def digits_stored(folder):
    return digit_runs(folder / "s.zarr")


@measurement
def store_of_4000_files(folder):
    """Write, open, read and verify a store of six batch sizes, which are parts of it."""
    import jax
    from golden_bits import network, sweep

    gd, path = names.library(), folder / "s.zarr"
    grid = {"batch_size": [3, 5, 6, 10, 15, 30], "learning_rate": RATES, "seed": range(9)}
    given = {"width": 1, "devices": jax.local_devices()[:1], "store": path}
    written = seconds(lambda: sweep(network(), grid, 20, **given))
    files = sum(file.is_file() for file in path.rglob("*"))
    gd.open_dataset(path).close()  # imports

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
    """Return a pair (then, here) for each value and each turn."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for turn in range(turns):
        for name in MEASUREMENTS:
            if only not in name:
                continue
            sides = {}
            for who in sorted(roots, reverse=bool(turn % 2)):
                began = time.perf_counter()
                values = commits.run(__file__, {who: roots[who]}, ["--only", name])[who]
                values["process s"] = time.perf_counter() - began
                sides[who] = values
            for value in next(iter(sides.values())):
                pair = tuple(sides[who].get(value, float("nan")) for who in roots)
                found.setdefault(f"{name} {value}", []).append(pair)
            print(f"turn {turn + 1} of {turns}: {name}", file=sys.stderr)
    return found


def lines(found: dict[str, list[tuple[float, ...]]], commit: str) -> list[str]:
    """Return the table as text."""
    made = [f"{'':34}{commit:>12}{'here':>12}{'ratio':>8}   least to largest"]
    for name, pairs in found.items():
        then, here = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = [b / a for a, b in pairs if a]
        made.append(
            f"{name:34}{then:12.4g}{here:12.4g}{statistics.median(ratios):8.3f}"
            f"   {min(ratios):.3f} to {max(ratios):.3f}"
        )
    return made


def main() -> None:
    """Measure one thing in this process, or all at two commits by turns."""
    parser = commits.parser(__doc__ or "")
    parser.add_argument("--turns", type=int, default=4, help="measurements of each side")
    given = parser.parse_args()
    if given.write:
        with tempfile.TemporaryDirectory() as folder:
            commits.write(given.write, MEASUREMENTS[given.only](Path(folder)))
        return
    began = time.perf_counter()
    commit = given.against or "HEAD"
    with commits.checked_out(commit) as then:
        if then is None:
            raise SystemExit(f"compare_speed.py: this clone has no {commit}")
        found = compare({commit: then, "here": commits.ROOT}, given.only, given.turns)
    print("\n".join([*lines(found, commit), f"({time.perf_counter() - began:.0f} s)"]))


if __name__ == "__main__":
    main()
