"""The trainability boundary experiment: known limits, zooms, and dimensions."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.trainability_boundary import __main__ as experiment
from experiments.trainability_boundary import box_counting
from experiments.trainability_boundary.__main__ import Config
from experiments.trainability_boundary.conditions import CONDITIONS, layerwise_rates
from gdjax.errors import InputError


@pytest.mark.parametrize("name", CONDITIONS)
def test_with_a_fixed_first_layer_the_boundary_is_2_divided_by_the_largest_eigenvalue(name):
    """With fixed hidden activations, the problem is linear regression."""
    config, seed = Config(points=2, steps=100), 1
    condition = replace(
        CONDITIONS[name], batch=None, axes=("input_rate", "output_rate"), optimizer=layerwise_rates
    )
    with jax.enable_x64(True):
        problem = condition.problem(seed)
        w0, _ = problem.init(gd.run_keys(seed).init)
        z = np.asarray(problem.data[0]) @ np.asarray(w0).T / np.sqrt(8)
        hidden = {"relu": np.maximum(np.sqrt(2) * z, 0), "identity": z}
        features = hidden.get(condition.activation, np.tanh(np.sqrt(2) * z)) / 8
        limit = 2 / np.linalg.eigvalsh(2 * features.T @ features / len(z))[-1]
        sides = np.array([1e-12, 2e-12]), np.array([0.95 * limit, 1.1 * limit])
        trains, _ = experiment.train(config, condition, problem, sides, seed)
    assert trains.tolist() == [[True, True], [False, False]]


def test_an_offset_is_added_to_the_first_layer_of_the_start():
    init = CONDITIONS["offset"].problem(1).init
    key = jax.random.key(0)
    (first, second), (moved, same) = init(key), init(key, offset=0.5)
    np.testing.assert_allclose(moved - first, 0.5, atol=1e-6)
    assert np.array_equal(second, same)


def test_layerwise_rates_scale_the_gradient_of_each_layer():
    optimizer = layerwise_rates(0.5, 0.1)
    gradient = (jnp.array([2.0]), jnp.array([10.0]))
    updates, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    np.testing.assert_allclose(np.concatenate(updates), [-1.0, -1.0])


def test_zooms_select_a_long_boundary_rather_than_isolated_points():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    trains = rows < 32
    # The boundary is ragged in one part, and a corner has isolated points.
    trains[16:48, 16:32] = rows[16:48, 16:32] < 32 + 12 * np.sin(columns[16:48, 16:32])
    trains[:16, 48:] = rng.random((16, 16)) < 0.5
    row, column = experiment.window_with_longest_boundary(trains, factor=4)
    inside = trains[row : row + 16, column : column + 16]
    assert box_counting.boundary(inside).mean() <= experiment.MAX_BOUNDARY_SHARE
    assert 16 <= row < 48
    assert column <= 32


def test_random_zooms_lie_around_boundary_cells_within_the_map():
    trains = np.add.outer(np.arange(64), np.arange(64)) < 40
    rng = np.random.default_rng(0)
    corners = [experiment.random_window(trains, 8, rng) for _ in range(50)]
    for row, column in corners:
        inside = trains[row : row + 8, column : column + 8]
        assert inside.shape == (8, 8)
        assert 0 < inside.mean() < 1
    assert len(set(corners)) > 20
    with pytest.raises(InputError, match="the map has no boundary"):
        experiment.random_window(np.ones((64, 64), bool), 8, rng)


def test_with_neurons_adapts_the_number_of_samples_to_the_width():
    for name, samples in {"identity": 16, "relu": 16 * 17, "one sample": 1}.items():
        condition = CONDITIONS[name].with_neurons(16)
        assert (condition.width, condition.samples) == (16, samples)


def test_random_positions_are_determined_by_the_seed():
    config = Config(
        steps=60, points=36, factor=4, placement="random", window=(0.1, 1e3), neurons=4, zooms=2
    )
    with jax.enable_x64(True):
        first, again, other = (
            experiment.maps(config, CONDITIONS["identity"], seed) for seed in (1, 1, 2)
        )
    assert first.identical(again)
    assert not np.array_equal(first.across[1:], other.across[1:])
    shares = first.trains.mean(("row", "column"))
    assert np.all((shares > 0) & (shares < 1))


def test_the_published_estimator_is_near_the_dimensions_of_a_line_and_of_random_points():
    """The dimension is 1 for a line and about 2 for random points."""
    straight = np.tile(np.arange(240) < 100, (240, 1))
    dust = np.random.default_rng(0).random((240, 240)) < 0.5
    assert experiment.published_estimator(straight[None]) == pytest.approx(1, abs=0.1)
    assert experiment.published_estimator(dust[None]) == pytest.approx(2, abs=0.1)
    both = np.stack([straight, dust])
    assert 1 < experiment.published_estimator(both) < 2
