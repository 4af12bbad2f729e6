"""Figures of barriers: the drawn values equal the arguments."""

import numpy as np
import pytest

from gdjax.plots.barriers import barrier_matrix, cluster_order


def blocks():
    """Return barriers: 0.1 within clusters {0, 2, 4} and {1, 3, 5}, 1 between them."""
    odd = np.arange(6) % 2
    matrix = np.where(odd[:, None] == odd, 0.1, 1.0)
    np.fill_diagonal(matrix, 0)
    return matrix


def test_matrices_are_sorted_by_clusters():
    order = cluster_order(blocks())
    assert len({int(k) % 2 for k in order[:3]}) == 1
    before = 2 * np.ones((6, 6)) - 2 * np.eye(6)
    figure = barrier_matrix({"before": before, "after": blocks()})
    first, second = (axes.images[0] for axes in figure.axes[:2])
    assert first.get_clim() == second.get_clim() == (0, 2)
    image = np.asarray(second.get_array())
    np.testing.assert_allclose(image[:3, 3:], 1.0)
    assert image[:3, :3].max() == image[3:, 3:].max() == 0.1
    assert figure.axes[1].get_title(loc="left") == "after\nmedian 1"
    figure.canvas.draw()


def test_rows_without_barriers_are_sorted_to_an_end():
    matrix = blocks()
    matrix[4] = matrix[:, 4] = np.nan
    order = cluster_order(matrix)
    assert order[0] == 4 or order[-1] == 4
    figure = barrier_matrix({"only": matrix})
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    figure.canvas.draw()


@pytest.mark.parametrize("runs", [1, 2])
def test_the_cluster_order_of_one_or_two_networks_is_the_identity(runs):
    matrix = np.ones((runs, runs)) - np.eye(runs)
    assert cluster_order(matrix).tolist() == list(range(runs))
    figure = barrier_matrix({"few": matrix})
    figure.canvas.draw()
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), matrix)
