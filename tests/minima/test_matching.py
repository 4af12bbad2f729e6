"""Matching of networks, compared with an enumeration of all symmetries."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_networks import apart, equivalents, flat, signed_orders, some_params

from gdjax.minima.matching import match, match_activations, match_pairs
from gdjax.minima.symmetry import apply_symmetry, coordinates, random_symmetry
from gdjax.problems.networks import Network

KEY = jax.random.key(7)


def coordinate_distance(network, a, b):
    return apart(coordinates(network, a), coordinates(network, b))


def smallest_distance(network, a, b):
    """Return the smallest distance by enumeration of all symmetries, in float64."""
    a, b = (
        [(np.asarray(w, float), np.asarray(c, float)) for w, c in coordinates(network, one)]
        for one in (a, b)
    )
    flips = network.activation in ("sigmoid", "tanh")
    best = np.inf
    for choice in product(*(signed_orders(n, flips) for n in network.widths[1:-1])):
        total, inputs, input_signs = 0.0, np.arange(network.widths[0]), np.ones(network.widths[0])
        ends = (np.arange(network.widths[-1]), np.ones(network.widths[-1]))
        for (w, c), (v, d), (order, sign) in zip(a, b, (*choice, ends), strict=True):
            transformed = sign[:, None] * w[order][:, inputs] * input_signs
            total += np.sum((transformed - v) ** 2) + np.sum((sign * c[order] - d) ** 2)
            inputs, input_signs = order, sign
        best = min(best, total)
    return np.sqrt(best)


@pytest.mark.long
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus"])
def test_a_thousand_equivalent_networks_are_matched_up_to_rounding(activation):
    network = Network((20, 16, 16, 10), activation=activation)
    params = some_params(network, 0)
    others = equivalents(network, params, 1000)
    stack = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), params, others)
    first, second = np.arange(1, 1001), np.zeros(1000, int)
    result = match_pairs(network, stack, first, second, key=KEY, num_starts=0)
    size = np.linalg.norm(flat(coordinates(network, params)))
    assert result.distance.min() > 0.1 * size
    assert result.matched_distance.max() < 1e-6 * size


@pytest.mark.long
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_both_matchings_recover_an_equivalent_network(activation):
    network = Network((6, 5, 4, 3), activation=activation)
    params = some_params(network, 0)
    other = apply_symmetry(network, params, random_symmetry(network, key=jax.random.key(1)))
    x = jnp.array(np.random.default_rng(2).normal(size=(50, 6)), jnp.float32)
    by_activations = match_activations(network, other, params, x)
    assert by_activations.distance > 0.1 > 1e-3 > by_activations.matched_distance
    for result in (match(network, other, params, key=KEY), by_activations):
        np.testing.assert_allclose(flat(result.params), flat(params), atol=2e-5)
        assert flat(apply_symmetry(network, other, result.symmetry)).tolist() == (
            flat(result.params).tolist()
        )


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus"])
def test_matching_of_one_hidden_layer_is_optimal(activation):
    network = Network((3, 4, 2), activation=activation)
    for seed in range(5):
        a, b = some_params(network, 2 * seed), some_params(network, 2 * seed + 1)
        result = match(network, a, b, key=KEY, num_starts=0)
        np.testing.assert_allclose(
            result.matched_distance, smallest_distance(network, a, b), rtol=1e-5
        )
        np.testing.assert_allclose(result.distance, coordinate_distance(network, a, b), rtol=1e-5)
        np.testing.assert_allclose(
            result.matched_distance, coordinate_distance(network, result.params, b), rtol=1e-5
        )


@pytest.mark.long
def test_matching_of_two_hidden_layers_is_optimal_with_restarts():
    """Restarts of the local search find the best of 2,304 symmetries."""
    network = Network((2, 3, 3, 1))
    result, without, best = [], [], []
    for seed in range(8):
        a, b = some_params(network, 2 * seed), some_params(network, 2 * seed + 1)
        result.append(match(network, a, b, key=KEY, num_starts=20).matched_distance)
        without.append(match(network, a, b, key=KEY, num_starts=0).matched_distance)
        best.append(smallest_distance(network, a, b))
    np.testing.assert_allclose(result, best, rtol=1e-5)
    assert np.all(np.array(without) >= np.array(best) * (1 - 1e-6))
    assert np.mean(np.array(without) / np.array(best)) < 1.1


@pytest.mark.long
@settings(deadline=None, max_examples=5)
@given(
    st.sampled_from([(3, 2), (1, 4, 1), (3, 5, 2), (2, 3, 4, 2), (2, 3, 1, 3, 2)]),
    st.sampled_from(["sigmoid", "tanh", "relu", "softplus", "step", "identity"]),
    st.integers(0, 2**31),
)
def test_matching_never_increases_the_distance(widths, activation, seed):
    with jax.enable_x64(True):
        network = Network(widths, activation=activation)
        a, b = some_params(network, seed), some_params(network, seed + 1)
        result = match(network, a, b, key=KEY, num_starts=1)
        assert result.matched_distance <= result.distance
        np.testing.assert_allclose(result.distance, coordinate_distance(network, a, b), rtol=1e-7)
        np.testing.assert_allclose(
            result.matched_distance, coordinate_distance(network, result.params, b), rtol=1e-7
        )
        x = jnp.array(np.random.default_rng(seed).normal(size=(9, widths[0])))
        np.testing.assert_allclose(
            network.apply(result.params, x), network.apply(a, x), rtol=1e-9, atol=1e-9
        )
        active = match_activations(network, a, b, x)
        assert active.matched_distance <= active.distance + 1e-12


def test_matching_of_activations_is_optimal():
    network = Network((3, 4, 2))
    a, b = some_params(network, 0), some_params(network, 1)
    x = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    result = match_activations(network, a, b, jnp.array(x))

    def activity(params):
        (w, c), _ = params
        return 1 / (1 + np.exp(-(x @ np.asarray(w, float).T + np.asarray(c, float)))) - 0.5

    ours, theirs = activity(a), activity(b)
    trials = [
        np.sqrt(np.mean(np.sum((ours[:, order] * sign - theirs) ** 2, axis=1)))
        for order, sign in signed_orders(4, True)
    ]
    np.testing.assert_allclose(result.matched_distance, min(trials), rtol=1e-5)
    np.testing.assert_allclose(result.distance, trials[0], rtol=1e-5)
