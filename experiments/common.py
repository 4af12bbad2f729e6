"""What every experiment does around its question: parse, run, write, draw, print.

An experiment is a frozen `Config`, `run(config) -> Dataset`, `plot(dataset) -> {name: Figure}` and
`numbers(dataset) -> {name: number}`; the numbers go to summary.json. The default config writes to
results/<experiment>, any other one to a folder of its own below that.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tyro

from gdjax.cli import process, results
from gdjax.errors import GdjaxError


def seconds(work: Callable[[], Any]) -> float:
    """How long some work takes, to the end of its computation."""
    import jax

    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def main(
    name: str,
    config_type: type,
    run: Callable[[Any], Any],
    plot: Callable[[Any], Mapping[str, Any]],
    numbers: Callable[[Any], Mapping[str, Any]],
) -> None:
    """The command line of an experiment."""
    config = tyro.cli(config_type, prog=name)
    process.own()
    try:
        folder = write(name, config, run, plot, numbers)
    except GdjaxError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    print(f"written to {folder}")


def write(name, config, run, plot, numbers, out: Path | None = None) -> Path:
    """Run an experiment and leave its data, its summary and its pictures in a folder.

    Data are written before anything is drawn; `plot` needs nothing but them.
    """
    if out is None and config == type(config)():
        out = Path(__file__).parent.parent / "results" / name
    folder = results.folder(name, config, out)
    dataset = run(config)
    results.save_data(dataset, folder / "data.zarr")
    found = dict(numbers(dataset))
    results.write_summary(folder, name, config, found)
    for key, value in found.items():
        print(f"{key:>36}  {value:.6g}" if isinstance(value, float) else f"{key:>36}  {value}")
    for file, figure in plot(dataset).items():
        results.save_figure(figure, folder / f"{file}.png")
    return folder
