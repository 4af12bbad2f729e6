"""The seed experiment: simulated networks, known variances, and a small run."""

import numpy as np
import pytest
import xarray as xr

from experiments.seeds import __main__ as seeds


def coins(starts, orders, images, quality=0.0, seed=0):
    """Simulate networks that classify each image correctly with a given probability.

    This probability is p(image) + quality * e(network), where e has a standard normal distribution.
    """
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.3, 0.9, images) + quality * rng.normal(size=(starts, orders, 1))
    right = rng.uniform(size=(starts, orders, images)) < p
    return xr.Dataset({"right": (("start", "order", "image"), right)}, attrs={"resamples": 60})


def test_for_networks_of_equal_quality_all_variance_is_due_to_chance():
    result = seeds.lucky(coins(16, 16, 400))
    luck = result["luck_of_images"]
    assert luck.low < 1 < luck.high
    assert luck.value == pytest.approx(1, abs=0.25)  # standard error for 256 networks: 0.09
    halves = result["correlation_of_halves"]
    assert halves.low < 0.1
    assert halves.high > -0.1
    assert result["the_same_on_the_other"].low < 0 < result["best_on_one_half"].low


def test_the_standard_deviation_of_quality_is_estimated_from_halves_of_the_images():
    result = seeds.lucky(coins(16, 16, 400, quality=0.05))
    assert result["deviation_of_quality"].value == pytest.approx(0.05, rel=0.2)
    assert result["luck_of_images"].high < 0.5
    assert result["correlation_of_halves"].low > 0.5
    assert result["the_same_on_the_other"].low > 0


def test_more_than_88_percent_of_intervals_of_variance_shares_contain_the_true_share():
    """Starts, orders and the remainder have variances 4, 1 and 1."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(100):
        values = 2 * rng.normal(size=(24, 1)) + rng.normal(size=24) + rng.normal(size=(24, 24))
        result = seeds.shares(values)
        covered.append(result["share_of_start"].low < 4 / 6 < result["share_of_start"].high)
    assert np.mean(covered) > 0.88
    result = seeds.shares(rng.normal(size=(64, 32)))
    assert result["share_of_start"].low == result["share_of_order"].low == 0


def test_networks_of_one_start_disagree_less_if_the_start_has_an_effect():
    rng = np.random.default_rng(0)
    of_start = rng.uniform(size=(12, 1, 300)) < 0.5
    right = np.where(rng.uniform(size=(12, 8, 300)) < 0.8, of_start, ~of_start)
    result = seeds.disagreement(xr.Dataset({"right": (("start", "order", "image"), right)}))
    assert result["apart_of_one_start"].value == pytest.approx(2 * 0.8 * 0.2, abs=0.02)
    for name in ("apart_of_one_order", "apart_of_neither"):
        assert result[name].value == pytest.approx(0.5, abs=0.02)
