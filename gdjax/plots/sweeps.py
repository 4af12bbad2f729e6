"""Pictures of a sweep: how runs end against what was varied, and how they got there."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, SEQUENTIAL, SKY, VERMILLION, style

OUTCOME_COLORS = {
    "descending": SKY,
    "converged": GREEN,
    "dead": BLACK,
    "diverged": VERMILLION,
}


def quantiles(
    values: Float[np.ndarray, "settings runs"], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "shares settings"]:
    """Quantiles over runs that count +inf as what it is: worse than any number."""
    return np.quantile(values, shares, axis=1, method="inverted_cdf")


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


class Bisection(NamedTuple):
    """How one network's largest working learning rates were found.

    Args:
        tested: learning rate of each halving and seed.
        worked: whether that run trained.
        best: the learning rate of the lowest median cost, for comparison.
    """

    tested: Float[np.ndarray, "halvings seeds"]
    worked: Bool[np.ndarray, "halvings seeds"]
    best: float


def bisections(found: Mapping[str, Bisection]) -> Figure:
    """Every seed's way to its own largest learning rate, a panel a network.

    Args:
        found: by the network's name.
    """
    with style():
        figure = Figure(figsize=(5.5 * len(found), 5.5))
        panels = figure.subplots(1, len(found), sharex=True, squeeze=False)[0]
        for axes, (name, one) in zip(panels, found.items(), strict=True):
            halving = np.arange(1, len(one.tested) + 1)
            axes.plot(halving, one.tested, color=GREY, linewidth=1)
            x = np.broadcast_to(halving[:, None], one.tested.shape)
            for side, marker, color, label in (
                (one.worked, "o", BLUE, "trains"),
                (~one.worked, "x", VERMILLION, "does not"),
            ):
                axes.plot(x[side], one.tested[side], marker, color=color, label=label, zorder=3)
            limits = one.tested[-1]
            axes.set_title(f"{name}: {limits.min():.2g} to {limits.max():.2g}")
            axes.axhline(one.best, color=BLACK, linestyle=":", linewidth=1.5)
            axes.text(1, one.best, "lowest median cost", va="bottom", fontsize=11)
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
            axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
            axes.set_xlabel("halving of the bracket")
            axes.set_xticks(halving)
            axes.legend(loc="center right")
        panels[0].set_ylabel("learning rate tested")
        figure.suptitle("Largest learning rate that trains, by halving, for each starting point")
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
        medians = np.quantile(values, 0.5, axis=1, method="inverted_cdf")
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
