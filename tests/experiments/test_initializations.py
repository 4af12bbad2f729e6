"""The initialization experiment: starting points of small and large scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from experiments.initializations import __main__ as initializations
from experiments.initializations import __main__ as summaries
from experiments.initializations.__main__ import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    initializers=("normal", "fan_in"),
    scales=3,
    learning_rates=(3.0,),
    seeds=2,
    epochs=2,
    images=100,
)


@pytest.fixture(scope="module")
def dataset():
    return initializations.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return initializations.numbers(dataset)


def test_before_training_the_accuracy_is_at_chance_level(summary):
    assert 0.07 < summary["accuracy_before_mean"] < 0.13


def test_tiny_starts_give_outputs_of_one_half(dataset, summary):
    # All outputs are 1/2: the cost is 10 * 1/4, and every sigmoid is at its center.
    assert summary["cost_before_smallest"] == pytest.approx(2.5, abs=0.02)
    assert np.all(dataset.slope_1.isel(initializer=1, init_scale=0, step=0) > 0.999)


def test_large_starts_are_saturated_and_have_low_accuracy(summary):
    for name in SMALL.initializers:
        assert summary[f"{name}_slope_at_largest"][0] < 0.06
        assert summary[f"{name}_accuracy_at_largest"][0] < 0.2


def test_starts_of_intermediate_scale_reach_high_accuracy(summary):
    assert summary["fan_in_best_scale"] == pytest.approx(1)
    assert summary["fan_in_accuracy_at_best"][0] > 0.7
    # Weights from N(0, 1) are 28 times those from N(0, 1/784), so sigmoids saturate at scale 1.
    assert summary["normal_slope_at_best"][0] < summary["fan_in_slope_at_best"][0] / 2


def test_slopes_of_layers_equal_those_of_a_hand_written_network():
    network = gd.problems.Network((6, 4, 3, 2), input_scale=255)
    params = network.init(jax.random.key(0))
    images = jnp.arange(30, dtype=np.uint8).reshape(5, 6) * 8
    a = np.asarray(images) / 255
    for layer, one in enumerate(params[:2], start=1):
        a = 1 / (1 + np.exp(-(a @ np.asarray(one.weights, float).T + np.asarray(one.bias))))
        slope = initializations.slope_of_layer(network, layer)(params, images)
        assert float(slope) == pytest.approx(np.mean(4 * a * (1 - a)), rel=1e-5)


def test_epochs_are_counted_to_the_first_record_below_the_target():
    cost = np.array([[3.0, 1.0, 0.4, 0.5], [3.0, 2.0, 1.0, 0.9]])
    epochs = summaries.epochs_to(cost, np.array([0.0, 1.0, 2.0, 3.0]), 0.45)
    assert epochs.tolist() == [2.0, np.inf]


def test_the_figure_is_drawn(dataset, drawn):
    drawn(initializations, dataset)
