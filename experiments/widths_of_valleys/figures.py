"""Figures of the widths of minima, and of their correlations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gdjax.plots.style import BLUE, GREEN, GREY, style
from gdjax.statistics import Interval

VARIABLES = {
    "volume": ("volume_log_volume", "log volume, nats"),
    "coefficient": ("chains_coefficient", "learning coefficient at one temperature"),
}
LABELS = {"volume": "volume", "coefficient": "learning coefficient at one temperature"}


def widths_of_minima(
    dataset: Any, correlations: Mapping[str, tuple[Interval, np.ndarray]]
) -> Figure:
    """Draw each minimum's number of starts and accuracy against its widths.

    The widths are the volume and the learning coefficient.

    Args:
        dataset: minima of several sets of images with their widths, from `widths_of_valleys`.
        correlations: mean rank correlation, and the rank correlation in each set, by the names of
            both variables.
    """
    sets = dataset["set"].values
    with style():
        figure = Figure(figsize=(11, 7.6))
        panels = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (name, (variable, label)) in enumerate(VARIABLES.items()):
            x = dataset[variable].values
            rows = {"starts": dataset["count"].values,
                    "accuracy": 100 * dataset.test_accuracy.values}  # fmt: skip
            for axes, (quantity, y) in zip(panels[:, column], rows.items(), strict=True):
                for index in np.unique(sets):
                    axes.plot(x[sets == index], y[sets == index], "o", color=f"C{index}",
                              markersize=4, alpha=0.8)  # fmt: skip
                pair = f"{name}_and_{quantity}"
                correlation, partial = correlations[pair][0], correlations[f"{pair}_given_cost"][0]
                axes.set_title(
                    f"rank correlation {_interval(correlation)};\n"
                    f"cost held fixed {_interval(partial)}",
                    fontsize="medium",
                )
            panels[0, column].set_yscale("log", base=2)
            panels[0, column].yaxis.set_major_formatter("{x:g}")
            panels[1, column].set_xlabel(label)
        panels[0, 0].set_ylabel("number of starts")
        panels[1, 0].set_ylabel("test accuracy, %")
        figure.suptitle(
            f"{len(sets)} minima on {len(np.unique(sets))} disjoint sets of images, one color each"
        )
    return figure


def correlations_of_sets(correlations: Mapping[str, tuple[Interval, np.ndarray]]) -> Figure:
    """Draw the rank correlations in each set, and their means with intervals.

    Args:
        correlations: mean rank correlation, and the rank correlation in each set, by the names of
            both variables.
    """
    rows = [(name, quantity, suffix) for quantity in ("starts", "accuracy") for name in LABELS
            for suffix in ("", "_given_cost")]  # fmt: skip
    with style():
        figure = Figure(figsize=(9, 5))
        axes = figure.subplots()
        axes.axvline(0, color=GREY, linewidth=0.8)
        for row, (name, quantity, suffix) in enumerate(rows):
            mean, set_values = correlations[f"{name}_and_{quantity}{suffix}"]
            color = GREEN if suffix else BLUE
            axes.plot(set_values, np.full(len(set_values), row), "o", color=GREY, markersize=4)
            axes.errorbar(mean.value, row + 0.25, xerr=_arms(mean), fmt="o", color=color,
                          capsize=3)  # fmt: skip
        quantities = {"starts": "starts", "accuracy": "test accuracy"}
        axes.set_yticks(
            range(len(rows)),
            [f"{LABELS[name]}\nand {quantities[quantity]}" + (", cost held fixed" if suffix else "")
             for name, quantity, suffix in rows], fontsize="small",
        )  # fmt: skip
        axes.invert_yaxis()
        axes.set_xlim(-1.05, 1.05)
        axes.set_xlabel("rank correlation: each set (gray), and mean with 95 % interval")
        axes.set_title(f"Correlations with width, on {mean.runs} disjoint sets of images")
    return figure


def _interval(one):
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def _arms(one):
    """Return the lengths of both arms of an error bar, at least 0.

    Without this bound an arm could be negative, since a percentile interval may exclude the
    estimate.
    """
    return np.maximum([[one.value - one.low], [one.high - one.value]], 0)
