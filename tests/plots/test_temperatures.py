"""Figure of sigmoids at decreasing temperatures, with zero on both axes."""

import numpy as np
import xarray as xr

from experiments.smoothness import __main__ as temperatures


def test_zero_temperature_and_zero_gradient_are_on_the_axes():
    temperature = np.array([1.0, 0.1, 0.01, 0.0])
    norm = np.array([[1.0, 2.0, 3.0], [10, 20, 30], [5, 50, 500], [0, 0, 0]])
    shift = np.linspace(0, 1, 5)
    dataset = xr.Dataset(
        {
            "cost_along": (("drawn", "added"), np.stack([shift, np.round(shift)])),
            "gradient_norm": (("looked_at", "seed"), norm),
            "image_gradient_norm": (("looked_at", "seed", "image"), norm[..., None] / 2),
            "scaled_test_accuracy": (
                ("temperature", "seed", "step"),
                np.outer([0.9, 0.9, 0.9, 0.1], np.ones(3))[..., None],
            ),
        },
        {"drawn": [1.0, 0.0], "added": shift, "looked_at": temperature, "temperature": temperature},
        {"chance": 0.1},
    )
    accuracy = xr.DataArray([[0.9, 0.8, 0.7], [0.5, 0.6, 0.1], [0.1] * 3, [0.1] * 3])
    figure = temperatures.cooling(dataset, accuracy)
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    gradient = panels["norm of the gradient"]
    assert (
        gradient.get_xlim()[0] > 1 > 0 > gradient.get_xlim()[1]
    )  # decreasing, with 0 between the limits
    assert gradient.get_ylim()[0] == 0
    np.testing.assert_allclose(gradient.lines[0].get_ydata(), [2, 20, 50, 0])  # medians
    learnt = panels["test accuracy"]
    np.testing.assert_allclose(learnt.lines[0].get_ydata(), [0.8, 0.5, 0.1, 0.1])
    places = gradient.transData.transform([(0.01, 1.0), (0.0, 1.0)])[:, 0]
    figure.canvas.draw()
    assert places[1] - places[0] > 10  # pixels
    assert [text.get_text() for text in gradient.get_xticklabels()] == ["0", "0.01", "0.1", "1"]
