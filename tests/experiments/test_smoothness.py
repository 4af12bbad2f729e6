"""Step activations as the limit of sigmoids."""

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd


def test_sigmoids_at_zero_temperature_are_step_functions():
    image = jnp.asarray(np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8))
    smooth = gd.problems.Network((784, 16, 16, 10))
    step = gd.problems.Network((784, 16, 16, 10), activation="step")
    params = smooth.init(jax.random.key(0))
    cold = smooth.apply(params, image, temperature=0.0)
    assert np.array_equal(cold, step.apply(params, image))
    gradient = jax.grad(lambda p: jnp.sum(step.apply(p, image) ** 2))(params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))
