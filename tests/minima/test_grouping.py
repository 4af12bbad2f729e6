"""Groups of points: what single linkage promises, and maps that are exact where they can be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdjax.errors import InputError
from gdjax.minima.grouping import counts, groups, in_the_plane


def components(points, tolerance):
    """Independent: flood fill over all pairs that are near enough."""
    near = np.linalg.norm(points[:, None] - points, axis=-1) <= tolerance
    label = np.full(len(points), -1)
    for start in range(len(points)):
        if label[start] < 0:
            todo, number = [start], label.max() + 1
            while todo:
                at = todo.pop()
                if label[at] < 0:
                    label[at] = number
                    todo += np.nonzero(near[at])[0].tolist()
    return label


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.01, 2.0))
def test_groups_are_what_chains_of_near_points_connect(seed, count, tolerance):
    points = np.random.default_rng(seed).normal(size=(count, 2))
    found = groups(points, tolerance)
    assert found.label.tolist() == components(points, tolerance).tolist()
    assert found.gap > tolerance
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    for number, width in enumerate(found.width):
        mine = found.label == number
        assert width == pytest.approx(distance[np.ix_(mine, mine)].max(), abs=1e-12)


def test_counts_agree_with_grouping_at_every_tolerance():
    points = np.random.default_rng(1).normal(size=(30, 3))
    tolerances = np.geomspace(1e-3, 10, 50)
    heights = groups(points, 0.1).heights
    again = [groups(points, t).label.max() + 1 for t in tolerances]
    assert counts(heights, tolerances).tolist() == again


def test_the_range_of_tolerances_that_give_the_same_groups():
    found = groups(np.array([[0.0], [0.1], [1.0], [1.1], [5.0]]), 0.5)
    assert found.label.tolist() == [0, 0, 1, 1, 2]
    assert (found.stable_from, found.stable_to) == pytest.approx((0.1, 0.9))
    assert found.gap == pytest.approx(0.9)


def test_one_point_is_one_group():
    found = groups(np.zeros((1, 3)), 0.0)
    assert found.label.tolist() == [0]
    assert counts(found.heights, [1.0]).tolist() == [1]


@pytest.mark.parametrize(
    ("points", "tolerance"),
    [(np.zeros((0, 2)), 1.0), (np.full((2, 1), np.nan), 1.0), (np.zeros((2, 1)), -1.0)],
)
def test_input_that_cannot_work(points, tolerance):
    with pytest.raises(InputError, match="groups"):
        groups(points, tolerance)


def test_distances_in_a_plane_come_out_exact():
    points = np.random.default_rng(2).normal(size=(7, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    position, share = in_the_plane(distances)
    np.testing.assert_allclose(
        np.linalg.norm(position[:, None] - position, axis=-1), distances, atol=1e-6
    )
    assert share == pytest.approx(1)


def test_a_regular_simplex_does_not_fit_into_a_plane():
    """n points all at one distance: n - 1 equal eigenvalues, of which a plane shows two."""
    position, share = in_the_plane(1 - np.eye(6))
    assert share == pytest.approx(2 / 5)
    assert position.shape == (6, 2)


def test_points_that_are_all_the_same():
    position, share = in_the_plane(np.zeros((3, 3)))
    assert np.all(position == 0)
    assert share == 1


def test_a_single_point():
    position, share = in_the_plane(np.zeros((1, 1)))
    assert position.tolist() == [[0.0, 0.0]]
    assert share == 1
