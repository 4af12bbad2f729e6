"""Histories of runs are those of the Dataset, each once, whatever the sweep looks like."""

import threading
import time

import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from gdjax.descent import Outcome

BOWL = gd.problems.bowl([1.0, 9.0])
GRID = gd.axes(learning_rate=[0.05, 0.1, 9.0], seed=range(4))


def test_each_run_has_its_setting_records_and_outcome():
    runs = gd.sweep(BOWL, GRID, 200, record_every=50)
    found = list(gd.export.histories(runs))
    assert len(found) == 12
    for run in found:
        cell = runs.sel(run.at)
        np.testing.assert_array_equal(run.step, runs.step)
        assert set(run.records) == {"cost", "gradient_norm"}
        for name, values in run.records.items():
            np.testing.assert_array_equal(values, cell[name])
        assert run.outcome == int(cell.outcome)
        assert run.diverged_at == (int(cell.diverged_at) if int(cell.diverged_at) >= 0 else None)
    outcomes = {run.at["learning_rate"]: run.outcome for run in found}
    assert outcomes[9.0] is Outcome.DIVERGED


def test_axes_that_vary_together_are_all_named():
    pairs = gd.zip_axes(learning_rate=[0.1, 0.2], momentum=[0.0, 0.5])
    (first, second) = gd.export.histories(gd.sweep(BOWL, gd.axes(pair=pairs), 5))
    for run, (rate, momentum) in ((first, (0.1, 0.0)), (second, (0.2, 0.5))):
        assert {**run.at, "learning_rate": rate, "momentum": momentum} == run.at


def test_a_store_in_use_is_followed_until_its_last_run(tmp_path):
    store = tmp_path / "runs"
    work = threading.Thread(
        target=gd.sweep,
        args=(BOWL, GRID, 2000),
        kwargs={"store": store, "record_every": 500, "width": 1},
    )
    work.start()
    while not (store / "zarr.json").exists():
        time.sleep(0.01)
    found = list(gd.export.histories(store, poll_seconds=0.01))
    work.join()
    settings = [tuple(run.at.values()) for run in found]
    assert len(settings) == len(set(settings)) == 12
    stored = gd.open_dataset(store)
    for run in found:
        np.testing.assert_array_equal(run.records["cost"], stored.cost.sel(run.at))


@pytest.mark.parametrize(
    ("runs", "poll", "expected"),
    [
        (xr.Dataset(), None, "runs = Dataset, expected a Dataset of gd.sweep"),
        ("runs.zarr", 0.0, "poll_seconds = 0.0, expected a positive number"),
        (xr.Dataset({"outcome": 0}), 1.0, "poll_seconds = 1.0, expected .* the path or URL"),
    ],
)
def test_bad_arguments_are_named(runs, poll, expected):
    with pytest.raises(gd.errors.InputError, match=expected):
        list(gd.export.histories(runs, poll_seconds=poll))
