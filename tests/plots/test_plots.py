"""Modules of plots, which are attributes of `gd.plots`."""

import gdjax as gd


def test_every_module_is_an_attribute():
    assert {"landscapes", "sweeps", "style"} <= set(dir(gd.plots))
    for name in dir(gd.plots):
        assert getattr(gd.plots, name).__name__ == f"gdjax.plots.{name}"
