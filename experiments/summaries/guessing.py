"""Summary of the accuracies of guessed and trained networks."""

import numpy as np
import xarray as xr

from gdjax.statistics import Interval, mean, paired


def compared(dataset: xr.Dataset) -> dict[str, dict[int, Interval]]:
    """Return mean accuracies and paired differences over sets, by name and k.

    The first k for which some set has no guess or no descent that fits, and all larger k, are
    excluded.
    """
    accuracies: dict[str, dict[int, Interval]] = {
        name: {} for name in ("guessed", "trained", "trained_on", "gain", "gain_on")
    }
    for k in dataset.k.values.tolist():
        one = dataset.sel(k=k)
        trained, on = (one[name].mean("descent").values for name in ("trained", "trained_on"))
        if not (one.looked_at > 0).all() or not np.isfinite(trained).all():
            break
        guessed = one.guessed.values
        accuracies["guessed"][k] = mean(guessed)
        accuracies["trained"][k], accuracies["trained_on"][k] = mean(trained), mean(on)
        accuracies["gain"][k], accuracies["gain_on"][k] = (
            paired(guessed, trained),
            paired(guessed, on),
        )
    return accuracies


def numbers(dataset: xr.Dataset) -> dict:
    """Return shares of guesses that fit, accuracies, and their differences, by k."""
    speeds = dataset.attrs["speed"]
    summary: dict = {
        "guesses_of_each_set": dataset.attrs["guesses"],
        "unseen_images": dataset.attrs["unseen"],
        "guesses_a_minute_of_processor_time": 60 * 2 * speeds["networks_a_second"],
        "share_of_the_rate_of_drawing": speeds["networks_a_second"] / speeds["drawn_a_second"],
        "normals_a_second": speeds["drawn_a_second"] * speeds["numbers_a_network"],
    }
    for name, by_k in compared(dataset).items():
        for k, one in by_k.items():
            summary[f"{name}_{k}"] = one[:3]
    for k in dataset.k.values.tolist():
        one = dataset.sel(k=k)
        summary[f"accepted_of_a_million_{k}"] = float(
            1e6 * one.accepted.mean() / dataset.attrs["guesses"]
        )
        summary[f"looked_at_least_{k}"] = int(one.looked_at.min())
        summary[f"descents_that_fit_{k}"] = float(np.isfinite(one.trained.values).mean())
    return summary
