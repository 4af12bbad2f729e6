"""Figure of guessed, sampled and trained networks."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from experiments.shared.labels import with_ends
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION, style
from gdjax.statistics import Interval

SERIES = {
    "sampled": ("sampled, given that they fit", GREY),
    "trained": ("trained until they fit", BLUE),
    "trained_on": ("trained to the last step", GREEN),
}
RATIOS = {
    "ratio_trained": ("trained until they fit", BLUE),
    "ratio_matched": ("trained until they fit, same margin", VERMILLION),
    "ratio_trained_on": ("trained to the last step", GREEN),
}


def guessed_and_trained(
    probability: Mapping[str, tuple[Int[np.ndarray, " ks"], Float[np.ndarray, "sets ks"]]],
    intervals: Mapping[str, Mapping[int, Interval]],
) -> Figure:
    """Draw the probability of a fit, accuracies, and ratios of errors.

    The probabilities are those for each number of images k and each set, by method; the intervals
    are given by name and k.
    """
    with style():
        figure = Figure(figsize=(13, 4.4))
        rare, reads, errors = figure.subplots(1, 3)
        k, share = probability["sampled"]
        rare.plot(k, np.where(share > 0, share, np.nan).T, color=GREY, linewidth=0.8)
        rare.plot(k, np.exp(np.mean(np.log(share), axis=0)), color=BLUE, label="sampled, mean")
        rare.plot(k, 0.5**k, color="black", linestyle=":", label="random predictions")
        k, share = probability["guessed"]
        all_fit = (share > 0).all(axis=0)
        mean = np.exp(np.mean(np.log(share[:, all_fit]), axis=0))
        rare.plot(k[all_fit], mean, "o", color=VERMILLION, label="guessed, mean")
        rare.set(yscale="log", ylabel="probability that a random network fits")
        rare.legend()
        for name, (label, color) in SERIES.items():
            _by_k(reads, intervals[name], color, label, 100)
        guessed = [100 * one.value for one in intervals["guessed"].values()]
        look: dict = {"color": VERMILLION, "label": "guessed", "zorder": 3}
        reads.plot(list(intervals["guessed"]), guessed, "x", **look)
        reads.set_ylabel("accuracy on unseen images, %")
        reads.legend(fontsize="x-small")
        errors.axhline(1, color="black", linewidth=1)
        for name, (label, color) in RATIOS.items():
            _by_k(errors, intervals[name], color, label, 1)
        errors.set_ylabel("error relative to sampled networks")
        low, high = errors.get_ylim()
        errors.set_ylim(top=high + 0.25 * (high - low))  # space for the legend
        errors.legend(fontsize="x-small", loc="upper right")
        for axes in (rare, reads, errors):
            axes.set_xlabel("number of fitted images")
        last, ratio = list(intervals["ratio_trained_on"].items())[-1]
        figure.suptitle(
            f"With {last} images, networks trained to the last step have "
            f"{with_ends(ratio)} times the error of sampled networks"
        )
    return figure


def _by_k(axes, intervals, color, label, scale):
    k = np.array(list(intervals))
    value, low, high = (scale * np.array([v[i] for v in intervals.values()]) for i in range(3))
    axes.plot(k, value, color=color, marker="o", markersize=4, label=label)
    axes.fill_between(k, low, high, color=color, alpha=0.2, linewidth=0)
