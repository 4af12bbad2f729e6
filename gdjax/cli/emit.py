"""Output of a command: data, summary and figures in a folder, and a report in the terminal."""

import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gdjax.base import results

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

    `data` and the figures or axes that `draw` returns are given by the names of their files. The
    report consists of tables, which have several lines, and of sentences, which are wrapped.
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
    cells = [[name, *column] for name, column in columns.items()]
    aligned = [[cell.rjust(max(map(len, column))) for cell in column] for column in cells]
    return "\n".join("  ".join(row) for row in zip(*aligned, strict=True))
