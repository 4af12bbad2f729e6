"""The comparison of learning-rate finders: suggestions of a ramp, and regrets."""

import numpy as np
import xarray as xr

from experiments.finders import ramp
from experiments.finders.__main__ import METHODS, evaluate_recommendations, numbers


def test_a_ramp_suggests_a_tenth_of_the_rate_at_its_lowest_smoothed_cost():
    """The minimum of the cost is at step 60; that of the smoothed cost is later."""
    steps = np.arange(ramp.STEPS)
    low, steep = ramp.suggestions(1 + ((steps - 60) / 60) ** 2)
    rates = ramp.LOW * (ramp.HIGH / ramp.LOW) ** (steps / (ramp.STEPS - 1))
    assert rates[60] / 10 < low < rates[94] / 10
    assert rates[10] <= steep < rates[60]


def test_suggestions_of_a_ramp_ignore_costs_that_are_not_finite():
    costs = np.where(np.arange(ramp.STEPS) < 50, 1 - np.arange(ramp.STEPS) / 100, np.inf)
    low, _ = ramp.suggestions(costs)
    assert np.isfinite(low)
    assert np.isnan(ramp.suggestions(np.full(ramp.STEPS, np.nan))).all()


def test_a_suggestion_succeeds_if_it_trains_and_is_within_a_factor_2_of_the_best_rate():
    recommended = np.array([[1.0, 2.0], [0.5, 4.0], [16.0, np.nan], [1e-9, 0.125]])
    rates = 2.0 ** np.arange(-4, 5)
    cost = 1 + np.abs(np.log2(rates))  # the best rate is 1
    cost[-1] = np.inf
    case = xr.Dataset(
        {
            "cost": (("warmup", "learning_rate"), cost[None]),
            "trains": (("warmup", "learning_rate"), np.isfinite(cost)[None]),
            "start_cost": 9.0,
            "rate": (("finder", "finder_seed"), recommended),
            "evaluations": (("finder", "finder_seed"), np.full(recommended.shape, 300.0)),
        },
        {"learning_rate": rates, "warmup": [1], "finder": list(METHODS)},
    )
    dataset = case.expand_dims(problem=["a", "b"], optimizer=["sgd"])
    results = evaluate_recommendations(dataset).isel(problem=0, optimizer=0, warmup=0)
    success = results.success.transpose("finder", "finder_seed")
    assert success.values.tolist() == [[True, True], [True, False], [False, False], [False, False]]
    regret = results.regret.transpose("finder", "finder_seed")
    np.testing.assert_allclose(regret, [[0, 1 / 8], [1 / 8, 2 / 8], [1, 1], [1, 3 / 8]])
    summary = numbers(dataset)["finder"]
    assert summary["search"]["share"] == [1, 1, 1]
    assert summary["search"]["minus"]["ramp_minimum"] == [1, 1, 1]
    assert summary["short_search"]["share"][0] == 0.5
