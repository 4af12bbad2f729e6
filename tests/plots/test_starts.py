"""Figures of runs against the scale of their starting points."""

import numpy as np
import xarray as xr

from experiments.initializations import __main__ as pictures


def starts(epochs):
    values = {
        "accuracy_before": [0.1, 0.1, 0.1],
        "accuracy_after": [0.4, 0.9, 0.1],
        "cost_before": [2.5, 2.6, 4.0],
        "epochs": epochs,
        "slope": [1.0, 0.9, 0.1],
    }
    return xr.Dataset(
        {n: (("init_scale", "seed"), np.outer(v, np.ones(3))) for n, v in values.items()},
        {"init_scale": [0.1, 1.0, 10.0]},
    )


def test_runs_that_need_infinitely_many_epochs_are_drawn_at_a_tick_named_never():
    figure = pictures.by_scale(
        {"fan_in": starts([np.inf, 2.0, np.inf])},
        epochs=10.0,
    )
    fast = figure.axes[1]
    (line,) = fast.lines
    never = fast.get_yticks()[-1]
    assert never > 10
    assert line.get_ydata().tolist() == [never, 2.0, never]
    assert fast.get_yticklabels()[-1].get_text() == "never"
    figure.canvas.draw()


def test_curves_before_and_after_training_share_a_color():
    figure = pictures.by_scale(
        {"fan_in": starts([1.0, 2.0, 3.0]), "he": starts([1.0, 2.0, 3.0])}, epochs=10.0
    )
    solid, dotted, *_ = figure.axes[0].lines
    assert solid.get_color() == dotted.get_color()
    names = [text.get_text() for text in figure.axes[3].get_legend().get_texts()]
    assert names == ["fan-in", "he"]
