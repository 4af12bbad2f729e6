"""The largest eigenvalues along a descent, compared with dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature.sharpness import largest_eigenvalues_metric

X = np.random.default_rng(2).normal(size=(12, 4)).astype(np.float32)
COUNT = 3


def cost(w, x):
    hidden = jnp.tanh(x @ w["in"])
    return jnp.mean((hidden @ w["out"] - jnp.sin(3 * x[:, 0])) ** 2)


def init(key):
    a, b = jax.random.split(key)
    return {"in": jax.random.normal(a, (4, 6)), "out": jax.random.normal(b, (6,))}


PROBLEM = gd.Problem(init=init, cost=cost, data=X)


@pytest.mark.long
def test_the_metric_equals_the_largest_eigenvalues_of_the_dense_hessian():
    """The 30 parameters exceed the Krylov dimension; 16 runs share two devices."""
    runs = gd.sweep(
        PROBLEM,
        gd.axes(learning_rate=[0.05, 0.2], seed=range(8)),
        8,
        snapshot_every=4,
        metrics={"top": largest_eigenvalues_metric(PROBLEM, COUNT, every=4, rtol=1e-4)},
        devices=jax.local_devices()[:2],
    )
    assert runs.top.dims == ("learning_rate", "seed", "top_step", "eigenvalue")
    assert runs.top_step.values.tolist() == runs.snapshot_step.values.tolist() == [0, 4, 8]
    first = jax.tree.map(np.asarray, init(jax.random.key(0)))
    unravel = ravel_pytree(first)[1]
    hessian = jax.jit(jax.vmap(jax.hessian(lambda flat: cost(unravel(flat), X))))
    snapshots = [runs[f"snapshots.{name}"].values.reshape(48, -1) for name in ("in", "out")]
    known = np.linalg.eigvalsh(hessian(np.concatenate(snapshots, axis=1)))
    assert (known[:, 0] < 0).any()
    expected = known[:, ::-1][:, :COUNT].reshape(2, 8, 3, COUNT)
    np.testing.assert_allclose(runs.top, expected, rtol=1e-3, atol=1e-4)


def test_the_dense_hessian_is_used_for_few_parameters():
    bowl = gd.problems.bowl([3.0, -1.0, 2.0])
    metric = largest_eigenvalues_metric(bowl, 3)
    w = jnp.ones(3)
    assert metric.init is not None
    memory = jax.jit(metric.init)(w, metric.data)
    values, _ = jax.jit(metric.function)(w, metric.data, memory)
    np.testing.assert_allclose(values, [3, 2, -1], rtol=1e-5)
