"""Figures of costs against epochs and time."""

import numpy as np
import xarray as xr

from experiments.batch_sizes import __main__ as budgets


def curve(name, end):
    cost = np.array([[4.0, 2.0, 1.0, 0.5], [8.0, 4.0, 2.0, 1.0], [5.0, 3.0, 1.5, 0.7]])
    dims = ("seed", "epoch")
    values = {"cost": (dims, cost), "test_accuracy": (dims, cost / 10), "learning_rate": 3.0}
    return name, xr.Dataset(values | {"spent": ("epoch", np.arange(4.0))}), end


def test_curves_are_medians_and_thinner_after_the_record_of_the_comparison():
    curves = [curve("32", 2), curve("all 4000", 3)]
    figure = budgets.epochs_and_time({"epochs": curves, "time": curves})
    top = figure.axes[0]
    thick, thin, mark = top.lines[:3]
    np.testing.assert_allclose(thick.get_ydata(), [3.0, 1.5])
    np.testing.assert_allclose(thin.get_ydata(), [1.5, 0.7])
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (2.0, 1.5)
    assert thin.get_linewidth() < thick.get_linewidth()
    names = [text.get_text() for text in top.get_legend().get_texts()]
    assert names == ["32  (rate 3)", "all 4000  (rate 3)"]
    assert figure.axes[2].get_xlabel() == "epochs"
    assert figure.axes[3].get_xlabel() == "computation time per run, s"
    title = figure.get_suptitle()
    assert title == (
        "Lowest cost (dots): all 4000 images per step for equal epochs, all 4000 for equal time"
    )
    figure.canvas.draw()
