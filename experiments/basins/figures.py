"""Figure of the shares of starts that lead to each minimum, by learning rate."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D

from gdjax.plots.style import BLACK, GREY, Figure, style
from gdjax.plots.surfaces import minimum_color

LINE_STYLES = {"diverged": (BLACK, "-"), "not arrived": (GREY, "-"), "at no minimum": (GREY, ":")}


def shares_by_rate(
    learning_rate: Float[np.ndarray, " rates"],
    share: Sequence[Float[np.ndarray, "rates minima"]],
    limit: Sequence[Float[np.ndarray, " minima"]],
    names: Sequence[str],
    *,
    colors: Sequence[int],
    others: Sequence[Mapping[str, Float[np.ndarray, " rates"]]],
    titles: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw the share of all starts that lead to each minimum, by learning rate.

    Args:
        learning_rate: learning rates, ascending.
        share: share of starts that lead to each minimum, for each panel.
        limit: learning rate above which each minimum is unstable, for each panel.
        names: names of the minima.
        colors: index of the color of each minimum.
        others: for each panel, shares of the starts from which no minimum is reached, by outcome.
        titles: titles of the panels.
        title: title of the figure.
    """
    with style():
        figure = Figure(figsize=(5.2 * len(share) + 0.6, 5.2))
        panels = figure.subplots(1, len(share), squeeze=False, sharey=True)[0]
        for axes, shares, limits, rest, name in zip(
            panels, share, limit, others, titles, strict=True
        ):
            for number, label in enumerate(names):
                color = minimum_color(colors[number])
                axes.plot(learning_rate, shares[:, number], "o-", color=color, label=label, ms=4)
                axes.axvline(limits[number], color=color, linestyle="--", linewidth=1.5)
            for text, values in rest.items():
                color, dash = LINE_STYLES[text]
                if np.any(values > 0):
                    axes.plot(learning_rate, values, dash, color=color, label=text)
            axes.set(xscale="log", ylim=(-0.02, 1.02))
            axes.set_xlim(learning_rate[0] / 1.05, learning_rate[-1] * 1.05)
            axes.set(xlabel="learning rate", title=name)
        panels[0].set_ylabel("share of starts")
        handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
        limit_line = Line2D([], [], color=GREY, linestyle="--", linewidth=1.5, label="limit")
        figure.legend(handles=[*handles.values(), limit_line], loc="outside lower center", ncols=5)
        figure.suptitle(title)
    return figure
