"""The gradient's anatomy holds for any network: dead pixels, layers that add up, proven nudges."""

import gradient_anatomy
import numpy as np
import pytest
import summaries.gradient_anatomy
from gradient_anatomy import Config

from gdjax.errors import InputError

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(widths=(8,), epochs=(0, 1), top=6, seeds=2)


@pytest.fixture(scope="module")
def dataset():
    return gradient_anatomy.run(SMALL)


@pytest.fixture(scope="module")
def found(dataset):
    return gradient_anatomy.numbers(dataset)


def test_numbers_of_all_starts_stand_beside_those_of_the_first(dataset):
    found = gradient_anatomy.numbers(dataset)
    assert found["seeds"] == 2
    for name in ("epoch_0", "epoch_1"):
        value, low, high = found[f"{name}_nudges_within_allowed_over_seeds"]
        assert value == 1  # all nudges of both starts
        assert (low, high) == (-np.inf, np.inf)  # two starts have no interval
    first = dataset.seeds_cost.values[:, 0]
    np.testing.assert_array_equal(first, dataset.cost.values)


@pytest.mark.parametrize("epoch", SMALL.epochs)
def test_exactly_zero_are_the_weights_of_dark_pixels_at_any_time(found, epoch):
    assert found["dark_pixels"] == 132
    assert found[f"epoch_{epoch}_exactly_zero"] == 8 * 132
    signs = ("exactly_zero", "positive", "negative")
    assert sum(found[f"epoch_{epoch}_{sign}"] for sign in signs) == 784 * 8 + 8 * 10 + 18


@pytest.mark.parametrize("epoch", SMALL.epochs)
def test_every_nudge_is_predicted_to_within_what_theory_allows(found, epoch):
    assert found[f"epoch_{epoch}_nudges_within_allowed"] == 1
    assert found[f"epoch_{epoch}_largest_error_found"] < 0.02


def test_at_the_start_the_output_layer_is_told_to_say_less(dataset, found):
    # Outputs near 1/2 are too large nine times out of ten: 2 (1/2 - 1/10) 1/4 = 0.2 a bias.
    start = dataset.isel(stage=0)
    assert all(place.startswith("layer 2") for place in dataset.attrs["places"][0])
    assert np.all(start.gradient.values[start.position.values] > 0)
    assert start.gradient.values[-10:].mean() == pytest.approx(0.2, rel=0.3)
    assert found["epoch_0_cost"] == pytest.approx(2.5, abs=0.3)


def test_listed_entries_are_the_largest_in_their_order(dataset):
    for _, stage in dataset.groupby("epoch"):
        g = np.abs(stage.gradient.values.ravel())
        np.testing.assert_array_equal(
            g[stage.position.values.ravel()], np.sort(g)[::-1][: SMALL.top]
        )


def test_shares_of_layers_add_up_and_half_needs_few_entries(found):
    for epoch in SMALL.epochs:
        assert sum(found[f"epoch_{epoch}_share_of_layers"]) == pytest.approx(1, rel=1e-5)
    assert summaries.gradient_anatomy.holding_half(np.array([3.0, -4.0, 0.0])) == 1
    assert summaries.gradient_anatomy.holding_half(np.ones(10)) in (5, 6)
    assert found["epoch_0_entries_holding_half"] < 80


def test_pictures_need_nothing_but_the_data(dataset):
    figures = gradient_anatomy.plot(dataset)
    assert set(figures) == {"pixels_0", "pixels_1", "sizes", "largest", "proof"}
    images = [axes for axes in figures["pixels_0"].axes if axes.images]
    first = dataset.gradient.values[0, : 8 * 784].reshape(8, 28, 28)
    np.testing.assert_array_equal(np.asarray(images[3].images[0].get_array()), first[3])


@pytest.mark.parametrize("epochs", [(3, 1), (1, 1), (-1, 2), ()])
def test_stages_must_rise(epochs):
    with pytest.raises(InputError, match="epochs = "):
        gradient_anatomy.run(Config(epochs=epochs))
