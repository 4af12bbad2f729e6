"""Final costs and outcomes of a sweep against its settings, and cost curves."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import PercentFormatter

from gdjax.base.outcome_colors import OUTCOME_COLORS
from gdjax.plots.axes import (
    figure_of,
    legend_above,
    limit_to,
    log_scale,
    set_title,
    styled_axes,
)
from gdjax.plots.style import (
    BLACK,
    BLUE,
    CYCLE,
    MAX_WIDTH,
    SEQUENTIAL,
    VERMILLION,
    Figure,
    style,
)

MIN_GAP = 1 / 40  # smallest distance between values with visible bars, as a share of the axis
MIN_TICK_GAP = 1 / 12  # smallest distance between values with legible labels
MAX_MAPS = 12
LEAST_CELLS = 4  # least number of cells of a map among which outliers are found
OUTLIER = 3  # distance of an outlier from the upper quartile, in quartile ranges of the logarithm
LEAST_OUTLIER = np.log(1e3)  # least such distance
MAX_BORDERED = 400  # number of cells of a map up to which they have borders
BASELINE = "best answer that ignores the input"
NONE_FINITE = "No median of the final cost is finite"
OF_COST = "keyword of the cost"  # comment of coordinates, as in `gdjax.sweeps.dataset`
RUN = "__run"  # dimension of the runs that differ only in seeds; no axis has such a name


def quantiles(
    values: Float[np.ndarray, "settings runs *times"], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "shares settings *times"]:
    """Return quantiles over runs; +inf counts as larger than any number.

    Quantiles are values of the inverse of the empirical distribution function; where it jumps, they
    are the mean of two values. For example, the median of eight runs is the mean of two values.

    Examples:
        >>> quantiles(np.array([[1.0, 2.0, 3.0, np.inf]])).ravel().tolist()
        [1.5, 2.5, inf]
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
        is_of_cost: whether the cost itself depends on the setting, so that the costs at different
            values are not compared.
    """

    def __init__(self, name: str, values: np.ndarray, *, is_of_cost: bool = False):
        self.label, self.is_of_cost = name.replace("_", " "), is_of_cost
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
        if self._gap() < MIN_GAP * np.ptp(self._scaled()):
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
        if self.log:
            axes.set(**{f"{side}scale": "log"})
        elif self.is_category or self._gap() >= MIN_TICK_GAP * np.ptp(self.positions):
            axes.set(**{f"{side}ticks": self.positions, f"{side}ticklabels": self.names})


def setting_along(runs: Any, dim: str) -> Setting:
    """Return the setting along a dimension; zipped axes are shown by the values that vary."""
    along = {str(name): c.values for name, c in runs.coords.items() if c.dims == (dim,)}
    varied = {name: values for name, values in along.items() if len(np.unique(values)) > 1}
    is_of_cost = any(runs[name].attrs.get("comment") == OF_COST for name in varied)
    if dim in along or not varied:
        return Setting(dim, runs[dim].values, is_of_cost=is_of_cost)
    texts = [[_number(value) for value in values] for values in varied.values()]
    rows = np.array([", ".join(row) for row in zip(*texts, strict=True)])
    return Setting(", ".join(varied), rows, is_of_cost=is_of_cost)


def _number(value):
    return f"{value:.3g}" if isinstance(value, float | np.floating) else str(value)


def sweep(runs: Any, *, title: str = "", variable: str = "cost") -> Figure:
    """Draw curves of the cost, or final costs against the settings that a sweep compares.

    One setting is drawn as an axis, and two as the axes of a map. Each combination of further
    settings has a map of its own.

    Args:
        runs: Dataset of a sweep, or of several joined by `concat`.
        title: figure title; by default, it summarizes the data, and names settings of one value.
        variable: recorded number of which the final values are drawn, the lowest being the best.

    Raises:
        ValueError: if `variable` is no recorded number, if the sweep compares so many settings that
            more than 12 maps are needed, if no run is finished, or if runs were averaged.
    """
    if runs.outcome.dtype.kind == "f":
        raise ValueError("outcomes were averaged; pass all runs, of which medians are drawn")
    finished, total = int((runs.outcome >= 0).sum()), runs.outcome.size
    if not finished:
        raise ValueError("no run is finished; continue the sweep with gd.resume")
    numbers = [str(name) for name, a in runs.data_vars.items() if a.dims == runs.cost.dims]
    if variable not in numbers:
        raise ValueError(
            f"variable = {variable!r:.80}, expected a recorded number: {', '.join(numbers)}"
        )
    quantity, baseline = variable.replace("_", " "), None
    if variable == "cost":
        quantity = "training cost"
        baseline = _identity(runs).get("baseline", runs.attrs.get("baseline"))
    runs, compared, seeds = _by_settings(runs)
    final = _final(runs[variable], seeds)
    if not compared:
        label = " and ".join(seeds) or "run"
        cost = _stack(runs[variable], seeds).transpose(RUN, "step").values
        names = {"label": label, "quantity": quantity}
        figure = _curves(runs.step.values, cost, baseline=baseline, title=title, **names)
    else:
        names = runs.outcome.attrs["flag_meanings"].split()
        outcome = _stack(runs.outcome, seeds)
        if len(compared) == 1:
            setting = setting_along(runs, compared[0])
            accuracy = _final(runs.test_accuracy, seeds).values if "test_accuracy" in runs else None
            options = {"outcomes": names, "baseline": baseline, "title": title}
            options["quantity"] = quantity
            figure = outcomes_by_setting(setting, accuracy, final.values, outcome.values, **options)
        else:
            stalled = outcome == (names.index("stalled") if "stalled" in names else -1)
            texts = {"quantity": quantity, "title": title}
            figure = _maps(final, stalled, compared, baseline=baseline, **texts)
    constants = [
        f"{str(name).replace('_', ' ')} " + (f"{v:.3g}" if isinstance(v, float) else str(v))
        for name, v in ((name, c.item()) for name, c in runs.coords.items() if c.ndim == 0)
    ]
    is_equal = np.isfinite(final) & (final == final.isel({RUN: 0}))
    if final.sizes[RUN] > 1 and bool(is_equal.all()):
        constants.append("equal costs for all seeds")
    if finished < total:
        constants.append(f"{finished:,} of {total:,} runs finished")
    if constants and not title:
        with style():
            text = ", ".join([figure.axes[0].get_title(loc="left"), *constants])
            set_title(figure.axes[0], text)
    return figure


def _identity(runs):
    """Return what the attributes of a Dataset record of its sweep."""
    return json.loads(runs.attrs.get("identity", "{}"))


def _by_settings(runs):
    """Sort a sweep by its numeric axes, and drop settings with a single value.

    Returns:
        The runs, and the names of the dimensions of compared axes and of seeds.
    """
    recorded = _identity(runs).get("axes", {})
    dims = [dim for dim in runs.outcome.dims if dim not in ("step", "snapshot_step")]
    seeds = [d for d in dims if all(name.endswith("seed") for name in recorded.get(d, [d]))]
    settings = [dim for dim in dims if dim not in seeds]
    compared = [name for name in settings if runs.sizes[name] > 1]
    runs = runs.isel({name: 0 for name in settings if name not in compared})
    numbers = [name for name in compared if runs[name].dtype.kind in "iuf"]
    return runs.sortby(numbers), compared, seeds


def _stack(variable, seeds):
    """Replace the dimensions of seeds by a last dimension RUN."""
    if not seeds:
        return variable.expand_dims({RUN: 1}, -1)
    return variable.stack({RUN: seeds}, create_index=False).transpose(..., RUN)


def _final(variable, seeds):
    """Return the last recorded value of each run; runs that a search stopped end in NaN."""
    last = variable.notnull().cumsum("step").argmax("step")
    return _stack(variable.isel(step=last), seeds)


def outcomes_by_setting(
    setting: Setting,
    accuracy: Float[np.ndarray, "settings runs"] | None,
    cost: Float[np.ndarray, "settings runs"],
    outcome: Int[np.ndarray, "settings runs"],
    *,
    outcomes: Sequence[str],
    baseline: float | None = None,
    title: str = "",
    quantity: str = "training cost",
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
        quantity: name of the cost.

    Examples:
        >>> rates = Setting("learning_rate", np.array([0.1, 1.0]))
        >>> cost, outcome = np.array([[0.5, 0.3], [0.2, np.inf]]), np.array([[0, 0], [0, 1]])
        >>> names = ("stalled", "diverged")
        >>> outcomes_by_setting(rates, None, cost, outcome, outcomes=names).axes[-1].get_xlabel()
        'learning rate'
    """
    panels = {f"final {quantity}": (cost, VERMILLION)}
    if accuracy is not None:
        panels = {"test accuracy": (accuracy, BLUE), **panels}
    heights = [3] * len(panels) + [1.4]
    with style():
        figure = Figure(figsize=(8, 2.5 + 3 * len(panels)))
        *above, bottom = figure.subplots(
            len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights}
        )
        for axes, (label, (values, color)) in zip(above, panels.items(), strict=True):
            draw_quartiles(axes, setting.positions, values, color)
            axes.set_ylabel(label)
        if accuracy is not None:
            above[0].yaxis.set_major_formatter(PercentFormatter(1.0))
            above[0].set_ylim(0, 1)
        log_scale(above[-1], cost)
        lowest = _lowest(quantiles(cost)[1])
        median = "median " * (cost.shape[1] > 1)
        summary = NONE_FINITE
        if lowest and setting.is_of_cost:
            summary = different_costs(setting.label)
        elif lowest:
            name = setting.names[lowest[0]]
            summary = f"Lowest {median}{quantity} at {setting.label} {name}"
        above[0].set_title(title or summary)
        if baseline is not None:
            look: Any = {"color": "black", "linestyle": ":", "linewidth": 1.5, "label": BASELINE}
            line = above[-1].axhline(baseline, **look)
            if len(above) > 1:
                legend_above(above[-1], handles=[line])
        if (cost.shape[1] > 1 and lowest) or (baseline is not None and len(above) == 1):
            legend_above(above[0])
        _draw_shares(bottom, setting, outcome, outcomes)
        setting.on(bottom, "x")
    return figure


def draw_quartiles(
    axes: Axes,
    position: Float[np.ndarray, " settings"],
    values: Float[np.ndarray, "settings runs"],
    color: str,
) -> None:
    """Draw the median over runs, and with several runs their quartiles and each run."""
    low, half, high = quantiles(values)
    finite = np.isfinite(half)
    if values.shape[1] > 1:
        top = np.where(np.isfinite(high), high, half)
        axes.fill_between(
            position, low, top, where=finite, color=color, alpha=0.2, label="quartiles"
        )
    axes.plot(position[finite], half[finite], "-o", color=color, label="median")
    if values.shape[1] > 1:
        x = np.repeat(position, values.shape[1])
        axes.plot(x, values.ravel(), ".", color="black", alpha=0.35, label="one run")


def _draw_shares(axes, setting, outcome, outcomes):
    """Draw the share of each outcome as stacked bars."""
    below = np.zeros(len(setting.positions))
    left, width = setting.bars()
    for number, name in enumerate(outcomes):
        share = np.mean(outcome == number, axis=1)
        if share.any():
            color = OUTCOME_COLORS.get(name, "grey")
            label = name.replace("_", " ")
            axes.bar(left, share, width, below, align="edge", label=label, color=color)
        below = below + share
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of runs")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.45), ncols=len(outcomes))


def different_costs(label: str) -> str:
    """Return the title of a figure whose costs are not compared."""
    return f"A cost for each {label}: their values are not compared"


def _lowest(medians):
    """Return the indices of the lowest finite median, or None."""
    finite = np.isfinite(medians)
    if not finite.any():
        return None
    lowest = np.argmin(np.where(finite, medians, np.inf))
    return np.unravel_index(lowest, medians.shape)


def _curves(step, cost, *, baseline, label, title, quantity):
    """Draw the cost of each run [runs, records] against the step, and the median over runs."""
    with style():
        figure = Figure(figsize=(8, 4.8))
        axes = figure.subplots()
        alpha = max(0.08, min(0.7, 10 / len(cost)))
        for number, values in enumerate(cost):
            one = None if number else f"one {label}"
            axes.plot(step, _finite(values), color=BLUE, linewidth=1, alpha=alpha, label=one)
        if len(cost) > 1:
            median = quantiles(cost.T)[1]
            axes.plot(step, _finite(median), color=VERMILLION, label="median")
        bounded = _is_bounded(cost)
        log_scale(axes, cost[bounded], ratio=10)
        if not bounded.all():
            limit_to(axes, np.append(cost[bounded], baseline or np.nan))
        if baseline is not None:
            axes.axhline(baseline, color="black", linestyle=":", linewidth=1.5, label=BASELINE)
        axes.set(title=title or _final_range(cost[:, -1]), xlabel="step", ylabel=quantity)
        if len(axes.lines) > 1:
            legend_above(axes)
    return figure


def _is_bounded(curves):
    """Return which curves decide the limits of the axis: those that stay finite, or else all."""
    diverged = np.isposinf(curves).any(axis=-1)
    return ~diverged | diverged.all()


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
    count = f"{len(finite)} runs end" if len(finite) > 1 else "1 run ends"
    return f"{count} at a cost of {end}" + f", {diverged} diverged" * bool(diverged)


def _maps(cost, stalled, compared, *, baseline, title, quantity):
    """Draw a map of two settings, or one for each combination of the values of the others."""
    largest = sorted(compared, key=lambda name: -cost.sizes[name])[:2]
    rows, columns = (name for name in compared if name in largest)
    rest = [name for name in compared if name not in largest]
    settings = {name: setting_along(cost, name) for name in compared}
    cost, stalled = (a.transpose(*rest, rows, columns, RUN).values for a in (cost, stalled))
    # In float32, the largest cost could be beyond its own logarithmic scale, as if diverged.
    medians = quantiles(np.moveaxis(np.asarray(cost, np.float64), -1, 1), (0.5,))[0]
    panels = list(np.ndindex(medians.shape[: len(rest)]))
    if len(panels) > MAX_MAPS:
        raise ValueError(
            f"the sweep compares {', '.join(compared)} in {len(panels)} maps, but a figure has at "
            f"most {MAX_MAPS}; choose fewer values: runs.sel({rest[0]}=[...])"
        )
    side = min(len(panels), 3)
    lines = -(-len(panels) // side)
    norm = _cost_norm(medians)
    with style():
        figure = Figure(
            figsize=(min(1.6 + 4.4 * side, MAX_WIDTH), 0.6 + 4 * lines) if rest else (8, 5.6)
        )
        grid = figure.subplots(lines, side, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, at in zip(grid.flat, panels, strict=False):
            chosen = zip(rest, at, strict=True)
            name = ", ".join(f"{settings[n].label} {settings[n].names[i]}" for n, i in chosen)
            where = _map(axes, settings[rows], settings[columns], medians[at], stalled[at], norm)
            if quantity != "training cost":
                where = where.replace("cost", quantity, 1)
            axes.set_title(name or title or where)
        _cost_bar(grid.flat[0].collections[0], medians, baseline, quantity, ax=grid)
        if rest and title:
            figure.suptitle(title)
    return figure


def _map(axes, rows, columns, medians, stalled, norm):
    """Draw the median final cost [rows, columns] on the grid of two settings.

    Diverged cells are black, and a circle marks cells in which at least half of the runs stalled.
    The result is a title that states the settings of the lowest cost, if all cells have one cost.
    """
    beyond = norm.vmax + max(1.0, abs(norm.vmax))  # has the color of values above the range
    axes.pcolormesh(
        columns.edges(),
        rows.edges(),
        np.ma.masked_invalid(
            np.where(np.isposinf(medians), beyond, np.minimum(medians, norm.vmax))
        ),
        cmap=colormaps[SEQUENTIAL].with_extremes(over=BLACK, bad=OUTCOME_COLORS["not_finished"]),
        norm=norm,
        edgecolors="white" if medians.size <= MAX_BORDERED else "none",
    )
    rows.on(axes, "y")
    columns.on(axes, "x")
    if (mostly := np.mean(stalled, axis=2) >= 0.5).any():
        i, j = np.nonzero(mostly)
        centers = columns.positions[j], rows.positions[i]
        axes.plot(*centers, "o", color="none", markeredgecolor="white", markersize=9)
        axes.set_xlabel(f"{axes.get_xlabel()}\ncircle: at least half of the runs stalled")
    if (lowest := _lowest(medians)) is None:
        return NONE_FINITE
    if of_cost := [setting.label for setting in (rows, columns) if setting.is_of_cost]:
        return different_costs(" and ".join(of_cost))
    i, j = lowest
    star = columns.positions[j], rows.positions[i]
    axes.plot(*star, "*", color="white", markeredgecolor=BLACK, markersize=18)
    return f"Lowest cost at {rows.label} {rows.names[i]}, {columns.label} {columns.names[j]}"


def _cost_norm(medians):
    """Return a color scale of medians over runs; logarithmic for a wide range of costs >= 0.

    Medians far above all others, such as that of runs that nearly diverged, have its last color.
    """
    finite = medians[np.isfinite(medians)]
    positive = finite[finite > 0]
    if len(positive) == len(finite) >= LEAST_CELLS:
        low, high = np.quantile(np.log(finite), [0.25, 0.75])
        finite = finite[np.log(finite) <= high + max(OUTLIER * (high - low), LEAST_OUTLIER)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if low >= 0 and positive.size and high > 10 * positive.min():
        return LogNorm(positive.min(), high)
    return Normalize(low, high)


def _cost_bar(image, medians, baseline, quantity, *, ax):
    """Add a color bar of final costs with a line at the baseline."""
    any_diverged = bool(np.isposinf(medians).any())
    finite = medians[np.isfinite(medians)]
    beyond = float(finite.max(initial=0))
    is_cut = bool(finite.size) and beyond > image.norm.vmax
    bar = figure_of(np.ravel(ax)[0]).colorbar(
        image,
        ax=ax,
        label=f"final {quantity}, median over runs"
        + f"\nlast color: up to {beyond:.3g}" * is_cut
        + "\nblack: diverged" * any_diverged,
        extend="max" if any_diverged else "neither",
    )
    if baseline is not None and image.norm.vmin <= baseline <= image.norm.vmax:
        bar.ax.axhline(baseline, color="white", linestyle=":", linewidth=2)
        bar.ax.text(-0.2, baseline, "baseline", ha="right", va="center", fontsize=11)


def curves_by_setting(
    time: Float[np.ndarray, " records"],
    setting: Float[np.ndarray, " settings"],
    values: Float[np.ndarray, "settings runs records"],
    *,
    setting_label: str = "learning rate",
    is_of_cost: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw the median cost over runs against the epoch, with one curve per value of a setting.

    Args:
        time: epoch of each record.
        setting: values of the setting, which determine the colors of the curves.
        values: cost of each run at each record; +inf once the run has diverged.
        setting_label: name of the setting.
        is_of_cost: whether the cost itself depends on the setting, as in `Setting`.
        ax: axes to draw into; None creates a new figure.

    Examples:
        >>> cost = np.array([[[1.0, 0.5]], [[1.0, 0.1]]])
        >>> curves_by_setting(np.arange(2.0), np.array([0.1, 1.0]), cost).get_title("left")
        'Lowest final value at learning rate 1'
    """
    with styled_axes(ax, (8, 5)) as axes:
        positive = np.all(setting > 0) and len(setting) > 1
        norm = (LogNorm if positive else Normalize)(np.min(setting), np.max(setting))
        colors = colormaps[SEQUENTIAL]
        medians = quantiles(values, (0.5,))[0]
        lowest = None if is_of_cost else int(np.argmin(medians[:, -1]))
        for number, value in enumerate(setting):
            width = 4 if number == lowest else 1.5
            axes.plot(time, _finite(medians[number]), color=colors(norm(value)), linewidth=width)
        if lowest is None:
            title = different_costs(setting_label)
        else:
            title = f"Lowest final value at {setting_label} {setting[lowest]:.3g}"
        axes.set_title(title)
        axes.set(xlabel="epoch", ylabel="training cost, median over seeds")
        bounded = _is_bounded(medians)
        log_scale(axes, values[bounded])
        if not bounded.all():
            limit_to(axes, medians[bounded])
        bar = figure_of(axes).colorbar(ScalarMappable(norm, colors), ax=axes, label=setting_label)
        bar.ax.minorticks_off()
    return axes


def tuning_curves(result: Any, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw the best of k random settings against k, with one curve per optimizer.

    Infinite values are not drawn, and a band with an infinite end covers the rest of the axes.

    Args:
        result: Dataset of `tuning_curve`.
        title: axes title; by default, the best value at the largest k; or the optimizer that is
            better than all others there, if the intervals do not overlap.
        ax: axes to draw into; None creates a new figure.
    """
    *by, _ = result.median_best.dims
    trials, metric = result.trials.values, result.attrs["metric"].replace("_", " ")
    points = itertools.product(*(result[name].values.tolist() for name in by))
    labels = [", ".join(map(str, point)) or metric for point in points]
    names = [f"median_best{end}" for end in ("", "_low", "_high")]
    curves = np.stack([result[name].values.reshape(len(labels), -1) for name in names], axis=1)
    shown = np.where(np.isfinite(curves[:, :1]), _finite(curves), np.nan)
    reach = 10 * np.nanmax(np.abs(shown), initial=0.1)
    with styled_axes(ax, (8, 5)) as axes:
        for number, (label, (value, *ends)) in enumerate(zip(labels, curves, strict=True)):
            color = CYCLE[number % len(CYCLE)]
            axes.plot(trials, _finite(value), "o-", color=color, label=label)
            band = (np.nan_to_num(end, posinf=reach, neginf=-reach) for end in ends)
            axes.fill_between(trials, *band, where=np.isfinite(value), color=color, alpha=0.2)
        log_scale(axes, shown, ratio=10)
        limit_to(axes, shown)
        axes.set_xscale("log" if len(trials) > 1 else "linear")
        axes.set_xticks(trials, [f"{k:,}" for k in trials])
        axes.minorticks_off()
        axes.set(xlabel="number of random settings", ylabel=f"median best {metric}")
        best = f"median {metric} {curves[0, 0, -1]:.3g}"
        if len(curves) > 1:
            axes.legend()
            best = _clear_best(labels, curves[..., -1], result.attrs["direction"])
        reason = f"\n{result.attrs['advice']}" if result.attrs.get("advice") else ""
        axes.set_title(title or f"Best of {trials[-1]:,}: {best}{reason}")
    return axes


def _clear_best(labels, last, direction):
    """Return the curve whose last interval is best, or a note that intervals overlap."""
    low, high = np.sort((1 if direction == "minimize" else -1) * last[:, 1:], axis=1).T
    best, second = np.argsort(high, kind="stable")[:2]
    if high[best] < np.delete(low, best).min():
        return labels[best]
    return f"intervals of {labels[best]} and {labels[second]} overlap"
