"""Valid and invalid arguments of `descend`.

Calls with wrong types bypass the type checks of the test suite, so that the errors of the library
are tested.
"""

import inspect

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.errors import InputError

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)
X = jnp.linspace(-1.0, 1.0, 12)
BOWL = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
LINE = gd.Problem(
    init=lambda key: jnp.ones(2), cost=lambda w, x: jnp.mean((w[0] * x + w[1]) ** 2), data=X
)
descend = inspect.unwrap(gd.descend)


def square(params):
    return sum(jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in jax.tree.leaves(params))


# -- wrong arguments


def test_continuing_with_another_optimizer_raises_an_error():
    first = gd.descend(BOWL, SGD, jnp.ones(2), 3, key=KEY)
    with pytest.raises(InputError, match=r"start: .*start\.params to start a new"):
        gd.descend(BOWL, optax.adam(0.1), first, 3, key=KEY)
    second = gd.descend(BOWL, optax.adam(0.1), first.params, 3, key=KEY)
    assert second.num_steps == 3


# -- parameters of every shape and type


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


def test_double_precision_is_used_if_enabled():
    with jax.enable_x64(True):
        run = gd.descend(BOWL, SGD, jnp.ones(2), 7, key=KEY)
    assert run.params.dtype == run.cost.dtype == np.float64
    np.testing.assert_allclose(run.cost, 2 * 0.8 ** (2 * np.arange(8)), rtol=1e-14)


def test_parameters_of_mixed_precision_keep_their_types():
    start = {"half": jnp.ones(4, jnp.bfloat16), "single": jnp.ones(2)}
    problem = gd.Problem(init=lambda key: start, cost=square)
    for optimizer in (SGD, optax.adam(0.1), optax.sgd(0.1, momentum=0.9)):
        run = gd.descend(problem, optimizer, start, 3, key=KEY)
        assert jax.tree.map(lambda a: a.dtype, run.params) == {
            "half": jnp.bfloat16,
            "single": jnp.float32,
        }
        assert run.cost.dtype == np.float32
    run = gd.descend(problem, SGD, start, 3, key=KEY)
    np.testing.assert_allclose(run.params["single"], 0.8**3, rtol=1e-6)
    np.testing.assert_allclose(run.params["half"].astype(jnp.float32), 0.8**3, rtol=0.02)


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


# -- models of other libraries


@pytest.mark.long
def test_a_flax_model_can_be_trained():
    model = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(1)])
    x = X[:, None]
    problem = gd.Problem(
        init=lambda key: model.init(key, x),
        cost=lambda params, xy: jnp.mean((model.apply(params, xy[0]) - xy[1]) ** 2),
        data=(x, x**2),
    )
    run = gd.descend(problem, optax.adam(0.02), problem.init(KEY), 1000, key=KEY, batch_size=6)
    assert run.cost[-1] < 0.01 * np.var(np.asarray(x**2))


@pytest.mark.long
def test_an_equinox_model_can_be_trained():
    x = X[:, None]
    _, fixed = eqx.partition(eqx.nn.MLP(1, 1, 8, 1, jnp.tanh, key=KEY), eqx.is_array)
    problem = gd.Problem(
        init=lambda key: eqx.filter(eqx.nn.MLP(1, 1, 8, 1, jnp.tanh, key=key), eqx.is_array),
        cost=lambda p, xy: jnp.mean((jax.vmap(eqx.combine(p, fixed))(xy[0]) - xy[1]) ** 2),
        data=(x, x**2),
    )
    run = gd.descend(problem, optax.adam(0.02), problem.init(KEY), 1000, key=KEY, batch_size=6)
    assert run.cost[-1] < 0.01 * np.var(np.asarray(x**2))


def test_an_unpartitioned_equinox_model_raises_an_error_that_names_the_leaf():
    model = eqx.nn.MLP(1, 1, 8, 1, jnp.tanh, key=KEY)
    problem = gd.Problem(init=lambda key: model, cost=lambda model: jnp.sum(model(jnp.ones(1))))
    with pytest.raises(InputError, match=r"params\.activation = .* is not an array"):
        gd.descend(problem, SGD, model, 1, key=KEY)


# -- a cost function without a problem, and calls inside transformations


def test_a_cost_function_is_accepted_instead_of_a_problem():
    run = gd.descend(lambda w: jnp.sum(w**2), SGD, jnp.ones(2), 3, key=KEY)
    np.testing.assert_allclose(run.cost, 2 * 0.64 ** np.arange(4), rtol=1e-6)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_a_descent_inside_a_transformation_raises_an_error(transform):
    def end(w):
        return jnp.sum(gd.descend(BOWL, SGD, w, 3, key=KEY).params)

    w = jnp.ones((1, 2)) if transform is jax.vmap else jnp.ones(2)
    with pytest.raises(InputError, match=r"descend: was called inside jax\.jit.* gd\.sweep"):
        transform(end)(w)
    with pytest.raises(InputError, match=r"sweep: was called inside jax\.jit"):
        jax.jit(lambda: gd.sweep(BOWL, gd.axes(learning_rate=[0.1]), 1).cost.values)()


def test_half_precision_parameters_keep_their_type_in_results_and_snapshots():
    w = jnp.ones(2, jnp.bfloat16)
    run = gd.descend(lambda w: jnp.sum(w**2), SGD, w, 3, key=KEY, snapshot_every=1)
    assert run.params.dtype == run.snapshots.dtype == jnp.bfloat16
    problem = gd.Problem(init=lambda key: w, cost=lambda w: jnp.sum(w**2))
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1]), 3)
    params = gd.params_of(runs, w, {"learning_rate": 0.1})
    assert params.dtype == jnp.bfloat16
    assert params.tolist() == run.params.tolist()
