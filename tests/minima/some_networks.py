"""Networks for the tests of minima."""

import jax
import jax.numpy as jnp
import numpy as np


def some_params(network, seed):
    """Weights and biases of order 1; init's biases are 0, which would hide mistakes."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(network.init, jax.random.key(0)))
    rng = np.random.default_rng(seed)
    drawn = [jnp.array(rng.normal(size=a.shape), a.dtype) for a in leaves]
    return jax.tree.unflatten(tree, drawn)
