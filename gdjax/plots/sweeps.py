"""Final costs and outcomes of a sweep against its settings, and cost curves."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import PercentFormatter

from gdjax.plots.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREEN,
    SEQUENTIAL,
    SKY,
    VERMILLION,
    Figure,
    figure_of,
    style,
    styled_axes,
)

MIN_GAP = 1 / 40  # smallest distance between values with visible bars, as a share of the axis
NOT_RUN = "#DDDDDD"
BASELINE = "best answer that ignores the input"
NONE_FINITE = "No median of the final cost is finite"

OUTCOME_COLORS = {
    "not_converged": SKY,
    "converged": GREEN,
    "stalled": BLACK,
    "diverged": VERMILLION,
}


def quantiles(
    values: Float[np.ndarray, "settings runs *times"], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "shares settings *times"]:
    """Return quantiles over runs; +inf counts as larger than any number.

    Quantiles are values of the inverse of the empirical distribution function; where it jumps, they
    are the mean of two values. For example, the median of eight runs is the mean of two values.
    """
    at = np.asarray(shares)
    lower = np.quantile(values, at, axis=1, method="inverted_cdf")
    upper = -np.quantile(-np.asarray(values), 1 - at, axis=1, method="inverted_cdf")
    return (lower + upper) / 2


class Setting:
    """Values of one axis of a sweep, and their positions in a figure.

    Three or more positive numbers over a wide range are drawn on a logarithmic axis and other
    numbers on a linear one. Names and booleans, and numbers too close together on their axis (such
    as 0, 0.001 and 1), are drawn as categories at 0, 1, 2 and so on.

    Args:
        name: name of the axis.
        values: values along the axis (numbers, booleans or names).
    """

    def __init__(self, name: str, values: np.ndarray):
        self.label = name.replace("_", " ")
        self.names = [f"{v:.3g}" if values.dtype.kind == "f" else str(v) for v in values]
        positions = np.arange(len(values), dtype=float)
        self.is_category = values.dtype.kind not in "iuf"
        self.positions = positions if self.is_category else np.asarray(values, float)
        self.log = bool(
            not self.is_category
            and len(values) > 2
            and np.all(values > 0)
            and np.max(values) >= 20 * np.min(values)
        )
        if len(values) > 1 and self._gap() < MIN_GAP * np.ptp(self._scaled()):
            self.positions, self.log, self.is_category = positions, False, True

    def _scaled(self):
        """Return positions along the drawn axis, up to a factor."""
        return np.log(self.positions) if self.log else self.positions

    def _gap(self):
        """Return the smallest distance between two values along the drawn axis."""
        if len(self.positions) > 1:
            return float(np.min(np.diff(np.sort(self._scaled()))))
        return 1.0 if self.is_category else float(abs(self._scaled()[0])) or 1.0

    def bars(self) -> tuple[Float[np.ndarray, " settings"], Float[np.ndarray, " settings"]]:
        """Return left edges and widths of equally wide bars centered at the values."""
        at, half = self._scaled(), 0.4 * self._gap()
        left, right = (np.exp(x) if self.log else x for x in (at - half, at + half))
        return left, right - left

    def edges(self) -> Float[np.ndarray, " edges"]:
        """Return cell edges halfway between ascending values along the drawn axis."""
        at = self._scaled()
        first, last = (at[1] - at[0], at[-1] - at[-2]) if len(at) > 1 else (self._gap(),) * 2
        inner = (at[1:] + at[:-1]) / 2
        edges = np.concatenate([[at[0] - first / 2], inner, [at[-1] + last / 2]])
        return np.exp(edges) if self.log else edges

    def on(self, axes: Axes, side: str) -> None:
        """Set the label, scale and tick labels of an axis; `side` is "x" or "y"."""
        axes.set(**{f"{side}label": self.label})
        if self.is_category or len(self.positions) == 1:
            axes.set(**{f"{side}ticks": self.positions, f"{side}ticklabels": self.names})
        elif self.log:
            axes.set(**{f"{side}scale": "log"})


def outcomes_by_setting(
    setting: Setting,
    accuracy: Float[np.ndarray, "settings runs"] | None,
    cost: Float[np.ndarray, "settings runs"],
    outcome: Int[np.ndarray, "settings runs"],
    *,
    outcomes: Sequence[str],
    baseline: float | None = None,
    title: str = "",
) -> Figure:
    """Draw final cost, accuracy (if given) and outcomes against a setting.

    Args:
        setting: swept setting.
        accuracy: test accuracy of each run, in [0, 1]; None if it was not recorded.
        cost: final training cost of each run; +inf if it diverged.
        outcome: index of the outcome of each run in `outcomes`.
        outcomes: name of each possible outcome.
        baseline: cost of the best constant prediction.
        title: figure title; by default, it names the setting with the lowest median cost.
    """
    position = setting.positions
    with style():
        panel_data = (
            [(cost, VERMILLION)] if accuracy is None else [(accuracy, BLUE), (cost, VERMILLION)]
        )
        figure = Figure(figsize=(8, 2.5 + 3 * len(panel_data)))
        *panels, bottom = figure.subplots(
            len(panel_data) + 1,
            1,
            sharex=True,
            gridspec_kw={"height_ratios": [3] * len(panel_data) + [1.4]},
        )
        for axes, (values, color) in zip(panels, panel_data, strict=True):
            low, half, high = quantiles(values)
            finite = np.isfinite(half)
            axes.fill_between(
                position,
                low,
                np.where(np.isfinite(high), high, half),
                where=finite,
                color=color,
                alpha=0.2,
                label="quartiles",
            )
            axes.plot(position[finite], half[finite], "-o", color=color, label="median")
            x = np.repeat(position, values.shape[1])
            axes.plot(x, values.ravel(), ".", color="black", alpha=0.35, label="one run")
        median = quantiles(cost)[1]
        lowest = _lowest(median)
        default_title = (
            f"Lowest median training cost at {setting.label} {setting.names[lowest[0]]}"
            if lowest
            else NONE_FINITE
        )
        top, middle = panels[0], panels[-1]
        if accuracy is not None:
            top.set_ylabel("test accuracy")
            top.yaxis.set_major_formatter(PercentFormatter(1.0))
            top.set_ylim(0, 1)
        top.set_title(title or default_title)
        top.legend(loc="best")
        middle.set_ylabel("final training cost")
        if np.all(cost > 0) and np.isfinite(cost).any():
            middle.set_yscale("log")
        if baseline is not None:
            line = middle.axhline(baseline, color="black", linestyle=":", linewidth=1.5)
            middle.legend([line], [BASELINE], loc="best")
        below = np.zeros(len(position))
        left, width = setting.bars()
        for number, name in enumerate(outcomes):
            share = np.mean(outcome == number, axis=1)
            if share.any():
                color = OUTCOME_COLORS.get(name, "grey")
                bottom.bar(
                    left,
                    share,
                    width,
                    below,
                    align="edge",
                    label=name.replace("_", " "),
                    color=color,
                )
            below = below + share
        bottom.set_ylim(0, 1)
        bottom.set_ylabel("share of runs")
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
        bottom.legend(loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=len(outcomes))
        setting.on(bottom, "x")
    return figure


def _lowest(medians):
    """Return the indices of the lowest finite median, or None."""
    finite = np.isfinite(medians)
    if not finite.any():
        return None
    lowest = np.argmin(np.where(finite, medians, np.inf))
    return np.unravel_index(lowest, medians.shape)


def curves(
    step: Int[np.ndarray, " records"],
    cost: Float[np.ndarray, "runs records"],
    *,
    baseline: float | None = None,
    label: str = "run",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the cost of each run against the step, and the median over runs.

    Args:
        step: step number of each record.
        cost: cost of each run at each record; +inf once the run has diverged.
        baseline: cost of the best constant prediction.
        label: name of the setting that differs between the runs.
        title: axes title; by default, it states the range of final costs.
        ax: axes to draw into; None creates a new figure.
    """
    median = quantiles(cost.T)[1]
    with styled_axes(ax, (8, 4.8)) as axes:
        alpha = max(0.08, min(0.7, 10 / len(cost)))
        for number, values in enumerate(cost):
            axes.plot(
                step, _finite(values), color=BLUE, linewidth=1, alpha=alpha,
                label=None if number else f"one {label}",
            )  # fmt: skip
        axes.plot(step, _finite(median), color=VERMILLION, label="median")
        finite = cost[np.isfinite(cost)]
        if finite.size and finite.min() > 0 and finite.max() > 10 * finite.min():
            axes.set_yscale("log")
        if baseline is not None:
            axes.axhline(baseline, color="black", linestyle=":", linewidth=1.5, label=BASELINE)
        axes.set_title(title or _final_range(cost[:, -1]))
        axes.set_xlabel("step")
        axes.set_ylabel("training cost")
        axes.legend()
    return axes


def _finite(values):
    return np.where(np.isfinite(values), values, np.nan)


def _final_range(costs):
    """Return a title such as "3 runs end at a cost of 1 to 7"."""
    finite = costs[np.isfinite(costs)]
    if not finite.size:
        return f"No final cost of {len(costs)} run{'s' * (len(costs) > 1)} is finite"
    low, high = finite.min(), finite.max()
    end = f"{low:.3g}" if len(finite) == 1 else f"{low:.3g} to {high:.3g}"
    diverged = np.sum(np.isposinf(costs))
    return (
        f"{len(finite)} run{'s end' if len(finite) > 1 else ' ends'} at a cost of {end}"
        + f", {diverged} diverged" * bool(diverged)
    )


def map_by_settings(
    rows: Setting,
    columns: Setting,
    cost: Float[np.ndarray, "rows columns runs"],
    stalled: Bool[np.ndarray, "rows columns runs"] | None = None,
    *,
    baseline: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the median final cost on the grid of two settings; black if infinite.

    Args:
        rows: setting along the vertical axis, with ascending values.
        columns: setting along the horizontal axis, with ascending values.
        cost: final cost of each run; +inf if it diverged.
        stalled: whether each run stalled; a circle marks cells in which at least half stalled.
        baseline: cost of the best constant prediction, drawn as a line in the color bar.
        title: axes title; by default, it names the settings with the lowest median cost.
        ax: axes to draw into; None creates a new figure.
    """
    half = quantiles(cost.transpose(0, 2, 1), (0.5,))[0]
    finite = half[np.isfinite(half)]
    diverged = np.isposinf(half)
    any_diverged = bool(diverged.any())
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    above = high + max(1.0, abs(high))  # drawn in the color for values above the range
    norm = (LogNorm if 0 < 10 * low < high else Normalize)(low, high)
    with styled_axes(ax, (8, 5.6)) as axes:
        image = axes.pcolormesh(
            columns.edges(),
            rows.edges(),
            np.ma.masked_invalid(np.where(diverged, above, half)),
            cmap=colormaps[SEQUENTIAL].with_extremes(over=BLACK, bad=NOT_RUN),
            norm=norm,
        )
        rows.on(axes, "y")
        columns.on(axes, "x")
        label = "final training cost, median over runs" + "; black: diverged" * any_diverged
        if stalled is not None and (mostly := np.mean(stalled, axis=2) >= 0.5).any():
            i, j = np.nonzero(mostly)
            centers = columns.positions[j], rows.positions[i]
            axes.plot(*centers, "o", color="none", markeredgecolor="white", markersize=9)
            axes.set_xlabel(f"{axes.get_xlabel()}\ncircle: at least half of the runs stalled")
        lowest = _lowest(half)
        if lowest is None:
            axes.set_title(title or NONE_FINITE)
            return axes
        i, j = lowest
        axes.plot(
            columns.positions[j],
            rows.positions[i],
            "*",
            color="white",
            markeredgecolor=BLACK,
            markersize=18,
        )
        at = f"{rows.label} {rows.names[i]}, {columns.label} {columns.names[j]}"
        axes.set_title(title or f"Lowest cost at {at}")
        bar = figure_of(axes).colorbar(
            image, ax=axes, label=label, extend="max" if any_diverged else "neither"
        )
        if baseline is not None and low <= baseline <= high:
            bar.ax.axhline(baseline, color="white", linestyle=":", linewidth=2)
            bar.ax.text(-0.2, baseline, "baseline", ha="right", va="center", fontsize=11)
    return axes


def compared(
    rows: Mapping[str, tuple[Setting | None, Float[np.ndarray, "*settings runs"]]],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw final costs of several problems, against a setting or side by side.

    Args:
        rows: for the name of each problem, the swept setting (or None) and the final cost of each
            run.
        title: axes title; by default, it names the problem with the lowest median.
        ax: axes to draw into; None creates a new figure.
    """
    best = min(rows, key=lambda name: float(np.min(quantiles(np.atleast_2d(rows[name][1]))[1])))
    with styled_axes(ax, (8, 5)) as axes:
        for number, ((name, (setting, final)), color) in enumerate(
            zip(rows.items(), cycle(CYCLE), strict=False)
        ):
            position = np.array([number]) if setting is None else setting.positions
            cost = np.atleast_2d(final)
            median = quantiles(cost)[1]
            x = np.repeat(position, cost.shape[1])
            axes.plot(x, _finite(cost).ravel(), ".", color=color, alpha=0.35)
            axes.plot(position, _finite(median), "o-", color=color, label=name)
            if setting is not None:
                setting.on(axes, "x")
        finite = np.concatenate([cost[np.isfinite(cost)] for _, cost in rows.values()])
        if finite.size and finite.min() > 0:
            axes.set_yscale("log")
        if all(setting is None for setting, _ in rows.values()):
            axes.set_xticks(np.arange(len(rows)), list(rows))
        else:
            axes.legend()
        axes.set_ylabel("final training cost (line: median over runs)")
        axes.set_title(title or f"Lowest median: {best}")
    return axes


def curves_by_setting(
    time: Float[np.ndarray, " records"],
    setting: Float[np.ndarray, " settings"],
    values: Float[np.ndarray, "settings runs records"],
    *,
    time_label: str = "epoch",
    value_label: str = "training cost",
    setting_label: str = "learning rate",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the median over runs against time, with one curve per value of a setting.

    Args:
        time: time of each record.
        setting: values of the setting, which determine the colors of the curves.
        values: value of each run at each record; +inf once the run has diverged.
        time_label: label of the time axis, with the unit.
        value_label: label of the value axis.
        setting_label: name of the setting.
        log: whether the axis of values is logarithmic.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 5)) as axes:
        positive = np.all(setting > 0) and len(setting) > 1
        norm = (LogNorm if positive else Normalize)(np.min(setting), np.max(setting))
        colors = colormaps[SEQUENTIAL]
        medians = quantiles(values, (0.5,))[0]
        lowest = int(np.argmin(medians[:, -1]))
        for number, value in enumerate(setting):
            axes.plot(
                time,
                _finite(medians[number]),
                color=colors(norm(value)),
                linewidth=4 if number == lowest else 1.5,
            )
        axes.set_title(f"Lowest final value at {setting_label} {setting[lowest]:.3g}")
        axes.set_xlabel(time_label)
        axes.set_ylabel(f"{value_label}, median over seeds")
        if log:
            axes.set_yscale("log")
        bar = figure_of(axes).colorbar(ScalarMappable(norm, colors), ax=axes)
        bar.set_label(setting_label)
        bar.ax.minorticks_off()
    return axes


def tuning_curves(
    trials: Int[np.ndarray, " trials"],
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    value_label: str = "median best cost",
    direction: str = "minimize",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the best of k random settings against k, with one curve per optimizer.

    Args:
        trials: numbers k of settings.
        curves: for the name of each optimizer, the value at each k and the lower and upper ends of
            its interval. Infinite values are not drawn, and a band with an infinite end covers the
            rest of the axes.
        value_label: label of the value axis.
        direction: "minimize" or "maximize".
        title: axes title; by default, it names the optimizer that is better than all others at the
            largest k, if the intervals do not overlap.
        ax: axes to draw into; None creates a new figure.
    """
    finite = np.concatenate([np.ravel(curve) for curve in curves.values()])
    finite = finite[np.isfinite(finite)]
    reach = 10 * np.abs(finite).max() if finite.size else 1.0
    positive = finite[finite > 0]
    log = bool(np.all(finite >= 0) and positive.size and positive.max() > 10 * positive.min())
    with styled_axes(ax, (8, 5)) as axes:
        for (name, (value, low, high)), color in zip(curves.items(), cycle(CYCLE), strict=False):
            axes.plot(trials, _finite(value), "o-", color=color, label=name)
            band = (np.nan_to_num(end, posinf=reach, neginf=-reach) for end in (low, high))
            axes.fill_between(trials, *band, where=np.isfinite(value), color=color, alpha=0.2)
        if log:
            axes.set_yscale("log")
            axes.set_ylim(positive.min() / 1.2, positive.max() * 1.2)
        elif finite.size:
            margin = 0.05 * (np.ptp(finite) or 1)
            axes.set_ylim(finite.min() - margin, finite.max() + margin)
        axes.set_xscale("log", base=2)
        axes.set_xticks(trials, [f"{k:,}" for k in trials])
        axes.minorticks_off()
        axes.set_xlabel("number of random settings")
        axes.set_ylabel(value_label)
        if len(curves) > 1:
            axes.legend()
            title = title or f"Best of {trials[-1]:,}: {_clear_best(curves, direction)}"
        axes.set_title(title)
    return axes


def _clear_best(curves, direction):
    """Return the curve whose last interval is best, or a note that intervals overlap."""
    sign = 1 if direction == "minimize" else -1
    last = {name: sorted(sign * end[-1] for end in ends) for name, (_, *ends) in curves.items()}
    best, second, *_ = sorted(last, key=lambda name: last[name][1])
    others = min(last[name][0] for name in last if name != best)
    return best if last[best][1] < others else f"intervals of {best} and {second} overlap"
