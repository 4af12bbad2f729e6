"""Batch sharpness, compared with means over all batches, and its standard errors."""

import importlib
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import regression
from scipy import stats

import gdjax as gd
from gdjax.curvature.batch_sharpness import batch_sharpness
from gdjax.problems import as_problem

RUNS = 16


def all_batches(count, size):
    return np.array(list(itertools.combinations(range(count), size)))


def every_batch(cost, params, data, batches):
    """Return g^T H g and |g|^2 of each batch; rows of `batches` are sample indices."""

    def of_batch(chosen):
        batch = jax.tree.map(lambda a: a[chosen], data)
        g = jax.grad(cost)(params, batch)
        image = jax.jvp(lambda w: jax.grad(cost)(w, batch), (params,), (g,))[1]
        pairs = list(zip(jax.tree.leaves(g), jax.tree.leaves(image), strict=True))
        return sum(jnp.vdot(a, b) for a, b in pairs), sum(jnp.vdot(a, a) for a, _ in pairs)

    return jax.tree.map(np.asarray, jax.lax.map(of_batch, jnp.asarray(batches)))


@pytest.fixture
def sampled(monkeypatch):
    """Estimate from random batches, as for more samples."""
    module = importlib.import_module("gdjax.curvature.batch_sharpness")
    monkeypatch.setattr(module, "MAX_EXACT_SAMPLES", 0)


def with_outliers(count):
    """Return a regression in which two rows are 8 times larger."""
    cost, params, (x, y) = regression(count)
    return cost, params, (x * np.where(np.arange(count) < 2, 8, 1)[:, None], y)


@pytest.mark.parametrize(
    ("case", "count", "size"),
    [(regression, 8, 1), (regression, 8, 3), (regression, 8, 8), (with_outliers, 40, 2)],
)
def test_few_samples_give_the_mean_over_all_batches_without_sampling(case, count, size, float64):
    """16 pairs of 40 samples contain neither of two outliers with probability 0.19."""
    cost, params, data = case(count)
    bend, square = every_batch(cost, params, data, all_batches(count, size))
    options = {"key": jax.random.key(0), "batch_size": size, "batches": 16}
    result = jax.tree.map(float, batch_sharpness(as_problem(cost, data), params, **options))
    np.testing.assert_allclose(result.value, bend.mean() / square.mean(), rtol=1e-12)
    assert (result.low, result.high, result.error) == (result.value, result.value, 0)


@pytest.mark.usefixtures("sampled", "float64")
def test_batch_sharpness_equals_the_mean_over_all_batches_within_4_standard_errors():
    """All 28 pairs of 8 samples are batches; the estimate is repeated for 16 keys."""
    cost, params, data = regression(8)
    bend, square = every_batch(cost, params, data, all_batches(8, 2))

    def one(key):
        return batch_sharpness(as_problem(cost, data), params, key=key, batch_size=2, batches=400)

    result = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), RUNS))
    for value, error, known in (
        (result.value, result.error, bend.mean() / square.mean()),
        (result.mean_of_ratios, result.ratios_error, np.mean(bend / square)),
    ):
        score = (value - known) / error
        assert abs(score.mean()) < 4 / np.sqrt(RUNS)
        assert 0.5 < np.sqrt(np.mean(score**2)) < 1.6
    assert np.all(result.value != result.mean_of_ratios)


@pytest.mark.usefixtures("sampled")
@pytest.mark.long
@pytest.mark.parametrize("size", [1, 8, 64])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_more_than_93_percent_of_2000_intervals_cover_the_expected_value(size, scale):
    """Each interval is estimated from 24 batches, with a nominal coverage of 0.95."""
    cost, params, data = regression(128)
    params = jax.tree.map(lambda a: scale * a, params)
    batches = np.array([np.random.default_rng(i).permutation(128)[:size] for i in range(20_000)])
    if size == 1:
        batches = np.arange(128)[:, None]
    bend, square = jax.tree.map(np.asarray, every_batch(cost, params, data, batches))
    known = bend.mean() / square.mean()

    def one(key):
        return batch_sharpness(as_problem(cost, data), params, key=key, batch_size=size, batches=24)

    result = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000))
    covered = (result.low <= known) & (known <= result.high)
    assert np.mean(covered) > 0.95 - 0.02
    assert np.all((result.low < result.value) & (result.value < result.high))
    ratio = np.median(result.error) / np.std(result.value)
    assert 0.7 < ratio < 1.2


@pytest.mark.usefixtures("sampled")
def test_errors_and_intervals_equal_the_jackknife_and_student_formulas():
    """Expected values are computed with NumPy for batches of one sample."""
    x = np.array([1.0, 2.0, 3.0, 5.0], np.float32)
    keys = jax.random.split(jax.random.key(0), 6)
    choose = jax.jit(jax.vmap(lambda key: jax.random.choice(key, 4, (1,), replace=False)[0]))
    samples = np.asarray(choose(keys))

    def one(sign):
        def cost(w, x):
            return sign * jnp.mean(x**3 * w**2) / 2 + jnp.mean(x) * w

        return batch_sharpness(
            as_problem(cost, x), jnp.zeros(()), key=jax.random.key(0), batch_size=1, batches=6
        )

    both = jax.jit(jax.vmap(one))(np.array([1.0, -1.0], np.float32))
    for i, sign in enumerate((1, -1)):
        result = jax.tree.map(lambda a, i=i: a[i], both)
        a, b = sign * x[samples].astype(float) ** 5, x[samples].astype(float) ** 2
        leave_one_out = (a.sum() - a) / (b.sum() - b)
        squares = (leave_one_out - leave_one_out.mean()) ** 2
        error = np.sqrt(5 / 6 * squares.sum())
        assert float(result.error) == pytest.approx(error, rel=1e-4)
        freedom = max(squares.sum() ** 2 / np.sum(squares**2) - 1, 1)
        half = stats.t.isf(0.025, freedom) * error
        value = a.sum() / b.sum()
        expected = value - half, value + half
        assert (float(result.low), float(result.high)) == pytest.approx(expected, rel=2e-3)


@pytest.mark.long
def test_the_metric_with_full_batches_is_the_curvature_along_the_gradient():
    """Full batches have no sampling error, nor has the value for few samples, which is exact."""
    cost, params, data = regression(8)
    problem = gd.Problem(init=lambda key: params, cost=cost, data=data)

    def estimates(problem, w, *, key, batch_size, batches):
        return jnp.stack(
            batch_sharpness(problem, w, key=key, batch_size=batch_size, batches=batches)
        )

    metrics = {
        "whole": gd.Metric(partial(estimates, batch_size=8, batches=2), dims=("part",)),
        "few": gd.Metric(partial(estimates, batch_size=2, batches=8), dims=("part",)),
    }
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1]), 3, metrics=metrics, snapshot_every=1)
    full_batches, small_batches = (runs[n].isel(learning_rate=0).values for n in ("whole", "few"))
    bend, square = every_batch(cost, params, data, all_batches(8, 8))
    assert full_batches[0, 0] == pytest.approx(float(bend[0] / square[0]), rel=1e-4)
    np.testing.assert_allclose(full_batches[:, 0], full_batches[:, 2], rtol=1e-4)
    assert len({float(v) for v in small_batches[:, 0]}) == 4
    assert np.all(small_batches[:, 1] == 0)  # without sampling
    assert np.all(small_batches[:, 3] > 0)
