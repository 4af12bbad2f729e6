"""Summary of the costs, accuracies and errors of digit networks."""

import numpy as np
import xarray as xr

from gdjax import statistics
from gdjax.plots import training


def numbers(dataset: xr.Dataset) -> dict:
    """Return costs and accuracies before and after training, and the errors after it."""
    matrix = training.confusion_matrix(
        dataset.label.values, np.argmax(dataset.after.values, axis=1), dataset.sizes["class"]
    )
    errors = matrix - np.diag(np.diag(matrix))
    true_digit, read_digit = np.unravel_index(np.argmax(errors), errors.shape)
    right = np.diag(matrix) / matrix.sum(axis=1)
    accuracy = dataset.seeds_accuracy.values
    cost, test_cost = dataset.seeds_cost.values, dataset.seeds_test_cost.values
    return {
        "parameters": dataset.attrs["parameters"],
        "baseline_cost": dataset.attrs["baseline"],
        "initial_cost": float(dataset.cost[0]),
        "final_cost": float(dataset.cost[-1]),
        "final_test_cost": float(dataset.test_cost[-1]),
        "lowest_test_cost": float(dataset.test_cost.min()),
        "initial_test_accuracy": float(dataset.test_accuracy[0]),
        "final_test_accuracy": float(dataset.test_accuracy[-1]),
        "seeds": dataset.sizes["seed"],
        "seeds_test_accuracy_median": statistics.median(accuracy[:, -1])[:3],
        "seeds_test_accuracy_least": float(accuracy[:, -1].min()),
        "seeds_test_accuracy_most": float(accuracy[:, -1].max()),
        "seeds_cost_median": statistics.median(cost[:, -1])[:3],
        "seeds_test_cost_median": statistics.median(test_cost[:, -1])[:3],
        "seeds_test_minus_training_cost": statistics.paired(cost[:, -1], test_cost[:, -1])[:3],
        "seeds_cost_after_1_epoch": statistics.median(cost[:, 1])[:3],
        "seeds_test_accuracy_after_1_epoch": statistics.median(accuracy[:, 1])[:3],
        "random_networks_mean_accuracy": statistics.mean(dataset.guess.values)[:3],
        "wrong": int(errors.sum()),
        "most_frequent_error": f"{true_digit} taken for {read_digit}, {errors.max()} times",
        "best_read": int(np.argmax(right)),
        "worst_read": int(np.argmin(right)),
        "worst_read_share": float(right.min()),
        "outcome": dataset.attrs["outcome"],
        "data_hash": dataset.attrs["data_hash"],
        "seconds": dataset.attrs["seconds"],
    }
