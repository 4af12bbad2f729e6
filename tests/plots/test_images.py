"""Images of signed numbers: centered colors, and a separate color for zeros."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from gdjax.plots import images


def drawn(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def color(image, row, column):
    return image.to_rgba(image.get_array())[row, column]


def test_images_of_all_neurons_share_a_color_scale_centered_on_zero():
    values = np.random.default_rng(0).normal(size=(16, 5, 7))
    figure = images.signed(values, title="pull", label="slope (1)")
    result = drawn(figure)
    assert len(result) == 16
    limits = {image.get_clim() for image in result}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    for image, value in zip(result, values, strict=True):
        np.testing.assert_array_equal(image.get_array(), value)
    assert figure.get_suptitle() == "pull"
    assert figure.axes[-1].get_xlabel() == "slope (1)"


def test_positive_values_are_red_negative_ones_blue_and_exact_zeros_gray():
    (image,) = drawn(images.signed(np.array([[[1.0, -1.0, 0.0, 1e-9]]]), title="", label=""))
    red, _, blue, _ = color(image, 0, 0)
    assert red > blue
    red, _, blue, _ = color(image, 0, 1)
    assert blue > red
    assert tuple(color(image, 0, 2)) == to_rgba(images.ZERO)
    assert min(color(image, 0, 3)) > 0.9


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_images_of_zeros_or_non_finite_values_are_gray(value):
    (image,) = drawn(images.signed(np.full((1, 2, 2), value), title="", label=""))
    assert tuple(color(image, 0, 0)) == to_rgba(images.ZERO)
