"""Gradient norm and share of exact zeros for each parameter array."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from gdjax.plots.style import BLUE, label_log_axis, styled_axes


def gradient_norms(
    names: Sequence[str],
    norm: Float[np.ndarray, " arrays"],
    zero_share: Float[np.ndarray, " arrays"],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the norm of the gradient with respect to each parameter array.

    Args:
        names: names of the arrays.
        norm: Euclidean norm of the gradient for each array.
        zero_share: share of exact zeros in the gradient for each array, in [0, 1].
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 1.6 + 0.45 * len(names))) as axes:
        row = np.arange(len(names))
        axes.barh(row, norm, color=BLUE)
        if np.any(norm > 0) and np.max(norm) > 30 * np.min(norm, where=norm > 0, initial=np.inf):
            axes.set_xscale("log")
            label_log_axis(axes.xaxis)
        for position, (value, share) in enumerate(zip(norm, zero_share, strict=True)):
            if share > 0:
                axes.annotate(
                    f"{share:.1%} exactly zero", (value, position), xytext=(6, 0),
                    textcoords="offset points", va="center", fontsize=11,
                )  # fmt: skip
        axes.set_yticks(row, names)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_xlabel("norm of the gradient")
        axes.set_title(title)
    return axes
