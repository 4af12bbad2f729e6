"""Figure of networks that generalize long after they memorize the training set."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from gdjax.plots.style import BLACK, CYCLE, GREY, style
from gdjax.plots.sweeps import quantiles


def after_training(dataset: xr.Dataset, delay: Float[np.ndarray, "decays seeds"]) -> Figure:
    """Draw accuracy along the descent, and the delay against the weight decay.

    Args:
        dataset: results of the experiment.
        delay: number of steps from the first record at which the training pairs are learned to the
            first at which the test pairs are learned; +inf if they never are.
    """
    step, decay, known = dataset.step.values, dataset.weight_decay.values, dataset.attrs["known"]
    train, test = dataset.train_accuracy.values, dataset.test_accuracy.values
    with style():
        figure = Figure(figsize=(12.5, 5.5))
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        after = step > 0  # a logarithmic axis has no 0
        for number, value in enumerate(decay):
            color = CYCLE[number % len(CYCLE)]
            low, half, high = quantiles(test[number].T[after])
            left.fill_between(step[after], low, high, color=color, alpha=0.2)
            left.plot(step[after], half, color=color, label=f"{value:g}")
        memorized = quantiles(train.reshape(-1, len(step)).T[after])[1]
        left.plot(step[after], memorized, "--", color=BLACK, label="training pairs,\nall decays")
        left.axhline(known, color=GREY, linewidth=1, linestyle=":")
        left.set_xscale("log")
        left.xaxis.set_major_formatter("{x:g}")
        left.xaxis.set_minor_formatter(NullFormatter())
        left.set_ylim(0, 1.02)
        left.yaxis.set_major_formatter(PercentFormatter(1.0))
        left.set(xlabel="step", ylabel="share of correct pairs")
        left.set_title(f"Pairs not trained on: median and quartiles of {test.shape[1]} seeds")
        left.legend(
            title="weight decay", loc="upper left", bbox_to_anchor=(0, 0.6), title_fontsize=12
        )
        _against_decay(right, decay, delay, last=float(step[-1]))
    return figure


def _against_decay(axes, decay, delay, last):
    """Draw every seed's delay, with infinite delays in a separate row at the top."""
    shown = [index for index, value in enumerate(decay) if value > 0]
    never = 1.6 * last
    medians = []
    for index in shown:
        color = CYCLE[index % len(CYCLE)]
        finite = np.isfinite(delay[index])
        spread = decay[index] * np.geomspace(0.85, 1.18, delay.shape[1])
        axes.plot(spread[finite], delay[index][finite], ".", color=color, alpha=0.7)
        axes.plot(spread[~finite], np.full(np.sum(~finite), never), "^", color=color, alpha=0.7)
        medians.append(quantiles(delay[[index]], (0.5,))[0, 0])
    x, y = decay[shown], np.array(medians)
    axes.plot(x[np.isfinite(y)], y[np.isfinite(y)], "_", color=BLACK, markersize=28, label="median")
    middle = len(shown) // 2
    if len(shown) and np.isfinite(y[middle]):
        axes.plot(x, y[middle] * x[middle] / x, ":", color=GREY, label="1 / decay")
    if np.isinf(delay[shown]).any():
        axes.axhline(1.25 * last, color=GREY, linewidth=1)
        axes.text(
            0.98, never, "never", transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="weight decay", ylabel="delay in steps")
    without = np.flatnonzero(decay == 0)
    title = "Delay until the test pairs are predicted correctly"
    if len(without):
        count = int(np.sum(np.isinf(delay[without[0]])))
        title += f"\nwithout decay: never in {count} of {delay.shape[1]} runs"
    axes.set_title(title)
    axes.legend(loc="lower left")
