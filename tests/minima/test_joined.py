"""Floors are counted by paths: around corners, through symmetries, and never across a hill."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdjax.critical_points.polish import polish
from gdjax.minima.joined import floors
from gdjax.minima.symmetry import Arrangement, arrange
from gdjax.problems.decayed import decayed
from gdjax.problems.networks import Layer, Network
from gdjax.problems.problem import Problem

KEY = jax.random.key(0)


def test_a_ring_is_one_floor_though_no_straight_line_stays_on_it():
    """Two rings: opposite points of one are joined by those between, the rings are not."""

    def cost(w):
        near, far = jnp.sum(w**2) - 1, jnp.sum((w - jnp.array([6.0, 0.0])) ** 2) - 1
        return (near * far / 10) ** 2

    problem = Problem(init=lambda key: jnp.zeros(2), cost=cost)
    angle = np.pi * np.arange(8) / 4
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([ring, ring + np.array([6.0, 0.0])])
    found = floors(problem, points, np.zeros(16), sharpness=np.full(16, 100.0), key=KEY)
    assert found.tolist() == [0] * 8 + [1] * 8


@pytest.mark.long
def test_a_floor_is_the_same_however_its_network_is_written_down():
    """XOR with one neuron switched off, whose bias is free: exchanged and flipped it is the same.

    Another corner of the square that is told from the others is another floor of the same cost.
    """
    inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = np.array([[0.1], [0.9], [0.9], [0.1]])
    small, network = (Network((2, n, 1), initializer="normal") for n in (1, 2))
    corner = (
        Layer(np.array([[5.0, 5.0]]), np.array([-2.0])),
        Layer(np.array([[4.0]]), np.zeros(1)),
    )
    end = polish(decayed(small, (inputs, targets), 1e-4), corner, steps=200)
    assert end.gradient_norm < 1e-10

    def widened(layers, bias):
        (weights, b), (out, last) = layers
        first = Layer(np.concatenate([weights, np.zeros((1, 2))]), np.append(b, bias))
        return first, Layer(np.append(out, np.zeros((1, 1)), axis=1), last)

    other = Arrangement(jnp.array([1, 0]), jnp.array([-1.0, 1.0]), jnp.ones(2))
    with jax.enable_x64(True):
        one, two = widened(end.params, 6.0), widened(end.params, 7.0)
        two = arrange(network, jax.tree.map(jnp.asarray, two), (other,))
        # Inputs exchanged for their opposites: (0, 0) is told from the rest, then (1, 1).
        (w, b), rest = end.params
        third = widened((Layer(-w, b + w.sum(axis=1)), rest), 6.0)
        many = jax.tree.map(lambda *a: np.stack(a), one, two, third)
    problem = decayed(network, (inputs, targets), 1e-4)
    costs, sharp = np.full(3, float(end.cost)), np.full(3, 1.0)
    found = floors(problem, many, costs, sharpness=sharp, key=KEY)
    assert abs(float(end.cost) - 0.116) < 1e-3
    assert found.tolist() == [0, 0, 1]
