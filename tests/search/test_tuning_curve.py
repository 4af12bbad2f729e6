"""Tuning curves: best of k random settings, and coverage of the intervals."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd

INF = math.inf


def swept(values, *dims, **coordinates):
    """Return a Dataset with given final costs; runs of infinite cost have diverged."""
    values = np.asarray(values, float)
    dims = dims or ("setting", "seed")
    attrs = {"flag_meanings": "not_converged converged stalled diverged"}
    outcome = np.where(np.isinf(values), 3, 0).astype(np.int8)
    cost = np.stack([np.ones_like(values), values], axis=-1)
    return xr.Dataset(
        {"cost": ((*dims, "step"), cost), "outcome": (dims, outcome, attrs)},
        {"step": [0, 10], **coordinates},
    )


def tuned(values, trials=None, **settings):
    """Return the tuning curve of given final costs."""
    return gd.search.tuning_curve(swept(values), trials=trials, **settings)


def over_subsets(x, k):
    """Return the mean and median of the best of k costs, and of the fresh cost."""
    best, fresh = [], []
    for seed, subset in itertools.product(
        range(x.shape[1]), itertools.combinations(range(len(x)), k)
    ):
        lowest = x[list(subset), seed].min()
        chosen = [s for s in subset if x[s, seed] == lowest]
        best += [lowest] * 12  # 12 is divisible by the number of ties
        others = [r for r in range(x.shape[1]) if r != seed]
        fresh += [x[s, r] for s in chosen for r in others for _ in range(12 // len(chosen))]
    return np.mean(best), np.median(best), np.mean(fresh), np.median(fresh)


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=(6, 3)),
        np.random.default_rng(1).integers(0, 3, size=(6, 3)).astype(float),
        [[1, 2], [3, 1], [2, 2], [5, 7], [4, 4]],
    ],
    ids=["different", "equal", "two_seeds"],
)
def test_tuning_curves_equal_means_and_medians_over_all_subsets(x):
    x = np.asarray(x, float)
    trials = range(1, len(x) + 1)
    curve = tuned(x, trials)
    names = ("expected_best", "median_best", "expected_fresh", "median_fresh")
    for k in trials:
        at = curve.sel(trials=k)
        result = [at[name].item() for name in names]
        np.testing.assert_allclose(result, over_subsets(x, k), rtol=1e-12, atol=1e-12)


def test_the_best_of_k_evenly_spaced_values_equals_its_closed_form():
    n = 200
    x = np.random.default_rng(0).permutation(np.arange(1, n + 1) / (n + 1))[:, None]
    curve = tuned(x, [1, 2, 5, 50, 200])
    np.testing.assert_allclose(curve.expected_best, 1 / (curve.trials + 1), rtol=1e-10)
    highest = tuned(x, [1, 2, 5, 50, 200], direction="maximize")
    np.testing.assert_allclose(highest.expected_best, 1 - 1 / (curve.trials + 1), rtol=1e-10)


def test_the_estimate_is_unbiased_unlike_the_one_with_replacement():
    n, k = 10, 8
    draws = np.random.default_rng(0).uniform(size=(400, n))
    runs = swept(draws[..., None], "optimizer", "setting", "seed")
    curves = gd.search.tuning_curve(runs, trials=[k])
    result = curves.expected_best.mean().item()
    j = np.arange(1, n + 1)
    with_replacement = ((n - j + 1) ** k - (n - j) ** k) / n**k
    biased = np.mean(np.sort(draws) @ with_replacement)
    error = 1 / k / math.sqrt(len(draws))  # more than the standard error of the mean of minima
    assert abs(result - 1 / (k + 1)) < 2 * error
    assert biased - 1 / (k + 1) > 4 * error


def test_a_diverged_run_counts_as_the_worst():
    x = np.array([[1.0, INF], [2.0, 3.0], [INF, INF], [4.0, INF]])
    curve = tuned(x, [1, 2, 3, 4])
    np.testing.assert_allclose(curve.expected_best, [INF, INF, INF, 2])
    np.testing.assert_allclose(curve.median_best, [INF, 3, 2.5, 2])
    lowest = tuned(x, [2], direction="maximize")
    assert lowest.expected_best.item() == -INF


def test_the_fresh_cost_is_not_biased_by_the_selection_of_the_setting():
    x = np.random.default_rng(0).normal(size=(100, 2))  # all settings are equally good
    curve = tuned(x, [50])
    assert curve.expected_best.item() < -1.5
    assert abs(curve.expected_fresh.item()) < 0.5
    assert "expected_fresh" not in tuned(x[:, :1])


def test_settings_and_seeds_are_distinguished_by_axis():
    rng = np.random.default_rng(0)
    dims = ("learning_rate", "optimizer", "seed", "momentum", "data_seed")
    runs = swept(rng.normal(size=(4, 2, 3, 2, 2)), *dims, optimizer=["sgd", "adam"])
    curve = gd.search.tuning_curve(runs)
    assert curve.expected_best.dims == ("optimizer", "trials")
    assert curve.trials.values.tolist() == [1]
    assert (curve.attrs["num_settings"], curve.attrs["num_seeds"]) == (8, 6)
    alone = gd.search.tuning_curve(runs.sel(optimizer="adam"))
    xr.testing.assert_allclose(curve.sel(optimizer="adam", drop=True), alone)
    by = gd.search.tuning_curve(runs, by=["momentum", "optimizer"])
    assert by.median_best_high.dims == ("momentum", "optimizer", "trials")
    assert by.attrs["num_settings"] == 4


def test_axes_that_vary_together_are_seeds_if_all_of_them_are_seeds():
    line = gd.Problem(
        init=lambda key: jax.random.normal(key, 2),
        cost=lambda w, x: jnp.mean((w[0] * x + w[1]) ** 2),
        data=jnp.arange(6.0),
    )
    rates = [0.01, 0.02, 0.03, 0.04]
    grid = gd.axes(learning_rate=rates, start=gd.zip_axes(seed=range(3), data_seed=range(3, 6)))
    runs = gd.sweep(line, grid, 10, batch_size=2)
    result = gd.search.tuning_curve(runs)
    one_seed_axis = runs.drop_vars(["seed", "data_seed"]).rename(start="seed")
    xr.testing.assert_identical(result, gd.search.tuning_curve(one_seed_axis))
    assert (result.attrs["num_settings"], result.attrs["num_seeds"]) == (4, 3)
    one_start = gd.search.tuning_curve(runs.isel(start=0))
    assert (one_start.attrs["num_settings"], one_start.attrs["num_seeds"]) == (4, 1)
    grid = gd.axes(pair=gd.zip_axes(learning_rate=rates, seed=range(4)))
    mixed = gd.search.tuning_curve(gd.sweep(line, grid, 10))
    assert (mixed.attrs["num_settings"], mixed.attrs["num_seeds"]) == (4, 1)


def test_intervals_contain_the_estimate_of_a_minimum_or_a_maximum():
    x = np.random.default_rng(0).normal(size=(45, 4))
    lowest, highest = tuned(x), tuned(-x, direction="maximize")
    assert lowest.trials.values.tolist() == [1, 2, 4, 8]
    assert (lowest.median_best_low <= lowest.median_best).all()
    assert (lowest.median_best <= lowest.median_best_high).all()
    for name in ("expected_best", "median_best", "expected_fresh", "median_fresh"):
        np.testing.assert_allclose(highest[name], -lowest[name])
    np.testing.assert_array_equal(highest.median_best_low, -lowest.median_best_high)
    np.testing.assert_array_equal(highest.median_best_high, -lowest.median_best_low)


@pytest.mark.parametrize(("k", "needed"), [(1, 6), (2, 11), (4, 22), (8, 43)])
def test_an_interval_of_95_percent_needs_as_many_settings_as_published(k, needed):
    x = np.random.default_rng(0).normal(size=(needed, 1))
    assert np.isfinite(tuned(x, [k]).median_best_low)
    assert tuned(x[1:], [k]).median_best_low == -INF


DISTRIBUTIONS = {
    "log-normal": lambda random, size: random.lognormal(sigma=1.5, size=size),
    "Cauchy": lambda random, size: random.standard_cauchy(size),
    "mixture": lambda random, size: random.normal(size=size) + 20 * (random.random(size) < 0.1),
    "three values": lambda random, size: random.integers(0, 3, size).astype(float),
}


def coverage(curves, quantiles):
    """Return the share of intervals that contain the quantile, for each number of trials."""
    low, high = curves.median_best_low.values, curves.median_best_high.values
    return np.mean((low <= quantiles) & (quantiles <= high), axis=0)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("shape", [(16, 1), (64, 8)])
def test_intervals_cover_the_median_for_any_distribution(name, shape):
    """The median of the best of k is the quantile 1 - 2^(-1/k) of all costs.

    Of 400 intervals with a coverage of 0.95, a share below 0.91 has probability 0.0006.
    """
    draw, random = DISTRIBUTIONS[name], np.random.default_rng(0)
    trials = [1, 2] if shape[0] < 22 else [1, 2, 4, 8]
    p = 1 - 2.0 ** (-1 / np.array(trials))
    quantiles = np.quantile(draw(random, 1_000_000), p)
    draws = np.stack([draw(random, shape) for _ in range(400)])
    curves = gd.search.tuning_curve(swept(draws, "optimizer", "setting", "seed"), trials=trials)
    assert coverage(curves, quantiles).min() >= 0.91


def test_intervals_cover_the_median_over_seeds_that_differ():
    """Costs with seed r are normal with mean 3 r, and settings do not differ otherwise."""
    random, shift = np.random.default_rng(0), 3.0 * np.arange(4)
    every = np.sort((random.normal(size=(100_000, 4)) + shift).ravel())
    runs = swept(random.normal(size=(400, 22, 4)) + shift, "optimizer", "setting", "seed")
    curves = gd.search.tuning_curve(runs, trials=[1, 4])
    quantiles = every[(len(every) * (1 - 2.0 ** (-1 / curves.trials.values))).astype(int)]
    assert coverage(curves, quantiles).min() >= 0.91


@pytest.mark.long
def test_a_curve_per_optimizer_is_plotted():
    x = np.random.default_rng(0).uniform(1, 2, size=(2, 32, 3)) * [[[1]], [[100]]]
    runs = swept(x, "optimizer", "setting", "seed", optimizer=["sgd", "adam"])
    curve = gd.search.tuning_curve(runs)
    (axes,) = gd.plot(curve).axes
    assert axes.get_title(loc="left") == "Best of 4: sgd"
    assert (axes.get_ylabel(), axes.get_yscale()) == ("median best cost", "log")
    for line, name in zip(axes.lines, ("sgd", "adam"), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), curve.median_best.sel(optimizer=name))
    x[:, 0] = INF
    curve = gd.search.tuning_curve(swept(x, *runs.outcome.dims))
    assert gd.plot(curve).axes[0].get_ylabel() == "median best cost"
    same = gd.search.tuning_curve(swept(x[[0, 0]], *runs.outcome.dims))
    assert "intervals of 0 and 1 overlap" in gd.plot(same).axes[0].get_title(loc="left")
    (axes,) = gd.plot(gd.search.tuning_curve(swept(x[0]))).axes
    assert axes.get_legend() is None


def test_runs_without_a_result_are_rejected():
    runs = swept([[1.0, np.nan]])
    with pytest.raises(gd.errors.InputError, match="NaN in 1 of 2 runs"):
        gd.search.tuning_curve(runs)
    runs.outcome[0, 0] = -1
    with pytest.raises(gd.errors.InputError, match="1 of 2 runs are not finished"):
        gd.search.tuning_curve(runs)
