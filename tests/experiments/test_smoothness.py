"""The smoothness experiment: step activations, and scaling by temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.smoothness import __main__ as smoothness
from experiments.smoothness.config import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    temperatures=(0.5, 0.03125, 0.0009765625, 0.0),
    learning_rates=(0.01, 1.0),
    seeds=2,
    epochs=1,
    looked_at=(10.0, 1.0, 0.05, 0.0001, 0.0),
    images=40,
)


@pytest.fixture(scope="module")
def dataset():
    return smoothness.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return smoothness.numbers(dataset)


def test_with_step_activations_gradients_are_zero_and_the_cost_is_constant(dataset, summary):
    assert summary["gradient_norm_of_steps"] == 0
    assert np.all(dataset.image_gradient_norm.sel(looked_at=0) == 0)
    assert summary["cost_moved_by_steps"] == 0
    assert summary["accuracy_at_0"][0] < 0.25


def test_gradients_of_single_images_increase_before_they_vanish(dataset):
    median = dataset.image_gradient_norm.median(("image", "seed"))
    assert float(median.sel(looked_at=10)) < float(median.sel(looked_at=1))
    assert float(median.sel(looked_at=1)) < float(median.sel(looked_at=0.05))
    assert float(median.sel(looked_at=0.0001)) == 0


def test_at_low_temperature_the_accuracy_is_low_at_all_rates(dataset):
    accuracy = dataset.test_accuracy.isel(step=-1).median("seed").max("learning_rate")
    assert float(accuracy.sel(temperature=0.5)) > 0.5
    assert float(accuracy.sel(temperature=0.03125)) < 0.3


def test_costs_of_descents_with_scaled_starts_and_rates_are_bitwise_equal(dataset):
    """C(w; T) = C(w / T; 1) implies this for starts scaled by T and rates by T^2."""
    warm = dataset.scaled_cost.values[dataset.temperature.values > 0]
    assert np.array_equal(warm, np.broadcast_to(warm[:1], warm.shape))
    assert np.all(warm[..., -1] < warm[..., 0])


def test_sigmoids_at_zero_temperature_are_step_functions():
    image = jnp.asarray(np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8))
    smooth = gd.problems.Network((784, 16, 16, 10))
    step = gd.problems.Network((784, 16, 16, 10), activation="step")
    params = smooth.init(jax.random.key(0))
    cold = smooth.apply(params, image, temperature=0.0)
    assert np.array_equal(cold, step.apply(params, image))
    gradient = jax.grad(lambda p: jnp.sum(step.apply(p, image) ** 2))(params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_the_cost_along_a_weight_is_piecewise_constant_at_temperature_0(dataset):
    stairs = dataset.cost_along.sel(drawn=0).values
    smooth = dataset.cost_along.sel(drawn=1).values
    # Each image changes the cost at most once, by a multiple of 1 / (number of images).
    assert len(np.unique(stairs)) <= SMALL.along + 1
    jumps = np.diff(stairs) * SMALL.along
    np.testing.assert_allclose(jumps, np.round(jumps), atol=1e-4)
    assert 0 < np.count_nonzero(jumps) <= SMALL.along
    assert np.abs(np.diff(smooth)).max() < 1e-3


def test_figures_are_drawn_from_the_dataset(dataset, drawn):
    assert list(drawn(smoothness, dataset)) == ["cooling"]
