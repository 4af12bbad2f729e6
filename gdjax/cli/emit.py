"""Output of a command: data, summary and figures in a folder, and a report in the terminal."""

import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gdjax._runtime import results

START = time.monotonic()  # a command imports this module when it starts


def emit(
    command: str,
    config: Any,
    folder: Path,
    *,
    summary: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    draw: Callable[[], Mapping[str, Any]] = dict,
    report: Iterable[str] = (),
    next_command: Sequence[Any],
) -> None:
    """Save the data and the summary, then draw the figures, then print the report.

    Args:
        command: name of the command.
        config: options of the command.
        folder: folder for results.
        summary: content of summary.json.
        data: Datasets and DataTrees by the name of their Zarr store.
        draw: function that returns figures or axes, by the name of their file.
        report: tables, which have several lines, and sentences, which are wrapped.
        next_command: words of the suggested next command.
    """
    for name, dataset in (data or {}).items():
        results.save_data(dataset, folder / f"{name}.zarr")
    results.write_summary(folder, command, config, summary)
    for name, figure in draw().items():
        results.save_figure(getattr(figure, "figure", figure), folder / f"{name}.png")
    for text in report:
        print(text if "\n" in text else textwrap.fill(text, 80, break_on_hyphens=False))
    print(f"written to {folder}; {time.monotonic() - START:.0f} s in total")
    print(results.next_command(*next_command))


def table(columns: Mapping[str, Sequence[str]]) -> str:
    """Return a table with right-aligned columns.

    Examples:
        >>> print(table({"epoch": ["1", "20"], "cost": ["0.5", "0.25"]}))
        epoch  cost
            1   0.5
           20  0.25
    """
    aligned = []
    for name, cells in columns.items():
        width = max(map(len, [name, *cells]))
        aligned.append([cell.rjust(width) for cell in [name, *cells]])
    return "\n".join("  ".join(row) for row in zip(*aligned, strict=True))
