"""Figure of measurements by a setting of their points: `gd.plot(gd.measure(metrics, store))`."""

import textwrap
from typing import Any

from gdjax.plots.style import BLUE, Figure, style
from gdjax.plots.sweeps import draw_quartiles, setting_along


def measurements(measured: Any, *, title: str = "") -> Figure:
    """Draw measured numbers, one panel for each measurement.

    They are drawn against the steps of snapshots, the first axis with several values that is not a
    seed, or the labels of points. Runs that differ in other axes are shown by their quartiles.

    Raises:
        ValueError: if no measurement is a number for each of several points.
    """
    numbers = {
        str(name): variable
        for name, variable in measured.data_vars.items()
        if variable.dtype.kind in "iuf" and variable.dims and {*variable.dims} <= {*measured.coords}
    }
    if not numbers:
        raise ValueError("result has no measurement that is a number for each of several points")
    dims = [str(dim) for dim in next(iter(numbers.values())).dims]
    compared = [dim for dim in dims if measured.sizes[dim] > 1 and not dim.endswith("seed")]
    along = "snapshot_step" if "snapshot_step" in dims else next(iter(compared), dims[0])
    if measured[along].dtype.kind in "iuf":
        measured = measured.sortby(along)
    setting, size = setting_along(measured, along), measured.sizes[along]
    with style():
        figure = Figure(figsize=(8, 1 + 3 * len(numbers)))
        panels = figure.subplots(len(numbers), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, numbers, strict=True):
            values = measured[name].transpose(along, ...).values.reshape(size, -1)
            draw_quartiles(axes, setting.positions, values, BLUE)
            attrs = measured[name].attrs
            unit = f" [{attrs['units']}]" if attrs.get("units", "1") != "1" else ""
            axes.set_ylabel(textwrap.fill(attrs.get("long_name", name) + unit, 30))
        count = next(iter(numbers.values())).size
        panels[0].set_title(title or f"Measurements at {count:,} points")
        if count > size:
            panels[0].legend(loc="best")
        setting.on(panels[-1], "x")
    return figure
