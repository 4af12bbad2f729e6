"""Pictures of minima: how often each is found, how they lie to each other, what they are worth."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, Figure, style


def frequencies(
    share: Float[np.ndarray, " minima"],
    low: Float[np.ndarray, " minima"],
    high: Float[np.ndarray, " minima"],
    cost: Float[np.ndarray, " minima"],
    *,
    rest: Mapping[str, float],
    title: str = "",
    most: int = 30,
) -> Figure:
    """How often each minimum was found, lowest cost first, with confidence intervals.

    Args:
        share: of all runs, for each minimum, in the order of their costs.
        low: lower ends of the intervals.
        high: upper ends.
        cost: of each minimum.
        rest: shares of the runs that ended in no minimum, by kind.
        title: of the whole.
        most: bars drawn; the minima beyond, the costliest, are only counted.
    """
    shown = slice(0, most)
    count = len(share[shown])
    with style():
        upright = count <= 8  # names beside each other, not below
        each = 0.8 if upright else 0.4
        figure = Figure(figsize=(max(7.0, min(13.0, 2.5 + each * (count + len(rest)))), 5.4))
        axes = figure.subplots()
        at = np.arange(count)
        axes.bar(at, share[shown], color=BLUE, width=0.75)
        error = np.stack([(share - low)[shown], (high - share)[shown]])
        axes.errorbar(at, share[shown], error, fmt="none", ecolor=BLACK, elinewidth=1.5, capsize=3)
        after = count + 1 + np.arange(len(rest))
        axes.bar(after, list(rest.values()), color=GREY, width=0.75)
        ticks = [*at, *after]
        cost = _told_apart(cost)
        names = [*(f"{value:.3g}" for value in cost[shown]), *(k.replace(" ", "\n") for k in rest)]
        axes.set_xticks(ticks, names, rotation=0 if upright else 90, fontsize=11)
        hidden = len(share) - count
        axes.set_xlabel(
            "cost of the minimum" + (f" ({hidden} costlier ones not drawn)" if hidden else "")
        )
        axes.set_ylabel("share of the runs, 95 % intervals")
        axes.set_ylim(0, None)
        axes.set_title(title)
    return figure


def located(
    position: Float[np.ndarray, "minima 2"],
    shown: float,
    share: Float[np.ndarray, " minima"],
    cost: Float[np.ndarray, " minima"],
    *,
    label: str = "cost",
    title: str = "",
) -> Figure:
    """Minima in the plane: near where their distance is small, large where many runs ended.

    Args:
        position: of a map of distances.
        shown: how much of the distances the map shows, in [0, 1].
        share: of the runs that ended there.
        cost: of each minimum, or whatever its colour stands for.
        label: what that is.
        title: of the picture.
    """
    with style():
        figure = Figure(figsize=(8, 6.6))
        axes = figure.subplots()
        # The rarest on top, so that none is hidden.
        order = np.argsort(-share, kind="stable")
        cost = _told_apart(cost)
        points = axes.scatter(
            *position[order].T,
            s=60 + 1500 * share[order],
            c=cost[order],
            edgecolors=BLACK,
            linewidths=0.8,
            alpha=0.85,
        )
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)
        axes.set_xlabel(f"map of the distances (shows {shown:.0%} of them); area: share of runs")
        axes.set_ylabel("the same scale")
        if np.ptp(cost) > 0:
            best = int(np.argmin(cost))
            axes.annotate(
                "lowest",
                position[best],
                xytext=(16, 16),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": BLACK},
            )
            figure.colorbar(points, label=label)
        else:
            axes.set_title(f"{label}: {cost[0]:.3g} everywhere", loc="right", fontsize=12)
        axes.set_title(title)
    return figure


def _told_apart(cost):
    """Costs without the digits that are rounding: what differs by less is drawn as equal."""
    scale = 1e-9 * max(1.0, float(np.max(np.abs(cost), initial=0)))
    return np.round(np.asarray(cost, float) / scale) * scale + 0.0  # no -0


def counts_by_tolerance(
    tolerance: Float[np.ndarray, " tolerances"],
    counts: Mapping[str, Float[np.ndarray, " tolerances"] | Int[np.ndarray, " tolerances"]],
    chosen: float,
    *,
    title: str = "",
) -> Figure:
    """How many minima there are, if ends up to some distance apart count as one.

    Args:
        tolerance: ascending, over decades.
        counts: number of groups at each, by the name of what is grouped.
        chosen: the tolerance that the census took.
        title: of the picture.
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
        axes.set_xscale("log")
        axes.set_xlim(tolerance[0], tolerance[-1])
        axes.set_ylim(-0.02 * axes.get_ylim()[1], None)  # a line at 0 is seen, too
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("ends up to this far apart are one minimum")
        axes.set_ylabel("number of minima")
        axes.set_title(title)
        figure.legend(loc="outside right center")
    return figure


def worth(
    found: Mapping[
        str,
        tuple[
            Float[np.ndarray, " minima"], Float[np.ndarray, " minima"], Int[np.ndarray, " minima"]
        ],
    ],
    *,
    label: str = "test accuracy",
) -> Figure:
    """What a minimum is good for, against its cost; larger where more runs ended.

    Args:
        found: by network: cost of each minimum, its accuracy in [0, 1], and how many runs it took.
        label: what the accuracy is.
    """
    with style():
        figure = Figure(figsize=(5.4 * len(found) + 0.6, 5.0))
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for number, (axes, (name, (cost, accuracy, count))) in enumerate(
            zip(panels, found.items(), strict=True)
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
            axes.set_xlabel("cost of the minimum, with decay")
            right = f"{accuracy[lowest]:.1%} right, best {np.max(accuracy):.1%}"
            axes.set_title(f"{name}:\nlowest minimum {right}")
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.legend(loc="upper right")
        panels[0].set_ylabel(label)
    return figure
