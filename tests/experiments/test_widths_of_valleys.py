"""Correlations with widths of minima: known values, and a small census."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from experiments.widths_of_valleys import __main__ as widths
from experiments.widths_of_valleys.__main__ import partial_rank_correlation, rank_correlation
from gdjax.base.errors import InputError


def test_rank_correlations_equal_those_of_scipy_with_ties():
    x, y = np.random.default_rng(0).integers(5, size=(2, 6, 30))
    wanted = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(rank_correlation(x, y), wanted)
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_partial_correlations_are_those_of_the_residuals_of_ranks():
    rng = np.random.default_rng(1)
    z = rng.integers(20, size=25)
    x, y = z + rng.integers(15, size=(2, 25))
    ranks = [stats.rankdata(one) for one in (x, y, z)]
    rest = [one - np.polyval(np.polyfit(ranks[2], one, 1), ranks[2]) for one in ranks[:2]]
    wanted = np.corrcoef(rest)[0, 1]
    assert partial_rank_correlation(x, y, z) == pytest.approx(wanted)
    assert abs(rank_correlation(x, y) - wanted) > 0.1
    assert np.isnan(partial_rank_correlation(z, y, np.exp(z)))


def test_the_bootstrap_over_sets_follows_the_binomial_distribution():
    """Four sets have correlation 1, and four have -1.

    The mean of a resample is 2 K / 8 - 1 with K from the binomial distribution B(8, 1/2).
    """
    rows = np.arange(12.0)
    sets = [np.array([rows, sign * rows]) for sign in (1, -1) * 4]
    result = widths.bootstrap(rank_correlation, sets, 20_000, np.random.default_rng(3))
    tail = widths.expanded_tail(8)
    low, high = (2 * stats.binom.ppf([tail, 1 - tail], 8, 0.5) / 8 - 1).tolist()
    assert result[:5] == pytest.approx((0, low, high, 0.95, 8))


def test_the_expanded_tail_of_a_normal_bootstrap_gives_students_interval():
    """The bootstrap deviation of a mean of S values is too small by sqrt((S - 1) / S)."""
    reach = stats.norm.isf(widths.expanded_tail(8)) * np.sqrt(7 / 8)
    assert reach == pytest.approx(2.3646, abs=1e-4)  # Student's quantile for 7 degrees of freedom
    assert widths.expanded_tail(10**6) == pytest.approx(0.025, rel=1e-4)


def test_the_bootstrap_also_resamples_the_members_of_each_set():
    """The sets are equal, so the error is that of the mean of 8 x 50 members."""
    values = np.random.default_rng(4).normal(size=50)
    result = widths.bootstrap(
        lambda x: x.mean(axis=-1), [values[None]] * 8, 4000, np.random.default_rng(5)
    )
    reach = stats.norm.isf(widths.expanded_tail(8)) * values.std() / np.sqrt(8 * 50)
    assert (result.value, result.low, result.high) == pytest.approx(
        (values.mean(), values.mean() - reach, values.mean() + reach), abs=0.1 * reach
    )


def test_at_least_90_percent_of_intervals_cover_the_mean_if_correlations_differ_between_sets():
    """The true mean of the partial correlations is estimated from large samples."""
    rng = np.random.default_rng(6)

    def some_set(n, slope):
        x, z, noise = rng.normal(size=(3, n))
        return np.array([x + z, slope * x + z + noise, z])

    truth = np.mean([partial_rank_correlation(*some_set(1000, s)) for s in rng.normal(size=300)])
    covered = 0
    for _ in range(40):
        drawn = [some_set(20, slope) for slope in rng.normal(size=8)]
        result = widths.bootstrap(partial_rank_correlation, drawn, 100, rng)
        covered += result.low <= truth <= result.high
    assert covered >= 36


def test_correlations_are_computed_within_sets_and_without_rejected_values():
    rng = np.random.default_rng(0)
    n, sets = 20, 4
    index = np.repeat(np.arange(sets), n)
    volume = rng.normal(size=n * sets)
    dataset = xr.Dataset(
        {
            "volume_log_volume": ("minimum", volume + 100 * index),
            "chains_coefficient": ("minimum", np.where(np.arange(n * sets) < 4, np.nan, -volume)),
            "count": ("minimum", np.argsort(np.argsort(volume)) - 1000 * index),
            "test_accuracy": ("minimum", rng.normal(size=n * sets)),
            "minimum_cost": ("minimum", rng.normal(size=n * sets)),
        },
        coords={"set": ("minimum", index)},
        attrs={"resamples": 100},
    )
    result = widths.correlations(dataset)
    mean, each = result["volume", "starts"]
    assert mean[:3] == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(each, np.ones(sets))
    assert result["coefficient", "starts", "cost"][0].value == pytest.approx(-1)
    mean, each = result["volume", "accuracy", "cost"]
    assert mean.low < mean.value == pytest.approx(each.mean())
    assert mean.low < 0 < mean.high
    first = dataset.isel(minimum=slice(4, n))
    wanted = stats.spearmanr(first.volume_log_volume, first.test_accuracy).statistic
    assert result["volume", "accuracy"][1][0] == pytest.approx(wanted)


def test_complete_sets_are_the_sets_of_images_that_contain_every_digit():
    assert widths.complete_sets(widths.Config()) == [0, 1, 2, 3, 4, 6, 7, 8]
    with pytest.raises(InputError, match=r"sets = 100: .* of 50 images of mnist5k contain every"):
        widths.complete_sets(widths.Config(sets=100))
