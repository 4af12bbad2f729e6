"""The census of a stored sweep: reproducibility and selection of runs."""

import numpy as np
import pytest
from some_networks import named

import gdjax as gd
from gdjax.errors import InputError, StoreError
from gdjax.minima import count_stored_minima
from gdjax.minima.end_points import count_kinds


@pytest.mark.long
def test_a_census_is_computed_for_a_sweep_with_a_dimension_named_run(tmp_path):
    along = gd.zip_axes(learning_rate=[0.01, 0.02, 0.03, 0.04], seed=range(4))
    problem = gd.problems.from_function("quartic")
    gd.sweep(problem, gd.axes(run=along, momentum=[0.0]), 50, store=tmp_path / "s")
    full_census = count_stored_minima(tmp_path / "s")
    assert (
        full_census.sizes["run"],
        sorted(set(full_census.coords) & {"learning_rate", "seed"}),
    ) == (
        4,
        ["learning_rate", "seed"],
    )
    np.testing.assert_array_equal(full_census.learning_rate, [0.01, 0.02, 0.03, 0.04])
    part = count_stored_minima(tmp_path / "s", {"learning_rate": 0.03})
    assert (part.seed.values.tolist(), part.momentum.values.tolist()) == ([2], [0.0])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("census") / "runs.zarr"
    gd.sweep(
        gd.problems.from_function("quartic"),
        gd.axes(learning_rate=[0.02, 3.0], seed=range(8)),
        60,
        store=path,
    )
    return path


@pytest.mark.long
def test_the_census_of_a_store_is_reproducible(store):
    first, second = count_stored_minima(store), count_stored_minima(store)
    assert first.identical(second)
    # At rate 3 all runs diverge.
    assert count_kinds(first) == {"strict minimum": 8, "diverged": 8}
    assert named(first.kind.sel(run=first.learning_rate == 3.0).values) == ["diverged"] * 8
    minima = [p.x for p in gd.problems.find("quartic").minima]
    np.testing.assert_allclose(first["params"], minima, atol=1e-7)


@pytest.mark.long
def test_runs_of_a_store_can_be_selected(store):
    result = count_stored_minima(store, {"learning_rate": 0.02})
    assert result.sizes["run"] == 8
    assert result.seed.values.tolist() == list(range(8))
    with pytest.raises(InputError, match="expected a number for one of the axes learning_rate"):
        count_stored_minima(store, {"rate": 1.0})


@pytest.mark.long
def test_a_sweep_whose_cost_differs_between_runs_is_rejected(tmp_path):
    problem = gd.problems.from_function("two_factors")
    grid = gd.axes(target=[1.0, 2.0], learning_rate=[0.1], seed=range(2))
    gd.sweep(problem, grid, 5, store=tmp_path / "s")
    with pytest.raises(
        InputError, match="count_stored_minima: the cost differs between runs with target"
    ):
        count_stored_minima(tmp_path / "s")
    result = count_stored_minima(tmp_path / "s", {"target": 2.0})
    a, b = result["params"].values.T
    np.testing.assert_allclose(a * b, 2.0, atol=1e-6)


def test_missing_stores_are_rejected(tmp_path):
    with pytest.raises(StoreError, match="no store"):
        count_stored_minima(tmp_path / "nothing")
