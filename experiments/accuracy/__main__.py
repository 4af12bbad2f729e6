"""How accurately can 13,002 parameters classify digits, and what does each recipe change add?

    w <- w - r_t (grad C_B(w) + d_l w),   C: squared error, sum over outputs, mean over images

    python -m experiments.accuracy                  (about 25 min of processor time)

Expected: plain descent classifies 94.6 % of the test images correctly, and the best recipe 96.6 %
(from single starts, 96.4 to 96.8 %). Weight decay contributes a third of the gain on the held-out
images, and more epochs on distorted copies another third; batches of 16, 32 and 64 reach similar
accuracies if the learning rate increases with the batch size.
"""

from itertools import pairwise

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from scipy import stats

from experiments.shared import command
from gdjax.descent import RECIPES
from gdjax.plots.style import BLUE, GREY, ORANGE, VERMILLION

from .model import Config, Variant, compared, ladder, single_changes, tested

LEVEL = 0.95  # confidence level of the intervals
AVERAGED = "plain"  # variant with a constant rate, which should benefit most from averaging
TESTED = {"plain": "plain", "best": "longer", "100 epochs": "100 epochs"}  # variants by recipe
SHORT = ("plain", "quick")  # recipes on the small data set
MAX_GAIN = 0.05  # largest |gain| that is drawn with an error bar


def run(config: Config) -> xr.DataTree:
    """Return validation results of all variants, and test results of some recipes."""
    rungs, changes = ladder(config.epochs), single_changes(config.epochs)
    recipes = {name: rungs[at] for name, at in TESTED.items()}
    short = {name: Variant(RECIPES[name]) for name in SHORT}
    parts = {
        "ladder": compared(rungs, config, config.store / "ladder"),
        "tried": compared(changes, config, config.store / "tried"),
        "test": tested(recipes, config.data, config, config.store / "test"),
        "short": tested(short, config.bundled, config, config.store / "short"),
    }
    return xr.DataTree.from_dict(parts)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the mean over runs, and the half width of its Student's t interval."""
    n = len(values)
    half = (
        stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    )
    return float(values.mean()), float(half)


def gains(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Return gains in accuracy of the runs, paired by their starts, by variant."""
    rungs = by_name(tree["ladder"], "validation_accuracy")
    gained = {name: rungs[name] - rungs[before] for before, name in pairwise(rungs)}
    tried, bases = by_name(tree["tried"], "validation_accuracy"), tree["tried"].against.values
    for (name, values), base in zip(tried.items(), bases, strict=True):
        gained[name] = values - rungs[base][: len(values)]
    return gained


def averaging_gains(tree: xr.DataTree) -> dict[str, tuple[float, float]]:
    """Return gains by averaging the late parameters, for some variants of the ladder."""
    names = ("validation_accuracy", "averaged_accuracy")
    rungs, averaged = (by_name(tree["ladder"], name) for name in names)
    chosen = dict.fromkeys([AVERAGED, *tree["tried"].against.values])
    return {name: interval(averaged[name] - rungs[name]) for name in chosen if name in rungs}


def by_name(part, metric):
    """Return the accuracies of each variant for all starts from which it was trained."""
    rows = zip(part["variant"].values.tolist(), part[metric].values, strict=True)
    return {name: row[np.isfinite(row)] for name, row in rows}


def numbers(tree: xr.DataTree) -> dict:
    """Return accuracies and gains with intervals."""
    test, short = tree["test"].to_dataset().accuracy, tree["short"].to_dataset().accuracy
    ladder, tried = (by_name(tree[name], "validation_accuracy") for name in ("ladder", "tried"))
    variants: dict = {name: {"validation": float(a.mean())} for name, a in ladder.items()}
    variants |= {name: {"seeds": len(accuracies)} for name, accuracies in tried.items()}
    corrected = 1 - (1 - LEVEL) / len(tried)  # all intervals hold together with the first level
    for name, gain in gains(tree).items():
        variants[name]["gain"] = interval(gain)
        if name in tried:
            variants[name]["corrected_gain"] = interval(gain, corrected)
    for name, gain in averaging_gains(tree).items():
        variants[name]["averaging_gain"] = gain
    recipes: dict = {}
    for recipe, accuracy in zip(test.recipe.values.tolist(), test.values, strict=True):
        lowest, highest = float(accuracy.min()), float(accuracy.max())
        gain = interval(accuracy - test.values[0])
        recipes[recipe] = {"test": interval(accuracy), "lowest": lowest, "highest": highest}
        recipes[recipe] |= {"gain_over_plain": gain} if recipe != AVERAGED else {}
    for recipe, accuracy in zip(short.recipe.values.tolist(), short.values, strict=True):
        recipes.setdefault(recipe, {})["bundled"] = interval(accuracy)
    return {"variant": variants, "recipe": recipes}


def plot(tree: xr.DataTree) -> dict:
    """Draw the accuracy from every start with each training variant, and the gains."""
    accuracy = by_name(tree["ladder"], "validation_accuracy")
    gained = {name: interval(gain) for name, gain in gains(tree).items()}
    for name, gain in averaging_gains(tree).items():
        gained[f"weights averaged, {name}"] = gain
    names, values = list(accuracy), np.stack(list(accuracy.values()))
    figure = Figure(figsize=(13, 2.4 + 0.34 * len(gained)))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    for seed in range(values.shape[1]):
        left.plot(values[:, seed], np.arange(len(names)), color=GREY, linewidth=0.6, zorder=1)
    rows = np.repeat(np.arange(len(names)), values.shape[1])
    left.scatter(values.ravel(), rows, s=14, color=BLUE, zorder=2)
    left.scatter(values.mean(axis=1), np.arange(len(names)), s=90, color=VERMILLION, marker="|")
    left.set_yticks(range(len(names)), [("+ " if i else "") + n for i, n in enumerate(names)])
    left.invert_yaxis()
    left.xaxis.set_major_locator(MaxNLocator(4))
    left.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    left.set_xlabel("accuracy on held-out images")
    left.set_title(f"{values.shape[1]} starts, cumulative changes")
    for row, (name, (mean, half)) in enumerate(gained.items()):
        color = BLUE if name in accuracy else ORANGE
        if not abs(mean) <= MAX_GAIN:  # larger gains would compress the scale
            right.text(0.03, row, f"{100 * mean:.0f} ± {100 * half:.0f}", color=color)
            continue
        right.errorbar(100 * mean, row, xerr=100 * half, fmt="o", color=color, capsize=4)
    right.axvline(0, color=GREY, linewidth=1)
    right.axhline(len(names) - 1.5, color=GREY, linestyle=":", linewidth=1)
    right.set_yticks(range(len(gained)), list(gained))
    right.invert_yaxis()
    right.set_xlabel(f"gain in percentage points, with {LEVEL:.0%} intervals")
    right.set_title("Cumulative changes (above), single changes (below)")
    return {"ladder": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
