"""Batch sharpness against every batch there is, and its standard errors against repetition."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import in_float64, regression

import gdjax as gd
from gdjax.errors import InputError
from gdjax.geometry.stochastic import batch_sharpness, batch_sharpness_measure

RUNS = 16


def every_batch(cost, params, data, size):
    """g^T H g and |g|^2 of all batches, dense, float64."""
    count = len(data[0])
    batches = jnp.array(list(itertools.combinations(range(count), size)))

    def of_batch(chosen):
        batch = jax.tree.map(lambda a: a[chosen], data)
        g = jax.grad(cost)(params, batch)
        bent = jax.jvp(lambda w: jax.grad(cost)(w, batch), (params,), (g,))[1]
        pairs = list(zip(jax.tree.leaves(g), jax.tree.leaves(bent), strict=True))
        return sum(jnp.vdot(a, b) for a, b in pairs), sum(jnp.vdot(a, a) for a, _ in pairs)

    return jax.tree.map(np.asarray, jax.lax.map(of_batch, batches))


@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.long), True])
def test_it_is_the_mean_over_all_batches_within_its_error(x64):
    """16 keys, 28 batches of 2 of 8 samples: deviations are as large as the errors say."""
    cost, params, data = regression(8)
    with jax.enable_x64(x64):
        params, data = jax.tree.map(jnp.asarray, (in_float64(params), in_float64(data)))
        bend, square = every_batch(cost, params, data, 2)

        def one(key):
            return batch_sharpness(cost, params, key, batch_size=2, batches=400, data=data)

        found = jax.tree.map(
            np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), RUNS))
        )
    for value, error, known in (
        (found.value, found.error, bend.mean() / square.mean()),
        (found.mean_of_ratios, found.ratios_error, np.mean(bend / square)),
    ):
        score = (value - known) / error
        assert abs(score.mean()) < 4 / np.sqrt(RUNS)
        assert 0.5 < np.sqrt(np.mean(score**2)) < 1.6
    assert np.all(found.value != found.mean_of_ratios)


def test_the_whole_set_as_a_batch_is_the_curvature_along_the_gradient():
    cost, params, data = regression(8)
    known = every_batch(cost, params, data, 8)
    found = batch_sharpness(cost, params, jax.random.key(0), batch_size=8, batches=2, data=data)
    assert float(found.value) == pytest.approx(float(known[0][0] / known[1][0]), rel=1e-4)
    assert float(found.error) < 1e-4 * float(found.value)


def test_batches_that_cannot_be_are_named():
    cost, params, data = regression(8)
    for options in ({"batch_size": 9}, {"batch_size": 0}, {"batch_size": 2, "batches": 1}):
        with pytest.raises(InputError, match="expected at least 2 of 1 to 8 samples"):
            batch_sharpness(cost, params, jax.random.key(0), data=data, **options)
    with pytest.raises(InputError, match="no data, so it has no mini-batches"):
        batch_sharpness(lambda w: w**2, jnp.ones(()), jax.random.key(0), batch_size=1)


@pytest.mark.long
def test_along_a_descent_it_is_measured_with_a_key_of_its_own():
    """Batches of the whole set leave no chance: at every record it is the curvature along g."""
    cost, params, data = regression(8)
    problem = gd.Problem(init=lambda key: params, cost=cost, data=data)
    measures = {
        "whole": batch_sharpness_measure(problem, batch_size=8, batches=2),
        "few": batch_sharpness_measure(problem, batch_size=2, batches=8),
    }
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1]), 3, measures=measures, snapshot_every=1)
    whole, few = (runs[n].isel(learning_rate=0).values for n in ("whole", "few"))
    bend, square = every_batch(cost, params, data, 8)
    assert whole[0, 0] == pytest.approx(float(bend[0] / square[0]), rel=1e-4)
    np.testing.assert_allclose(whole[:, 0], whole[:, 2], rtol=1e-4)
    assert len({float(v) for v in few[:, 0]}) == 4
    assert np.all(few[:, 1] > 0)
