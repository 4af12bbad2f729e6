"""Figures of paths and barriers: the drawn values equal the arguments."""

import numpy as np
import pytest
import xarray as xr

from experiments.mode_connectivity.__main__ import profiles
from gdjax.plots.barriers import barrier_matrix, cluster_order

KINDS = ("kind", "pair", "t")
T = np.linspace(0, 1, 5)
HILL = np.array([[0.1, 0.5, 0.9, 0.5, 0.1], [0.2, 0.6, 1.0, 0.6, 0.2], [0.1, 0.4, 0.7, 0.4, 0.1]])
FLAT = np.full((3, 5), 0.15)
COST = {
    "narrow": xr.DataArray([HILL, FLAT], {"kind": ["straight", "curved"], "t": T}, KINDS),
    "wide": xr.DataArray([HILL[:1]], {"kind": ["straight"], "t": T}, KINDS),
}


def test_paths_show_the_median_and_all_pairs():
    by_name = {
        name: xr.Dataset({"cost_along": cost, "accuracy_along": 1 - cost})
        for name, cost in COST.items()
    }
    figure = profiles(by_name, baseline=0.9, title="Hills")
    top, _, bottom, _ = figure.axes
    straight, curved, line = top.lines
    np.testing.assert_allclose(straight.get_ydata(), [0.1, 0.5, 0.9, 0.5, 0.1])
    np.testing.assert_allclose(curved.get_ydata(), 0.15)
    np.testing.assert_allclose(line.get_ydata(), 0.9)
    band = top.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (0.1, 1.0)
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [0.9, 0.5, 0.1, 0.5, 0.9])
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == [
        "narrow (3 pairs)",
        "wide (1 pair)",
    ]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["straight", "curved"]
    figure.canvas.draw()


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
