"""Report of the sweep commands: a table, summary.json and two figures."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from gdjax import statistics
from gdjax._runtime import results
from gdjax.cli.store import format_value
from gdjax.descent import OUTCOMES, steps_for
from gdjax.plots import sweeps as plots


def by_first_axis(runs: Any, name: str) -> tuple[str, np.ndarray, np.ndarray]:
    """Reshape a variable to [values of the first axis, runs with this value, ...].

    Returns:
        Name and values of that axis, and the reshaped variable.
    """
    grid = runs.outcome.dims
    array = runs[name].transpose(*grid, ...).values
    inner = array.shape[len(grid) :]
    axis = next(n for n, c in runs.coords.items() if c.dims == (grid[0],))
    return str(axis), runs[axis].values, array.reshape(array.shape[0], -1, *inner)


def table(runs: Any) -> list[dict[str, Any]]:
    """Return medians and outcome counts for each value of the first axis.

    Each median has a confidence interval (see `gdjax.statistics.median`), which is infinite for
    fewer than six runs.
    """
    axis, values, cost = by_first_axis(runs, "cost")
    outcome = by_first_axis(runs, "outcome")[2]
    accuracy = _final_accuracy(runs)
    rows = []
    for i, value in enumerate(values):
        counts = {name: int(np.sum(outcome[i] == k)) for k, name in enumerate(OUTCOMES)}
        rows.append(
            {
                axis: value.item(),
                **({} if accuracy is None else _middle("median_accuracy", accuracy[i])),
                **_middle("median_cost", cost[i, ..., -1]),
                **counts,
            }
        )
    return rows


def _final_accuracy(runs):
    """Return the final test accuracy [settings, runs]; None if it was not recorded."""
    if "test_accuracy" not in runs:
        return None
    return by_first_axis(runs, "test_accuracy")[2][..., -1]


def _middle(name, values):
    half = statistics.median(values)
    return {name: half.value, f"{name}_interval": [half.low, half.high]}


def interval(bounds: list[float], form: str) -> str:
    """Return an interval in parentheses, or an empty string if it is infinite."""
    return "" if np.isneginf(bounds[0]) else "(" + " - ".join(form.format(e) for e in bounds) + ")"


def own_folder(store: Path, runs: Any) -> Path | None:
    """Return the folder of a store if it contains only results of this sweep, else None."""
    store = store.resolve()
    summary = store.parent / "summary.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(summary.read_text())["sweep"] == _digest(runs):
            return store.parent
    return store.parent if [*store.parent.iterdir()] == [store] else None


def _digest(runs):
    return results.digest(json.loads(runs.attrs["identity"]), leave_out=())


def sweep(runs: Any, folder: Path, config: Any, store: str | Path) -> None:
    """Write summary.json and the figures of a finished sweep, then print its table."""
    rows = table(runs)
    axis = next(iter(rows[0]))
    label = axis.replace("_", " ")
    identity = json.loads(runs.attrs["identity"])
    best = min(rows, key=lambda row: row["median_cost"])
    seconds = float(runs.attrs.get("seconds", 0))
    count = int(np.prod(runs.outcome.shape))
    steps = int(runs.step[-1])
    results.write_summary(
        folder,
        "sweep",
        config,
        {
            "sweep": _digest(runs),
            "table": rows,
            "best": best,
            "runs": count,
            "num_steps": steps,
            "seconds": seconds,
            "run_steps_per_second": count * steps / seconds if seconds else 0.0,
        },
    )
    values = runs[axis].values.astype(float)
    cost = by_first_axis(runs, "cost")[2]
    accuracy = _final_accuracy(runs)
    figure = plots.outcomes_by_setting(
        plots.Setting(axis, values),
        accuracy,
        cost[..., -1],
        by_first_axis(runs, "outcome")[2],
        outcomes=OUTCOMES,
        baseline=identity["baseline"],
    )
    results.save_figure(figure, folder / "ends.png")
    epoch = steps_for(1, identity["samples"], identity["batch_size"])
    figure = plots.curves_by_setting(
        runs.step.values / epoch,
        values,
        cost,
        setting_label=label,
        log=bool(np.all(cost > 0)),
    ).figure
    results.save_figure(figure, folder / "curves.png")
    _print(rows, label)
    print(
        f"lowest median training cost at {label} {format_value(best[axis], 4)}"
        + ("" if accuracy is None else f": test accuracy {best['median_accuracy']:.1%}")
    )
    print(f"{count} runs of {steps} steps in {seconds:.1f} s")
    print(f"written to {folder}")
    print(results.next_command("explore", store))


def _print(rows, label):
    """Print the table."""
    accurate = "median_accuracy" in rows[0]
    columns = "  median accuracy, 95 %   " if accurate else ""
    print(f"{label:>14}{columns}  median cost, 95 %        stalled  diverged")
    for row in rows:
        columns = ""
        if accurate:
            bounds = interval(row["median_accuracy_interval"], "{:.1%}")
            columns = f"  {row['median_accuracy']:>6.1%} {bounds:<17}"
        bounds = interval(row["median_cost_interval"], "{:.4f}")
        value = format_value(next(iter(row.values())), 4)
        print(
            f"{value:>14}{columns}  {row['median_cost']:>8.4f} {bounds:<18}"
            f"  {row['stalled']:>7}  {row['diverged']:>8}"
        )
