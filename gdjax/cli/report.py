"""Report of the sweep commands: a table, summary.json and two figures."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from gdjax.base import documents, statistics
from gdjax.cli.emit import emit
from gdjax.cli.emit import table as text_table
from gdjax.cli.options import format_cost, format_value
from gdjax.descent import OUTCOMES, steps_for
from gdjax.plots import sweeps as plots
from gdjax.sweeps.dataset import OF_COST

# Columns of medians: the variable of a sweep, and the format of its values.
METRICS = {
    "median_accuracy": ("test_accuracy", "{:.1%}".format),
    "median_cost": ("cost", format_cost),
}


def by_first_axis(runs: Any, name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """Return name and values of the first axis, and a variable [values, runs with it, ...]."""
    grid = runs.outcome.dims
    array = runs[name].transpose(*grid, ...).values
    axis = next(n for n, c in runs.coords.items() if c.dims == (grid[0],))
    return str(axis), runs[axis].values, array.reshape(len(array), -1, *array.shape[len(grid) :])


def table(runs: Any) -> list[dict[str, Any]]:
    """Return medians and outcome counts for each value of the first axis.

    Each median has a confidence interval (see `statistics.median`), which is infinite for
    fewer than six runs.
    """
    axis, values, outcome = by_first_axis(runs, "outcome")
    rows = [{axis: value.item()} for value in values]
    for name, (variable, _) in METRICS.items():
        finals = by_first_axis(runs, variable)[2][..., -1] if variable in runs else ()
        for row, final in zip(rows, finals, strict=False):
            half = statistics.median(final)
            row.update({name: half.value, f"{name}_interval": [half.low, half.high]})
    for row, codes in zip(rows, outcome, strict=True):
        row.update({name: int(np.sum(codes == k)) for k, name in enumerate(OUTCOMES)})
    return rows


def own_folder(store: Path, runs: Any) -> Path | None:
    """Return the folder of a store if it contains only results of this sweep, else None."""
    store = store.resolve()
    summary = store.parent / "summary.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(summary.read_text())["sweep"] == _digest(runs):
            return store.parent
    return store.parent if [*store.parent.iterdir()] == [store] else None


def _digest(runs):
    return documents.digest(documents.recorded_identity(runs))


def report_sweep(runs: Any, folder: Path, config: Any, store: str | Path) -> None:
    """Write summary.json and the figures of a finished sweep, then print its table."""
    rows = table(runs)
    axis, values, cost = by_first_axis(runs, "cost")
    label = axis.replace("_", " ")
    identity = documents.recorded_identity(runs)
    best = min(rows, key=lambda row: row["median_cost"])
    seconds = float(runs.attrs.get("seconds", 0))  # absent if nothing was computed
    computed = f"in {seconds:.1f} s" if seconds else "were in the store; nothing was computed"
    count = int(np.prod(runs.outcome.shape))
    steps = int(runs.step[-1])
    has_accuracy = "test_accuracy" in runs
    accuracy = by_first_axis(runs, "test_accuracy")[2][..., -1] if has_accuracy else None
    epoch = steps_for(1, identity["samples"], identity["batch_size"])
    is_of_cost = runs[axis].attrs.get("comment") == OF_COST
    lowest = f"lowest median training cost at {label} {format_value(best[axis], 4)}"
    if is_of_cost:
        lowest = f"the cost depends on {label}, so that the costs at its values are not compared"
    elif has_accuracy:
        lowest += f": test accuracy {best['median_accuracy']:.1%}"

    def draw():
        setting = plots.Setting(axis, values, is_of_cost=is_of_cost)
        outcome = by_first_axis(runs, "outcome")[2]
        ends = plots.outcomes_by_setting(
            setting, accuracy, cost[..., -1], outcome,
            outcomes=OUTCOMES, baseline=identity["baseline"],
        )  # fmt: skip
        if values.dtype.kind not in "iuf":  # names have no color scale
            return {"ends": ends}
        time = runs.step.values / epoch
        return {
            "ends": ends,
            "curves": plots.curves_by_setting(
                time, values.astype(float), cost, setting_label=label, is_of_cost=is_of_cost
            ),
        }

    emit(
        "sweep",
        config,
        folder,
        summary={
            "sweep": _digest(runs),
            "table": rows,
            **({} if is_of_cost else {"best": best}),
            "runs": count,
            "num_steps": steps,
            "seconds": seconds,
            "run_steps_per_second": count * steps / seconds if seconds else 0.0,
        },
        draw=draw,
        report=[printed_table(rows), lowest, f"{count} runs of {steps} steps {computed}"],
        next_command=("explore", store),
    )


def printed_table(rows: list[dict[str, Any]]) -> str:
    """Return the table as text; intervals are shown where they are finite."""
    axis = next(iter(rows[0]))
    columns = {axis.replace("_", " "): [format_value(row[axis], 4) for row in rows]}
    for name, (_, form) in METRICS.items():
        if name in rows[0]:
            intervals = [row[f"{name}_interval"] for row in rows]
            known = np.isfinite([low for low, _ in intervals])
            ends = [
                f" ({form(low)} - {form(high)})" * bool(shown)
                for (low, high), shown in zip(intervals, known, strict=True)
            ]
            heading = name.replace("_", " ") + ", 95 %" * bool(known.any())
            medians = [form(row[name]) for row in rows]
            columns[heading] = [m + e for m, e in zip(medians, ends, strict=True)]
    for name in ("stalled", "diverged"):
        columns[name] = [str(row[name]) for row in rows]
    return text_table(columns)
