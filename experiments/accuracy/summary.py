"""Summary of the accuracy gains of training variants, and of tested networks."""

from itertools import pairwise

import numpy as np
import xarray as xr
from scipy import stats

LEVEL = 0.95  # confidence level of the intervals
AVERAGED = "plain"  # variant with a constant rate, which should benefit most from averaging
BINS = 20  # number of bins of the histograms of slopes


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over runs, and the half width of its Student's t interval."""
    n = len(values)
    half = (
        stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    )
    return float(values.mean()), float(half)


def gains(dataset: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Return paired gains in accuracy, and half widths of their intervals, by name."""
    rungs = by_name(dataset, "ladder", "validation_accuracy")
    averaged = by_name(dataset, "ladder", "averaged_accuracy")
    gained = {name: interval(rungs[name] - rungs[before]) for before, name in pairwise(rungs)}
    against = dataset.tried_against.values.tolist()
    tried = by_name(dataset, "tried", "validation_accuracy")
    for (name, values), base in zip(tried.items(), against, strict=True):
        gained[name] = interval(values - rungs[base][: len(values)])
    for rung in dict.fromkeys([AVERAGED, *against]):
        if rung in rungs:
            gained[f"weights averaged, {rung}"] = interval(averaged[rung] - rungs[rung])
    return gained


def by_name(dataset, part, metric):
    """Return the accuracies of each variant for all starts from which it was trained."""
    values = dataset[f"{part}_{metric}"].values
    names = dataset[f"{part}_variant"].values.tolist()
    return {name: row[np.isfinite(row)] for name, row in zip(names, values, strict=True)}


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies and gains with intervals, and statistics of tested networks."""
    summary: dict = {
        name: dataset.attrs[name] for name in ("data_hash", "copies_seconds", "fresh_step")
    }

    def add(name, mean_and_half):
        summary[name], summary[f"{name}_interval"] = mean_and_half

    for name, values in by_name(dataset, "ladder", "validation_accuracy").items():
        add(f"validation_{name}", interval(values))
    for name, gain in gains(dataset).items():
        add(f"gain_{name}", gain)
    for name, values in by_name(dataset, "tried", "validation_accuracy").items():
        summary[f"seeds_{name}"] = len(values)
        summary[f"lowest_{name}"] = float(values.min())
    for recipe in dataset.recipe.values:
        one = dataset.sel(recipe=recipe)
        accuracy = one.test_accuracy.values
        # Share of slopes of sigmoids that are below 1 / 10, for each layer.
        saturated = one.slope.isel(bin=slice(0, BINS // 10)).sum("bin").mean("seed").values
        add(f"test_{recipe}", interval(accuracy))
        summary |= {
            f"test_{recipe}_deviation": float(accuracy.std(ddof=1)),
            f"test_{recipe}_lowest": float(accuracy.min()),
            f"test_{recipe}_highest": float(accuracy.max()),
            f"sharpness_{recipe}": interval(one.sharpness.values),
            f"norms_{recipe}": [round(float(x), 3) for x in one.norm.mean("seed")],
            f"saturated_{recipe}": [round(float(x), 4) for x in saturated],
            f"off_plane_{recipe}": float(one.path_off.max()),
            f"distance_{recipe}": _distance(one),
        }
    test = dataset.test_accuracy.sel(recipe=["best", "plain"]).values
    add("test_gain", interval(np.subtract(*test)))
    for recipe in dataset.short.values:
        add(f"bundled_{recipe}", interval(dataset.bundled_accuracy.sel(short=recipe).values))
    bundled = dataset.bundled_accuracy.sel(short=["quick", "plain"]).values
    add("bundled_gain", interval(np.subtract(*bundled)))
    wrong = errors(dataset)
    summary["errors_left"] = float(wrong[1].sum() / wrong[0].sum())
    plain, best = wrong.sum(axis=1)
    left = {int(k): best[k] / plain[k] for k in np.flatnonzero(plain)}
    for extreme, choose in (("most", max), ("least", min)):
        digit = choose(left, key=left.__getitem__)
        summary[f"errors_left_{extreme}"] = f"{digit}: {left[digit]:.2f}"
    return summary


def _distance(one):
    """Return the distance within the plane from the start to the end of a trajectory."""
    end = one.dropna("snapshot_step", subset=["path_off"]).isel(snapshot_step=-1)
    return float(np.hypot(end.path_a * one.a.attrs["length"], end.path_b * one.b.attrs["length"]))


def errors(dataset: xr.Dataset) -> np.ndarray:
    """Return the numbers of misclassified test images, [recipe, seed, class]."""
    wrong = (dataset.answer != dataset.label).values
    labels = dataset.label.values
    return np.stack([wrong[..., labels == k].sum(axis=-1) for k in np.unique(labels)], axis=-1)
