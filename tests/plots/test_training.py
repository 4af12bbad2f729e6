"""Figures of training runs, also diverged ones: drawn values equal the arguments."""

import numpy as np
import pytest
import xarray as xr

from gdjax.plots import training

RNG = np.random.default_rng(0)


def run(pixels=49, **changes):
    """Return a run with 40 test images: 38 are classified correctly after training."""
    labels = np.arange(40) % 10
    answers = np.where(np.arange(40) < 2, 9, labels)
    values = {
        "epoch": np.arange(4.0),
        "cost": np.array([2.5, 1.0, 0.4, 0.2]),
        "test_accuracy": np.array([0.1, 0.5, np.nan, 0.95]),
        "image": RNG.integers(0, 256, size=(40, pixels)).astype(np.uint8),
        "label": labels,
        "before": np.eye(10)[np.full(40, 3)],
        "after": np.eye(10)[answers],
        "weight": RNG.normal(size=(16, pixels)),
    }
    baseline = changes.pop("baseline", 0.9)
    dims = {"before": ("sample", "class"), "after": ("sample", "class"), "label": "sample"}
    dims |= {"image": ("sample", "pixel"), "weight": ("neuron", "pixel")}
    return xr.Dataset(
        {name: (dims.get(name, "record"), value) for name, value in {**values, **changes}.items()},
        attrs={"baseline": baseline},
    )


def test_the_learning_figure_shows_costs_the_baseline_and_recorded_accuracies():
    data = run()
    figure = training.training_figures(data.assign(test_cost=2 * data.cost))["learning"]
    top, bottom = figure.axes
    trained, tested, baseline = top.lines
    np.testing.assert_array_equal(trained.get_ydata(), data.cost)
    np.testing.assert_array_equal(tested.get_ydata(), 2 * data.cost)
    assert set(baseline.get_ydata()) == {0.9}
    assert top.get_yscale() == "log"
    # Records with NaN are omitted.
    np.testing.assert_array_equal(bottom.lines[0].get_xydata(), [[0, 0.1], [1, 0.5], [3, 0.95]])


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cost": np.array([2.5, np.inf, np.inf, np.inf]), "weight": np.full((16, 49), np.nan)},
        {"cost": np.full(4, np.inf), "test_accuracy": np.full(4, np.nan)},
        {"cost": np.zeros(4), "baseline": None},
        {"after": np.full((40, 10), np.nan)},
        {"epoch": np.zeros(1), "cost": np.ones(1), "test_accuracy": np.ones(1)},
    ],
    ids=["learned", "diverged", "diverged at once", "perfect", "answers NaN", "no steps"],
)
def test_runs_of_every_outcome_can_be_drawn(changes):
    data = run(**changes)
    figures = training.training_figures(data)
    assert list(figures) == ["learning", "confusion", "wrong", "weights"]
    for figure in figures.values():
        figure.draw_without_rendering()
    curve = figures["learning"].axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(curve, data.cost.values[np.isfinite(data.cost)])


def test_the_confusion_matrix_has_labels_as_rows_and_answers_as_columns():
    matrix = training.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    assert matrix.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    (axes,) = training.confusion({"after": matrix}).axes
    assert axes.get_title(loc="left") == "after: accuracy 50.0%"
    written = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "1", (2, 0): "1", (1, 1): "1", (1, 2): "1"}
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.5, 0, 0.5], [0, 1, 0], [0, 1, 0]])


def test_misclassified_examples_are_sorted_by_confidence_with_labels_and_answers():
    images = np.arange(4)[:, None, None] * np.ones((4, 2, 2))
    outputs = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0, 0.8], [0, 0, 1.0]])
    figure = training.misclassified(images, np.array([0, 1, 0, 2]), outputs)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["0 as 2", "1 as 0"]
    assert [axes.images[0].get_array()[0, 0] for axes in panels] == [2, 1]
    assert figure.get_suptitle() == "2 of 4 test images are misclassified"


def test_the_title_states_the_number_of_errors_if_not_all_are_shown():
    figure = training.misclassified(
        np.zeros((100, 2, 2)), np.zeros(100, int), np.eye(2)[np.ones(100, int)]
    )
    assert sum(bool(axes.images) for axes in figure.axes) == training.MAX_EXAMPLES
    assert "100 of 100" in figure.get_suptitle()
    assert f"the {training.MAX_EXAMPLES} with the largest margin" in figure.get_suptitle()


def test_image_figures_are_omitted_without_images():
    assert list(training.training_figures(run(pixels=30))) == ["learning", "confusion"]


def test_color_images_are_shown_in_color_and_weights_as_means_over_channels():
    data = run(pixels=48)
    result = training.training_figures(data)
    assert result["wrong"].axes[0].images[0].get_array().shape == (4, 4, 3)
    first = result["weights"].axes[0].images[0].get_array()
    np.testing.assert_allclose(first, data.weight.values[0].reshape(4, 4, 3).mean(axis=-1))
