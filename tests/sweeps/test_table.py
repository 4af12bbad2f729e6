"""Conversion of a sweep to a table of scalars with one row per run."""

import numpy as np
import pytest
from small_problems import network

import gdjax as gd


@pytest.fixture(scope="module")
def runs():
    pair = gd.zip_axes(learning_rate=[0.1, 1.0], scale=[1.0, 30.0])
    return gd.sweep(
        network(watched=True),
        gd.axes(pair=pair, seed=[3, 5]),
        6,
        record_every=3,
        divergence_threshold=1e3,
    )


def test_a_table_has_one_row_per_run_at_its_last_record(runs):
    frame = gd.sweeps.table(runs)
    assert len(frame) == 4
    assert list(frame)[:5] == ["pair", "seed", "learning_rate", "scale", "step"]
    assert not any("params" in column or "positive" in column for column in frame)
    for index, row in frame.iterrows():
        other = runs.isel(pair=index // 2, seed=index % 2, step=-1)
        for name in ("learning_rate", "scale", "seed", "step", "cost", "largest_weight"):
            np.testing.assert_array_equal(row[name], other[name])
    assert frame.outcome.tolist() == ["not_converged"] * 2 + ["diverged"] * 2
    assert (frame.diverged_at >= 0).tolist() == [False, False, True, True]


def test_a_table_may_have_one_row_per_record(runs):
    frame = gd.sweeps.table(runs, record=None)
    assert frame.step.tolist() == [0, 3, 6] * 4
    np.testing.assert_array_equal(frame.cost, runs.cost.values.ravel())
    np.testing.assert_array_equal(
        gd.sweeps.table(runs, record=1).cost, runs.cost.values[..., 1].ravel()
    )


def test_unfinished_runs_have_no_outcome_in_a_table(runs):
    started = runs.assign(
        outcome=runs.outcome.where(runs.seed != 5, -1).assign_attrs(runs.outcome.attrs)
    )
    assert gd.sweeps.table(started).outcome.isna().tolist() == [False, True] * 2
