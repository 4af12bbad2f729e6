"""Where training stops: at the known limit where there is one, on a ragged boundary elsewhere."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import trainability_boundary as experiment
from trainability_boundary import Config

from gdjax.errors import InputError
from gdjax.geometry import fractal

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    width=4,
    samples=20,
    steps=60,
    points=36,
    zooms=1,
    seeds=(1, 2, 3),
    seed_points=36,
    factor=4,
    roughness=(0.02, 0.03, 0.1),
    rates=1025,
    rate_steps=300,
)


@pytest.fixture(scope="module")
def dataset():
    return experiment.run(SMALL)


@pytest.fixture(scope="module")
def found(dataset):
    return experiment.numbers(dataset)


def test_small_rates_train_and_large_ones_do_not(dataset, found):
    whole = dataset.trains.values[0]
    assert whole[0, 0]
    assert not whole[-1].any()
    assert found["runs_a_map"] == 36 * 36
    assert np.all((dataset.speed > 0) & (dataset.speed <= SMALL.steps))


def test_the_number_is_taken_over_seeds(dataset, found):
    assert dataset.seed_dimension.shape == (3, 1)
    # The picture's seed, mapped as coarsely, is one of them.
    assert float(dataset.seed_dimension[0, 0]) == pytest.approx(found["map_0_dimension"])
    value, low, high = found["seeds_map_0_dimension"]
    assert value == np.median(dataset.seed_dimension[:, 0])
    assert low == -np.inf < value < high  # three seeds have no interval


def test_a_zoom_lies_in_the_map_before_and_holds_both_sides(dataset):
    for rates in (dataset.input_rate.values, dataset.output_rate.values):
        ratio = rates[:, -1] / rates[:, 0]
        np.testing.assert_allclose(ratio[1], ratio[0] ** (1 / SMALL.factor))
        assert rates[1, 0] in rates[0]
    assert 0 < dataset.trains.values[1].mean() < 1


def test_with_the_first_layer_at_rest_the_boundary_is_2_over_the_largest_eigenvalue():
    config = replace(SMALL, points=2, steps=100)
    with jax.enable_x64(True):
        problem = experiment.network(config.width, config.samples, config.seed)
        w0, _ = problem.init(experiment.gd.streams(config.seed).init)
        x = np.asarray(problem.data[0])
        # What is left is linear regression on the hidden activations.
        features = np.tanh(np.sqrt(2 / config.width) * x @ np.asarray(w0).T) / config.width
        limit = 2 / np.linalg.eigvalsh(2 * features.T @ features / len(x))[-1]
        window = (1e-12, 2e-12), (0.95 * limit, 1.05 * limit)
        trains, _ = experiment.train(config, problem, window)
    assert trains.tolist() == [[True, True], [False, False]]


def test_each_layer_has_its_own_rate():
    optimizer = experiment.rate_a_layer(0.5, 0.1)
    gradient = (jnp.array([2.0]), jnp.array([10.0]))
    updates, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    np.testing.assert_allclose(np.concatenate(updates), [-1.0, -1.0])


def test_convex_cosines_have_one_boundary_rate_and_rough_ones_many(dataset, found):
    counts = experiment.boundary_rates(dataset)
    assert counts[:2].tolist() == [1, 1]
    assert counts[2] > 10
    assert found["roughness_where_convexity_ends"] == pytest.approx(0.0507, abs=1e-4)


def test_zooms_go_where_the_boundary_is_long_but_not_dust():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    trains = rows < 32
    # Teeth along a stretch of the boundary; dust in a corner.
    trains[16:48, 16:32] = rows[16:48, 16:32] < 32 + 12 * np.sin(columns[16:48, 16:32])
    trains[:16, 48:] = rng.random((16, 16)) < 0.5
    row, column = experiment.richest(trains, factor=4)
    inside = trains[row : row + 16, column : column + 16]
    assert fractal.boundary(inside).mean() <= experiment.DUST
    assert 16 <= row < 48
    assert column <= 32


def test_a_map_too_small_for_a_fit_is_refused_before_any_work():
    with pytest.raises(InputError, match="points = 20"):
        experiment.run(replace(SMALL, points=20))


def test_every_picture_is_drawn(dataset):
    pictures = experiment.plot(dataset)
    assert set(pictures) == {"maps", "dimension", "cosine"}
    for figure in pictures.values():
        figure.canvas.draw()
