"""The initialization experiment: starting points of small and large scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.initializations import __main__ as initializations


def test_slopes_of_layers_equal_those_of_a_hand_written_network():
    network = gd.problems.Network((6, 4, 3, 2), input_scale=255)
    params = network.init(jax.random.key(0))
    images = jnp.arange(30, dtype=np.uint8).reshape(5, 6) * 8
    a = np.asarray(images) / 255
    for layer, one in enumerate(params[:2], start=1):
        a = 1 / (1 + np.exp(-(a @ np.asarray(one.weights, float).T + np.asarray(one.bias))))
        slope = initializations.slope_of_layer(network, layer)(params, images)
        assert float(slope) == pytest.approx(np.mean(4 * a * (1 - a)), rel=1e-5)


def test_epochs_are_counted_to_the_first_record_below_the_target():
    cost = np.array([[3.0, 1.0, 0.4, 0.5], [3.0, 2.0, 1.0, 0.9]])
    epochs = initializations.epochs_to(cost, np.array([0.0, 1.0, 2.0, 3.0]), 0.45)
    assert epochs.tolist() == [2.0, np.inf]
