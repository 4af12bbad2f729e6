"""Gradients, compared with hand-written backpropagation, and their summaries."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_problems import random_params
from jax.flatten_util import ravel_pytree
from scipy.special import expit

from gdjax.curvature import check_gradient, gradient_summary, largest_entries, locate_entries
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems import Network, as_problem, digits


@pytest.fixture(scope="module")
def problem():
    return digits("mnist5k")


def anatomy_of(problem):
    """Return the compiled `gradient_summary` of a problem, given parameters and data."""
    return jax.jit(lambda params, data: gradient_summary(as_problem(problem, data), params))


# -- backpropagation by hand: NumPy, float64, one matrix product per line


def forward(params, x):
    """Return the activations of all layers of a sigmoid network, samples in rows."""
    activations = [x]
    for weights, bias in params:
        activations.append(expit(activations[-1] @ weights.T + bias))
    return activations


def backpropagate(params, x, y):
    """Return the gradient by equations BP1 to BP4 of Nielsen 2015, chapter 2.

    The cost has no factor 1/2.
    """
    activations = forward(params, x)
    error = 2 * (activations[-1] - y)
    gradient = []
    for layer in reversed(range(len(params))):
        a = activations[layer + 1]
        delta = error * a * (1 - a)
        gradient.append((delta.T @ activations[layer] / len(x), delta.mean(axis=0)))
        error = delta @ params[layer].weights
    return gradient[::-1]


def test_the_gradient_equals_hand_written_backpropagation(problem, float64):
    images, labels = problem.data
    params = jax.tree.map(np.asarray, random_params(problem.network))
    x, y = images[:60] / 255, np.eye(10)[labels[:60]]
    subset = jax.tree.map(lambda a: a[:60], problem.data)
    cost, gradient = jax.jit(value_and_gradient)(as_problem(problem, subset), params)
    by_hand = np.mean(np.sum((forward(params, x)[-1] - y) ** 2, axis=1))
    np.testing.assert_allclose(cost, by_hand, rtol=1e-13)
    for ours, theirs in zip(gradient, backpropagate(params, x, y), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-16)


# -- exact values of the digit network


@pytest.mark.long
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_parameters_give_outputs_of_one_half_and_a_cost_of_two_and_a_half(problem, dtype):
    with jax.enable_x64(dtype is np.float64):
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, dtype), random_params(problem.network))
        assert np.all(problem.predict(zeros, jnp.array(problem.data[0][:50])) == 0.5)
        result = jax.tree.map(np.asarray, anatomy_of(problem)(zeros, problem.data))
    assert float(result.cost) == 2.5
    # The sigmoid has slope 1/4 at an output of 1/2, and classes are balanced. The gradient of an
    # output bias is 2 (1/2 - 1/10) / 4 = 0.2. That of an output weight is half of it, since hidden
    # outputs are 1/2. Gradients of earlier layers vanish, since all weights are zero.
    last = result.gradient[-1]
    np.testing.assert_allclose(last.bias, 0.2, rtol=1e-5)
    np.testing.assert_allclose(last.weights, 0.1, rtol=1e-5)
    np.testing.assert_allclose(result.relative[-1].weights, 0.5, rtol=1e-5)
    assert float(result.zero_share) == pytest.approx((13_002 - 170) / 13_002, rel=1e-6)
    assert [[int(z) for z in layer] for layer in result.zeros] == [[12_544, 16], [256, 16], [0, 0]]
    assert np.all(result.sign[-1].weights == 1)
    assert result.layer_norms[0] == 0
    assert float(result.norm) == pytest.approx(np.sqrt(160 * 0.1**2 + 10 * 0.2**2), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_gradient_is_exactly_zero_only_for_weights_of_dark_pixels(problem, seed):
    params = jax.jit(problem.init)(jax.random.key(seed))
    result = anatomy_of(problem)(params, problem.data)
    dark = np.all(problem.data[0] == 0, axis=0)
    assert problem.samples == 4000
    assert int(result.zeros[0].weights) == 16 * dark.sum() == 2_112
    assert float(result.zero_share) == pytest.approx(2_112 / 13_002)
    np.testing.assert_array_equal(result.gradient[0].weights == 0, np.broadcast_to(dark, (16, 784)))


# -- summaries of arbitrary trees


def test_the_gradient_summary_of_a_linear_cost_contains_its_coefficients():
    slopes = {"a": jnp.array([3.0, 0.0, -4.0]), "b": {"c": jnp.array([[0.0], [12.0]])}}

    def cost(w):
        return sum(jax.tree.leaves(jax.tree.map(lambda s, v: jnp.sum(s * v), slopes, w)))

    result = anatomy_of(cost)(jax.tree.map(np.ones_like, slopes), None)
    assert jax.tree.map(lambda a: a.ravel().tolist(), result.sign) == {
        "a": [1, 0, -1],
        "b": {"c": [0, 1]},
    }
    np.testing.assert_allclose(result.relative["a"], [0.25, 0, 1 / 3], rtol=1e-6)
    assert float(result.relative["b"]["c"].max()) == 1
    assert float(result.norm) == 13
    assert {k: float(v) for k, v in result.layer_norms.items()} == {"a": 5, "b": 12}
    assert result.by_array == {"a": (5, 1 / 3), "b c": (12, 1 / 2)}
    assert float(result.zero_share) == pytest.approx(2 / 5)


def test_the_gradient_summary_at_a_minimum_is_zero():
    result = gradient_summary(lambda w: jnp.sum(w**2), jnp.zeros(3))
    assert result.relative.tolist() == [0, 0, 0]
    assert (float(result.zero_share), float(result.norm), float(result.layer_norms)) == (1, 0, 0)


def test_largest_entries_are_signed_and_ties_are_resolved_by_position():
    result = largest_entries((jnp.array([1.0, -5.0]), jnp.array([[5.0, 0.0], [2.0, -6.0]])), 4)
    assert result.position.tolist() == [5, 1, 2, 4]
    assert result.value.tolist() == [-6, -5, 5, 2]


# -- locations


def test_locations_give_the_array_and_index_of_each_entry():
    params = random_params(Network((6, 4, 3)))
    flat, _ = ravel_pytree(params)
    for value, place in zip(flat, locate_entries(params, jnp.arange(flat.size)), strict=True):
        layer, name = re.fullmatch(r"params\[(\d)\]\.(weights|bias)", place.leaf).groups()
        assert getattr(params[int(layer)], name)[place.index] == value


def test_labels_state_the_layer_neurons_and_pixel():
    network = Network((784, 16, 16, 10))
    params = jax.jit(network.init)(jax.random.key(0))
    # The last weight and the first bias of layer 1, and the first weight of the second output.
    at = jnp.array([12_543, 12_544, 12_560 + 272 + 16])
    result = locate_entries(params, at, network=network, image_shape=(28, 28))
    assert [place.label for place in result] == [
        "layer 1: pixel (27, 27) to 15",
        "layer 1: bias of neuron 0",
        "layer 3: neuron 0 to 1",
    ]
    assert locate_entries({"w": jnp.ones(())}, jnp.array([0]))[0].label == "params['w']"
    assert locate_entries(jnp.ones(3), jnp.array([2]))[0].label == "params[2]"


# -- checks by finite displacements


def test_on_a_parabola_prediction_and_curvature_explain_the_change(float64):
    bends = np.array([1.0, 10.0, -100.0])
    w = np.array([2.0, -1.0, 3.0])
    cost = lambda w: jnp.sum(bends * w**2) / 2  # noqa: E731
    result = jax.jit(partial(check_gradient, cost))(w, np.arange(3, dtype=np.int32))
    np.testing.assert_allclose(result.predicted, bends * w * result.displacement, rtol=1e-14)
    np.testing.assert_allclose(result.second_order, bends * result.displacement**2 / 2, rtol=1e-14)
    assert np.all(np.abs(result.actual - result.predicted - result.second_order) <= result.rounding)
    # The chosen displacement makes both errors equal: |H| h^2 / 2 = rounding.
    np.testing.assert_allclose(np.abs(result.second_order), result.rounding, rtol=1e-6)


def test_the_displacement_is_the_largest_allowed_without_curvature():
    w = np.array([0.5, -4.0], np.float32)
    result = jax.jit(partial(check_gradient, lambda w: w[0] - w[1]))(w, np.array([0, 1], np.int32))
    most = np.finfo(np.float32).eps ** 0.25
    np.testing.assert_allclose(result.displacement, [most, 4 * most], rtol=1e-4)


@pytest.fixture(scope="module")
def nudged(problem):
    """Return initial parameters, positions of gradient entries, and checks of these.

    The entries are the 12 largest, 24 random ones, and one that is zero.
    """
    params = jax.jit(problem.init)(jax.random.key(3))
    result = anatomy_of(problem)(params, problem.data)
    top = largest_entries(result.gradient, 12).position
    sampled = np.random.default_rng(0).choice(13_002, 24, replace=False)
    at = jnp.concatenate([top, jnp.array(sampled, jnp.int32), jnp.zeros(1, jnp.int32)])
    proof = jax.jit(lambda w, data, at: check_gradient(as_problem(problem, data), w, at))
    return params, at, proof(params, problem.data, at)


@pytest.mark.long
def test_the_largest_entries_predict_changes_of_the_cost_and_zero_entries_none(nudged, problem):
    _, _, result = nudged
    top = jax.tree.map(lambda a: a[:12], result)
    assert np.all(top.relative_error <= top.expected_error)
    # The check is significant only if the expected error is small.
    assert np.max(top.expected_error) < 0.01
    assert np.all(problem.data[0][:, 0] == 0)
    assert float(result.predicted[-1]) == 0
    assert abs(float(result.actual[-1])) <= float(result.rounding[-1])
    assert float(result.displacement[-1]) > 0.01


@pytest.mark.long
def test_the_reported_rounding_error_bounds_the_difference_from_float64(nudged, problem):
    params, at, result = nudged
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(lambda a: np.asarray(a, np.float64), params))
        cost = jax.jit(problem.cost)
        before = cost(unravel(flat), problem.data)
        changes = [
            float(cost(unravel(flat.at[i].add(float(h))), problem.data) - before)
            for i, h in zip(at, result.displacement, strict=True)
        ]
    error = np.abs(result.actual - np.array(changes))
    assert 0 < error.max() <= result.rounding[0]


@pytest.mark.long
def test_check_gradient_detects_a_wrong_gradient():
    @jax.custom_jvp
    def wrong(w):
        return jnp.sum(w**2)

    wrong.defjvp(lambda w, t: (jnp.sum(w[0] ** 2), 1.05 * jnp.sum(2 * w[0] * t[0])))
    result = check_gradient(wrong, jnp.array([1.0, 3.0]), jnp.array([0, 1]))
    assert np.all(result.relative_error > 5 * result.expected_error)
