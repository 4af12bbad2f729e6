"""Parameters of every structure and type as arguments of `descend`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)


def square(params):
    return sum(jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    "start",
    [
        jnp.ones(()),
        jnp.ones((2, 3, 1)),
        {"layer": {"w": jnp.ones((2, 2)), "b": [jnp.zeros(2), (jnp.ones(()),)]}},
        (jnp.ones(2), None, jnp.ones(3)),
        2.0,
        np.float32(2),
    ],
    ids=["scalar", "tensor", "nested", "with None", "number", "numpy number"],
)
def test_parameters_may_have_any_structure(start):
    """Each step multiplies the parameters of a sum of squares by 1 - 2 * 0.1."""
    problem = gd.Problem(init=lambda key: start, cost=square)
    run = gd.descend(problem, SGD, start, 5, key=KEY, snapshot_every=1)
    assert jax.tree.structure(run.params) == jax.tree.structure(start)
    for leaf, begin, stored in zip(
        *map(jax.tree.leaves, (run.params, start, run.snapshots)), strict=True
    ):
        np.testing.assert_allclose(leaf, 0.8**5 * np.asarray(begin), rtol=1e-5)
        assert stored.shape == (6, *np.shape(begin))


def test_parameters_of_mixed_precision_keep_their_types_in_descents_and_sweeps():
    start = {"half": jnp.ones(4, jnp.bfloat16), "single": jnp.ones(2)}
    types = {"half": jnp.bfloat16, "single": jnp.float32}
    problem = gd.Problem(init=lambda key: start, cost=square)
    for optimizer in (optax.adam(0.1), optax.sgd(0.1, momentum=0.9), SGD):
        run = gd.descend(problem, optimizer, start, 3, key=KEY, snapshot_every=1)
        for params in (run.params, run.snapshots):
            assert jax.tree.map(lambda a: a.dtype, params) == types
        assert run.cost.dtype == np.float32
    np.testing.assert_allclose(run.params["single"], 0.8**3, rtol=1e-6)
    np.testing.assert_allclose(run.params["half"].astype(jnp.float32), 0.8**3, rtol=0.02)
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1]), 3)
    params = gd.params_of(runs, start, {"learning_rate": 0.1})
    assert jax.tree.map(lambda a: a.dtype, params) == types
    for name, values in run.params.items():
        np.testing.assert_array_equal(params[name], values)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_costs_are_summed_in_single_precision(dtype):
    """In bfloat16, a sum of mini-batch costs of 4 would stop growing at 1,024."""
    problem = gd.Problem(
        init=lambda key: jnp.ones((), dtype),
        cost=lambda w, x: jnp.mean(x + 0 * w),
        data=jnp.full(8, 4, dtype),
    )
    run = gd.descend(
        problem, SGD, jnp.ones((), dtype), 400, key=KEY, batch_size=2, record_every=400
    )
    assert run.batch_cost[-1] == 4
    assert run.cost.dtype == np.float32
