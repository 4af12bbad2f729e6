"""Which published figures does gdjax repeat?

    agrees: low - tolerance <= published <= high + tolerance,   [low, high] the interval of ours

    python -m experiments.published           (a few seconds)

Expected: figures of theories agree at all settings that can be compared: limits of stability of
full-batch descent, the largest rate of linear networks, and rates at which a period doubles.
Figures that were measured on larger networks are not expected to be repeated on small ones, and are
not compared. The expectation is refuted by a limit of full-batch descent that disagrees.
"""

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared import command
from gdjax.plots.axes import legend_above
from gdjax.plots.style import BLUE, GREY, VERMILLION

from .rows import ROWS, VERDICTS, Row

COLORS = dict(zip(VERDICTS, (BLUE, VERMILLION, GREY), strict=True))


@dataclass(frozen=True)
class Config:
    """Published figures that are compared."""

    rows: tuple[str, ...] = tuple(ROWS)  # labels of the rows


def stored(row: Row) -> tuple[float, float, float]:
    """Return the figure of a row from the summary of its experiment."""
    file = command.RESULTS / row.experiment / "summary.json"
    return row.ours(json.loads(file.read_text("utf8")))


def run(config: Config) -> xr.Dataset:
    """Return our figure for each row, with the ends of its interval."""
    ours = np.array([stored(ROWS[name]) for name in config.rows])
    names = {"row": list(config.rows), "end": ["value", "low", "high"]}
    return xr.Dataset(
        {"ours": (("row", "end"), ours)},
        {dim: np.array(labels, object) for dim, labels in names.items()},
    )


def rows_of(results: xr.Dataset) -> dict[str, dict]:
    """Return the entries of the table by the label of the row."""
    table = {}
    for name, ours in zip(results.row.values.tolist(), results.ours.values, strict=True):
        row = ROWS[name]
        value, low, high = map(float, ours)
        table[name] = {
            "claim": row.claim,
            "paper": row.paper,
            "setting": row.setting,
            "published": row.published,
            "source": row.source,
            "tolerance": row.tolerance,
            "differs": row.differs,
            "experiment": row.experiment,
            "ours": (value, low, high),
            "verdict": row.verdict(low, high),
        }
    return table


def numbers(results: xr.Dataset) -> dict:
    """Return the rows of the table, and how many have each verdict."""
    table = rows_of(results)
    verdicts = [row["verdict"] for row in table.values()]
    return {"row": table, "verdicts": {verdict: verdicts.count(verdict) for verdict in VERDICTS}}


def plot(results: xr.Dataset) -> dict:
    """Draw each of our figures divided by the published one."""
    table = rows_of(results)
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(table)))
    axes = figure.subplots()
    shown = set()
    for position, row in enumerate(table.values()):
        value, *ends = np.divide(row["ours"], row["published"])
        low, high = sorted(ends)
        verdict = row["verdict"]
        label = None if verdict in shown else verdict
        shown.add(verdict)
        error = [[value - low], [high - value]]
        axes.errorbar(value, position, xerr=error, fmt="o", color=COLORS[verdict], label=label)
    axes.axvline(1, color=GREY, linewidth=1, zorder=0)
    axes.set_xscale("log")
    axes.set_yticks(range(len(table)), list(table))
    axes.invert_yaxis()
    axes.set_xlabel("ours, divided by the published figure")
    legend_above(axes, len(shown))
    return {"rows": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
