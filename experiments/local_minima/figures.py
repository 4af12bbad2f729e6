"""Figures: numbers and accuracies of minima."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, Figure, style


def counts_by_tolerance(
    tolerance: Float[np.ndarray, " tolerances"],
    counts: Mapping[str, Float[np.ndarray, " tolerances"] | Int[np.ndarray, " tolerances"]],
    chosen: float,
    *,
    title: str = "",
) -> Figure:
    """Draw the number of minima against the tolerance for their distance.

    Args:
        tolerance: distances within which end points count as one minimum, ascending.
        counts: number of minima at each tolerance, by network name.
        chosen: tolerance used in the census.
        title: title of the figure.
    """
    with style():
        figure = Figure(figsize=(10.4, 4.8))
        axes = figure.subplots()
        for number, (name, values) in enumerate(counts.items()):
            axes.plot(
                tolerance,
                values,
                color=CYCLE[number % len(CYCLE)],
                drawstyle="steps-post",
                label=name,
            )
        axes.axvline(chosen, color=GREY, linestyle="--", linewidth=1.5, label="chosen")
        axes.set(xscale="log", xlim=(tolerance[0], tolerance[-1]))
        axes.set_ylim(-0.02 * axes.get_ylim()[1], None)  # a line at 0 remains visible
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("distance within which end points count as one minimum")
        axes.set(ylabel="number of minima", title=title)
        figure.legend(loc="outside right center")
    return figure


def accuracies(
    minima: Mapping[
        str,
        tuple[
            Float[np.ndarray, " minima"], Float[np.ndarray, " minima"], Int[np.ndarray, " minima"]
        ],
    ],
    *,
    label: str = "test accuracy",
) -> Figure:
    """Draw the accuracy of each minimum against its cost.

    The area of a dot is proportional to the number of runs that ended in the minimum.

    Args:
        minima: for each network, the cost of each minimum, the accuracy in [0, 1], and the number
            of runs that ended in it.
        label: name of the accuracy.
    """
    with style():
        figure = Figure(figsize=(5.4 * len(minima) + 0.6, 5.0))
        panels = figure.subplots(1, len(minima), squeeze=False)[0]
        for number, (axes, (name, (cost, accuracy, count))) in enumerate(
            zip(panels, minima.items(), strict=True)
        ):
            axes.scatter(
                cost, accuracy, s=45 * count, color=CYCLE[number], edgecolors=BLACK, alpha=0.8
            )
            lowest = int(np.argmin(cost))
            axes.scatter(
                cost[lowest],
                accuracy[lowest],
                marker="*",
                s=330,
                color=CYCLE[3],
                edgecolors=BLACK,
                zorder=3,
                label="lowest found",
            )
            axes.set_xlabel("cost of the minimum, with weight decay")
            axes.set_title(
                f"{name}:\nlowest minimum: accuracy {accuracy[lowest]:.1%},\n"
                f"highest accuracy: {np.max(accuracy):.1%}"
            )
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.legend(loc="upper right")
        panels[0].set_ylabel(label)
    return figure
