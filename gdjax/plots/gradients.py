"""Gradient norm and share of exact zeros for each parameter array."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from gdjax.plots.axes import log_scale, styled_axes
from gdjax.plots.style import BLUE


def gradient_norms(summary: Any, *, title: str = "") -> Axes:
    """Draw the norm of the gradient with respect to each parameter array."""
    names = list(summary.by_array)
    norms, shares = np.array(list(summary.by_array.values())).T
    with styled_axes(None, (8, 1.6 + 0.45 * len(names))) as axes:
        axes.barh(np.arange(len(names)), norms, color=BLUE)
        log_scale(axes, norms, ratio=30, side="x")
        for row, (norm, share) in enumerate(zip(norms, shares, strict=True)):
            if share > 0:
                axes.annotate(
                    f"{share:.1%} exactly zero", (norm, row), xytext=(6, 0),
                    textcoords="offset points", va="center", fontsize=11,
                )  # fmt: skip
        axes.set_yticks(np.arange(len(names)), names)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_xlabel("norm of the gradient")
        axes.set_title(title or f"Gradient of norm {float(summary.norm):.3g}")
    return axes
