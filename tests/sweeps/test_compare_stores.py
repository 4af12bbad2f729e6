"""Comparison of two stores, run by run."""

import numpy as np
import optax
import pytest
import xarray as xr

import gdjax as gd

BOWL = gd.problems.bowl([1.0, 9.0])
GRID = gd.axes(learning_rate=[0.05, 0.1], seed=range(3))
STEPS = 8


@pytest.fixture(scope="module")
def runs():
    return gd.sweep(BOWL, GRID, STEPS)


def test_a_stored_sweep_equals_the_sweep_in_memory(runs, tmp_path):
    gd.sweep(BOWL, GRID, STEPS, store=tmp_path / "s")
    result = gd.compare_stores(runs, tmp_path / "s")
    assert (result.first_difference == -1).all()
    assert not result.params_differ.any()
    assert float(result.largest_cost.max()) == 0


def test_the_first_step_and_the_size_of_a_difference_are_reported(runs):
    other = runs.copy(deep=True)
    other.cost[1, 2, 5] += 0.25
    other.cost[1, 2, 7] += 0.5
    other.params[0, 1, 0] += 1
    result = gd.compare_stores(runs, other)
    expected = np.full((2, 3), -1)
    expected[1, 2] = 5
    np.testing.assert_array_equal(result.first_difference, expected)
    np.testing.assert_allclose(result.largest_cost[1, 2], 0.5, rtol=1e-6)
    assert result.params_differ.values.nonzero() == (0, 1)


def test_equal_parameters_that_are_nan_do_not_differ(runs):
    other = runs.copy(deep=True)
    other.params[0, 1, 0] = np.nan
    assert not gd.compare_stores(other, other.copy(deep=True)).params_differ.any()
    assert gd.compare_stores(runs, other).params_differ.values.nonzero() == (0, 1)


def test_the_difference_from_a_diverged_run_is_infinite(runs):
    other = runs.copy(deep=True)
    other.cost[0, 0, 3:] = np.inf
    result = gd.compare_stores(runs, other)
    assert int(result.first_difference[0, 0]) == 3
    assert float(result.largest_cost[0, 0]) == np.inf


def test_runs_and_steps_in_only_one_sweep_are_not_compared(runs):
    grid = gd.axes(learning_rate=[0.1, 0.2], seed=range(2))
    result = gd.compare_stores(runs, gd.sweep(BOWL, grid, 4))
    assert result.learning_rate.values.tolist() == [0.1]
    assert result.seed.values.tolist() == [0, 1]


def test_the_first_difference_of_an_unfinished_run_is_minus_2(runs):
    other = runs.copy(deep=True)
    other.outcome[1] = -1
    result = gd.compare_stores(runs, other)
    assert result.first_difference.values.tolist() == [[-1] * 3, [-2] * 3]
    assert result.largest_cost[1].isnull().all()


@pytest.mark.parametrize(
    ("grid", "make_optimizer", "expected"),
    [
        (gd.axes(learning_rate=[7.0], seed=range(3)), optax.sgd, "no value of 'learning_rate'"),
        (
            gd.axes(seed=range(3)),
            lambda: optax.sgd(0.1),
            "compare_stores: b has .* expected those of a",
        ),
    ],
)
def test_sweeps_without_a_common_run_are_rejected(runs, grid, make_optimizer, expected):
    with pytest.raises(gd.errors.InputError, match=expected):
        gd.compare_stores(runs, gd.sweep(BOWL, grid, STEPS, make_optimizer=make_optimizer))


def test_the_error_for_a_missing_store_contains_its_path(runs, tmp_path):
    with pytest.raises(gd.errors.StoreError, match="missing"):
        gd.compare_stores(runs, tmp_path / "missing")


def test_the_compared_datasets_are_not_changed(runs):
    before = runs.copy(deep=True)
    gd.compare_stores(runs, runs)
    xr.testing.assert_identical(runs, before)


def test_runs_on_zipped_axes_are_matched_by_their_values():
    def of(rates, seeds):
        grid = gd.axes(pair=gd.zip_axes(learning_rate=rates, seed=seeds))
        return gd.sweep(BOWL, grid, STEPS)

    a = of([0.05, 0.1, 0.02], [0, 1, 2])
    result = gd.compare_stores(a, of([0.1, 0.05, 0.02], [1, 0, 3]))
    assert result.learning_rate.values.tolist() == [0.05, 0.1]
    assert result.seed.values.tolist() == [0, 1]
    assert (result.first_difference == -1).all()
    assert not result.params_differ.any()
    with pytest.raises(gd.errors.InputError, match="no value of 'pair' in common"):
        gd.compare_stores(a, of([0.05, 0.1], [1, 0]))
    grid = gd.axes(pair=gd.zip_axes(learning_rate=[0.05, 0.1], momentum=[0.0, 0.5]))
    expected = "b has the axes learning_rate, momentum along 'pair', expected those of a: learning"
    with pytest.raises(gd.errors.InputError, match=expected):
        gd.compare_stores(a, gd.sweep(BOWL, grid, STEPS, make_optimizer=optax.sgd))
