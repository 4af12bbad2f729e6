"""Autoregressive chains with known correlation times, and chains that disagree."""

import jax
import numpy as np
import pytest
from scipy import stats

from gdjax.landscape import mcmc


def autoregressions(correlation, n=4000, count=8, seed=0):
    """Return stationary series x_t = correlation x_(t-1) + N(0, 1 - correlation^2)."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, n))
    x[:, 0] = rng.normal(size=count)
    for t in range(1, n):
        x[:, t] = correlation * x[:, t - 1] + np.sqrt(1 - correlation**2) * rng.normal(size=count)
    return x.astype(np.float32)


effective = jax.jit(mcmc.effective_sample_size)
apart = jax.jit(mcmc.rhat)


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.5, 0.9])
def test_the_effective_sample_size_of_an_autoregression_equals_its_closed_form(correlation):
    """The effective fraction of the draws is (1 - correlation) / (1 + correlation)."""
    draws = autoregressions(correlation)
    expected = draws.size * (1 - correlation) / (1 + correlation)
    assert float(effective(draws)) == pytest.approx(expected, rel=0.15)
    assert float(apart(draws)) < 1.02


def test_rank_normalized_rhat_equals_that_computed_with_scipy():
    draws = np.round(autoregressions(0.5, 200, 4), 1)  # with ties
    halves = draws.reshape(8, 100)

    def ratio(x):
        z = stats.norm.ppf((stats.rankdata(x).reshape(x.shape) - 0.375) / (x.size + 0.25))
        within, between = np.mean(z.var(1, ddof=1)), z.mean(1).var(ddof=1)
        return np.sqrt(0.99 + between / within)

    expected = max(ratio(halves), ratio(np.abs(halves - np.median(halves))))
    assert float(apart(draws)) == pytest.approx(expected, rel=1e-4)


DRAWS = autoregressions(0.0)
AMONG = {
    "one with another mean": DRAWS + 3 * (np.arange(8) == 0)[:, None],
    "one with a larger variance": DRAWS * np.where(np.arange(8) == 0, 5, 1)[:, None],
    "drifting": DRAWS + np.linspace(0, 2, 4000),
    "constant": np.ones((8, 4000)),
}


@pytest.mark.parametrize("what", AMONG)
def test_rhat_detects_chains_that_differ(what):
    assert float(apart(AMONG[what].astype(np.float32))) > 1.05


def test_chains_that_differ_have_a_small_effective_sample_size():
    assert float(effective(AMONG["one with another mean"].astype(np.float32))) < 50
    assert float(effective(AMONG["drifting"].astype(np.float32))) < 100
