"""Figures of values for each start, in one row per case."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdjax.plots.style import BLACK, style


def dots_per_start(
    rows: Mapping[str, Mapping[str, Float[np.ndarray, " starts"]]],
    labels: Mapping[str, tuple[str, str]],
) -> tuple[Figure, Axes]:
    """Draw a row per case with a dot per start for each of several models.

    Args:
        rows: values for all starts, by label of the case and by model; infinite ones are not drawn,
            but count in the medians.
        labels: label and color of each model.
    """
    with style():
        figure = Figure(figsize=(10, 1.8 + (0.3 + 0.1 * len(labels)) * len(rows)))
        axes = figure.subplots()
        for height, row in enumerate(rows.values()):
            for number, (model, values) in enumerate(row.items()):
                label, color = labels[model]
                finite = values[np.isfinite(values)]
                at = height + 0.15 * (number - (len(row) - 1) / 2)
                dots = axes.plot(finite, np.full(finite.size, at), "o", color=color, alpha=0.5)
                dots[0].set_label(label if height == 0 else None)
                axes.plot([np.median(values)], [at], "|", color=BLACK, markersize=13)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
        axes.set(xscale="log", title="One dot per start; bars are medians")
        figure.legend(loc="outside right upper")
    return figure, axes
