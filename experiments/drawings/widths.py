"""Pictures of how wide valleys are, and what goes with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdjax.plots.style import BLUE, GREEN, GREY, style
from gdjax.statistics import Interval

ACROSS = {
    "volume": ("volume_log_volume", "log volume, nats"),
    "coefficient": ("chains_coefficient", "learning coefficient at one temperature"),
}
FLOOR = 5  # the axis of shares ends at the least share over this


def of_minima(dataset: Any, found: Mapping[str, Interval]) -> Figure:
    """Shares of starts and test accuracy of each minimum against its volume and coefficient.

    Args:
        dataset: a census with widths, as of `widths_of_valleys`.
        found: rank correlations by the names of both.
    """
    with style():
        figure = Figure(figsize=(11, 7.4))
        panels = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (name, (variable, label)) in enumerate(ACROSS.items()):
            x = dataset[variable].values
            starts, reads = panels[:, column]
            away = _beside(dataset, name)
            low, high = (abs(dataset[end].values - dataset.share.values) for end in
                         ("share_low", "share_high"))  # fmt: skip
            starts.errorbar(x, 100 * dataset.share, xerr=away, yerr=100 * np.array([low, high]),
                            fmt="o", color=BLUE, elinewidth=0.6, markersize=5)  # fmt: skip
            starts.set_yscale("log")
            # Bars of minima that one start found go down to nothing: cut where they say no more.
            starts.set_ylim(bottom=100 * float(dataset.share.min()) / FLOOR)
            starts.yaxis.set_major_formatter("{x:g}")
            reads.errorbar(x, 100 * dataset.test_accuracy, xerr=away, fmt="o", color=GREEN,
                           elinewidth=0.6, markersize=5)  # fmt: skip
            reads.set_xlabel(label)
            for axes, asked in ((starts, "starts"), (reads, "accuracy")):
                one = found[f"{name}_and_{asked}"]
                axes.set_title(
                    f"rank correlation {one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
                )
        panels[0, 0].set_ylabel("starts that end there, per cent")
        panels[1, 0].set_ylabel("test digits right, per cent")
        one = found["volume_and_starts"]
        said = "more often" if one.low > 0 else "less often" if one.high < 0 else "no more often"
        figure.suptitle(f"Of {one.runs} minima, those with more room are found {said}")
    return figure


def _beside(dataset, name):
    """Half lengths of the bars across; a lower bound has none upwards."""
    if name == "coefficient":
        return np.nan_to_num(1.96 * dataset.chains_standard_error.values)
    value = dataset.volume_log_volume.values
    up = dataset.volume_high.values - value
    return np.array([value - dataset.volume_low.values, np.where(np.isfinite(up), up, 0)])


def by_coordinates(
    log_volume: Float[np.ndarray, "known networks"],
    known: Sequence[str],
    gains: Mapping[str, Interval],
) -> Figure:
    """What is found of basins' volumes, by what the coordinates know of their shape.

    Args:
        log_volume: in nats, NaN where none was taken.
        known: what the coordinates know.
        gains: of each kind over the one before it.
    """
    with style():
        figure = Figure(figsize=(8, 4.6))
        axes = figure.subplots()
        places = np.arange(len(known))
        axes.plot(places, log_volume, color=GREY, linewidth=0.6)
        axes.plot(places, log_volume, "o", color=BLUE, markersize=4)
        for place, (_, gain) in zip(places[1:], gains.items(), strict=True):
            height = np.nanmean(log_volume[place - 1 : place + 1])
            axes.annotate(
                f"+{gain.value:,.0f}" if gain.value > 0 else f"{gain.value:,.0f}",
                (place - 0.5, height), xytext=(-6, 6), textcoords="offset points", ha="right",
            )  # fmt: skip
        axes.set_xticks(places, known)
        axes.set_xlim(-0.6, len(known) - 0.4)
        axes.set_xlabel("what the coordinates know of the basin")
        axes.set_ylabel("log volume found, nats")
        best = known[int(np.argmax(np.nanmean(log_volume, axis=1)))]
        axes.set_title(f"Most is found in coordinates that know of the basin: {best}")
    return figure
