"""Problems on which descent reaches the edge of stability."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.edge_of_stability import __main__ as edge_of_stability


def test_data_and_starts_are_those_of_the_published_code():
    """The data are 20 points of T5 = 16 x^5 - 20 x^3 + 5 x; starts are as in PyTorch.

    All initial weights and biases lie within +-1 / sqrt(inputs).
    """
    problem = edge_of_stability.chebyshev()
    x, y = problem.data
    np.testing.assert_allclose(y, 16 * x**5 - 20 * x**3 + 5 * x, atol=1e-12)
    assert x.shape == (20, 1)
    params = problem.init(jax.random.key(0))
    assert [np.shape(a) for layer in params for a in layer] == [(100, 1), (100,), (1, 100), (1,)]
    for layer, bound in zip(params, (1.0, 0.1), strict=True):
        for leaf in layer:
            assert float(jnp.max(jnp.abs(leaf))) <= bound
    assert float(jnp.max(jnp.abs(params[0].weights))) > 0.9


def test_the_tangent_network_differs_only_in_its_unbounded_outputs():
    problem = gd.problems.digits("mnist5k", samples=20)
    params = problem.init(jax.random.key(0))
    images, labels = (jnp.asarray(a) for a in problem.data)
    outputs = jnp.log(problem.predict(params, images)) - jnp.log1p(-problem.predict(params, images))
    known = jnp.mean(jnp.sum((0.5 + outputs / 4 - jax.nn.one_hot(labels, 10)) ** 2, axis=1))
    tangent = edge_of_stability.tangent_outputs(problem)
    assert float(tangent.cost(params, (images, labels))) == pytest.approx(float(known), rel=1e-4)
    same = jax.tree.map(jnp.array_equal, params, tangent.init(jax.random.key(0)))
    assert all(jax.tree.leaves(same))
