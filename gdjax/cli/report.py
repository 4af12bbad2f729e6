"""What the sweep commands show in the end: a table, summary.json, two pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from gdjax import statistics
from gdjax.cli import results
from gdjax.descent import OUTCOMES, steps_for
from gdjax.plots import sweeps as plots


def by_first_axis(runs: Any, name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """A variable with the first dimension of the grid in front and all other runs in one axis.

    Returns:
        Name of the dimension's first axis, its values, and the variable [settings, runs, ...].
    """
    grid = runs.outcome.dims
    array = runs[name].transpose(*grid, ...).values
    own = array.shape[len(grid) :]
    axis = next(n for n, c in runs.coords.items() if c.dims == (grid[0],))
    return str(axis), runs[axis].values, array.reshape(array.shape[0], -1, *own)


def table(runs: Any) -> list[dict[str, Any]]:
    """One row a value of the first axis: medians over all other runs, and how they ended.

    Each median has its interval (see `gdjax.statistics.median`), which is infinite below six runs.
    """
    axis, values, cost = by_first_axis(runs, "cost")
    outcome = by_first_axis(runs, "outcome")[2]
    accuracy = _final_accuracy(runs)
    rows = []
    for i, value in enumerate(values):
        ends = {name: int(np.sum(outcome[i] == k)) for k, name in enumerate(OUTCOMES)}
        rows.append(
            {
                axis: float(value),
                **({} if accuracy is None else _middle("median_accuracy", accuracy[i])),
                **_middle("median_cost", cost[i, ..., -1]),
                **ends,
            }
        )
    return rows


def _final_accuracy(runs):
    """Test accuracy at the end, [settings, runs]; None where the sweep did not measure it."""
    if "test_accuracy" not in runs:
        return None
    return by_first_axis(runs, "test_accuracy")[2][..., -1]


def _middle(name, values):
    half = statistics.median(values)
    return {name: half.value, f"{name}_interval": [half.low, half.high]}


def interval(ends: list[float], form: str) -> str:
    """An interval in brackets; "" where too few runs allow none."""
    return "" if np.isneginf(ends[0]) else "(" + " - ".join(form.format(e) for e in ends) + ")"


def sweep(runs: Any, folder: Path, config: Any) -> None:
    """Print the table of a finished sweep; write summary.json and the pictures."""
    rows = table(runs)
    axis = next(iter(rows[0]))
    identity = runs.attrs["identity"]
    epoch = steps_for(1, identity["samples"], identity["batch_size"])
    name = axis.replace("_", " ")
    accuracy = _final_accuracy(runs)
    columns = "" if accuracy is None else "  median accuracy, 95 %   "
    print(f"{name:>14}{columns}  median cost, 95 %        stalled  diverged")
    for row in rows:
        columns = ""
        if accuracy is not None:
            ends = interval(row["median_accuracy_interval"], "{:.1%}")
            columns = f"  {row['median_accuracy']:>6.1%} {ends:<17}"
        ends = interval(row["median_cost_interval"], "{:.4f}")
        print(
            f"{row[axis]:>14.4g}{columns}  {row['median_cost']:>8.4f} {ends:<18}"
            f"  {row['stalled']:>7}  {row['diverged']:>8}"
        )
    best = min(rows, key=lambda row: row["median_cost"])
    seconds = float(runs.attrs.get("seconds", 0))
    count = int(np.prod(runs.outcome.shape))
    steps = int(runs.step[-1])
    print(
        f"lowest median training cost at {axis.replace('_', ' ')} {best[axis]:.4g}"
        + ("" if accuracy is None else f": {best['median_accuracy']:.1%} of the test set right")
    )
    print(f"{count} runs of {steps} steps in {seconds:.1f} s")
    results.write_summary(
        folder,
        "sweep",
        config,
        {
            "table": rows,
            "best": best,
            "runs": count,
            "steps": steps,
            "seconds": seconds,
            "run_steps_per_second": count * steps / seconds if seconds else 0.0,
        },
    )
    values = runs[axis].values.astype(float)
    label = axis.replace("_", " ")
    cost = by_first_axis(runs, "cost")[2]
    figure = plots.ends_by_setting(
        plots.Setting(axis, values),
        accuracy,
        cost[..., -1],
        by_first_axis(runs, "outcome")[2],
        outcomes=OUTCOMES,
        baseline=identity["baseline"],
    )
    results.save_figure(figure, folder / "ends.png")
    time = runs.step.values / epoch
    results.save_figure(
        plots.curves_by_setting(
            time, values, cost, setting_label=label, log=bool(np.all(cost > 0))
        ),
        folder / "curves.png",
    )
    print(f"written to {folder}")
