"""Pictures of a sweep: how runs end against what was varied, and how they got there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, GREEN, SEQUENTIAL, SKY, VERMILLION, style

OUTCOME_COLORS = {
    "descending": SKY,
    "converged": GREEN,
    "dead": BLACK,
    "diverged": VERMILLION,
}


def quantiles(
    values: Float[np.ndarray, "settings runs *times"], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "shares settings *times"]:
    """Quantiles over runs that count +inf as what it is: worse than any number.

    The usual ones where they are finite: the median of eight runs is the mean of two values.
    """
    at = np.asarray(shares)
    lower = np.quantile(values, at, axis=1, method="inverted_cdf")
    upper = -np.quantile(-np.asarray(values), 1 - at, axis=1, method="inverted_cdf")
    return (lower + upper) / 2


def ends_by_setting(
    setting: Float[np.ndarray, " settings"],
    accuracy: Float[np.ndarray, "settings runs"] | None,
    cost: Float[np.ndarray, "settings runs"],
    outcome: Int[np.ndarray, "settings runs"],
    *,
    outcomes: Sequence[str],
    label: str = "learning rate",
    log: bool = True,
    baseline: float | None = None,
) -> Figure:
    """Final cost, and accuracy if there is one, against a setting, and how the runs ended.

    Args:
        setting: its values.
        accuracy: test accuracy of each run, in [0, 1]; None where it was not measured.
        cost: final training cost of each run; +inf where it diverged.
        outcome: position in `outcomes` of how each run ended.
        outcomes: names of outcomes.
        label: name of the setting, with its unit if it has one.
        log: whether the setting is shown on a logarithmic axis.
        baseline: cost of the best answer that ignores the input.
    """
    with style():
        shown = [(cost, VERMILLION)] if accuracy is None else [(accuracy, BLUE), (cost, VERMILLION)]
        figure = Figure(figsize=(8, 2.5 + 3 * len(shown)))
        *panels, bottom = figure.subplots(
            len(shown) + 1, 1, sharex=True, gridspec_kw={"height_ratios": [3] * len(shown) + [1.4]}
        )
        for axes, (values, color) in zip(panels, shown, strict=True):
            low, half, high = quantiles(values)
            finite = np.isfinite(half)
            axes.fill_between(
                setting,
                low,
                np.where(np.isfinite(high), high, half),
                where=finite,
                color=color,
                alpha=0.2,
                label="middle half of the seeds",
            )
            axes.plot(setting[finite], half[finite], "-o", color=color, label="median")
            x = np.repeat(setting, values.shape[1])
            axes.plot(x, values.ravel(), ".", color="black", alpha=0.35, label="one run")
        best = setting[np.argmin(quantiles(cost)[1])]
        top, middle = panels[0], panels[-1]
        if accuracy is not None:
            top.set_ylabel("test accuracy")
            top.yaxis.set_major_formatter(PercentFormatter(1.0))
            top.set_ylim(0, 1)
        top.set_title(f"Lowest median training cost at {label} {best:.3g}")
        top.legend(loc="best")
        middle.set_ylabel("final training cost")
        if np.all(cost > 0):
            middle.set_yscale("log")
        if baseline is not None:
            line = middle.axhline(baseline, color="black", linestyle=":", linewidth=1.5)
            middle.legend([line], ["best answer that ignores the input"], loc="best")
        below = np.zeros(len(setting))
        place = np.arange(len(setting)) if not log else setting
        width = _widths(place, log)
        for number, name in enumerate(outcomes):
            share = np.mean(outcome == number, axis=1)
            if share.any():
                bottom.bar(
                    place, share, width, below, label=name, color=OUTCOME_COLORS.get(name, "grey")
                )
            below = below + share
        bottom.set_ylabel("share of runs")
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
        bottom.set_xlabel(label)
        bottom.legend(loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=len(outcomes))
        if log:
            bottom.set_xscale("log")
    return figure


class Trained(NamedTuple):
    """Which learning rates train one network, from each starting point.

    Args:
        rates: ascending.
        trained: whether the run with this rate from this start did.
        best: the learning rate of the lowest median cost, for comparison.
    """

    rates: Float[np.ndarray, " rates"]
    trained: Bool[np.ndarray, "rates seeds"]
    best: float


def trained_sets(networks: Mapping[str, Trained]) -> Figure:
    """For every start the set of rates that train, a panel a network; a row is a start.

    Args:
        networks: by name.
    """
    with style():
        figure = Figure(figsize=(6.5 * len(networks), 5.0))
        panels = figure.subplots(1, len(networks), squeeze=False)[0]
        for axes, (name, one) in zip(panels, networks.items(), strict=True):
            seeds = np.arange(one.trained.shape[1])
            x, y = np.meshgrid(one.rates, seeds, indexing="ij")
            for side, marker, color, label in (
                (one.trained, "o", BLUE, "trains"),
                (~one.trained, "x", VERMILLION, "does not"),
            ):
                axes.plot(x[side], y[side], marker, color=color, label=label, markersize=4)
            alternate = np.sum(np.sum(one.trained[1:] > one.trained[:-1], axis=0) > 0)
            axes.set_title(f"{name}: {alternate} of {len(seeds)} starts alternate")
            if one.rates[0] <= one.best <= one.rates[-1]:
                axes.axvline(one.best, color=BLACK, linestyle=":", linewidth=1.5)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("{x:g}")
            axes.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axes.set_xlabel("learning rate")
            axes.set_yticks(seeds)
        panels[0].set_ylabel("starting point")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _widths(place, log):
    """Bars as wide as their neighbours leave room for."""
    if len(place) == 1:
        return 0.5 * place if log else np.array([0.8])
    if not log:
        return 0.8 * np.full(len(place), np.min(np.diff(place)))
    ratio = np.min(place[1:] / place[:-1])
    return 0.8 * place * (np.sqrt(ratio) - 1 / np.sqrt(ratio))


def curves_by_setting(
    time: Float[np.ndarray, " records"],
    setting: Float[np.ndarray, " settings"],
    values: Float[np.ndarray, "settings runs records"],
    *,
    time_label: str = "epoch",
    value_label: str = "training cost",
    setting_label: str = "learning rate",
    log: bool = True,
) -> Figure:
    """One curve a setting: the median over runs along the descent.

    Args:
        time: of each record.
        setting: its values; they decide the curves' colours.
        values: of each run at each record; +inf from divergence on.
        time_label: name of the time, with its unit.
        value_label: name of the value.
        setting_label: name of the setting.
        log: whether the value is shown on a logarithmic axis.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    with style():
        figure = Figure(figsize=(8, 5))
        axes = figure.subplots()
        positive = np.all(setting > 0) and len(setting) > 1
        norm = (LogNorm if positive else Normalize)(np.min(setting), np.max(setting))
        colors = colormaps[SEQUENTIAL]
        medians = quantiles(values, (0.5,))[0]
        lowest = int(np.argmin(medians[:, -1]))
        for number, value in enumerate(setting):
            half = medians[number]
            axes.plot(
                time,
                np.where(np.isfinite(half), half, np.nan),
                color=colors(norm(value)),
                linewidth=4 if number == lowest else 1.5,
            )
        axes.set_title(f"Lowest in the end: {setting_label} {setting[lowest]:.3g}")
        axes.set_xlabel(time_label)
        axes.set_ylabel(f"{value_label}, median over seeds")
        if log:
            axes.set_yscale("log")
        bar = figure.colorbar(ScalarMappable(norm, colors), ax=axes)
        bar.set_label(setting_label)
        bar.ax.minorticks_off()
    return figure
