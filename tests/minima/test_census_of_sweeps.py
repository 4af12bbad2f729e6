"""The census of a sweep, in memory and stored: reproducibility and selection of runs."""

import numpy as np
import pytest
from some_networks import named

import gdjax as gd
from gdjax.errors import InputError
from gdjax.minima import count_kinds, count_minima

QUARTIC = gd.problems.from_function("quartic")


@pytest.mark.long
def test_a_census_is_computed_for_a_sweep_with_a_dimension_named_run(tmp_path):
    along, momenta = gd.zip_axes(learning_rate=[0.01, 0.03], seed=range(2)), np.arange(8) / 10
    gd.sweep(QUARTIC, gd.axes(run=along, momentum=momenta), 50, store=tmp_path / "s")
    full_census = count_minima(None, tmp_path / "s")
    assert full_census.sizes["run"] == 16  # as in the other tests, for one program
    assert full_census.seed.values.tolist() == [0] * 8 + [1] * 8
    np.testing.assert_array_equal(full_census.learning_rate, np.repeat([0.01, 0.03], 8))
    part = count_minima(None, tmp_path / "s", {"learning_rate": 0.03})
    assert part.seed.values.tolist() == [1] * 8
    np.testing.assert_array_equal(part.momentum, momenta)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("census") / "runs.zarr"
    gd.sweep(QUARTIC, gd.axes(learning_rate=[0.02, 3.0], seed=range(8)), 60, store=path)
    return path


@pytest.mark.long
def test_the_census_of_a_store_is_reproducible(store):
    first, second = count_minima(None, store), count_minima(QUARTIC, gd.open_dataset(store))
    assert first.drop_attrs().identical(second.drop_attrs())
    # At rate 3 all runs diverge.
    assert count_kinds(first) == {"strict minimum": 8, "diverged": 8}
    assert named(first.kind.sel(run=first.learning_rate == 3.0).values) == ["diverged"] * 8
    minima = [p.x for p in gd.problems.FUNCTIONS["quartic"].minima]
    np.testing.assert_allclose(first["params"], minima, atol=1e-7)


@pytest.mark.long
def test_runs_of_a_sweep_can_be_selected(store):
    result = count_minima(None, store, {"learning_rate": 0.02})
    assert result.sizes["run"] == 8
    assert result.seed.values.tolist() == list(range(8))
    runs = gd.open_dataset(store)
    for selected in (
        count_minima(QUARTIC, runs, {"learning_rate": 0.02}),
        count_minima(QUARTIC, runs.sel(learning_rate=0.02)),
    ):
        assert selected.drop_attrs().identical(result.drop_attrs())
    with pytest.raises(InputError, match="the axes are learning_rate"):
        count_minima(None, store, {"rate": 1.0})


@pytest.mark.long
def test_a_sweep_whose_cost_differs_between_runs_is_rejected():
    problem = gd.problems.from_function("two_factors")
    grid = gd.axes(target=[1.0, 2.0], learning_rate=[0.1], seed=range(2))
    runs = gd.sweep(problem, grid, 5)
    with pytest.raises(InputError, match="the cost differs between runs with target"):
        count_minima(problem, runs)
    for result in (
        count_minima(problem, runs, {"target": 2.0}),
        count_minima(problem, runs.sel(target=2.0)),
    ):
        a, b = result["params"].values.T
        np.testing.assert_allclose(a * b, 2.0, atol=1e-6)
