"""The gradient experiment: dark pixels, shares of layers, and checks."""

import numpy as np
import pytest

from experiments.gradient_anatomy import __main__ as gradient_anatomy
from experiments.gradient_anatomy import __main__ as summaries
from experiments.gradient_anatomy.config import Config
from gdjax.errors import InputError

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(widths=(8,), epochs=(0, 1), top=6, seeds=2)


@pytest.fixture(scope="module")
def dataset():
    return gradient_anatomy.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return gradient_anatomy.numbers(dataset)


def test_the_summary_contains_all_starts_and_the_plotted_first_start(dataset):
    result = gradient_anatomy.numbers(dataset)
    assert result["seeds"] == 2
    for name in ("epoch_0", "epoch_1"):
        value, low, high = result[f"{name}_nudges_within_allowed_over_seeds"]
        assert value == 1  # all checks of both starts
        assert (low, high) == (-np.inf, np.inf)  # two starts are too few for an interval
    first = dataset.seeds_cost.values[:, 0]
    np.testing.assert_array_equal(first, dataset.cost.values)


@pytest.mark.parametrize("epoch", SMALL.epochs)
def test_gradients_of_weights_of_dark_pixels_are_exactly_zero(summary, epoch):
    assert summary["dark_pixels"] == 132
    assert summary[f"epoch_{epoch}_exactly_zero"] == 8 * 132
    signs = ("exactly_zero", "positive", "negative")
    assert sum(summary[f"epoch_{epoch}_{sign}"] for sign in signs) == 784 * 8 + 8 * 10 + 18


@pytest.mark.parametrize("epoch", SMALL.epochs)
def test_every_change_is_predicted_within_the_theoretical_error(summary, epoch):
    assert summary[f"epoch_{epoch}_nudges_within_allowed"] == 1
    assert summary[f"epoch_{epoch}_largest_error_found"] < 0.02


def test_largest_initial_gradient_entries_are_positive_and_in_the_output_layer(dataset, summary):
    # Outputs near 1/2 exceed 9 of 10 targets: the mean gradient of an output bias is
    # 2 (1/2 - 1/10) 1/4 = 0.2.
    start = dataset.isel(stage=0)
    assert all(place.startswith("layer 2") for place in dataset.attrs["places"][0])
    assert np.all(start.gradient.values[start.position.values] > 0)
    assert start.gradient.values[-10:].mean() == pytest.approx(0.2, rel=0.3)
    assert summary["epoch_0_cost"] == pytest.approx(2.5, abs=0.3)


def test_listed_entries_are_the_largest_in_order(dataset):
    for _, stage in dataset.groupby("epoch"):
        g = np.abs(stage.gradient.values.ravel())
        np.testing.assert_array_equal(
            g[stage.position.values.ravel()], np.sort(g)[::-1][: SMALL.top]
        )


def test_shares_of_layers_sum_to_one_and_few_entries_make_up_half(summary):
    for epoch in SMALL.epochs:
        assert sum(summary[f"epoch_{epoch}_share_of_layers"]) == pytest.approx(1, rel=1e-5)
    assert summaries.holding_half(np.array([3.0, -4.0, 0.0])) == 1
    assert summaries.holding_half(np.ones(10)) in (5, 6)
    assert summary["epoch_0_entries_holding_half"] < 80


def test_figures_are_drawn_from_the_dataset(dataset):
    figures = gradient_anatomy.plot(dataset)
    assert set(figures) == {"pixels_0", "pixels_1", "sizes", "largest", "proof"}
    images = [axes for axes in figures["pixels_0"].axes if axes.images]
    first = dataset.gradient.values[0, : 8 * 784].reshape(8, 28, 28)
    np.testing.assert_array_equal(np.asarray(images[3].images[0].get_array()), first[3])


@pytest.mark.parametrize("epochs", [(3, 1), (1, 1), (-1, 2), ()])
def test_epochs_that_do_not_increase_raise_input_error(epochs):
    with pytest.raises(InputError, match="epochs = "):
        gradient_anatomy.run(Config(epochs=epochs))
