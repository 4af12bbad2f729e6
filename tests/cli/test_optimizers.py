"""Optimizers that commands accept by name, compared with their formulas."""

import inspect

import jax.numpy as jnp
import numpy as np
import optax

from gdjax.cli.options import MOMENTUM, make_optimizer


def path(optimizer, steps=3):
    """Return the parameters at each step, for a constant gradient of 1."""
    w = jnp.zeros(())
    state, result = optimizer.init(w), []
    for _ in range(steps):
        update, state = optimizer.update(jnp.ones(()), state, w)
        w = optax.apply_updates(w, update)
        result.append(float(w))
    return result


def test_each_named_optimizer_follows_its_formula():
    np.testing.assert_allclose(path(make_optimizer("sgd")(0.5)), [-0.5, -1.0, -1.5])
    # v = 1, 1 + m, 1 + m + m^2
    v = np.cumsum(MOMENTUM ** np.arange(3))
    np.testing.assert_allclose(
        path(make_optimizer("momentum")(0.5)), -0.5 * np.cumsum(v), rtol=1e-6
    )
    np.testing.assert_allclose(path(make_optimizer("adam")(0.5)), [-0.5, -1.0, -1.5], rtol=1e-4)


def test_momentum_is_not_fixed_if_it_is_swept():
    created = make_optimizer("momentum", ("momentum",))
    np.testing.assert_allclose(path(created(0.5, momentum=0.0)), [-0.5, -1.0, -1.5])
    assert "momentum" in inspect.signature(created).parameters
