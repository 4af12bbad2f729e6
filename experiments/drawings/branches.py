"""Pictures of descents that branch: when they leave, and what lies between the ends."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from gdjax.plots.style import CYCLE, style
from gdjax.statistics import Interval

PANELS = {
    "barrier": "barrier on the straight line",
    "matched_barrier": "barrier after matching",
    "distance": "distance of the ends",
}


def by_step(
    steps_left: Int[np.ndarray, " steps"],
    found: Mapping[str, Mapping[float, Sequence[Interval]]],
    independent: Mapping[str, float],
    *,
    epoch: int,
    steps: int,
) -> Figure:
    """What lies between a run's end and its branches', against the step at which they left it.

    Args:
        steps_left: those steps.
        found: by panel, by the size of the change, at each step: median with its interval.
        independent: by panel, the same between runs from different starts.
        epoch: steps of an epoch.
        steps: of the whole descent.
    """
    with style():
        figure = Figure(figsize=(12, 4.2))
        panels = figure.subplots(1, len(PANELS), sharex=True)
        for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
            for number, (size, medians) in enumerate(found[name].items()):
                color = CYCLE[number % len(CYCLE)]
                values, low, high = (
                    np.array([getattr(one, end) for one in medians])
                    for end in ("value", "low", "high")
                )
                axes.plot(steps_left, values, color=color, marker="o", label=f"by {size:g}")
                axes.fill_between(steps_left, low, high, color=color, alpha=0.2, linewidth=0)
            axes.axhline(independent[name], color="0.4", linestyle="--", label="other starts")
            axes.axvline(epoch, color="0.8", zorder=0, label="one epoch")
            axes.set_xscale("symlog", linthresh=10)
            axes.set_xlim(-1, 1.3 * steps)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(f"step of the change, of {steps:,}")
            axes.set_ylabel(label)
        panels[-1].legend(title="one weight changed")
        early, late = (
            max(medians[place].value for medians in found["barrier"].values()) for place in (0, -1)
        )
        figure.suptitle(
            f"Median barrier {early:.2g} behind a change at step {steps_left[0]}, {late:.2g} "
            f"behind one at step {steps_left[-1]:,}; other starts {independent['barrier']:.2g}"
        )
    return figure
