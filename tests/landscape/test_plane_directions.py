"""Pairs of directions of every kind: norms and names."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from gdjax.curvature import extreme_eigenpairs
from gdjax.landscape import directions

KEY = jax.random.key(4)


def bent(w):
    """Return a quadratic with curvatures 1, 2, ..., 6, plus the first coordinate."""
    flat = ravel_pytree(w)[0]
    return jnp.sum(jnp.arange(1.0, 7.0, dtype=flat.dtype) * flat**2) / 2 + flat[0]


W = {"weights": np.array([[1.0, -2.0], [0.5, 3.0]]), "bias": np.array([2.0, 0.1])}


@pytest.mark.parametrize("kind", directions.KINDS)
def test_plane_directions_have_length_one(float64, kind):
    result = directions.plane_directions(bent, W, kind, key=KEY)
    assert len(result) == 2
    for direction in result.values():
        assert float(optax.tree.norm(direction)) == pytest.approx(1, rel=1e-12)
        assert jax.tree.structure(direction) == jax.tree.structure(W)


def test_neuron_and_layer_kinds_are_rescaled_random_directions(float64):
    plain, neuron, layer = (
        directions.plane_directions(bent, W, k, key=KEY) for k in ("random", "neuron", "layer")
    )
    for (name, d), scaled, whole in zip(
        plain.items(), neuron.values(), layer.values(), strict=True
    ):
        assert name.startswith("random direction")
        for result, rescaled in (
            (scaled, directions.filter_normalize(d, W)),
            (whole, directions.filter_normalize(d, W, axis=None)),
        ):
            expected = ravel_pytree(rescaled)[0]
            np.testing.assert_allclose(
                ravel_pytree(result)[0], expected / jnp.linalg.norm(expected), rtol=1e-10
            )
    other = directions.plane_directions(bent, W, "random", key=jax.random.key(5))
    assert not np.allclose(*(ravel_pytree(next(iter(v.values())))[0] for v in (plain, other)))


def test_eigenvectors_of_the_largest_eigenvalues_are_named_by_eigenvalue(float64):
    result = directions.plane_directions(bent, W, "eigenvectors", key=KEY)
    assert list(result) == ["eigenvector 1, λ = 6", "eigenvector 2, λ = 5"]
    for direction, entry in zip(result.values(), (5, 4), strict=True):
        expected = np.eye(6)[entry]
        np.testing.assert_allclose(np.abs(ravel_pytree(direction)[0]), expected, atol=1e-8)


def test_names_of_directions_contain_residuals_of_unconverged_eigenvalues(monkeypatch):
    monkeypatch.setattr(
        directions, "extreme_eigenpairs", partial(extreme_eigenpairs, max_steps=1, rtol=1e-9)
    )
    scale = jnp.linspace(0.9, 1.0, 800)
    result = directions.plane_directions(
        lambda w: jnp.sum(scale * w**2), jnp.ones(800), "eigenvectors", key=KEY
    )
    for name in result:
        value, residual = name.partition("λ = ")[2].split(" ± ")
        assert 1.9 < float(value) <= 2.001
        assert 0 < float(residual) < 0.1


def test_the_gradient_and_the_random_direction_are_orthogonal(float64):
    result = directions.plane_directions(bent, W, "gradient", key=KEY)
    assert list(result) == ["gradient", "random direction, orthogonalized"]
    steepest, other = (ravel_pytree(d)[0] for d in result.values())
    g = ravel_pytree(jax.grad(bent)(W))[0]
    np.testing.assert_allclose(steepest, g / jnp.linalg.norm(g), rtol=1e-12)
    assert abs(float(steepest @ other)) < 1e-12


def test_the_gradient_direction_is_zero_at_a_critical_point():
    result = directions.plane_directions(lambda w: jnp.sum(w**2), jnp.zeros(3), "gradient", key=KEY)
    assert result["gradient"].tolist() == [0, 0, 0]
