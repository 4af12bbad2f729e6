"""The search experiment: replayed decisions, known results, and a small run."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.search import __main__ as experiment
from experiments.search import model

LINE = gd.Problem(
    init=lambda key, *, init_scale: np.float32(0) * init_scale,
    cost=lambda w, x: ((w * x - 2 * x) ** 2).mean(),
    data=np.linspace(-1, 1, 100, dtype=np.float32),
    metrics={"test_accuracy": gd.Metric(lambda _, w: -jnp.abs(w - 2))},
)
CONFIG = model.Config(
    learning_rates=(0.003, 2.0),
    momenta=(0.0, 0.5),
    init_scales=(1.0,),
    batch_sizes=(8,),
    rungs=(4, 16, 64),
    trials=16,
    batch=8,
    single_trials=16,
)


def test_replayed_decisions_are_those_of_the_searches():
    searches = model.searches(CONFIG, LINE, LINE.metrics["test_accuracy"], seed=0)
    runs, grid = searches["sweep"](), model.grid(CONFIG)
    assert np.isfinite(runs.test_accuracy.isel(step=[0, -1])).all()
    accuracy = runs[model.METRIC].sel(step=list(CONFIG.rungs)).values.reshape(-1, 3)
    halving = searches["dense"]()
    np.testing.assert_array_equal(halving.rung.values.ravel(), model.last_rungs(accuracy))
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    for name, batch in (("batches", 8), ("single", 1)):
        study = searches[name]()
        replay = model.replay_hyperband(CONFIG, settings, accuracy, batch=batch, seed=0)
        for trial, replayed in zip(study.trials, replay.trials, strict=True):
            assert (trial.params, trial.state) == (replayed.params, replayed.state)
            assert trial.last_step == replayed.last_step
        assert model.steps_and_samples(study) == model.steps_and_samples(replay)
        assert study.best_params == replay.best_params


def test_halving_does_not_continue_diverged_settings():
    accuracy = np.array([[np.nan, np.nan], [0.1, 0.2], [np.nan, np.nan], [np.nan, np.nan]])
    assert model.last_rungs(accuracy, reduction_factor=2).tolist() == [0, 1, 0, 0]
    assert model.last_rungs(np.full((4, 2), np.nan)).tolist() == [0, 0, 0, 0]


def test_a_random_search_selects_the_best_of_its_settings():
    values = np.array([0.2, np.nan, 0.9, 0.5])
    assert set(model.random_search(values, 4, draws=5, seed=0)) == {2}
    positions = model.random_search(values, 1, draws=4000, seed=0)
    np.testing.assert_allclose(np.bincount(positions) / 4000, 0.25, atol=0.03)


def test_a_known_loss_of_accuracy_is_recovered():
    """In every repetition, the setting that is best at the end is stopped at rung 0."""
    at_end, repetitions = np.array([0.9, 0.8, 0.3, 0.2]), 8
    values = np.stack([at_end[::-1], at_end], axis=-1)
    noise = 0.01 * np.random.default_rng(0).normal(size=(repetitions, 4))
    ended_at = model.last_rungs(values)
    best = [model.selected(values), model.selected(values, ended_at == 1), 0, 0]
    samples = [4 * 24, 4 + 4 + 8 + 4 * 8, 100, 100]
    dataset = xr.Dataset(
        {
            model.METRIC: (("repetition", "setting", "rung"), np.stack([values] * repetitions)),
            "test_accuracy": (("repetition", "setting"), at_end + noise),
            "ended_at": (("repetition", "setting"), [ended_at] * repetitions),
            "seconds": (("repetition", "search"), [[8.0, 2, 2, 2]] * repetitions),
            "best": (("repetition", "search"), [best] * repetitions),
            "samples": (("repetition", "search"), [samples] * repetitions),
            "same_rungs": ("repetition", np.ones(repetitions)),
        },
        {"rung": [1, 4], "search": ["sweep", "dense", "batches", "single"]},
    )
    numbers = experiment.numbers(dataset)
    of_search, first_rung = numbers["search"], numbers["rung"]["1"]
    dense, random = of_search["dense"], of_search["random"]
    value, low, high = dense["difference"]
    assert low < value < high < 0
    assert value == pytest.approx(20 - 90, abs=2)
    assert of_search["batches"]["difference"][0] == 0
    assert dense["time"] == [0.25] * 3
    assert (random["num_settings"], dense["same"], of_search["single"]["same"]) == (1, 0, 8)
    assert dense["samples"][0] == pytest.approx((4 + 4 + 8 + 4 * 8) / (4 * 24))
    assert first_rung == {"correlation": (-1, -1, -1), "rank_of_best": [4, 4, 4]}
    assert random["accuracy"][0] == pytest.approx(0.55, abs=0.03)
