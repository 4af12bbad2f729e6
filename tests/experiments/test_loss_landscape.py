"""A small loss landscape experiment: planes through end points of descents."""

import numpy as np
import pytest

from experiments.loss_landscape import __main__ as loss_landscape
from experiments.loss_landscape.__main__ import BRANCHES, VIEWS, Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(epochs=3, snapshots=10, points=7, samples=1000, seeds=2)


@pytest.fixture(scope="module")
def tree():
    return loss_landscape.run(SMALL)


@pytest.fixture(scope="module")
def summary(tree):
    return loss_landscape.numbers(tree)


def test_the_plotted_start_is_the_first_start_of_the_summary(tree, summary):
    seeds = tree["seeds"].to_dataset()
    assert summary["seeds"] == 2
    for branch in ("too_small", "good", "too_large"):
        first = float(seeds.final_cost.sel(branch=branch)[0])
        assert first == summary[f"{branch}_final_cost"]
        assert summary[f"{branch}_final_cost_over_seeds"][0] == np.mean(
            seeds.final_cost.sel(branch=branch)
        )


def test_descents_at_all_rates_start_at_equal_costs_and_the_largest_rate_stalls(tree, summary):
    starts = {summary[f"{branch.replace(' ', '_')}_start_cost"] for branch in BRANCHES}
    assert len(starts) == 1
    assert summary["good_final_cost"] < summary["too_small_final_cost"]
    assert summary["too_large_outcome"] == "stalled"
    assert summary["too_large_final_cost"] == pytest.approx(1, abs=1e-4)


def test_the_cost_around_a_stalled_end_point_is_nearly_constant_in_all_planes(tree):
    for view in VIEWS:
        cost = loss_landscape.dataset_of(tree, "too large", view).cost.values
        assert np.ptp(cost) < 0.01


def test_the_curvature_along_the_eigenvector_is_largest_and_equals_the_eigenvalue(summary):
    """Curvatures are second differences of the cost along lines."""
    for branch in ("too_small", "good"):
        largest = summary[f"{branch}_largest_eigenvalue"]
        along = {view: summary[f"{branch}_curvature_along_{view}"] for view in VIEWS}
        assert along["eigenvectors"] == pytest.approx(largest, rel=0.03)
        assert max(along["random"], along["neuron"]) < along["eigenvectors"]


def test_planes_through_an_end_point_have_its_cost_at_the_center_and_equal_sizes(tree):
    for branch in BRANCHES:
        kind = loss_landscape.dataset_of(tree, branch, "way")
        for view in VIEWS:
            plane = loss_landscape.dataset_of(tree, branch, view)
            assert float(plane.cost[3, 3]) == pytest.approx(float(kind.path_cost[-1]), rel=1e-4)
            assert [plane[n].attrs["length"] for n in "ab"] == [pytest.approx(1, rel=1e-4)] * 2
            assert (plane.a[0], plane.a[-1]) == (-SMALL.reach, SMALL.reach)


def test_the_trajectory_ends_in_the_plane_but_does_not_lie_in_it(tree, summary):
    kind = loss_landscape.dataset_of(tree, "good", "way")
    assert kind.path_off[-1] < 1e-5
    assert summary["good_off_plane_most"] > 0.01
    assert 0.5 < summary["good_explained_by_1"] < summary["good_explained_by_2"] < 1


def test_figures_are_drawn_from_the_dataset(tree, drawn):
    figures = drawn(loss_landscape, tree)
    assert list(figures) == ["descents", "planes", "surface", "lines", "descent"]
    for name in ("descents", "planes", "surface", "lines"):
        figures[name].canvas.draw()
    assert len(figures["descent"].frames) <= 60
