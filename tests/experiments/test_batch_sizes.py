"""The batch size experiment: mini-batches and full batches at equal budgets."""

import numpy as np
import xarray as xr

from experiments.batch_sizes import __main__ as batch_sizes


def small(seconds):
    """Return a Dataset in which the best rate of batch size 1 depends on the epoch."""
    cost = np.array([[[9, 1, 1, np.nan], [9, 2, 0, np.nan]], [[9, 8, 7, 6], [9, 7, 6, 5]]])
    return xr.Dataset(
        {
            "cost": (("batch_size", "learning_rate", "seed", "epoch"), cost[:, :, None]),
            "test_accuracy": (("batch_size", "learning_rate", "seed", "epoch"), cost[:, :, None]),
            "seconds_an_epoch": ("batch_size", seconds),
        },
        {"batch_size": [1, 4], "learning_rate": [0.1, 1.0], "epoch": np.arange(4)},
        {"baseline": 2.0},
    )


def test_the_time_of_the_comparison_is_the_shortest_total_time():
    # In 1.8 s, three epochs of 0.6 s are completed, but only one epoch of 1 s.
    ends = batch_sizes.ends(small([1.0, 0.6]))
    assert ends["epochs"].tolist() == [2, 2]
    assert ends["time"].tolist() == [1, 3]


def test_the_best_rate_is_selected_at_the_epoch_of_the_comparison():
    dataset = small([1.0, 0.6])
    assert float(batch_sizes.runs_at_best_rate(dataset, 0, 1).learning_rate) == 0.1
    assert float(batch_sizes.runs_at_best_rate(dataset, 0, 2).learning_rate) == 1.0
    assert batch_sizes.epochs_to_half_baseline(dataset, 0) == 1
    assert batch_sizes.epochs_to_half_baseline(dataset, 1) == np.inf
