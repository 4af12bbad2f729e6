"""The search experiment: replayed decisions, known results, and a small run."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.search import __main__ as experiment
from experiments.search import model as search
from experiments.search import replays

RUNGS = (4, 16, 64)
X = np.linspace(-1, 1, 100, dtype=np.float32)
LINE = gd.Problem(
    init=lambda key: np.float32(0),
    cost=lambda w, x: ((w * x - 2 * x) ** 2).mean(),
    data=X,
    metrics={"test_accuracy": gd.Metric(lambda w, data: -jnp.abs(w - 2))},
)
GRID = {
    "learning_rate": np.geomspace(0.003, 2, 8).tolist(),
    "momentum": [0.0, 0.5],
    "batch_size": [8],
}


@pytest.fixture(scope="module")
def accuracy():
    """Return the accuracy of each grid setting at each rung, from a full sweep."""
    runs = search.sweep(LINE, LINE.metrics["test_accuracy"], GRID, RUNGS, seed=0)
    assert np.isfinite(runs.test_accuracy.isel(step=[0, -1])).all()
    return runs[search.METRIC].sel(step=list(RUNGS)).values.reshape(-1, len(RUNGS))


def columns(grid):
    """Return the value of each setting along each axis."""
    meshes = np.meshgrid(*grid.values(), indexing="ij")
    return {name: mesh.ravel().tolist() for name, mesh in zip(grid, meshes, strict=True)}


def test_replayed_halving_stops_settings_at_the_rungs_of_the_search(accuracy):
    runs = search.halving(LINE, GRID, RUNGS, seed=0)
    np.testing.assert_array_equal(runs.rung.values.ravel(), replays.halving(accuracy))


@pytest.mark.parametrize("batch", [1, 8])
def test_replayed_trials_equal_those_of_hyperband(accuracy, batch):
    study = search.hyperband(LINE, GRID, RUNGS, 16, seed=0, batch=batch)
    replay = replays.new_study(RUNGS, seed=0)
    replays.hyperband(replay, columns(GRID), accuracy, RUNGS, 16, batch=batch)
    for trial, replayed in zip(study.trials, replay.trials, strict=True):
        assert (trial.params, trial.state) == (replayed.params, replayed.state)
        assert trial.last_step == replayed.last_step
    assert replays.steps_and_samples(study) == replays.steps_and_samples(replay)
    best = replays.best_setting(study, columns(GRID))
    assert {name: values[best] for name, values in columns(GRID).items()} == study.best_params


def test_halving_does_not_continue_diverged_settings():
    accuracy = np.array([[np.nan, np.nan], [0.1, 0.2], [np.nan, np.nan], [np.nan, np.nan]])
    assert replays.halving(accuracy, reduction_factor=2).tolist() == [0, 1, 0, 0]
    assert replays.halving(np.full((4, 2), np.nan)).tolist() == [0, 0, 0, 0]


def test_a_random_search_selects_the_best_of_its_settings():
    values = np.array([0.2, np.nan, 0.9, 0.5])
    assert set(replays.random_search(values, 4, draws=5, seed=0)) == {2}
    positions = replays.random_search(values, 1, draws=4000, seed=0)
    np.testing.assert_allclose(np.bincount(positions) / 4000, 0.25, atol=0.03)


def test_a_known_loss_of_accuracy_is_recovered():
    """In every repetition, the setting that is best at the end is stopped at rung 0."""
    at_end, repetitions = np.array([0.9, 0.8, 0.3, 0.2]), 8
    values = np.stack([at_end[::-1], at_end], axis=-1)
    noise = 0.01 * np.random.default_rng(0).normal(size=(repetitions, 4))
    ended_at = replays.halving(values)
    best = [replays.selected(values), replays.selected(values, ended_at == 1), 0, 0]
    samples = [4 * 24, 4 + 4 + 8 + 4 * 8, 100, 100]
    dataset = xr.Dataset(
        {
            search.METRIC: (("repetition", "setting", "rung"), np.stack([values] * repetitions)),
            "test_accuracy": (("repetition", "setting"), at_end + noise),
            "ended_at": (("repetition", "setting"), [ended_at] * repetitions),
            "seconds": (("repetition", "search"), [[8.0, 2, 2, 2]] * repetitions),
            "best": (("repetition", "search"), [best] * repetitions),
            "samples": (("repetition", "search"), [samples] * repetitions),
            "same_rungs": ("repetition", np.ones(repetitions)),
        },
        {"rung": [1, 4], "search": ["sweep", *experiment.SEARCHES]},
    )
    numbers = experiment.numbers(dataset)
    value, low, high = numbers["dense_difference"]
    assert low < value < high < 0
    assert value == pytest.approx(20 - 90, abs=2)
    assert numbers["batches_difference"][0] == 0
    assert numbers["dense_time"] == [0.25] * 3
    assert (numbers["num_random"], numbers["dense_same"], numbers["single_same"]) == (1, 0, 8)
    assert numbers["dense_samples"][0] == pytest.approx((4 + 4 + 8 + 4 * 8) / (4 * 24))
    assert numbers["correlation_0"][0] == -1
    assert numbers["rank_of_best_0"] == [4, 4, 4]
    assert numbers["random_accuracy"][0] == pytest.approx(0.55, abs=0.03)
