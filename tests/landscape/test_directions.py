"""Directions of every kind, and principal components, compared with the SVD of NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from some_networks import some_params

from gdjax.curvature import extreme_eigenpairs
from gdjax.landscape import components, directions
from gdjax.landscape.directions import at_coordinates
from gdjax.problems import Layer, Network


def row_norms(a):
    return np.linalg.norm(np.asarray(a).reshape(len(a), -1), axis=1)


def test_directions_have_the_type_of_the_parameters(float64):
    params = {"single": jnp.zeros(2, jnp.float32), "double": jnp.zeros((2, 2))}
    result = directions.random_direction(params, key=jax.random.key(0))
    for tree in (
        result,
        directions.filter_normalize(result, params),
        directions.filter_normalize(result, params, axis=None),
    ):
        assert {n: a.dtype.name for n, a in tree.items()} == {
            "single": "float32",
            "double": "float64",
        }


def test_normalized_directions_have_the_norms_of_neurons_filters_and_arrays():
    params = some_params(Network((7, 5, 3)), 0)
    d = directions.random_direction(params, key=jax.random.key(0))
    for layer, direction in zip(params, directions.filter_normalize(d, params), strict=True):
        np.testing.assert_allclose(
            row_norms(direction.weights), row_norms(layer.weights), rtol=1e-5
        )
        assert np.linalg.norm(direction.bias) == pytest.approx(np.linalg.norm(layer.bias), rel=1e-5)
    filters, noise = (jax.random.normal(jax.random.key(k), (4, 3, 2, 2)) for k in range(2))
    result = directions.filter_normalize(noise, filters)
    np.testing.assert_allclose(row_norms(result), row_norms(filters), rtol=1e-5)
    lengths = [
        [np.linalg.norm(leaf) for leaf in jax.tree.leaves(tree)]
        for tree in (directions.filter_normalize(d, params, axis=None), params)
    ]
    np.testing.assert_allclose(*lengths, rtol=1e-5)


def test_with_axis_minus_1_neurons_are_the_columns_of_the_weights():
    rng = np.random.default_rng(0)
    w, d = (jnp.array(rng.normal(size=(4, 3)), jnp.float32) for _ in "wd")
    np.testing.assert_allclose(
        directions.filter_normalize(d.T, w.T, axis=-1),
        directions.filter_normalize(d, w).T,
        rtol=1e-6,
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("normalise", "same"),
    [
        (directions.filter_normalize, True),
        (partial(directions.filter_normalize, axis=None), True),
        (lambda d, w: d, False),
    ],
)
def test_slices_of_equivalent_relu_networks_are_equal_only_for_normalized_directions(
    float64, normalise, same
):
    """Scaling one layer by c and the next by 1/c does not change the outputs."""
    network = Network((4, 6, 5, 2), activation="relu", output_activation="identity")
    first, second, third = some_params(network, 0)
    params = first, second, third
    scaled = (
        Layer(first.weights * 10, first.bias * 10),
        Layer(second.weights / 40, second.bias * 10 / 40),
        Layer(third.weights * 4, third.bias),
    )
    x = jnp.array(np.random.default_rng(1).normal(size=(20, 4)))
    np.testing.assert_allclose(network.apply(params, x), network.apply(scaled, x), rtol=1e-12)
    # Both networks use the same random direction.
    d = directions.random_direction(params, key=jax.random.key(2))

    def curve(w):
        along = {"d": normalise(d, w)}
        return np.array(
            [
                jnp.mean(network.apply(at_coordinates(w, along, [a]), x) ** 2)
                for a in (-0.7, 0.2, 1.0)
            ]
        )

    assert np.allclose(curve(params), curve(scaled), rtol=1e-10) == same


def test_normalized_directions_of_zero_weights_are_zero():
    params = {"w": jnp.array([[0.0, 0.0], [3.0, 4.0]]), "b": jnp.zeros(2), "c": jnp.array(-2.0)}
    ones = jax.tree.map(jnp.ones_like, params)
    result = directions.filter_normalize(ones, params)
    np.testing.assert_allclose(result["w"], [[0, 0], [5 / 2**0.5, 5 / 2**0.5]], rtol=1e-6)
    assert result["b"].tolist() == [0, 0]
    assert float(result["c"]) == 2
    zeros = jax.tree.map(jnp.zeros_like, params)
    for axis in (0, None):
        result = directions.filter_normalize(zeros, params, axis=axis)
        assert all(not a.any() for a in jax.tree.leaves(result))


def test_orthogonalized_directions_keep_their_lengths_and_are_named():
    rng = np.random.default_rng(0)
    trees = {n: {"w": jnp.array(rng.normal(size=(4, 5))), "b": jnp.zeros(4)} for n in "xyz"}
    result = directions.orthogonalize(trees)
    assert list(result) == ["x", "y, orthogonalized", "z, orthogonalized"]
    before, after = (np.stack([ravel_pytree(d)[0] for d in ds.values()]) for ds in (trees, result))
    np.testing.assert_array_equal(after[0], before[0])
    lengths = np.linalg.norm(before, axis=1)
    np.testing.assert_allclose(after @ after.T, np.diag(lengths**2), atol=1e-4)
    # The span of the first two is unchanged.
    assert np.linalg.matrix_rank(np.concatenate([before[:2], after[:2]]), tol=1e-4) == 2


def snapshots(count=12, seed=0):
    """Return points of unequal variances as a tree, and as rows of a matrix."""
    rng = np.random.default_rng(seed)
    tree = {"a": rng.normal(size=(count, 3, 2)) * [[3.0, 1.0]], "b": rng.normal(size=(count, 4))}
    return tree, np.concatenate([tree["a"].reshape(count, -1), tree["b"]], axis=1)


@pytest.mark.parametrize("end", [False, True])
def test_principal_components_equal_the_svd_of_numpy(float64, end):
    tree, rows = snapshots()
    center = rows[-1] if end else rows.mean(axis=0)
    arguments = jax.tree.map(lambda a: a[-1], tree) if end else None
    result = jax.jit(lambda tree, c: components.principal_components(tree, 4, center=c))(
        tree, arguments
    )
    u, s, v = np.linalg.svd(rows - center, full_matrices=False)
    np.testing.assert_allclose(result.explained, (s**2 / np.sum(s**2))[:4], rtol=1e-10)
    np.testing.assert_allclose(ravel_pytree(result.center)[0], center, rtol=1e-12)
    ours = jax.vmap(lambda d: ravel_pytree(d)[0])(result.directions)
    signs = np.sign((u * s)[0, :4])
    np.testing.assert_allclose(ours, v[:4] * signs[:, None], atol=1e-10)
    np.testing.assert_allclose(result.coordinates, (u * s)[:, :4] * signs, atol=1e-10)
    assert np.all(result.coordinates[0] >= 0)


def test_equal_points_have_no_explained_variance():
    result = components.principal_components(jnp.ones((4, 3)), 2)
    assert result.explained.tolist() == [0, 0]


def test_projections_recover_known_coordinates_and_distances(float64):
    """Directions enclose 60 degrees; points are displaced along a third direction."""
    origin = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    flat = np.array([[1, 0, 0, 0], [1, np.sqrt(3), 0, 0], [0, 0, 0.6, 0.8]])
    d_1, d_2, off = ({"a": row[:2], "b": row[2:]} for row in flat)
    c = np.array([[0.0, 0.0], [1.0, -2.0], [0.5, 3.0]])
    lift = np.array([0.0, 2.5, -4.0])
    points = {
        n: origin[n] + c[:, :1] * d_1[n] + c[:, 1:] * d_2[n] + lift[:, None] * off[n] for n in "ab"
    }
    # Coordinates are in the order of the dict, which is not alphabetical here.
    result = components.project(points, origin, {"z": d_1, "a": d_2})
    np.testing.assert_allclose(result.coordinates, c, atol=1e-12)
    np.testing.assert_allclose(result.distance, np.abs(lift), atol=1e-12)


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
