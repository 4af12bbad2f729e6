"""Summary of the entries of gradients, and of their checks."""

import numpy as np
import xarray as xr

from gdjax.statistics import median


def expected_error(stage):
    """Return the allowed relative error of each prediction; +inf if it predicts 0."""
    allowed = (abs(stage.second_order) + stage.rounding).values
    size = np.abs(stage.predicted.values)
    return np.divide(allowed, size, out=np.full(size.shape, np.inf), where=size > 0)


def measured_error(stage):
    """Return the relative error of each prediction; 0 if the prediction is 0."""
    size = np.abs(stage.predicted.values)
    off = np.abs((stage.actual - stage.predicted).values)
    return np.divide(off, size, out=np.zeros(size.shape), where=size > 0)


def holding_half(gradient):
    """Return the number of largest entries that make up half of the squared norm."""
    squares = np.sort(gradient.astype(float) ** 2)[::-1]
    return int(np.searchsorted(np.cumsum(squares), squares.sum() / 2) + 1)


def statistics_by_stage(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return statistics of the gradients from one start, with one value per stage."""
    stages = [dataset.isel(stage=i) for i in range(dataset.sizes["stage"])]
    gradients = [stage.gradient.values for stage in stages]
    shares = (dataset.layer_norm.values / np.maximum(dataset.norm.values, 1e-30)[:, None]) ** 2
    largest = np.stack(
        [g[stage.position.values] for g, stage in zip(gradients, stages, strict=True)]
    )
    layer = np.stack([dataset.layer.values[stage.position.values] for stage in stages])
    return {
        "cost": dataset.cost.values,
        "gradient_norm": dataset.norm.values,
        "exactly_zero": np.array([np.sum(g == 0) for g in gradients]),
        "entries_holding_half": np.array([holding_half(g) for g in gradients]),
        "share_of_first_layer": shares[:, 0],
        "share_of_last_layer": shares[:, -1],
        "share_of_largest_in_last_layer": np.mean(layer == dataset.layer.values[-1], axis=1),
        "share_of_largest_positive": np.mean(largest > 0, axis=1),
        "nudges_within_allowed": np.array(
            [np.mean(measured_error(stage) <= expected_error(stage)) for stage in stages]
        ),
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of the gradient and errors of its checks, for each stage."""
    summary = {
        "parameters": dataset.sizes["entry"],
        "dark_pixels": int(dataset.dark_pixels),
        "data_hash": dataset.attrs["data_hash"],
    }
    for i, labels in enumerate(dataset.attrs["places"]):
        stage = dataset.isel(stage=i)
        g = stage.gradient.values
        error = measured_error(stage)
        shares = (stage.layer_norm.values / (float(stage.norm) or 1)) ** 2
        name = f"epoch_{int(stage.epoch)}"
        summary |= {
            f"{name}_cost": float(stage.cost),
            f"{name}_gradient_norm": float(stage.norm),
            f"{name}_exactly_zero": int(np.sum(g == 0)),
            f"{name}_positive": int(np.sum(g > 0)),
            f"{name}_negative": int(np.sum(g < 0)),
            f"{name}_entries_holding_half": holding_half(g),
            f"{name}_share_of_layers": [float(share) for share in shares],
            f"{name}_largest_entry": labels[0],
            f"{name}_largest_error_found": float(np.max(error)),
            f"{name}_largest_error_allowed": float(np.max(expected_error(stage))),
            f"{name}_nudges_within_allowed": float(np.mean(error <= expected_error(stage))),
        }
        for key in map(str, dataset.data_vars):
            if key.startswith("seeds_"):
                values = dataset[key].values[i]
                prefix = f"{name}_{key.removeprefix('seeds_')}"
                summary[f"{prefix}_over_seeds"] = median(values)[:3]
                summary[f"{prefix}_least_and_most"] = [float(values.min()), float(values.max())]
    return summary | {"seeds": dataset.sizes["seed"]}
