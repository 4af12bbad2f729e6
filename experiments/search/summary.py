"""Summary of searches: fresh accuracy, time, and rank correlations.

fresh accuracy of a setting in repetition r = mean test accuracy in all other repetitions
"""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.stats import spearmanr

from gdjax import statistics

from . import replays
from .model import METRIC

SEARCHES = ("dense", "batches", "single")
DRAWS = 1000
"""Number of random searches that are drawn in each repetition."""


def fresh_accuracy(dataset: xr.Dataset) -> Float[np.ndarray, "repetitions settings"]:
    """Return the mean test accuracy of each setting in all other repetitions."""
    # The accuracy of a diverged run, NaN in the Dataset, counts as 0.
    accuracy = np.nan_to_num(dataset.test_accuracy.transpose("repetition", "setting").values)
    return (accuracy.sum(axis=0) - accuracy) / (len(accuracy) - 1)


def at_rungs(dataset: xr.Dataset) -> Float[np.ndarray, "repetitions settings rungs"]:
    """Return the validation accuracy at each rung; -1 after a divergence."""
    accuracy = dataset[METRIC].transpose("repetition", "setting", "rung").values
    return np.nan_to_num(accuracy, nan=-1.0)


def selected(dataset: xr.Dataset) -> dict[str, Int[np.ndarray, " repetitions"]]:
    """Return the index of the setting that each search selects, by repetition."""
    last = at_rungs(dataset)[..., -1]
    is_last = dataset.ended_at.transpose("repetition", "setting").values == dataset.rung.size - 1
    halving = np.argmax(np.where(is_last, last, -2.0), axis=1)
    return {
        "sweep": np.argmax(last, axis=1),
        "dense": halving,
        **{name: dataset[f"best.{name}"].values.astype(int) for name in ("batches", "single")},
    }


def time_shares(dataset: xr.Dataset, name: str) -> Float[np.ndarray, " timed"]:
    """Return the time of a search relative to the sweep, for timed repetitions."""
    ratio = (dataset[f"seconds.{name}"] / dataset["seconds.sweep"]).values
    return ratio[np.isfinite(ratio)]


def random_accuracy(
    dataset: xr.Dataset, count: int
) -> tuple[Float[np.ndarray, " repetitions"], Float[np.ndarray, " repetitions"]]:
    """Return the mean results of random searches of `count` settings each.

    Returns:
        Mean fresh accuracy of the selected settings, and the share of random searches that select
        the same setting as the sweep.
    """
    last, fresh = at_rungs(dataset)[..., -1], fresh_accuracy(dataset)
    accuracy, same = [], []
    for seed, (values, judged) in enumerate(zip(last, fresh, strict=True)):
        positions = replays.random_search(values, count, draws=DRAWS, seed=seed)
        accuracy.append(judged[positions].mean())
        same.append(np.mean(positions == np.argmax(values)))
    return np.array(accuracy), np.array(same)


def num_random(dataset: xr.Dataset) -> int:
    """Return how many random settings take as much time as successive halving."""
    share = float(np.median(time_shares(dataset, "dense")))
    return int(np.clip(round(share * dataset.setting.size), 1, dataset.setting.size))


def sample_shares(dataset: xr.Dataset) -> dict[str, Float[np.ndarray, " repetitions"]]:
    """Return the number of samples of each search relative to the sweep."""
    samples = dataset.rung.values[dataset.ended_at.astype(int)] * dataset.batch_size.values
    full = dataset.rung.values[-1] * int(dataset.batch_size.sum())
    halving = samples.sum(axis=1) / full
    hyperband = {name: dataset[f"samples.{name}"].values / full for name in ("batches", "single")}
    return {"dense": halving, **hyperband}


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies, relative times, and rank correlations between rungs.

    Differences of accuracies are in percentage points.
    """
    fresh, values = fresh_accuracy(dataset), at_rungs(dataset)
    rows = np.arange(len(fresh))
    settings = selected(dataset)
    accuracy = {name: fresh[rows, setting] for name, setting in settings.items()}
    count, samples = num_random(dataset), sample_shares(dataset)
    accuracy["random"], same_random = random_accuracy(dataset, count)
    result: dict = {"num_settings": dataset.setting.size, "num_random": count}
    for name, of_search in accuracy.items():
        result[f"{name}_accuracy"] = statistics.mean(of_search)[:3]
        if name != "sweep":
            points = statistics.paired(100 * accuracy["sweep"], 100 * of_search)
            result[f"{name}_difference"] = points[:3]
    for name in SEARCHES:
        shares = time_shares(dataset, name)
        result |= {
            f"{name}_time": [float(f(shares)) for f in (np.median, np.min, np.max)],
            f"{name}_seconds": float(np.nanmedian(dataset[f"seconds.{name}"])),
            f"{name}_samples": statistics.median(samples[name])[:3],
            f"{name}_same": int(np.sum(settings[name] == settings["sweep"])),
        }
    result["sweep_lowest"] = float(accuracy["sweep"].min())
    result["random_same"] = float(same_random.sum())
    result |= {"sweep_seconds": float(np.median(dataset["seconds.sweep"])), "sweep_share": 1.0}
    result["dense_same_rungs"] = float(dataset["same_rungs.dense"].min())
    for rung in range(values.shape[-1] - 1):
        correlation = [spearmanr(one[:, rung], one[:, -1]).statistic for one in values]
        best = values[rows, settings["sweep"], rung]
        rank = 1 + np.sum(values[..., rung] > best[:, None], axis=1)
        result[f"correlation_{rung}"] = statistics.median(correlation)[:3]
        result[f"rank_of_best_{rung}"] = [int(np.median(rank)), int(rank.min()), int(rank.max())]
    best = dataset.isel(setting=int(np.argmax(np.nan_to_num(dataset.test_accuracy).mean(axis=0))))
    for name in ("learning_rate", "momentum", "init_scale", "batch_size"):
        result[f"best_{name}"] = float(best[name])
    return result
