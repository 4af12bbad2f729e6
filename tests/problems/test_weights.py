"""Weights of batches: every verb gives the weighted mean over all samples.

cost(p, batch) = sum b (p - a)^2 / sum b with half of the samples (a, b) = (0, 1), half (1, 9): its
value at p is (p^2 + 9 (p - 1)^2) / 10, and its minimum is at .9. Each half alone has the mean .5
of its values at 0.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems.facts import check_problem

SAMPLES = 6000  # six microbatches on a CPU


def ratio(p, batch):
    a, b = batch
    return jnp.sum(b * (p - a) ** 2) / jnp.sum(b)


def halves(samples=SAMPLES):
    second = np.arange(samples) >= samples // 2
    return second.astype(np.float32), (1.0 + 8 * second).astype(np.float32)


def weighted(data=None, **fields):
    data = halves() if data is None else data
    fields = {"weight": lambda batch: jnp.sum(batch[1]), "data": data} | fields
    return gd.Problem(init=lambda key: jnp.zeros(()), cost=ratio, **fields)


def expected(p):
    return (p**2 + 9 * (p - 1) ** 2) / 10


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}])
def test_records_of_a_sweep_are_weighted_means(options):
    runs = gd.sweep(weighted(), gd.axes(learning_rate=[0.25, 0.5]), 2, **options)
    np.testing.assert_allclose(runs.cost[:, 0], 0.9, rtol=1e-5)
    if not options:
        points = 0.9 * np.array([[0, 0.5, 0.75], [0, 1, 1]])
        np.testing.assert_allclose(runs.cost, expected(points), rtol=1e-4)


@pytest.mark.long
def test_a_million_samples():
    problem = weighted(halves(1_000_000))
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.5]), 1)
    np.testing.assert_allclose(runs.cost[0], [0.9, 0.09], rtol=1e-4)


def test_analyses_are_weighted_means():
    problem, key, zero = weighted(), jax.random.key(0), jnp.zeros(())
    run = gd.descend(problem, optax.sgd(0.5), zero, 1, key=key)
    np.testing.assert_allclose(run.cost, [0.9, 0.09], rtol=1e-4)
    np.testing.assert_allclose(gd.problems.evaluate(problem, zero), 0.9, rtol=1e-5)
    value, gradient = value_and_gradient(problem, zero)
    np.testing.assert_allclose([value, gradient], [0.9, -1.8], rtol=1e-5)
    pairs = gd.curvature.extreme_eigenpairs(problem, zero, key=key)
    np.testing.assert_allclose(pairs.values, 2.0, rtol=1e-5)
    line = gd.landscape.line(problem, zero, jnp.ones(()), [0.0, 1.0])
    np.testing.assert_allclose(line.cost, [0.9, 0.1], rtol=1e-5)
    census = gd.minima.count_minima(problem, jnp.array([0.0, 2.0]), key=key)
    np.testing.assert_allclose(census.params, 0.9, rtol=1e-4)
    np.testing.assert_allclose(census.cost, 0.09, rtol=1e-4)


def test_sorted_sequences_of_different_lengths():
    """One step on the mean over tokens, of 4,096 sequences sorted by length."""
    length = np.sort(np.random.default_rng(0).integers(1, 65, 4096))
    mask = (np.arange(64) < length[:, None]).astype(np.float32)
    token = np.float32(1 + np.arange(4096) / 512)[:, None] * mask

    def cost(w, batch):
        tokens, mask = batch
        return jnp.sum(mask * (w - tokens) ** 2) / jnp.sum(mask)

    problem = gd.Problem(
        lambda key: jnp.zeros(()), cost, (token, mask), weight=lambda batch: jnp.sum(batch[1])
    )
    run = gd.descend(problem, optax.sgd(0.5), jnp.zeros(()), 1, key=jax.random.key(0))
    np.testing.assert_allclose(run.params, token.sum() / mask.sum(), rtol=1e-4)
    with pytest.raises(InputError, match=r"pass Problem\(\.\.\., weight"):
        check_problem(dataclasses.replace(problem, weight=None), jnp.zeros(()))


def test_a_part_of_weight_0_counts_nothing():
    a, b = halves()
    b[1000:2000], a[1000:2000] = 0, np.nan
    b[2000:3000] *= 1.5
    problem = weighted((a, b))
    value = gd.problems.evaluate(problem, jnp.zeros(()))
    np.testing.assert_allclose(value, 27 / 29.5, rtol=1e-5)


@pytest.mark.parametrize("data", [halves(12), halves()])
def test_a_weighted_mean_without_its_weight_is_refused(data):
    with pytest.raises(
        InputError, match=r"weighted mean over microbatches .* pass Problem\(.*weight"
    ):
        gd.sweep(weighted(data, weight=None), gd.axes(learning_rate=[0.1]), 1)


@pytest.mark.parametrize(
    "analysis",
    [
        value_and_gradient,
        lambda problem, w: gd.landscape.line(problem, w, w + 1, [0.0, 1.0]),
        lambda problem, w: gd.descend(problem, optax.sgd(0.1), w, 1, key=jax.random.key(0)),
    ],
)
def test_an_analysis_refuses_a_weighted_mean_without_its_weight(analysis):
    with pytest.raises(InputError, match="weighted mean over microbatches"):
        analysis(weighted(weight=None), jnp.zeros(()))


def test_means_on_the_first_samples_only_are_refused():
    """The first samples have equal weights; the result for other data is not reused."""
    a, b = halves()
    check_problem(weighted((a[:100], b[:100]), weight=None), jnp.zeros(()))
    with pytest.raises(InputError, match="weighted mean"):
        check_problem(weighted((a, b), weight=None), jnp.zeros(()))


def test_another_weight_is_refused():
    with pytest.raises(InputError, match=r"weights .* and "):
        gd.sweep(weighted(weight=lambda b: jnp.sum(b[1] ** 2)), gd.axes(learning_rate=[0.1]), 1)


REFUSED = {
    "GaussNewtonOperator": lambda p, key: gd.curvature.GaussNewtonOperator(
        dataclasses.replace(p, predict=lambda w, x: w * x, loss=lambda a, y: jnp.mean(a)), 0.0
    ).mv(1.0),
    "gradient_noise": lambda p, key: gd.descent.gradient_noise(
        p, jnp.zeros(2), key=key, batch_size=2, batches=2
    ),
    "weight declares key": lambda p, key: weighted(weight=lambda batch, *, key: key),
    "but data is None": lambda p, key: value_and_gradient(
        gd.Problem(p.init, lambda w: w, weight=p.weight), jnp.zeros(())
    ),
    "weight: returned": lambda p, key: gd.descend(
        weighted(weight=lambda batch: batch[1]), optax.sgd(0.1), jnp.zeros(()), 1, key=key
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_single_samples_refuses_a_weighted_problem(name):
    with pytest.raises(InputError, match=name):
        REFUSED[name](weighted(), jax.random.key(0))
