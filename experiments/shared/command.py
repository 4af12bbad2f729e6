"""Steps common to all experiments: parse, run, write, draw, print.

An experiment has a frozen `Config`, `run(config) -> Dataset`, `plot(dataset) -> {name: Figure}` and
`numbers(dataset) -> {name: number}`; the numbers are written to summary.json. What varies along a
coordinate is nested: {"rate": {"0.5": {"cost": 0.1}}}. The results of the default config are
written to results/<experiment>, those of any other config to a subfolder of it.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.shared.figures import legible
from gdjax.base import interrupts, process, results
from gdjax.base.errors import GdjaxError
from gdjax.plots.style import style

RESULTS = Path(__file__).parents[2] / "results"


def main(
    config_type: type,
    run: Callable[[Any], Any],
    plot: Callable[[Any], Mapping[str, Any]],
    numbers: Callable[[Any], Mapping[str, Any]],
) -> None:
    """Run the experiment in whose folder `run` is defined, from the command line.

    The options are the fields of its config, and --out.
    """
    name = Path(inspect.getfile(run)).parent.name
    config, out = parse(name, config_type)
    process.configure()
    try:
        directory = write(name, config, run, plot, numbers, out)
    except GdjaxError as error:
        raise SystemExit(f"{name}: {error}") from None
    except KeyboardInterrupt:
        print(interrupts.message(), file=sys.stderr)
        raise SystemExit(interrupts.STATUS) from None
    print(f"written to {directory}")


def parse(
    name: str, config_type: Any, arguments: list[str] | None = None
) -> tuple[Any, Path | None]:
    """Parse a command line; return the config, and the output folder if it is given."""
    default = config_type()
    help_of_out = tyro.conf.arg(
        help="folder for results; by default results/<experiment>, or a folder below it if the "
        "config is not the default one."
    )

    def command(
        config: tyro.conf.OmitArgPrefixes[config_type] = default,
        out: Annotated[Path | None, help_of_out] = None,
    ):
        return config, out

    return tyro.cli(command, prog=name, description=config_type.__doc__, args=arguments)


def write(name, config, run, plot, numbers, out: Path | None = None) -> Path:
    """Run an experiment, write its results, print its summary, and return the folder.

    The data are written before the figures are drawn; `plot` needs only the data, and is called
    with the style sheet of all figures.
    """
    home = RESULTS / name
    default = home if config == type(config)() else home / results.digest(config)
    directory = results.folder(name, config, out or default)
    dataset = run(config)
    results.save_data(dataset, directory / "data.zarr")
    summary = dict(numbers(dataset))
    results.write_summary(directory, name, config, summary)
    with style():
        figures = plot(dataset)
        for file, figure in figures.items():
            results.save_figure(legible(figure), directory / f"{file}.png")
    print(listed(summary))
    return directory


def listed(numbers: Mapping[str, Any], indent: str = "") -> str:
    """Return the lines of a summary, in which the numbers of a coordinate are indented."""
    lines = []
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}:", listed(value, indent + "  ")]
        else:
            text = f"{value:.6g}" if isinstance(value, float) else value
            lines.append(f"{indent}{name}  {text}")
    return "\n".join(lines)
