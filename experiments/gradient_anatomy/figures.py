"""Figures: entries and checks of a gradient.

Each function takes arrays by stage, such as `{"at the start": ..., "after 30 epochs": ...}`, and
draws the stages side by side.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, VERMILLION, label_log_axis, style

SIZES = np.logspace(-8, 0, 65)  # edges of the bins; smaller entries are in the first bin
LEAST = 1e-9  # smallest drawn error, since a logarithmic axis has no 0
MARKS = "os^Dv"


class Bars(NamedTuple):
    """Largest entries in order of decreasing magnitude, with their locations."""

    values: Float[np.ndarray, " entries"]
    places: Sequence[str]


class Proof(NamedTuple):
    """Predicted and actual changes of the cost, and the allowed relative errors."""

    predicted: Float[np.ndarray, " entries"]
    actual: Float[np.ndarray, " entries"]
    expected_error: Float[np.ndarray, " entries"]


def relative_sizes(stages: Mapping[str, Mapping[str, Float[np.ndarray, " _"]]]) -> Figure:
    """Draw the distribution of |g_i| / max |g| in each part of the gradient.

    Args:
        stages: for each stage, the relative sizes |g_i| / max |g| in each part of the gradient,
            such as a layer.
    """
    with style():
        figure = Figure(figsize=(9, 3.2 * len(stages) + 0.6))
        grid = figure.subplots(len(stages), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (stage, parts) in zip(grid, stages.items(), strict=True):
            count = sum(part.size for part in parts.values())
            zeros = sum(int(np.sum(part == 0)) for part in parts.values())
            for (name, part), color in zip(parts.items(), CYCLE, strict=False):
                entries = np.clip(part[part > 0], SIZES[0], 1)
                weights = np.full(entries.size, 1 / part.size)
                for kind, look in (
                    ("stepfilled", {"alpha": 0.3}),
                    ("step", {"linewidth": 2, "label": f"{name}: {part.size:,} entries"}),
                ):
                    axes.hist(entries, SIZES, weights=weights, histtype=kind, color=color, **look)
            axes.set_title(f"{stage}: {zeros / count:.1%} of all entries are exactly 0")
            axes.set(xscale="log", xlim=(SIZES[0], 1), ylabel="share of the layer's entries")
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        grid[0].legend(loc="upper left")
        grid[-1].set_xlabel("size of an entry relative to the largest,  |g$_i$| / max |g|")
    return figure


def top_entries(stages: Mapping[str, Bars]) -> Figure:
    """Draw the largest entries of a gradient as bars, with their signs and locations.

    Args:
        stages: largest entries by stage.
    """
    rows = max(len(bars.values) for bars in stages.values())
    with style():
        figure = Figure(figsize=(6.5 * len(stages), 0.3 * rows + 2.1))
        for axes, (stage, bars) in zip(
            np.ravel(figure.subplots(1, len(stages), squeeze=False)), stages.items(), strict=True
        ):
            positions = np.arange(len(bars.values))
            unit, unit_text = _unit(bars.values)
            axes.barh(
                positions, bars.values / unit, color=np.where(bars.values > 0, VERMILLION, BLUE)
            )
            axes.set_yticks(positions, bars.places)
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(rows - 0.4, -0.6)
            axes.axvline(0, color=BLACK, linewidth=1)
            axes.set(title=stage, xlabel=f"slope of the cost{unit_text}")
            axes.xaxis.set_major_locator(MaxNLocator(5))
        figure.legend(
            handles=[
                Patch(color=VERMILLION, label="positive: descent decreases the parameter"),
                Patch(color=BLUE, label="negative: descent increases the parameter"),
            ],
            loc="outside lower center",
            ncols=2,
        )
    return figure


def predicted_actual(stages: Mapping[str, Proof]) -> Figure:
    """Draw actual against predicted changes of the cost, and the relative errors.

    Args:
        stages: changes of the cost by stage.
    """
    with style():
        figure = Figure(figsize=(4.5 * len(stages) + 4.5, 4.8))
        *panels, errors = figure.subplots(1, len(stages) + 1)
        for axes, (stage, proof), color, mark in zip(
            panels, stages.items(), CYCLE, MARKS, strict=False
        ):
            shown = {"color": color, "marker": mark, "linestyle": "", "alpha": 0.75}
            axes.axline((0, 0), slope=1, color=GREY, linewidth=1.2, zorder=0)
            axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
            axes.axvline(0, color=GREY, linewidth=0.6, zorder=0)
            unit, unit_text = _unit(proof.predicted)
            axes.plot(proof.predicted / unit, proof.actual / unit, **shown)
            axes.set_title(stage)
            axes.set_xlabel(f"predicted change of the cost{unit_text},\ngradient times change")
            axes.set_ylabel(f"actual change of the cost{unit_text}")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(5))
            nonzero = proof.predicted != 0  # the relative error is undefined for an entry of 0
            deviations = np.abs(proof.actual[nonzero] / proof.predicted[nonzero] - 1)
            errors.plot(
                proof.expected_error[nonzero], np.maximum(deviations, LEAST), label=stage, **shown
            )
        errors.set(xscale="log", yscale="log")
        allowed = np.array(errors.get_xlim()) * (0.8, 1.25)
        top = max(2 * allowed[1], errors.get_ylim()[1])
        errors.fill_between(allowed, allowed, top, color=GREY, alpha=0.25, linewidth=0)
        errors.text(
            0.05, 0.95, "above the allowed error", transform=errors.transAxes, va="top", color=BLACK
        )
        errors.set_xlim(allowed)
        errors.set_ylim(top=top)
        for axis in (errors.xaxis, errors.yaxis):
            label_log_axis(axis, form=_percent)
        errors.set_xlabel("allowed relative error,\nfrom curvature and rounding")
        errors.set_ylabel("relative error of the prediction")
        errors.set_title("Errors of the predicted changes")
        errors.legend(loc="lower right")
    return figure


def _unit(values):
    """Return the power of 1000 by which values on an axis are divided, and its label."""
    highest = np.max(np.abs(values), initial=0)
    power = 3 * int(np.floor(np.log10(highest) / 3)) if highest > 0 else 0
    if power == -3 and highest > 0.1:
        power = 0
    return 10.0**power, f" (10$^{{{power}}}$)" if power else ""


def _percent(share):
    return f"{100 * share:.3g}%"
