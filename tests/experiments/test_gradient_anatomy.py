"""The gradient experiment: gradients of zero, and the largest entries of a gradient."""

import numpy as np
import xarray as xr

from experiments.gradient_anatomy import __main__ as anatomy


def test_zero_gradients_can_be_drawn():
    checks = ("predicted", "actual", "second_order", "rounding")
    zero = xr.Dataset(
        {
            "gradient": (("stage", "entry"), np.zeros((2, 5))),
            "layer": ("entry", [1, 1, 1, 1, 2]),
            "position": (("stage", "top"), np.tile(np.arange(3), (2, 1))),
            **{name: (("stage", "top"), np.zeros((2, 3))) for name in checks},
        },
        {"epoch": ("stage", [0, 30])},
        {"places": [["layer 2: a", "b", "c"], ["d", "e", "f"]]},
    )
    anatomy.relative_sizes(zero).draw_without_rendering()
    anatomy.top_entries(zero).draw_without_rendering()
    figure = anatomy.predicted_actual(zero)
    figure.draw_without_rendering()
    assert figure.axes[-1].lines[0].get_xdata().size == 0


def test_half_of_the_squared_norm_belongs_to_the_largest_entries():
    assert anatomy.holding_half(np.array([3.0, -4.0, 0.0])) == 1
    assert anatomy.holding_half(np.ones(10)) in (5, 6)
