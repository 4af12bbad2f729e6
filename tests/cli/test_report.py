"""Tables of sweeps: medians with distribution-free intervals."""

import json

import numpy as np
import pytest
import xarray as xr

from gdjax.cli import report
from gdjax.descent.outcome import Outcome
from gdjax.sweeps.dataset import OF_COST

SEEDS = 9


@pytest.fixture
def runs():
    """Return a sweep of two learning rates and nine seeds.

    At the second learning rate, one run stalls and two diverge.
    """
    random = np.random.default_rng(1)
    cost = random.uniform(0.1, 0.2, (2, SEEDS, 3)).astype("f4")
    cost[1, :2, -1] = np.inf
    outcome = np.full((2, SEEDS), Outcome.NOT_CONVERGED, "i1")
    outcome[1, :3] = Outcome.DIVERGED, Outcome.DIVERGED, Outcome.STALLED
    return xr.Dataset(
        {
            "outcome": (("learning_rate", "seed"), outcome),
            "cost": (("learning_rate", "seed", "step"), cost),
        },
        {
            "learning_rate": ("learning_rate", [0.1, 1.0]),
            "seed": np.arange(SEEDS),
            "step": [0, 5, 10],
        },
        {"identity": '{"samples": 20, "batch_size": 4, "baseline": 0.5}', "seconds": 2.0},
    )


def test_table_rows_contain_medians_with_intervals_and_counts_of_outcomes(runs):
    rows = report.table(runs)
    assert [row["learning_rate"] for row in rows] == [0.1, 1.0]
    for row, cost in zip(rows, runs.cost.values[..., -1], strict=True):
        ordered = np.sort(cost)
        assert row["median_cost"] == ordered[SEEDS // 2]
        # The interval from the 2nd to 8th of 9 values has coverage 1 - 2 * (1 + 9) / 2^9 = 96.1 %.
        assert row["median_cost_interval"] == [ordered[1], ordered[-2]]
        assert "median_accuracy" not in row
    kinds = ("not_converged", "stalled", "diverged")
    assert [{kind: row[kind] for kind in kinds} for row in rows] == [
        {"not_converged": 9, "stalled": 0, "diverged": 0},
        {"not_converged": 6, "stalled": 1, "diverged": 2},
    ]


def test_values_are_grouped_by_the_first_axis_in_the_order_of_dimensions(runs):
    turned = runs.transpose("step", "seed", "learning_rate")
    axis, values, cost = report.by_first_axis(turned, "cost")
    assert (axis, values.tolist()) == ("seed", list(range(SEEDS)))
    np.testing.assert_array_equal(cost, runs.cost.values.transpose(1, 0, 2))


@pytest.mark.parametrize("accurate", [False, True])
def test_a_report_is_printed_and_written(runs, accurate, tmp_path, capsys):
    if accurate:
        runs["test_accuracy"] = 1 - runs.cost.clip(max=1)
    report.report_sweep(runs, tmp_path, {"steps": 10}, tmp_path / "runs.zarr")
    printed = capsys.readouterr().out
    assert ("test accuracy" in printed) == accurate
    assert "18 runs of 10 steps in 2.0 s" in printed
    assert printed.endswith(f"\nnext: gdjax explore {tmp_path}/runs.zarr\n")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["table"][1]["diverged"] == 2
    assert summary["run_steps_per_second"] == 90
    best = min(summary["table"], key=lambda row: row["median_cost"])
    assert summary["best"] == best
    assert {"ends.png", "curves.png"} <= {file.name for file in tmp_path.iterdir()}


def test_no_setting_of_the_cost_is_best(runs, tmp_path, capsys):
    runs["learning_rate"].attrs["comment"] = OF_COST
    report.report_sweep(runs, tmp_path, {}, tmp_path / "runs.zarr")
    printed = capsys.readouterr().out
    assert "the cost depends on learning rate" in printed
    assert "lowest median" not in printed
    assert "best" not in json.loads((tmp_path / "summary.json").read_text())


def test_the_first_axis_may_have_names(runs, tmp_path):
    named = runs.assign_coords(learning_rate=["tanh", "relu"])
    report.report_sweep(named, tmp_path, {}, tmp_path / "runs.zarr")
    assert {file.name for file in tmp_path.iterdir()} == {"summary.json", "ends.png"}


def test_the_printed_table_shows_only_finite_intervals(runs):
    assert "median cost, 95 %" in report.printed_table(report.table(runs))
    printed = report.printed_table(report.table(runs.isel(seed=[0])))
    names = printed.splitlines()[0].split()
    assert names == ["learning", "rate", "median", "cost", "stalled", "diverged"]
    assert "(" not in printed
