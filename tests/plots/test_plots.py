"""Modules of plots are attributes of `gd.plots`, imported at their first use."""

import gdjax as gd


def test_every_module_is_an_attribute():
    assert {"landscapes", "sweeps", "style"} <= set(dir(gd.plots))
    for name in dir(gd.plots):
        assert getattr(gd.plots, name).__name__ == f"gdjax.plots.{name}"
