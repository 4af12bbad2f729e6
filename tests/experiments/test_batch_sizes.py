"""The batch size experiment: mini-batches and full batches at equal budgets."""

import numpy as np
import pytest
import xarray as xr

from experiments.batch_sizes import __main__ as batch_sizes
from experiments.batch_sizes import __main__ as summaries
from experiments.batch_sizes.__main__ import Config
from gdjax.errors import InputError

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(batch_sizes=(32, 4000), epochs=(2, 3), rates=3, seeds=2, timed_epochs=1, repeats=1)


@pytest.fixture(scope="module")
def dataset():
    return batch_sizes.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return batch_sizes.numbers(dataset)


def test_mini_batches_give_lower_costs_after_equal_numbers_of_epochs(summary):
    assert summary["equal_epochs_32_cost"][0] < 0.5
    assert summary["equal_epochs_4000_cost"][0] > 0.8
    assert summary["equal_epochs_32_accuracy"][0] > 0.7
    assert summary["epochs_to_half_32"] <= 2
    assert summary["epochs_to_half_4000"] == np.inf


def test_each_batch_size_is_recorded_for_its_number_of_epochs(dataset):
    assert summaries.last_epochs(dataset).tolist() == [2, 3]
    assert dataset.batch_size.values.tolist() == [32, 4000]
    assert np.all(dataset.seconds_an_epoch > 0)
    # The cost before the first step is independent of the batch size.
    start = dataset.cost.isel(epoch=0).values
    np.testing.assert_allclose(start[0], start[1], rtol=1e-5)


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
    assert summaries.epochs_to_half_baseline(dataset, 0) == 1
    assert summaries.epochs_to_half_baseline(dataset, 1) == np.inf


def test_a_missing_number_of_epochs_raises_input_error():
    with pytest.raises(InputError, match="one number for each"):
        batch_sizes.run(Config(batch_sizes=(8, 4000), epochs=(1,)))


def test_the_figure_is_drawn(dataset, drawn):
    drawn(batch_sizes, dataset)
