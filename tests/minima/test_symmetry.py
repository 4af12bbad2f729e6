"""Symmetries and canonical forms of equivalent networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree
from some_networks import apart, equivalents, flat, signed_orders, some_params

from gdjax.minima.clustering import cluster_points
from gdjax.minima.symmetry import (
    NeuronSymmetry,
    apply_symmetry,
    canonicalize,
    coordinates,
    random_symmetry,
)
from gdjax.problems.networks import ACTIVATIONS, Layer, Network


@pytest.mark.long
@settings(deadline=None, max_examples=10)
@given(
    st.sampled_from([(3, 2), (1, 4, 1), (3, 5, 2), (2, 3, 4, 2), (2, 3, 1, 3, 2)]),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from([None, "identity"]),
    st.integers(0, 2**31),
)
def test_symmetries_change_neither_outputs_nor_distances_nor_canonical_forms(
    widths, activation, output, seed
):
    """Coordinates of two networks keep their distance if only scales differ."""
    with jax.enable_x64(True):
        network = Network(widths, activation=activation, output_activation=output)
        a, b = some_params(network, seed), some_params(network, seed + 1)
        x = jnp.array(np.random.default_rng(seed + 2).normal(size=(7, network.widths[0])))
        temperature = {"temperature": 0.3} if network.activation == "sigmoid" else {}

        @jax.jit
        def transformed(a, b, x, keys):
            g, scaled = (random_symmetry(network, key=key) for key in keys)
            h = tuple(one._replace(scale=two.scale) for one, two in zip(g, scaled, strict=True))
            other, form = apply_symmetry(network, a, g), canonicalize(network, a)
            forms = form, canonicalize(network, form), canonicalize(network, other)
            outputs = [network.apply(one, x, **temperature) for one in (a, other, form)]
            before = [coordinates(network, one) for one in (a, b)]
            after = [coordinates(network, one) for one in (other, apply_symmetry(network, b, h))]
            return g, other, forms, outputs, before, after

        keys = jax.random.split(jax.random.key(seed))
        g, other, (form, again, of_other), outputs, before, after = transformed(a, b, x, keys)
        for result in outputs[1:]:
            np.testing.assert_allclose(result, outputs[0], rtol=1e-10, atol=1e-10)
        is_changed = any(
            np.any(one.order != np.arange(len(one.order)))
            or np.any(one.sign < 0)
            or np.any(one.scale != 1)
            for one in g
        )
        assert (apart(other, a) > 0) == is_changed
        np.testing.assert_allclose(apart(*after), apart(*before), rtol=1e-10)
        assert apart(again, form) < 1e-9
        assert apart(of_other, form) < 1e-9 * (1 + np.linalg.norm(flat(form)))


@pytest.mark.long
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "step"])
def test_a_thousand_equivalent_networks_have_one_canonical_form(activation):
    network = Network((20, 16, 16, 10), activation=activation)
    params = some_params(network, 0)
    others = equivalents(network, params, 1000)
    result = jax.jit(jax.vmap(lambda one: canonicalize(network, one)))(others)
    for leaf in map(np.asarray, jax.tree.leaves(result)):
        assert np.ptp(leaf, axis=0).max() < 3e-6 * max(10, np.abs(leaf).max())
    points = jax.vmap(lambda one: ravel_pytree(coordinates(network, one))[0])(result)
    assert len(cluster_points(np.asarray(points), 1e-3).diameters) == 1
    # The parameters of the equivalents differ: no two have equal first weights.
    assert len(np.unique(np.asarray(others[0].weights).reshape(1000, -1), axis=0)) == 1000


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6, 1e-9, 0.0])
def test_canonical_forms_of_different_networks_differ_despite_near_ties(gap):
    """The distance of canonical forms is at least the matched distance."""
    with jax.enable_x64(True):
        network = Network((2, 2, 1), activation="tanh")
        first = Layer(jnp.array([[0.7, -0.4], [0.7 + gap, -0.4]]), jnp.array([0.3, 0.3]))
        ours = first, Layer(jnp.array([[1.0, -0.8]]), jnp.zeros(1))
        sent = ours[1].weights
        symmetries = [(NeuronSymmetry(*one, jnp.ones(2)),) for one in signed_orders(2, True)]
        for change in (1e-2, 1e-5, 1e-8):
            theirs = (ours[0], Layer(sent + jnp.array([[change, 0.0]]), ours[1].bias))
            least = min(apart(apply_symmetry(network, theirs, g), ours) for g in symmetries)
            result = apart(canonicalize(network, theirs), canonicalize(network, ours))
            assert result >= least - 1e-15
            assert result > change / 2


@pytest.mark.long
def test_networks_with_equal_neurons_have_one_canonical_form():
    """Networks with equal neurons are invariant under permutations."""
    for activation in ("sigmoid", "relu"):
        network = Network((3, 4, 2), activation=activation)
        params = (
            Layer(jnp.full((4, 3), 0.5), jnp.full(4, 0.1)),
            Layer(jnp.full((2, 4), -0.3), jnp.zeros(2)),
        )
        form = canonicalize(network, params)
        for seed in range(5):
            key = jax.random.key(seed)
            other = apply_symmetry(network, params, random_symmetry(network, key=key))
            assert apart(canonicalize(network, other), form) < 1e-6


@pytest.mark.long
def test_neurons_without_incoming_weights_are_unchanged():
    """Neurons without incoming weights have no canonical sign or scale."""
    for activation in ACTIVATIONS:
        network = Network((3, 4, 2), activation=activation)
        params = jax.tree.map(jnp.zeros_like, jax.jit(network.init)(jax.random.key(0)))
        form, own_coordinates = canonicalize(network, params), coordinates(network, params)
        assert all(
            np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves((form, own_coordinates))
        )


def test_a_sign_flip_of_sigmoids_changes_biases_but_not_coordinates():
    """w s(z) = w - w s(-z): the next bias b becomes b + w; b + w / 2 is invariant."""
    network = Network((1, 1, 1))
    params = (Layer(jnp.array([[2.0]]), jnp.array([0.5])), Layer(jnp.array([[3.0]]), jnp.zeros(1)))
    flip = (NeuronSymmetry(jnp.array([0]), jnp.array([-1.0]), jnp.ones(1)),)
    other = apply_symmetry(network, params, flip)
    assert [leaf.item() for leaf in jax.tree.leaves(other)] == [-2.0, -0.5, -3.0, 3.0]
    assert float(coordinates(network, params)[1].bias[0]) == 1.5
    assert float(coordinates(network, other)[1].bias[0]) == 1.5


def test_random_symmetries_are_uniform():
    network = Network((2, 2, 1), activation="tanh")
    keys = jax.random.split(jax.random.key(0), 4000)
    (one,) = jax.vmap(lambda key: random_symmetry(network, key=key))(keys)
    names = np.asarray(one.order[:, 0]) + 2 * (np.asarray(one.sign) > 0) @ np.array([1, 2])
    counts = np.bincount(names, minlength=8)
    # Each of eight symmetries has expected count 500 and standard deviation 21.
    assert np.all(np.abs(counts - 500) < 5 * 21)
    assert np.all(np.asarray(one.scale) == 1)
    (scaled,) = random_symmetry(Network((2, 50, 1), activation="relu"), key=jax.random.key(1))
    assert np.all(np.asarray(scaled.sign) == 1)
    assert len(np.unique(np.asarray(scaled.scale))) == 50
    assert random_symmetry(Network((2, 1)), key=jax.random.key(1)) == ()


def test_signs_and_scales_that_are_not_symmetries_of_an_activation_are_ignored():
    network = Network((2, 3, 1), activation="softplus")
    params = some_params(network, 0)
    odd = (NeuronSymmetry(jnp.arange(3), -jnp.ones(3), 2 * jnp.ones(3)),)
    assert apart(apply_symmetry(network, params, odd), params) == 0
