"""What the sweep commands show in the end: a table, summary.json, two pictures."""

from pathlib import Path
from typing import Any

import numpy as np

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
    """One row a value of the first axis: medians over all other runs, and how they ended."""
    axis, values, cost = by_first_axis(runs, "cost")
    accuracy = by_first_axis(runs, "test_accuracy")[2][..., -1]
    outcome = by_first_axis(runs, "outcome")[2]
    low, half, high = plots.quantiles(accuracy)
    rows = []
    for i, value in enumerate(values):
        ends = {name: int(np.sum(outcome[i] == k)) for k, name in enumerate(OUTCOMES)}
        rows.append(
            {
                axis: float(value),
                "median_accuracy": float(half[i]),
                "quartiles": [float(low[i]), float(high[i])],
                "median_cost": float(plots.quantiles(cost[..., -1])[1][i]),
                **ends,
            }
        )
    return rows


def sweep(runs: Any, folder: Path, config: Any) -> None:
    """Print the table of a finished sweep; write summary.json and the pictures."""
    rows = table(runs)
    axis = next(iter(rows[0]))
    identity = runs.attrs["identity"]
    epoch = steps_for(1, identity["samples"], identity["batch_size"])
    name = axis.replace("_", " ")
    print(f"{name:>14}  median accuracy  quartiles         median cost  dead  diverged")
    for row in rows:
        low, high = row["quartiles"]
        print(
            f"{row[axis]:>14.4g}  {row['median_accuracy']:>15.1%}  {low:6.1%} - {high:6.1%}"
            f"  {row['median_cost']:>13.4f}  {row['dead']:>4}  {row['diverged']:>8}"
        )
    best = min(rows, key=lambda row: row["median_cost"])
    seconds = float(runs.attrs["seconds"])
    count = int(np.prod(runs.outcome.shape))
    steps = int(runs.step[-1])
    print(
        f"lowest median training cost at {axis.replace('_', ' ')} {best[axis]:.4g}: "
        f"{best['median_accuracy']:.1%} of the test set right"
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
            "run_steps_per_second": count * steps / seconds,
        },
    )
    values = runs[axis].values.astype(float)
    log = bool(np.all(values > 0)) and len(values) > 1
    label = axis.replace("_", " ")
    cost = by_first_axis(runs, "cost")[2]
    accuracy = by_first_axis(runs, "test_accuracy")[2]
    figure = plots.ends_by_setting(
        values,
        accuracy[..., -1],
        cost[..., -1],
        by_first_axis(runs, "outcome")[2],
        outcomes=OUTCOMES,
        label=label,
        log=log,
        baseline=identity["baseline"],
    )
    results.save_figure(figure, folder / "ends.png")
    time = runs.step.values / epoch
    results.save_figure(
        plots.curves_by_setting(time, values, cost, setting_label=label), folder / "curves.png"
    )
    print(f"written to {folder}")
