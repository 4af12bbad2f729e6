"""Single linkage, embeddings in the plane, and manifolds connected by paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from some_networks import XOR_INPUTS, XOR_TARGETS

from gdjax.curvature.critical_points.polish import polish
from gdjax.minima.clustering import classical_mds, cluster_manifolds, cluster_points
from gdjax.minima.symmetry import NeuronSymmetry, apply_symmetry
from gdjax.problems.networks import Layer, Network
from gdjax.problems.problem import Problem
from gdjax.problems.weight_decay import decayed

KEY = jax.random.key(0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.01, 2.0))
def test_clusters_are_connected_by_chains_of_near_points(seed, count, tolerance):
    points = np.random.default_rng(seed).normal(size=(count, 2))
    result = cluster_points(points, tolerance)
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    assert result.labels.tolist() == connected_components(distance <= tolerance)[1].tolist()
    assert result.gap > tolerance
    for number, width in enumerate(result.diameters):
        mine = result.labels == number
        assert width == pytest.approx(distance[np.ix_(mine, mine)].max(), abs=1e-12)


def test_counts_agree_with_clustering_at_every_tolerance():
    points = np.random.default_rng(1).normal(size=(30, 3))
    tolerances = np.geomspace(1e-3, 10, 50)
    clusters = cluster_points(points, 0.1)
    again = [cluster_points(points, t).labels.max() + 1 for t in tolerances]
    assert clusters.counts_at(tolerances).tolist() == again


def test_the_range_of_tolerances_that_give_the_same_clusters_is_returned():
    result = cluster_points(np.array([[0.0], [0.1], [1.0], [1.1], [5.0]]), 0.5)
    assert result.labels.tolist() == [0, 0, 1, 1, 2]
    assert (result.stable_from, result.gap) == pytest.approx((0.1, 0.9))


def test_classical_mds_reproduces_distances_of_points_in_a_plane():
    points = np.random.default_rng(2).normal(size=(7, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    position, share = classical_mds(distances)
    np.testing.assert_allclose(
        np.linalg.norm(position[:, None] - position, axis=-1), distances, atol=1e-6
    )
    assert share == pytest.approx(1)
    assert np.all(position.max(axis=0) > -position.min(axis=0))  # the sign of each axis is fixed


def test_the_explained_share_of_a_regular_simplex_equals_its_closed_form():
    """n equidistant points give n - 1 equal eigenvalues; a plane represents two."""
    position, share = classical_mds(1 - np.eye(6))
    assert share == pytest.approx(2 / 5)
    assert position.shape == (6, 2)


def test_a_ring_is_one_manifold_and_two_rings_are_two():
    """Points of a ring are connected by paths through other points of the ring."""

    def cost(w):
        near, far = jnp.sum(w**2) - 1, jnp.sum((w - jnp.array([6.0, 0.0])) ** 2) - 1
        return (near * far / 10) ** 2

    problem = Problem(init=lambda key: jnp.zeros(2), cost=cost)
    angle = np.pi * np.arange(8) / 4
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([ring, ring + np.array([6.0, 0.0])])
    result = cluster_manifolds(problem, points, np.zeros(16), sharpness=np.full(16, 100.0), key=KEY)
    assert result.tolist() == [0] * 8 + [1] * 8


@pytest.mark.long
def test_networks_equal_up_to_symmetry_are_on_the_same_manifold():
    """One neuron of an XOR network has zero weights and an arbitrary bias.

    A network that separates another corner of the square is on another manifold of equal cost.
    """
    small, network = (Network((2, n, 1), initializer="normal") for n in (1, 2))
    corner = (
        Layer(np.array([[5.0, 5.0]]), np.array([-2.0])),
        Layer(np.array([[4.0]]), np.zeros(1)),
    )
    problem = decayed(small, (XOR_INPUTS, XOR_TARGETS), 1e-4)
    end = polish(problem, jax.tree.map(np.float64, corner), max_steps=200)
    assert end.gradient_norm < 1e-10

    def widened(layers, bias):
        (weights, b), (out, last) = layers
        first = Layer(np.concatenate([weights, np.zeros((1, 2))]), np.append(b, bias))
        return first, Layer(np.append(out, np.zeros((1, 1)), axis=1), last)

    other = NeuronSymmetry(jnp.array([1, 0]), jnp.array([-1.0, 1.0]), jnp.ones(2))
    with jax.enable_x64(True):
        one, two = widened(end.params, 6.0), widened(end.params, 7.0)
        two = apply_symmetry(network, jax.tree.map(jnp.asarray, two), (other,))
        # With inputs 1 - x, (1, 1) is separated from the other inputs instead of (0, 0).
        (w, b), rest = end.params
        third = widened((Layer(-w, b + w.sum(axis=1)), rest), 6.0)
        many = jax.tree.map(lambda *a: np.stack(a), one, two, third)
    problem = decayed(network, (XOR_INPUTS, XOR_TARGETS), 1e-4)
    costs, sharp = np.full(3, float(end.cost)), np.full(3, 1.0)
    result = cluster_manifolds(problem, many, costs, sharpness=sharp, key=KEY)
    assert abs(float(end.cost) - 0.116) < 1e-3
    assert result.tolist() == [0, 0, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_equal_points_are_embedded_at_the_origin(count):
    position, share = classical_mds(np.zeros((count, count)))
    assert position.tolist() == [[0.0, 0.0]] * count
    assert share == 1
