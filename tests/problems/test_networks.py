"""Networks, compared with NumPy in float64, and properties of all networks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.special import expit
from some_networks import some_params

from gdjax.problems.networks import ACTIVATIONS, INITIALIZERS, Network

KEY = jax.random.key(0)
SMOOTH = ("sigmoid", "tanh", "softplus", "identity")
BY_HAND = {
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "identity": lambda z: z,
    "step": lambda z: (z > 0).astype(float),
}


@settings(max_examples=30, deadline=None)
@given(widths=st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_parameter_count_equals_the_number_of_initial_parameters(widths):
    network = Network(tuple(widths))
    shapes = jax.eval_shape(network.init, KEY)
    assert network.parameter_count == sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert len(shapes) == len(network.activations) == len(widths) - 1


# -- initialization


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        ("normal", lambda fan_in, fan_out: 1.0),
        ("fan_in", lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
        ("glorot", lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
        ("he", lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
        ("uniform", lambda fan_in, fan_out: math.sqrt(1 / 3)),
    ],
)
def test_initial_weights_have_the_stated_standard_deviation(initializer, deviation):
    fan_in, fan_out = 300, 200  # unequal, so that swapping fan_in and fan_out is detected
    (layer,) = Network((fan_in, fan_out), initializer=initializer).init(jax.random.key(1))
    w, expected = np.asarray(layer.weights, np.float64), deviation(fan_in, fan_out)
    n = w.size
    assert abs(w.mean()) < 4 * expected / math.sqrt(n)
    assert abs(w.std() / expected - 1) < 4 / math.sqrt(2 * n)
    kurtosis = np.mean(w**4) / np.mean(w**2) ** 2
    assert kurtosis == pytest.approx(1.8 if initializer == "uniform" else 3.0, abs=0.1)
    assert not np.any(layer.bias)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_the_scale_multiplies_independent_weights_and_can_be_traced(initializer):
    network = Network((5, 5, 5), initializer=initializer)
    plain = network.init(KEY)
    assert not np.any(plain[0].weights == plain[1].weights)
    scaled = jax.jit(lambda scale: network.init(KEY, init_scale=scale))(0.25)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(b.weights, 0.25 * np.asarray(a.weights), rtol=1e-6)


# -- outputs


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output_activation", [None, "identity", "sigmoid"])
def test_outputs_equal_those_of_numpy(activation, output_activation):
    network = Network((4, 5, 3, 2), activation=activation, output_activation=output_activation)
    params = some_params(network, 0)
    x = np.random.default_rng(1).normal(size=(7, 4))
    a = x
    names = [activation, activation, output_activation or activation]
    for layer, name in zip(params, names, strict=True):
        a = BY_HAND[name](a @ np.asarray(layer.weights).T + np.asarray(layer.bias))
    np.testing.assert_allclose(jax.jit(network.apply)(params, x), a, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", SMOOTH)
def test_gradients_equal_finite_differences(activation):
    network = Network((3, 4, 2), activation=activation)
    x = jnp.array(np.random.default_rng(2).normal(size=(5, 3)))
    check_grads(
        jax.jit(lambda p: network.apply(p, x)), (some_params(network, 0),), 1, ["rev"], rtol=1e-6
    )


# -- smooth and binary neurons


def test_a_neuron_with_a_step_activation_has_zero_gradient():
    network = Network((5, 4, 3, 2), activation="step", output_activation="sigmoid")
    params = network.init(KEY)
    x = jax.random.normal(KEY, (9, 5))
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(network.apply(p, x) ** 2)))(params)
    for layer in gradient[:-1]:
        assert not np.any(layer.weights)
        assert not np.any(layer.bias)
    assert np.all(gradient[-1].bias != 0)  # the output bias precedes no step


@pytest.mark.long
@pytest.mark.parametrize("temperature", [0, 0.0, 1e-30, jnp.float32(0)])
def test_at_zero_temperature_sigmoids_are_steps_and_the_gradient_is_zero(temperature):
    network, binary = Network((5, 4, 2)), Network((5, 4, 2), activation="step")
    params, x = network.init(jax.random.key(3)), jax.random.normal(KEY, (20, 5))

    def outputs(p):
        return network.apply(p, x, temperature=temperature)

    np.testing.assert_array_equal(outputs(params), binary.apply(params, x))
    for leaf in jax.tree.leaves(jax.grad(lambda p: jnp.sum(outputs(p)))(params)):
        assert not np.any(leaf)  # zero, and not NaN
