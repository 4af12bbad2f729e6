"""The digit experiment: the accuracy of a small network exceeds chance level."""

import numpy as np
import pytest

from experiments.digits import __main__ as digits
from experiments.digits.__main__ import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(epochs=6, random_networks=16, seeds=6)


@pytest.fixture(scope="module")
def dataset():
    return digits.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return digits.numbers(dataset)


def test_before_training_the_accuracy_is_at_chance_level(summary):
    # On average, random networks classify 1 in 10 images correctly: each class has 100 images.
    _, low, high = summary["random_networks_mean_accuracy"]
    assert low - 0.02 < 0.1 < high + 0.02
    assert summary["initial_test_accuracy"] < 0.25
    assert summary["initial_cost"] == pytest.approx(2.5, abs=0.2)


def test_after_training_most_test_digits_are_classified_correctly(summary):
    assert summary["final_cost"] < 0.4 < summary["baseline_cost"]
    # Six epochs, a fifth of the default, suffice for accuracies far above chance level, 10 %.
    assert summary["final_test_accuracy"] > 0.7
    assert summary["wrong"] == round(1000 * (1 - summary["final_test_accuracy"]))


def test_the_summary_covers_all_starts_including_the_plotted_one(dataset, summary):
    accuracy = dataset.seeds_accuracy.values[:, -1]
    least, most = summary["seeds_test_accuracy_least"], summary["seeds_test_accuracy_most"]
    assert (least, most) == (accuracy.min(), accuracy.max())
    # For six starts, the interval of the median is the range of values, of coverage 1 - 2 / 2^6.
    assert summary["seeds"] == 6
    np.testing.assert_allclose(
        summary["seeds_test_accuracy_median"], [np.median(accuracy), least, most], rtol=1e-6
    )
    # The plotted start is the first one, computed with a different slab width.
    assert float(dataset.seeds_accuracy[0, -1]) == pytest.approx(
        summary["final_test_accuracy"], abs=0.05
    )


def test_the_stored_outputs_give_the_accuracies(dataset):
    for name, record in (("before", 0), ("after", -1)):
        right = np.argmax(dataset[name].values, axis=1) == dataset.label.values
        assert np.mean(right) == pytest.approx(float(dataset.test_accuracy[record]), abs=1e-6)


def test_the_test_cost_is_recorded_and_exceeds_the_training_cost(dataset):
    assert dataset.epoch.values.tolist() == list(range(7))
    target = np.eye(10)[dataset.label.values]
    by_hand = np.mean(np.sum((dataset.after.values - target) ** 2, axis=1))
    assert float(dataset.test_cost[-1]) == pytest.approx(by_hand, rel=1e-5)
    assert float(dataset.test_cost[-1]) > float(dataset.cost[-1])


def test_figures_are_drawn_from_the_dataset(dataset):
    figures = digits.plot(dataset)
    assert set(figures) == {"learning", "confusion", "wrong", "weights"}
    images = [axes for axes in figures["weights"].axes if axes.images]
    assert len(images) == 16
